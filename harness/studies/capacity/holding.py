"""How long a level of a capacity search is held, and which part of it is judged.

A level is evaluated after the shortest hold time, after twice that, and so on. A service that is
still adapting to the load (machines are added, a cache fills) improves meanwhile: the time before
the improvement is left out, and the level is held until it settles. No level is called missed
before the service has had that time. One that gets worse, such as a growing queue, is not called
met before it is steady.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from itertools import pairwise
from math import hypot, inf, log, sqrt
from statistics import NormalDist

from harness.errors import ConfigError
from harness.measure.statistics import Estimate, Share
from harness.studies.capacity.models import Reading, read_share, read_time

LEVEL_CONFIDENCE = 0.99
"""The confidence of the intervals of a level. It is this high because a search judges many levels,
and one wrong verdict spoils the search."""
MAX_ERROR_SHARE = 0.01
"""A level is missed if a larger share of one of the judged operations fails, even if no objective
limits it."""
SETTLE_FACTOR = 4
"""A missed level that is held again is held for this many times ``--settle``."""
CHANGE_ERRORS = 3.0
"""Two parts of a level count as different if they differ by this many standard errors. The test is
repeated at each look."""
SCATTER_PARTS = 4
"""The judged time of a level is cut into this many parts, which should differ only by chance."""


class Judged(StrEnum):
    """What a level showed."""

    OVER = "over"
    CLOSE = "close"
    UNDER = "under"
    TOO_FEW = "too few"
    """guests came for an interval: it proves nothing about the service"""
    INCONCLUSIVE = "inconclusive"


class ObjectiveState(StrEnum):
    """An objective at a level: by its interval, where there is one."""

    MET = "met"
    CLOSE = "close"
    MISSED = "missed"


def judge_level(
    objectives: Sequence[ObjectiveState],
    *,
    leftovers_growing: bool,
    generator_healthy: bool,
    held_back: bool,
    enough: bool = True,
) -> Judged:
    """A level's verdict in the order that keeps the generator's limit from being the service's.

    A missed objective or growing leftovers count even when the generator struggled: what it saw
    was bad enough. A good result does not count then, nor when the load that was asked for was
    ``held_back`` by anything of ours (arrivals dropped, guests missing). Without ``enough`` guests
    no figure has an interval, however good it looks.
    """
    if ObjectiveState.MISSED in objectives or leftovers_growing:
        return Judged.OVER
    if not generator_healthy or held_back or not objectives:
        return Judged.INCONCLUSIVE
    if ObjectiveState.CLOSE in objectives:
        return Judged.CLOSE if enough else Judged.TOO_FEW
    return Judged.UNDER


def state_of(estimate: Estimate | Share, limit: float, *, progress: float = 1.0) -> ObjectiveState:
    """An upper limit against a figure's interval; CLOSE where there is none.

    ``progress`` is how much of its longest time the level has been held, above 0 up to 1. Looking
    often finds by chance what one look would not, so early looks need the more distance from the
    limit (P. C. O'Brien, T. R. Fleming, 1979).
    """
    low, figure, high = estimate.low, estimate.figure, estimate.high
    if not 0 < progress <= 1:
        raise ConfigError(f"capacity: progress: expected a share above 0 up to 1, got {progress!r}")
    if low is None or figure is None or high is None:
        return ObjectiveState.CLOSE
    wider = 1 / sqrt(progress)
    if low > 0:  # a time: its error is a share of it
        low, high = figure * (low / figure) ** wider, figure * (high / figure) ** wider
    else:  # a share, of which next to nothing was seen
        low, high = 0.0, figure + (high - figure) * wider
    if low > limit:
        return ObjectiveState.MISSED
    return ObjectiveState.MET if high < limit else ObjectiveState.CLOSE


class Change(StrEnum):
    """What became of a level while it was held."""

    STEADY = "steady"
    BETTER = "better"
    WORSE = "worse"


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """How an objective stands in a part of a level.

    ``reading`` is how far it is from its limit, ``of_limit`` its figure and interval (low, figure,
    high) as shares of the limit; None where these can't be told.
    """

    state: ObjectiveState
    reading: Reading | None = None
    of_limit: tuple[float, float, float] | None = None

    @property
    def log_of_limit(self) -> tuple[float, float] | None:
        """The figure's logarithm and its standard error; None without an interval above nought."""
        if self.of_limit is None or not self.of_limit[0] > 0:
            return None
        low, figure, high = self.of_limit
        widths = 2 * NormalDist().inv_cdf(0.5 + LEVEL_CONFIDENCE / 2)
        return log(figure), log(high / low) / widths


Shows = Callable[[float, float, float], Mapping[str, Shown]]
"""(from, to, share of the longest time) → every objective in these judged seconds of a level"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Holding:
    """Judged seconds of a level: until the first look, at most, and before it may be missed."""

    hold_s: float
    longest_s: float
    settle_s: float = 0.0

    @property
    def whole_s(self) -> float:
        """How long a level goes on at most, what is left out at its beginning included."""
        return self.longest_s + self.settle_s

    def again_s(self, held_s: float, judged: Judged) -> float:
        """How long a level is held again, at least: as long as it was; or long enough to settle,
        had it been given up too early."""
        if judged is Judged.OVER:
            held_s = max(held_s, SETTLE_FACTOR * self.settle_s)
        return min(held_s, self.whole_s)


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What a level shows by now, from when on it counts, and when to look again."""

    begin_s: float
    change: Change
    next_s: float | None
    """None: it has been held for long enough, or for as long as it may be"""
    clear: bool
    """by itself, whatever the other levels say"""
    reading: Reading | None
    """how far the objective that is nearest to breaking is from its limit"""


def show_figure(estimate: Estimate | Share, limit: float, progress: float) -> Shown:
    """A percentile of a time, or a share of outcomes; ``progress`` as in :func:`state_of`."""
    read = read_time if isinstance(estimate, Estimate) else read_share
    low, figure, high = estimate.low, estimate.figure, estimate.high
    of_limit = reading = None
    if figure is not None and limit:
        if low is not None and high is not None:
            of_limit = (low / limit, figure / limit, high / limit)
        if estimate.error_share:
            # What was stopped early was stopped because of what it showed: it counts for less.
            reading = read(figure, limit, estimate.error_share / progress**0.5)
    stands = state_of(estimate, limit, progress=progress)
    return Shown(state=stands, reading=reading, of_limit=of_limit)


def show_errors(share: Share, progress: float) -> Shown | None:
    """The errors of an operation that no objective limits; None where there are none.

    That they are certainly few was not asked of the search: at the longest it is enough that they
    are not certainly too many.
    """
    if not share.figure:
        return None
    shown = show_figure(share, MAX_ERROR_SHARE, progress)
    if shown.state is ObjectiveState.CLOSE and share.figure <= MAX_ERROR_SHARE and progress >= 1:
        return replace(shown, state=ObjectiveState.MET)
    return shown


def nearest(shown: Mapping[str, Shown]) -> Reading | None:
    """The reading of the objective that is nearest to its limit, or furthest beyond it."""
    readings = [one.reading for one in shown.values() if one.reading is not None]
    return max(readings, key=lambda reading: reading.value, default=None)


def change_between(before: Mapping[str, Shown], after: Mapping[str, Shown]) -> Change:
    """Whether two parts of one level differ by more than chance. If some objectives got worse and
    others better, the answer is that it got worse."""
    changes = set()
    for name in before.keys() & after.keys():
        first, then = before[name], after[name]
        one, other = first.log_of_limit, then.log_of_limit
        if one is not None and other is not None:
            moved = other[0] - one[0]
            if abs(moved) > CHANGE_ERRORS * hypot(one[1], other[1]):
                changes.add(Change.BETTER if moved < 0 else Change.WORSE)
        elif {first.state, then.state} == {ObjectiveState.MET, ObjectiveState.MISSED}:
            changes.add(Change.BETTER if then.state is ObjectiveState.MET else Change.WORSE)
    return next((one for one in (Change.WORSE, Change.BETTER) if one in changes), Change.STEADY)


def change_in(shows: Shows, begin_s: float, end_s: float) -> Change:
    """Whether the service was different in the second half of these seconds."""
    middle_s = (begin_s + end_s) / 2
    return change_between(shows(begin_s, middle_s, 1.0), shows(middle_s, end_s, 1.0))


def scatter(shows: Shows, begin_s: float, end_s: float) -> tuple[float, int]:
    """How much the parts of a level scatter: squared standard errors, and degrees of freedom.

    By the objective that is nearest to breaking; (0, 0) where the parts have no intervals.
    """
    edges = [
        begin_s + (end_s - begin_s) * part / SCATTER_PARTS for part in range(SCATTER_PARTS + 1)
    ]
    parts = [shows(*ends, 1.0) for ends in pairwise(edges)]
    logs = [
        [one.log_of_limit for part in parts if (one := part.get(name)) and one.log_of_limit]
        for name in set().union(*parts)
    ]
    best = (-inf, 0.0, 0)
    for values in logs:
        weighed = [(log_, 1 / error**2) for log_, error in values if error]
        if len(weighed) > 1:
            whole = sum(weight for _, weight in weighed)
            mean = sum(log_ * weight for log_, weight in weighed) / whole
            off = sum(weight * (log_ - mean) ** 2 for log_, weight in weighed)
            best = max(best, (mean, off, len(weighed) - 1))
    return best[1:]


def look(
    holding: Holding,
    shows: Shows,
    begin_s: float,
    end_s: float,
    *,
    least_s: float = 0.0,
    suffices: Callable[[Reading], bool] = lambda _: False,
) -> Look:
    """A look at a level from ``begin_s``, before which it doesn't count, until ``end_s``.

    It is held until it is clear, or its reading ``suffices`` for the search as a whole, but no less
    than ``least_s``.
    """
    shown = shows(begin_s, end_s, min(1.0, (end_s - begin_s) / holding.longest_s))
    kinds = {one.state for one in shown.values()}
    missed, met = ObjectiveState.MISSED in kinds, kinds == {ObjectiveState.MET}
    change, clear = Change.STEADY, False
    if not missed or end_s >= holding.settle_s:
        change = change_in(shows, begin_s, end_s)
        if missed and change is not Change.BETTER:  # what has piled up hides that it turned
            change = change_in(shows, (begin_s + end_s) / 2, end_s)
        clear = change is not Change.BETTER if missed else met and change is not Change.WORSE
    reading = nearest(shown)
    enough = clear
    if not missed and not clear and change is Change.STEADY and reading is not None:
        enough = suffices(reading)
    if change is Change.BETTER and not clear:
        begin_s = (begin_s + end_s) / 2
    last_s = min(max(begin_s + holding.longest_s, holding.settle_s), holding.whole_s)
    enough = enough and end_s - begin_s >= least_s
    next_s = end_s * 2
    if end_s < holding.settle_s < next_s:
        next_s = holding.settle_s
    return Look(
        begin_s=begin_s,
        change=change,
        next_s=None if enough or end_s >= last_s else min(next_s, last_s),
        clear=clear,
        reading=reading,
    )
