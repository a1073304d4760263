"""The files that a report consists of, made together from one reading of the run directory.

Beside the page and the CSV file: a summary in Markdown, short enough for a pull request or a chat,
and JUnit XML for CI servers, with one case per objective and one for the run as a whole. There what
was missed is a failure, and what could not be judged is an error. Neither ever passes.
"""

import csv
import io
import re
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path
from types import MappingProxyType
from xml.etree import ElementTree as ET

from harness.clock import utc_iso
from harness.errors import safe_cell
from harness.judge.reading import read_live_record, read_record
from harness.judge.series import Series, Values, read_series
from harness.report import story, wording
from harness.report.findings import disagreements
from harness.report.html.run_page import run_page
from harness.report.wording import count_text, length_text, moment_text, percent_text, with_unit
from harness.rundir.layout import CSV, JUNIT, LIVE_PAGE, REPORT_PAGE, SUMMARY, write_atomically
from harness.rundir.schema import Objective, RunRecord

LOWER_BOUNDS = "lower_bounds"
"""The column that names the percentiles whose true figures are higher: some of it never came."""


def csv_text(series: Series | None) -> str:
    """The rows; only a head where there are no intervals."""
    rows = series.rows if series is not None else None
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    columns = list(_columns(rows)) if rows is not None else []
    writer.writerow(["start_utc", "start_s", "length_s", *(safe_cell(name) for name, _ in columns)])
    if rows is None:
        return text.getvalue()
    for place, start in enumerate(rows.starts_s):
        cells = [values[place] for _, values in columns]
        writer.writerow([utc_iso(int(start * 1e9)), f"{start:.3f}", f"{rows.width_s:g}", *cells])
    return text.getvalue()


def _columns(rows: Series) -> Iterator[tuple[str, list[str]]]:
    for name, values in rows.rates.items():
        yield f"arrivals.{name}_per_s", _cells(values)
    for name, values in rows.sessions.items():
        yield f"sessions.{name}", _cells(values)
    for name, values in sorted(rows.operations.items()):
        yield f"outcomes.{name}", _cells(values)
    for tag, bands in sorted(rows.bands_ms.items()):
        yield f"{tag}.count", _cells(rows.samples[tag])
        for quantile, values in bands.items():
            yield f"{tag}.p{quantile:g}_ms", _cells(values)
        if tag.endswith(".service"):
            yield f"{tag}.{LOWER_BOUNDS}", _lower_bounds(rows, tag)
    for name, values in sorted(rows.counts.items()):
        yield f"counts.{name}", _cells(values)
    for name, values in rows.process.items():
        yield f"process.{name}_max", _cells(values)


def _lower_bounds(rows: Series, tag: str) -> list[str]:
    """For each row the percentiles that are lower bounds: ``p95 p99``."""
    known = {f"p{quantile:g}": rows.at_least(tag, quantile) for quantile in rows.bands_ms[tag]}
    return [
        " ".join(name for name, least in known.items() if least[place])
        for place in range(len(rows))
    ]


def _cells(values: Values) -> list[str]:
    return [
        "" if value is None else f"{value:.6g}" if value % 1 else f"{value:.0f}" for value in values
    ]


MARKS = {"PASS": "✅", "FAIL": "❌", "NO_DATA": "⚪", "INVALID": "⚠️", None: "⚪"}
SPECIAL = re.compile(r"[\\`*_{}\[\]|~>]|^[-+#=]")
"""Characters that have a meaning in Markdown, anywhere in a line or at its beginning."""
NUMBERED = re.compile(r"^(\d+)([.)])(?=\s|$)")
"""The beginning of a line that Markdown would take for a numbered list."""


def markdown(record: RunRecord, doubts: Sequence[str] = ()) -> str:
    """The summary, ending in a newline; ``doubts`` are further notices."""
    lines = [
        f"## {MARKS[record.verdict]} {story.verdict_word(record)}: {escaped(record.run_id)}",
        "",
        escaped(f"{story.why(record)} {story.account(record)}"),
        "",
        escaped(story.workload_line(record)),
        "",
    ]
    lines += [f"> {escaped(notice)}" for notice in (*story.notices(record), *doubts)]
    lines += _objectives(record) + _operations(record) + _sessions(record)
    if record.sessions.leftover:
        lines += [f"To end what is left behind: {code(f'harness sweep {record.run_id}')}", ""]
    lines.append(_origin(record))
    return "\n".join(lines).replace("\n\n\n", "\n\n") + "\n"


def escaped(text: str) -> str:
    """Text that means nothing to Markdown, HTML, or a site's @mentions."""
    text = SPECIAL.sub(r"\\\g<0>", " ".join(text.split()))
    text = NUMBERED.sub(r"\1\\\2", text)
    return text.replace("&", "&amp;").replace("<", "&lt;").replace("@", "&#64;")


def code(text: str) -> str:
    """A code span; backticks and line ends can't leave it, bars can't end a table's cell."""
    return f"`{' '.join(text.replace('`', chr(39)).split())}`".replace("|", "\\|")


