"""The times of a run in blocks of time, as the comparison of runs takes them."""

from collections.abc import Sequence
from pathlib import Path

from harness.measure.counted import Counted
from harness.measure.model import Outcome
from harness.measure.snapshot import HISTOGRAMS, INTERVALS, read_intervals
from harness.rundir.intervals import MOST_BLOCKS, BinnedTimes, empty_series, read_span

Buckets = Sequence[tuple[float, int]]
"""(milliseconds, count) of a histogram."""


def read_blocks(run_dir: Path) -> dict[str, list[Buckets]]:
    """Per tag the histogram of each block in which it has values, in order of time.

    All processes are merged. Empty where nothing was recorded. Damaged lines are left out.
    """
    paths = sorted(run_dir.glob(INTERVALS.format(worker="*")))
    span = read_span(paths)
    if span is None:
        return {}
    found: dict[str, list[Buckets]] = {}

    def keep(tag: str, part: Counted, _at_s: float) -> None:
        found.setdefault(tag, []).append(
            [(value_us / 1000, count) for value_us, count in part.buckets_us()]
        )

    [series] = empty_series(span, paths, (MOST_BLOCKS,))
    BinnedTimes(series, keep).read(sorted(run_dir.glob(HISTOGRAMS.format(worker="*"))))
    return found


def read_error_blocks(run_dir: Path) -> dict[str, list[tuple[int, int]]]:
    """Per operation (did not end well, all) of each block in which it ended, in order of time.

    All processes are merged.
    """
    paths = sorted(run_dir.glob(INTERVALS.format(worker="*")))
    span = read_span(paths)
    if span is None:
        return {}
    [series] = empty_series(span, paths, (MOST_BLOCKS,))
    found: dict[str, list[list[int]]] = {}
    for path in paths:
        for interval in read_intervals(path):
            place = series.bin_of(interval.ended_s - interval.length_s / 2)
            for operation, outcomes in interval.outcomes.items():
                blocks = found.setdefault(operation, [[0, 0] for _ in range(len(series))])
                whole = sum(outcomes.values())
                blocks[place][0] += whole - outcomes.get(Outcome.OK, 0)
                blocks[place][1] += whole
    return {
        operation: [(bad, whole) for bad, whole in blocks if whole]
        for operation, blocks in found.items()
    }
