"""Is the record of a run whole? Sentences for what is missing in it.

Each process writes what it has measured once an interval, from its first second to its last. Where
an interval is missing, or one stands for a much longer time than it should, nobody looked after
the run meanwhile: what was measured then is not known, or known too coarsely to be judged.
"""

from collections.abc import Iterable, Sequence
from itertools import groupby

from harness.measure.snapshot import Interval, interval_s
from harness.units import duration_text

SPARE_S = 5.0
TIMES = 3
"""An interval may be so much longer than it should: a busy machine is no gap."""


def gaps(intervals: Iterable[Interval]) -> list[str]:
    """One sentence for each process whose intervals leave a gap, with the longest of them."""
    found = []
    by_worker = sorted(intervals, key=lambda one: (one.worker, one.ended_s))
    for worker, group in groupby(by_worker, key=lambda one: one.worker):
        longest_s = _longest_s(list(group))
        if longest_s:
            text = duration_text(round(longest_s))
            found.append(f"the record of process {worker} has a gap of {text}")
    return found


def _longest_s(intervals: Sequence[Interval]) -> float:
    """Of the gaps of one process; 0 when there is none."""
    began_s = intervals[0].ended_s - intervals[0].length_s
    before_s, longest_s = began_s, 0.0
    for one in intervals:
        allowed_s = TIMES * interval_s(before_s - began_s) + SPARE_S
        # By the ends, so that a hole and an interval that is too long are the same thing.
        step_s = one.ended_s - before_s
        if step_s > allowed_s:
            longest_s = max(longest_s, step_s)
        before_s = one.ended_s
    return longest_s


def left_out(damaged: Sequence[str]) -> list[str]:
    """What to say of lines that could not be read, each given as ``FILE:LINE: why``."""
    files: dict[str, list[str]] = {}
    for text in damaged:
        files.setdefault(text.partition(":")[0], []).append(text)
    return [
        f"{name}: {len(texts)} damaged line{'' if len(texts) == 1 else 's'} left out "
        f"(the first: {texts[0].partition(':')[2]})"
        for name, texts in sorted(files.items())
    ]
