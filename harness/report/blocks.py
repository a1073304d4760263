"""The times of a run in blocks of time, as the comparison of runs takes them."""

from collections.abc import Sequence
from pathlib import Path

from harness.measure.counted import Counted
from harness.measure.snapshot import HISTOGRAMS, INTERVALS
from harness.report.series import MOST_BLOCKS, BinnedTimes, empty_series, read_span

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
