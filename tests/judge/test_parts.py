"""Each part of a run has figures of its own: steps, ramps, the drain."""

from pathlib import Path

import pytest

from harness.judge.series import DRAIN, parts_block, schedule_parts
from harness.measure.model import Outcome, Sample
from harness.measure.recorder import Recorder
from harness.measure.snapshot import IntervalWriter, read_intervals
from harness.workload.arrivals import poisson, ramp, steady, steps

MS = 1_000_000
S = 1_000_000_000


def test_steps_and_ramps_are_the_parts_of_a_schedule() -> None:
    schedule = ramp(per_minute=(60, 120), over="20s") + steps(per_minute=[120, 240], each="10s")
    expected = [("60 to 120/min", 0, 20), ("120/min", 20, 30), ("240/min", 30, 40)]
    for found in (schedule, poisson(schedule, seed=1)):
        parts = [(one["name"], one["from_s"], one["to_s"]) for one in schedule_parts(found)]
        assert parts == expected
    chained = poisson(steady(per_minute=60, over="5s"), seed=1) + schedule
    assert [one["from_s"] for one in schedule_parts(chained)] == [0, 5, 25, 35]


def make_run(directory: Path) -> None:
    """Two steps of five seconds, the second one slow, and a drain of two with a time-out."""
    writer = IntervalWriter(directory, "w", started_ns=10**18)
    for second in range(13):
        recorder = Recorder()
        recorder.judged_from_ns = 50 * MS if second < 2 else 0
        took = 50 if second < 5 else 900
        for _ in range(10):
            recorder.add(Sample("reply", 0, 1, took * MS, took * MS))
        if second > 10:
            recorder.add(Sample("reply", 0, 1, 5000 * MS, 5000 * MS, Outcome.TIMEOUT))
        writer.write(
            recorder.take(),
            ended_ns=10**18 + (second + 1) * S,
            length_s=1.0,
            state={
                "phase": "running" if second < 11 else "finishing",
                "sessions": {},
                "arrivals": {"started": 2 if second < 5 else 4},
                "process": {},
            },
        )
    writer.close()


def test_each_part_has_its_own_figures_warm_up_and_drain_included(tmp_path: Path) -> None:
    make_run(tmp_path)
    parts = schedule_parts(steps(per_minute=[120, 240], each="5s"))
    intervals = list(read_intervals(tmp_path / "intervals-w.jsonl"))
    first, second, drain = parts_block(tmp_path, parts, intervals)
    assert [one["name"] for one in (first, second, drain)] == ["120/min", "240/min", DRAIN]
    replies = [one["operations"]["reply"] for one in (first, second, drain)]
    assert sum(one["count"] for one in replies) == 13 * 10 + 2
    assert [one["errors"] for one in replies] == [0, 0, 2]
    assert replies[0]["p95_ms"] == pytest.approx(50, rel=0.01)
    assert replies[1]["p50_ms"] == pytest.approx(900, rel=0.01)
    assert sum(one["guests"] for one in (first, second, drain)) == 5 * 2 + 8 * 4


def test_a_steady_schedule_has_nothing_to_tell_apart(tmp_path: Path) -> None:
    make_run(tmp_path)
    intervals = list(read_intervals(tmp_path / "intervals-w.jsonl"))
    assert parts_block(tmp_path, schedule_parts(steady(per_minute=60, over="11s")), intervals) == []
    assert parts_block(tmp_path, (), intervals) == []
