"""Each chart comes with its words and a table of the same figures."""

import re
from pathlib import Path

import pytest
from synthetic import make_run

from harness.judge.reading import read_record
from harness.judge.series import Series, read_series
from harness.measure.snapshot import read_measurements
from harness.report.html.run_charts import draw_charts, in_order
from harness.report.wording import UNKNOWN
from harness.rundir.schema import RunRecord

EMPTY = RunRecord.model_validate({"schema": 1, "run_id": "r"})


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_run(tmp_path_factory.mktemp("runs") / "r1", length_s=60, trouble=True)


@pytest.fixture(scope="module")
def series(run_dir: Path) -> Series:
    found = read_series(run_dir)
    assert found is not None
    return found


def test_everything_that_is_asked_of_a_report_is_there(run_dir: Path, series: Series) -> None:
    made = draw_charts(read_record(run_dir), series)
    assert [figure.key for figure in made.load] == ["arrivals", "occupancy"]
    assert [figure.key for figure in made.trouble] == ["failures"]
    assert [figure.key for figure in made.generator] == ["lag", "cpu"]
    assert list(made.operations) == list(made.percentiles) == in_order(series)
    assert made.operations["session_open"].title == "Service time of session open"
    assert made.heat is not None
    assert (len(made.operations), len(made.percentiles)) == (6, 6)


def test_tables_repeat_the_figures(run_dir: Path, series: Series) -> None:
    made = draw_charts(read_record(run_dir), series)
    assert series.parts is not None
    for figure in (*made.load, *made.operations.values(), *made.trouble, *made.generator):
        assert len(figure.rows) == len(series.parts)
        assert {len(row) for row in figure.rows} == {len(figure.head)}
    reply = made.operations["reply"]
    samples = sum(int(row[1].replace(",", "")) for row in reply.rows if row[1] != UNKNOWN)
    assert samples == read_measurements(run_dir).histograms["reply.service"].count
    assert any(cell.startswith("> ") for row in reply.rows for cell in row[2:])


def test_interesting_operations_come_first(series: Series) -> None:
    assert in_order(series) == ["reply", "session_open", "join", "delivered", "clear", "connect"]


def test_what_was_not_recorded_gets_no_chart(run_dir: Path) -> None:
    empty = Series(width_s=1.0, starts_s=[0.0])
    empty.parts = Series(width_s=1.0, starts_s=[0.0])
    made = draw_charts(read_record(run_dir), empty)
    figures = (made.load, made.operations, made.trouble, made.generator, made.percentiles)
    assert not any(figures)
    assert made.heat is None


def test_phases_are_those_that_the_processes_noted(run_dir: Path, series: Series) -> None:
    noted = draw_charts(read_record(run_dir), series).phases
    assert [(phase.text, phase.t - series.starts_s[0]) for phase in noted] == [
        ("running", 0),
        ("finishing", 40),
    ]


def test_intervals_enclose_the_figure_or_say_what_is_missing(series: Series) -> None:
    rows = {row[0]: row[1:] for row in draw_charts(EMPTY, series).intervals}
    assert list(rows) == in_order(series)
    assert re.fullmatch(r"[\d.]+ m?s to [\d.]+ m?s", rows["reply"][1])
    assert rows["clear"][3] == f"too few: {rows['clear'][0]} values; p99 needs 1000"
