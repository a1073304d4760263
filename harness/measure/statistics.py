"""How well a share or a percentile is known: its bounds, from what was counted or timed.

The exact bounds (:func:`share_bounds`, :func:`rank_bounds`) assume independent samples
and need no scipy. Those of a share are by C. J. Clopper and E. S. Pearson (1934): with 0 errors of
100 the true share is below 3.0 %, with an error probability of one in twenty. A percentile lies
below a limit exactly if the share of slower samples is small enough, so its bounds are those of a
share too: two order statistics (H. A. David, H. N. Nagaraja, Order Statistics, 2003, section 7.1).

The samples of a service are not independent: errors come in clusters, and neighbours resemble each
other. So the intervals of a long run (:func:`estimate_share`, :class:`Blocks`) also bear its good
and bad spells. That of a share is the wider of the exact one and the one from how much blocks of
time differ (the ratio estimator; W. G. Cochran, Sampling Techniques, 1977, section 6.3). That of a
percentile comes from resampling whole blocks (block bootstrap; H. R. Künsch, 1989), widened where
even blocks resemble neighbours.
"""

from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from math import ceil, exp, inf, lgamma, log, log1p, sqrt
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.errors import ConfigError

CONFIDENCE = 0.95
"""Of each of the exact bounds, by itself."""
FEWEST_OF_A_SHARE = 10
"""With fewer samples a share means nothing."""
MOST_SAMPLES = 10**9
"""If more samples than this are needed, their number is not computed."""


def samples_needed(percent: float) -> int:
    """Samples below which a percentile would only be the slowest of them (p95: 20)."""
    return ceil(round(100 / (100 - percent), 6))