def _objectives(record: RunRecord) -> list[str]:
    if not record.objectives:
        return ["No objective was set.", ""]
    rows = [
        f"| {MARKS[item.verdict]} | {code(item.text)} | {escaped(wording.objective_figure(item))} "
        f"| {escaped(wording.objective_margin(item))} |"
        for item in record.objectives
    ]
    return ["", "| | Objective | Measured | Margin |", "|---|---|---:|---|", *rows, ""]


def _operations(record: RunRecord) -> list[str]:
    if not record.operations:
        return [story.NO_OPERATION, ""]
    rows, closed = [], story.is_closed(record)
    for name, figures in record.operations.items():
        times = [story.time_text(figures, "service", time) for time in ("p50", "p95", "p99")]
        if not closed:
            times.append(story.time_text(figures, "corrected", "p99"))
        failed, share = story.failures(record, name)
        errors = f"{count_text(failed)} ({percent_text(share)})" if failed else count_text(failed)
        rows.append(
            f"| {escaped(name)} | {count_text(figures.count)} | {errors} | {' | '.join(times)} |"
        )
    head = "| Operation | Count | Errors | p50 | p95 | p99 |"
    line = "|---|---:|---:|---:|---:|---:|"
    if not closed:
        head, line = f"{head} corrected p99 |", f"{line}---:|"
    return [head, line, *rows, ""]


def _sessions(record: RunRecord) -> list[str]:
    rows = [f"{row.label}: {row.figure}" for row in story.account_rows(record)]
    lag = story.lag_text(record.generator)
    arrivals = record.arrivals
    accounts = map(wording.sentence, story.accounts(record))
    return [
        *(line for text in accounts for line in (escaped(text), "")),
        f"Sessions intended: {count_text(record.sessions.intended)}. {'. '.join(rows)}.",
        "",
        f"Arrivals due: {count_text(arrivals.due)}, started late: {count_text(arrivals.late)}, "
        f"dropped: {count_text(arrivals.dropped)}. Generator: {lag}.",
        "",
    ]


def _origin(record: RunRecord) -> str:
    how = record.how
    where = story.safe_text("", how.target_name) if how.target_name else story.place(how.target)
    what = story.safe_text("", how.name) if how.name else how.locustfile
    parts = [where, what, length_text(record.duration_s)]
    parts.append(moment_text(record.started))
    return f"<sub>{escaped(' · '.join(part for part in parts if part))}</sub>"


FORBIDDEN = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""Characters that XML 1.0 can't hold in any form (section 2.2 of the recommendation)."""


def junit(record: RunRecord, doubts: Sequence[str] = ()) -> str:
    """The XML document, ending in a newline."""
    suite = ET.Element("testsuite", name=_text(f"harness {record.run_id}"))
    for objective in record.objectives:
        case = _case(suite, record, objective.text)
        _judge(case, objective.verdict, _measured(objective))
        if objective.verdict == "PASS":
            met = f"{wording.objective_word(objective)}: {_measured(objective)}"
            ET.SubElement(case, "system-out").text = _text(met)
    whole = _case(suite, record, "the run as a whole")
    _judge(whole, record.verdict, f"{story.why(record)} {story.account(record)}")
    ET.SubElement(whole, "system-out").text = _text(
        "\n".join([story.account(record), *story.accounts(record), *story.notices(record), *doubts])
    )
    suite.set("tests", str(len(suite)))
    for kind in ("failure", "error"):
        suite.set(f"{kind}s", str(len(suite.findall(f"testcase/{kind}"))))
    suite.set("skipped", "0")
    if record.started is not None:
        suite.set("timestamp", utc_iso(int(record.started.timestamp() * 1e9)))
    if record.duration_s is not None:
        suite.set("time", f"{record.duration_s:.3f}")
    ET.indent(suite)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{ET.tostring(suite, encoding="unicode")}\n'


def _case(suite: ET.Element, record: RunRecord, name: str) -> ET.Element:
    return ET.SubElement(suite, "testcase", classname=_text(record.run_id), name=_text(name))


def _judge(case: ET.Element, verdict: str | None, message: str) -> None:
    if verdict == "PASS":
        return
    kind = "failure" if verdict == "FAIL" else "error"
    element = ET.SubElement(case, kind, type=verdict or "NO_VERDICT", message=_text(message))
    element.text = _text(message)


def _measured(objective: Objective) -> str:
    if objective.verdict == "NO_DATA" or objective.figure is None:
        return f"{objective.text}: {objective.note or 'nothing was measured'}"
    parts = [f"{objective.text}: measured {wording.objective_figure(objective)}"]
    if objective.limit is not None:
        parts.append(f"limit {with_unit(objective.limit, objective.unit)}")
    if objective.margin is not None:
        parts.append(wording.objective_margin(objective))
    elif objective.note:
        parts.append(objective.note)
    return ", ".join(parts)


def _text(text: str) -> str:
    return FORBIDDEN.sub("\ufffd", text)


Maker = Callable[[RunRecord, Series | None], str]


OUTPUTS: MappingProxyType[str, tuple[str, Maker]] = MappingProxyType(
    {
        "html": (REPORT_PAGE, run_page),
        "markdown": (
            SUMMARY,
            lambda record, series: markdown(record, disagreements(record, series)),
        ),
        "junit": (JUNIT, lambda record, series: junit(record, disagreements(record, series))),
        "csv": (CSV, lambda _record, series: csv_text(series)),
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
