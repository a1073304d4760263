"""The files that a report consists of, made together from one reading of the run directory."""

import io
from collections.abc import Callable, Collection
from pathlib import Path
from types import MappingProxyType

from harness.judge.reading import read_live_record, read_record
from harness.judge.series import Series, read_series
from harness.report.consistency import disagreements
from harness.report.csv_files import write_csv
from harness.report.html.run_page import run_page
from harness.report.junit import junit
from harness.report.markdown import markdown
from harness.rundir.layout import CSV, JUNIT, LIVE_PAGE, REPORT_PAGE, SUMMARY, write_atomically
from harness.rundir.schema import RunRecord

Maker = Callable[[RunRecord, Series | None], str]


def _csv(_record: RunRecord, series: Series | None) -> str:
    text = io.StringIO()
    write_csv(series, text)
    return text.getvalue()


OUTPUTS: MappingProxyType[str, tuple[str, Maker]] = MappingProxyType(
    {
        "html": (REPORT_PAGE, run_page),
        "markdown": (
            SUMMARY,
            lambda record, series: markdown(record, disagreements(record, series)),
        ),
        "junit": (JUNIT, lambda record, series: junit(record, disagreements(record, series))),
        "csv": (CSV, _csv),
    }
)
"""Kind of report → its file name and what makes its text."""


def write_reports(run_dir: Path, kinds: Collection[str] = tuple(OUTPUTS)) -> list[Path]:
    """Make the reports of these kinds in a run directory; returns their paths in that order.

    Each file appears whole or not at all. Raises ConfigError when the directory is none of a run
    or damaged.
    """
    record = read_record(run_dir)
    series = read_series(run_dir)
    written = []
    for kind in kinds:
        name, make = OUTPUTS[kind]
        written.append(write_atomically(run_dir / name, make(record, series)))
    return written


def write_live_report(run_dir: Path) -> tuple[RunRecord, Path]:
    """Make ``live.html`` of a run that is going on; how it stands, and the page's path.

    Raises ConfigError when it is not going on.
    """
    record = read_live_record(run_dir)
    page = run_page(record, read_series(run_dir))
    return record, write_atomically(run_dir / LIVE_PAGE, page)


def write_report(run_dir: Path) -> Path:
    """Make just the page; returns its path. Raises as :func:`write_reports`."""
    return write_reports(run_dir, ["html"])[0]