def share_bounds(hits: int, whole: int, *, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """Lower and upper bound of the true share of ``hits`` among ``whole``, each at the
    confidence."""
    low = 0.0 if hits <= 0 else _root(lambda p: at_most(hits - 1, whole, p) - confidence)
    high = 1.0 if hits >= whole else _root(lambda p: at_most(hits, whole, p) - (1 - confidence))
    return low, high


def rank_bounds(percent: float, whole: int) -> tuple[int | None, int | None]:
    """Ranks (1 is the lowest) of the samples between which the true percentile lies.

    None if there are too few samples for a bound on that side.
    """
    share = percent / 100
    low = _first(lambda rank: 1 - at_most(rank - 1, whole, share) < CONFIDENCE, 1, whole + 1) - 1
    high = _first(lambda rank: at_most(rank - 1, whole, share) >= CONFIDENCE, 1, whole + 1)
    return low or None, high if high <= whole else None


def samples_to_decide(hits: int, whole: int, limit: float, *, below: bool) -> int | None:
    """How many more samples would show that a share is below ``limit`` (or above it), if the share
    does not change.

    None if it is on the other side, or too near to the limit.
    """
    possible = hits < limit * whole if below else hits > limit * whole
    if not possible or not whole:
        return None

    def enough(many: int) -> bool:
        low, high = share_bounds(round(hits / whole * many), many)
        return high < limit if below else low > limit

    most = whole
    while not enough(most):
        most *= 2
        if most > MOST_SAMPLES:
            return None
    return max(0, _first(enough, whole, most) - whole)


def at_most(hits: int, whole: int, share: float) -> float:
    """The probability of at most so many hits in ``whole`` independent samples."""
    if hits < 0:
        return 0.0
    if hits >= whole or share <= 0:
        return 1.0
    if share >= 1:
        return 0.0
    return _beta(whole - hits, hits + 1, 1 - share)


def _first(holds: Callable[[int], bool], low: int, high: int) -> int:
    """The first number from ``low`` on for which ``holds`` is true (from there on), or ``high``."""
    return low + bisect_left(range(low, high), True, key=holds)


def _root(falling: Callable[[float], float]) -> float:
    """Where a falling function of a share crosses zero."""
    low, high = 0.0, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        if falling(middle) > 0:
            low = middle
        else:
            high = middle
    return (low + high) / 2


def _beta(a: float, b: float, x: float) -> float:
    """The regularized incomplete beta function, by its continued fraction (W. H. Press et al.,
    Numerical Recipes, 2007, section 6.4, evaluated as by W. J. Lentz, 1976)."""
    front = exp(lgamma(a + b) - lgamma(a) - lgamma(b) + a * log(x) + b * log1p(-x))
    if x > (a + 1) / (a + b + 2):
        return 1 - front * _fraction(b, a, 1 - x) / b
    return front * _fraction(a, b, x) / a


def _fraction(a: float, b: float, x: float) -> float:
    tiny = 1e-300
    c, d = 1.0, 1 - (a + b) * x / (a + 1)
    d = 1 / (d or tiny)
    value = d
    for m in range(1, 100_000):
        even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        for term in (even, odd):
            d, c = 1 / ((1 + term * d) or tiny), (1 + term / c) or tiny
            value *= d * c
        if abs(d * c - 1) < 1e-14:
            break
    return value


def check_percent(percent: float) -> None:
    """Raises ConfigError for a percentile that there is not."""
    if not 0 < percent < 100:
        raise ConfigError(f"percentile: expected a number between 0 and 100, got {percent!r}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounded:
    """A figure with its interval; ``low`` or ``high`` is None where too few values bound it."""

    figure: float | None
    low: float | None
    high: float | None

    @property
    def enough(self) -> bool:
        """Are there enough values for an interval on both sides?"""
        return self.low is not None and self.high is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate(Bounded):
    """A percentile with its interval."""

    error_share: float | None = None
    """the figure's standard error as a share of it, where that is known"""


def student_quantile(below: float, freedom: float) -> float:
    """The value that Student's t stays below with this probability; the normal's at freedom inf."""
    from scipy.special import ndtri, stdtrit  # here, because that takes 0.2 s

    return float(ndtri(below) if freedom == inf else stdtrit(freedom, below))


BLOCKS = 30
FEWEST_BLOCKS = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Share(Bounded):
    """A share, 0 to 1, with its interval; all None where nothing was counted."""

    confidence: float
    spells_reach: float = 0.0
    """how far the interval from the blocks reaches to each side; 0 of too few blocks"""

    @property
    def error_share(self) -> float | None:
        """The share's standard error as a share of it; None where nothing bad was seen."""
        if not self.figure or self.low is None or self.high is None:
            return None
        widths = 2 * NormalDist().inv_cdf(0.5 + self.confidence / 2)
        return (self.high - self.low) / widths / self.figure


def estimate_share(blocks: Sequence[tuple[int, int]], *, confidence: float = 0.95) -> Share:
    """``blocks`` are (bad, all) of stretches of time, in order. Raises ConfigError for nonsense."""
    if any(not 0 <= bad <= whole for bad, whole in blocks):
        raise ConfigError("share: expected counts of bad outcomes among all")
    if not 0.5 <= confidence < 1:
        raise ConfigError(f"confidence: expected 0.5 up to below 1, got {confidence!r}")
    tail = (1 - confidence) / 2  # what an interval leaves out on each side
    rows = np.array([block for block in blocks if block[1]], dtype=float)
    if not len(rows):
        return Share(figure=None, low=None, high=None, confidence=confidence)
    bad, whole = map(int, rows.sum(axis=0))
    figure = bad / whole
    low, high = share_bounds(bad, whole, confidence=1 - tail)
    rows = _in_blocks(rows)
    many = len(rows)
    reach = 0.0
    if many >= FEWEST_BLOCKS:
        rest = rows[:, 0] - figure * rows[:, 1]
        error = sqrt(many / (many - 1) * float((rest**2).sum())) / whole
        reach = student_quantile(1 - tail, many - 1) * error
        low, high = min(low, max(0.0, figure - reach)), max(high, min(1.0, figure + reach))
    return Share(figure=figure, low=low, high=high, confidence=confidence, spells_reach=reach)


def _in_blocks(rows: NDArray[Any]) -> NDArray[Any]:
    """Rows of counts, neighbours added where there are more than :data:`BLOCKS`."""
    if len(rows) <= BLOCKS:
        return rows
    edges = np.linspace(0, len(rows), BLOCKS + 1).astype(int)[:-1]
    return np.asarray(np.add.reduceat(rows, edges, axis=0))


Buckets = Iterable[tuple[float, int]]
"""A histogram: (value, count) pairs in any order."""

REPLICATES = 400
# So many values have to lie above a percentile for its bootstrap to mean anything.
TAIL_VALUES = 10
# A histogram's own resolution; no percentile is known better.
RESOLUTION = 0.0005


class Blocks:
    """A run as counts, one row per block. Intervals without values are no blocks of their own."""

    def __init__(self, intervals: Sequence[Buckets]) -> None:
        """One histogram per interval of time, in order; values are positive times."""
        sides = [dict(_valid(buckets)) for buckets in intervals]
        values = sorted({value for side in sides for value in side})
        place = {value: i for i, value in enumerate(values)}
        rows = np.zeros((len(sides), len(values)), dtype=np.int64)
        for row, side in zip(rows, sides, strict=True):
            for value, count in side.items():
                row[place[value]] = count
        rows = np.compress(rows.sum(axis=1) > 0, rows, axis=0)
        self._ends: NDArray[np.int64] = np.cumsum(_in_blocks(rows), axis=1)
        self._values = np.array(values, dtype=float)

    @property
    def count(self) -> int:
        """How many values in all."""
        return int(self._ends[:, -1].sum()) if self._ends.size else 0

    @property
    def freedom(self) -> int:
        """Degrees of freedom of an error taken from the blocks."""
        return len(self._ends) - 1

    def missing(self, percent: float) -> str:
        """Empty, or what is missing for an interval of this percentile."""
        check_percent(percent)
        share = percent / 100
        needed = ceil(round(TAIL_VALUES / min(share, 1 - share), 6))
        if self.count < needed:
            return f"has {self.count} values; p{percent:g} needs {needed}"
        if len(self._ends) < FEWEST_BLOCKS:
            return f"has {len(self._ends)} intervals with values; it needs {FEWEST_BLOCKS}"
        return ""

    def percentile(self, percent: float) -> float | None:
        """The smallest value that ``percent`` of all don't exceed; None when empty."""
        if not self.count:
            return None
        return float(self._values[self._places(self._ends.sum(axis=0)[None, :], percent)[0]])

    def log_error(self, percent: float, rng: np.random.Generator) -> float:
        """Standard error of the logarithm of a percentile for which nothing is missing."""
        many = len(self._ends)
        weights = rng.multinomial(many, np.full(many, 1 / many), size=REPLICATES)
        # The percentile of any mixture of blocks lies among the blocks' own: no more is needed.
        own = self._places(self._ends, percent)
        first, last = int(own.min()), int(own.max())
        # Whole numbers as floats: exact so far below 2**53, and a fraction of the time.
        totals = weights.astype(float) @ self._ends[:, [*range(first, last + 1), -1]]
        drawn = np.log(self._values[first + self._places(totals, percent)])
        error = float(drawn.std(ddof=1)) * sqrt(many / (many - 1))
        # Blocks that still resemble their neighbours say less than independent ones would.
        level = np.log(self._values[self._places(self._ends, 50.0)])
        level = level - level.mean()
        power = float((level * level).sum())
        alike = float((level[1:] * level[:-1]).sum()) / power if power > 0 else 0.0
        if alike > 0:  # freed of what taking out the mean costs (M. G. Kendall, 1954)
            alike = min(alike + (1 + 4 * alike) / many, 0.9)
        alike = max(alike, 0.0)
        return sqrt(error**2 * (1 + alike) / (1 - alike) + RESOLUTION**2 / 2)

    def estimate(self, percent: float, *, confidence: float = 0.95) -> Estimate:
        """The percentile with its interval; without one where something is missing."""
        figure = self.percentile(percent)
        low = high = error = None
        if figure is not None and not self.missing(percent):
            error = self.log_error(percent, np.random.default_rng(0))
            reach = student_quantile(0.5 + confidence / 2, self.freedom) * error
            low, high = exp(log(figure) - reach), exp(log(figure) + reach)
        return Estimate(figure=figure, low=low, high=high, error_share=error)

    @staticmethod
    def _places(ends: NDArray[np.int64 | np.float64], percent: float) -> NDArray[np.intp]:
        """Column of the percentile in each row of running totals; the last column is the whole."""
        ranks = np.maximum(1, np.ceil(ends[:, -1] * (percent / 100) - 1e-9))
        columns: NDArray[np.intp] = (ends >= ranks[:, None]).argmax(axis=1)
        return columns


def _valid(buckets: Buckets) -> Iterable[tuple[float, int]]:
    for value, count in buckets:
        if count < 0 or not 0 < value < inf:  # nor is it a NaN
            raise ConfigError(f"histogram: a bucket of {count} values at {value}")
        if count:
            yield value, count
