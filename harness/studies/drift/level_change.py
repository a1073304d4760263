"""Did a figure change its level at one moment? A single change point, with its chance.

The change is the one that leaves the least absolute deviation from the medians before and after it
(J. Bai, 1995), so a few wild minutes don't decide. The statistic is by how much that is less than
the deviation from one median, largest over all moments (a supremum as in D. W. K. Andrews, 1993).
Its distribution without a change comes from simulated noise whose neighbours are as alike as those
of the figure.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

SIMULATED = 10_000
SHORTEST_AFTER = 3
"""Points after a change, at least: of 64, the last twentieth of a run."""
SHORTEST_BEFORE_SHARE = 0.1
LAST_SHARE = 0.1
GRID = 0.05
"""The likeness of neighbours is rounded up to this, so that simulations can be used again."""
HIGHEST_ALIKE = 0.99
SEED = 20_261_128


@dataclass(frozen=True, slots=True, kw_only=True)
class LevelChange:
    """The best single change of level and the chance to see one so clear in mere noise.

    ``place`` is the first point after it, ``before`` and ``after`` are the levels, ``left`` is the
    mean distance of the points from them. ``chance`` is that of the whole search; ``chance_last``
    that of the last tenth against the rest alone.
    """

    place: int
    before: float
    after: float
    left: float
    chance: float
    chance_last: float


def best_change(figures: Floats) -> tuple[int, Floats]:
    """First point after the best change of level, and what is left of the figures without it."""
    place = int(np.argmin(_deviations(figures[None, :])[0])) + _first(figures.size)
    rest = figures.copy()
    rest[:place] -= np.median(figures[:place])
    rest[place:] -= np.median(figures[place:])
    return place, rest


def level_change(figures: Floats, alike: float) -> LevelChange:
    """The best change of level in figures whose neighbours are ``alike`` (0 to below 1)."""
    size = figures.size
    place, rest = best_change(figures)
    (best,), (last,) = _statistics(figures[None, :])
    searched, fixed = _noise(size, min(HIGHEST_ALIKE, float(np.ceil(alike / GRID) * GRID)))
    return LevelChange(
        place=place,
        before=float(np.median(figures[:place])),
        after=float(np.median(figures[place:])),
        left=float(np.abs(rest).mean()),
        chance=_chance(searched, best),
        chance_last=_chance(fixed, last),
    )


def _first(size: int) -> int:
    return max(SHORTEST_AFTER, round(size * SHORTEST_BEFORE_SHARE))


def _last(size: int) -> int:
    return size - max(SHORTEST_AFTER, round(size * LAST_SHARE))


def _deviations(rows: Floats) -> Floats:
    """For each row and each place of a change, the absolute deviation from both medians."""
    size = rows.shape[1]
    found: Floats = np.column_stack(
        [
            _deviation(rows[:, :place]) + _deviation(rows[:, place:])
            for place in range(_first(size), size - SHORTEST_AFTER + 1)
        ]
    )
    return found


def _deviation(rows: Floats) -> Floats:
    total: Floats = np.abs(rows - np.median(rows, axis=1, keepdims=True)).sum(axis=1)
    return total


def _statistics(rows: Floats) -> tuple[Floats, Floats]:
    """By how much less is left with a change: at the best place, and at the last tenth."""
    size = rows.shape[1]
    whole, parts = _deviation(rows), _deviations(rows)
    with np.errstate(divide="ignore", invalid="ignore"):
        gains = (whole[:, None] - parts) / parts
    gains = np.where(whole[:, None] > 0, gains, 0.0)  # one level all the time
    return gains.max(axis=1), gains[:, _last(size) - _first(size)]


@lru_cache(maxsize=64)
def _noise(size: int, alike: float) -> tuple[Floats, Floats]:
    """The statistics of noise without a change, sorted: searched for, and of the last tenth."""
    rng = np.random.default_rng(SEED)
    apart = np.abs(np.subtract.outer(np.arange(size), np.arange(size)))
    mixing = np.linalg.cholesky(alike**apart + 1e-12 * np.eye(size))
    searched, fixed = _statistics(rng.normal(size=(SIMULATED, size)) @ mixing.T)
    return np.sort(searched), np.sort(fixed)


def _chance(noise: Floats, figure: float) -> float:
    """How often noise comes to the figure; never called impossible."""
    above = noise.size - int(np.searchsorted(noise, figure))
    return (above + 1) / (noise.size + 1)
