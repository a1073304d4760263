"""The confidence bounds of a share or percentile of a number of samples: exact, quick to import.

Bounds are one-sided at :data:`CONFIDENCE`: with 0 errors of 100 the true share is below 3.0 %, with
an error probability of one in twenty. Those of a share are exact (C. J. Clopper, E. S. Pearson,
1934).
A percentile lies below a limit exactly if the share of slower samples is small enough, so its
bounds are those of a share too: two order statistics (H. A. David, H. N. Nagaraja, Order
Statistics, 2003, section 7.1). All of this assumes independent samples; if good and bad periods
alternate, the true bounds are wider.
"""

from bisect import bisect_left
from collections.abc import Callable
from math import ceil, exp, lgamma, log, log1p

CONFIDENCE = 0.95
FEWEST_OF_A_SHARE = 10
"""With fewer samples a share means nothing."""
MOST_SAMPLES = 10**9
"""If more samples than this are needed, their number is not computed."""


def samples_needed(percent: float) -> int:
    """Samples below which a percentile would only be the slowest of them (p95: 20)."""
    return ceil(round(100 / (100 - percent), 6))


def share_bounds(hits: int, whole: int) -> tuple[float, float]:
    """Lower and upper bound of the true share of ``hits`` among ``whole``, each at the
    confidence."""
    low = 0.0 if hits <= 0 else _root(lambda p: at_most(hits - 1, whole, p) - CONFIDENCE)
    high = 1.0 if hits >= whole else _root(lambda p: at_most(hits, whole, p) - (1 - CONFIDENCE))
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
