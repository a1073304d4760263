"""The manual's tables name all that the code knows: files, sections, metrics, keys, charts."""

import ast
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from docs.manual import PAGES

import harness
from harness.config import target as targets_file
from harness.config.run_config import SETTINGS
from harness.load.live import prometheus
from harness.measure.model import OPERATIONS
from harness.rundir import layout
from harness.rundir.schema import RunRecord
from harness.workload.data import Size, languages

HTML = Path(harness.__file__).parent / "report" / "html"


def spans(page: str) -> set[str]:
    """What stands in backticks on a page."""
    return set(re.findall(r"`([^`\n]+)`", PAGES[page]))


def test_every_file_of_a_run() -> None:
    run = layout.RunDirectory(Path("RUN"))
    names = {
        getattr(run, name).name
        for name, value in vars(layout.RunDirectory).items()
        if isinstance(value, property)
    }
    names |= {make("WORKER").name for make in (run.ledger, run.intervals, run.histograms)}
    names |= {layout.REPORT_PAGE, layout.LIVE_PAGE, layout.SUMMARY, layout.JUNIT, layout.CSV}
    names |= {layout.DRIFT_PAGE, layout.COMPARISON_PAGE}
    assert sorted(names - spans("files.md")) == []


def _sections() -> set[str]:
    return {field.alias or name for name, field in RunRecord.model_fields.items()}


def test_every_section_of_the_record() -> None:
    assert sorted(_sections() - spans("files.md")) == []


def test_every_option_of_plain_locust() -> None:
    options = {setting.option for setting in SETTINGS.values() if setting.option}
    manual = "\n".join(PAGES.values())
    assert sorted(option for option in options if f"`{option}" not in manual) == []


def test_every_key_of_a_target() -> None:
    assert sorted(set(targets_file._KEYS) - spans("targets.md")) == []


def test_every_size_and_language_of_texts() -> None:
    assert sorted({*Size, *languages()} - spans("locustfiles.md")) == []


def _titles(module: str, makers: Mapping[str, int]) -> Iterator[str]:
    """What calls of ``makers`` are given as the argument of that number, and every title."""
    for node in ast.walk(ast.parse((HTML / module).read_text())):
        match node:
            case ast.Call(func=ast.Name(id=str(name)), args=args) if name in makers:
                if isinstance(args[makers[name]], ast.Constant):
                    yield str(ast.literal_eval(args[makers[name]]))
            case ast.keyword(arg="title", value=ast.Constant(value=str(title))) if title:
                yield title


@pytest.mark.parametrize(
    ("module", "makers"),
    [("run_page.py", {"_section": 1}), ("run_charts.py", {"_over_time": 2, "_total": 4})],
)
def test_every_section_and_chart_of_the_report(module: str, makers: Mapping[str, int]) -> None:
    titles = set(_titles(module, makers))
    assert len(titles) > 5
    assert sorted(one for one in titles if one not in PAGES["report.md"]) == []


def test_every_metric() -> None:
    text = Path(prometheus.__file__).read_text()
    names = set(re.findall(r'"(harness_\w+)"', text))
    assert len(names) > 8
    assert sorted(name for name in names if name not in PAGES["metrics.md"]) == []


def test_every_operation_is_defined() -> None:
    rows = set(re.findall(r"^\| `(\w+)` \|", PAGES["objectives.md"], re.MULTILINE))
    assert sorted(OPERATIONS.keys() - rows) == []
