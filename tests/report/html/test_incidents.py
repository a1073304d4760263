"""Trouble in the intervals becomes marks at the right time; a quiet run has none."""

from pathlib import Path

import pytest
from synthetic import START_S, make_run

from harness.judge.series import Series, read_series
from harness.report.html.run_charts import find_incidents


def series(run_dir: Path) -> Series:
    found = read_series(run_dir)
    assert found is not None
    return found


@pytest.mark.slow
def test_a_quiet_run_has_none(tmp_path: Path) -> None:
    assert find_incidents(series(make_run(tmp_path / "r", length_s=60))) == []


@pytest.mark.slow
def test_the_first_of_each_kind_of_trouble_is_marked_in_order(tmp_path: Path) -> None:
    run_dir = make_run(tmp_path / "r", length_s=120, per_s=6, trouble=True, leave=3)
    found = find_incidents(series(run_dir))
    texts = " | ".join(incident.text for incident in found)
    for part in ("ended as service_error", "ended as timeout", "arrival dropped", "leftover (3 in"):
        assert part in texts
    assert [incident.t for incident in found] == sorted(incident.t for incident in found)
    [dropped] = [incident for incident in found if "dropped" in incident.text]
    assert 0.5 < (dropped.t - START_S) / 120 < 0.7


def test_a_process_that_falls_silent_is_marked(tmp_path: Path) -> None:
    run_dir = make_run(tmp_path / "r", length_s=60)
    path = run_dir / "intervals-w1.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:30]))
    [incident] = find_incidents(series(run_dir))
    assert incident.text == "process w1 reported for the last time, well before the end"
    assert incident.t == START_S + 30
    path.write_bytes(b"".join(lines[:30]).replace(b'"running"', b'"ended"'))
    assert find_incidents(series(run_dir)) == []


def test_a_late_generator_is_marked_once_at_its_worst() -> None:
    found = Series(width_s=1.0, starts_s=[0.0, 1.0, 2.0])
    found.bands_ms["lag.loop"] = {99.0: [150.0, None, 220.0]}
    [incident] = find_incidents(found)
    assert (incident.t, "220 ms" in incident.text) == (2.0, True)


def test_a_pause_is_a_moment_and_not_a_phase(tmp_path: Path) -> None:
    run_dir = make_run(tmp_path / "r", length_s=60)
    for path in run_dir.glob("intervals-*.jsonl"):
        lines = path.read_bytes().splitlines(keepends=True)
        for number in (*range(20, 25), *range(32, 36)):
            lines[number] = lines[number].replace(b'"running"', b'"paused"')
        path.write_bytes(b"".join(lines))
    found = series(run_dir)
    assert "paused" not in found.phases
    pauses = [incident for incident in find_incidents(found) if "paused by hand" in incident.text]
    assert [round(incident.t - START_S) for incident in pauses] == [20, 32]
