"""What is missing in the record of a run is told, and a slow machine is no gap."""

import pytest

from harness.judge.validity import gaps, left_out
from harness.measure.snapshot import Interval


def intervals(*lengths: float, worker: str = "w-1", hole_s: float = 0) -> list[Interval]:
    found, at = [], 1e9
    for number, length_s in enumerate(lengths):
        at += length_s + (hole_s if number == 2 else 0)
        found.append(
            Interval(
                worker=worker, ended_s=at, length_s=length_s, phase="running",
                sessions={}, arrivals={}, outcomes={}, counts={}, process={},
            )
        )  # fmt: skip
    return found


def test_a_whole_record_has_no_gap() -> None:
    assert gaps([]) == []
    assert gaps(intervals(1, 1, 1.4, 0.3, 5, 1)) == []
    assert gaps(intervals(*[1] * 3600, *[10] * 100)) == []


@pytest.mark.parametrize("lengths", [(1, 18), (18,), (1, 1, 18, 1), (*[1] * 3600, 10, 10, 60, 10)])
def test_seconds_that_nobody_looked_after_are_a_gap(lengths: tuple[float, ...]) -> None:
    (told,) = gaps(intervals(*lengths) + intervals(1, 1, 1, worker="w-2"))
    assert "process w-1 has a gap of" in told


def test_intervals_that_are_missing_are_a_gap() -> None:
    (told,) = gaps(intervals(1, 1, 1, 1, hole_s=20))
    assert told == "the record of process w-1 has a gap of 21s"


def test_damaged_lines_are_counted_for_each_file() -> None:
    damaged = ["b:2: not this", "a:1: not that", "b:7: nor this"]
    assert left_out(damaged) == [
        "a: 1 damaged line left out (the first: 1: not that)",
        "b: 2 damaged lines left out (the first: 2: not this)",
    ]
