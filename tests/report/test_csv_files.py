"""The CSV holds every count, leaves unknown cells empty, and runs as no formula."""

import csv
import io
from pathlib import Path

import pytest
from synthetic import make_run

from harness.judge.series import Series, read_series
from harness.measure.snapshot import read_measurements
from harness.report.outputs import csv_text


def rows(series: Series | None) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(csv_text(series))))


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_run(tmp_path_factory.mktemp("runs") / "r1", length_s=60, trouble=True)


def test_one_row_per_interval_and_all_counts_in_them(run_dir: Path) -> None:
    found, merged = rows(read_series(run_dir)), read_measurements(run_dir)
    assert len(found) == 60
    assert found[0]["start_utc"] == "2026-11-18T11:06:40.000Z"
    for operation, outcomes in merged.outcomes.items():
        for outcome, count in outcomes.items():
            assert sum(int(row[f"outcomes.{operation}.{outcome}"] or 0) for row in found) == count
    due = sum(float(row["arrivals.due_per_s"]) * float(row["length_s"]) for row in found)
    assert due == merged.arrivals["due"]


def test_what_was_not_measured_is_empty_and_not_zero(run_dir: Path) -> None:
    last = rows(read_series(run_dir))[-1]
    assert last["reply.service.p50_ms"] == ""
    assert last["sessions.occupancy"] == "0"


def test_no_cell_is_a_formula() -> None:
    series = Series(width_s=1.0, starts_s=[0.0])
    series.rows = Series(width_s=1.0, starts_s=[0.0])
    series.rows.bands_ms["=cmd|' /C calc'!A0"] = {50.0: [1.25]}
    series.rows.samples["=cmd|' /C calc'!A0"] = [3]
    names = list(rows(series)[0])
    assert [name for name in names if name.startswith(("=", "+", "-", "@"))] == []
    assert any("calc" in name for name in names)


def test_percentiles_among_what_never_came_are_named_as_lower_bounds(run_dir: Path) -> None:
    found = rows(read_series(run_dir))
    named = [row["reply.service.lower_bounds"] for row in found]
    with_timeouts = [bool(int(row["outcomes.reply.timeout"] or 0)) for row in found]
    assert any(with_timeouts)
    assert [bool(names) for names in named] == with_timeouts
    assert {"p95 p99"} <= set(named) <= {"", "p99", "p95 p99", "p50 p95 p99"}
    assert not any(name.startswith("lag") and "bounds" in name for name in found[0])
