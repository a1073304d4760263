"""Percentiles of a run cut into blocks of time, with intervals that bear its good and bad spells.

Neighbouring samples of a service resemble each other, so the uncertainty comes from resampling
whole blocks (block bootstrap; H. R. Künsch, 1989), widened where even blocks resemble neighbours.
"""

from collections.abc import Iterable, Sequence
from math import ceil, exp, log, sqrt

import numpy as np
from numpy.typing import NDArray
from scipy.stats import t

from harness.errors import ConfigError
from harness.measure.statistics import Estimate

Buckets = Iterable[tuple[float, int]]
"""A histogram: (value, count) pairs in any order."""

BLOCKS = 30
FEWEST_BLOCKS = 8
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
        if len(rows) > BLOCKS:
            edges = np.linspace(0, len(rows), BLOCKS + 1).astype(int)[:-1]
            rows = np.add.reduceat(rows, edges, axis=0)
        self._ends: NDArray[np.int64] = np.cumsum(rows, axis=1)
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
        share = percent / 100
        if not 0 < share < 1:
            raise ConfigError(f"percentile: expected a number between 0 and 100, got {percent!r}")
        needed = ceil(round(TAIL_VALUES / min(share, 1 - share), 6))
        if self.count < needed:
            return f"has {self.count} values; p{percent:g} takes {needed}"
        if len(self._ends) < FEWEST_BLOCKS:
            return f"has {len(self._ends)} intervals with values; it takes {FEWEST_BLOCKS}"
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
        totals = weights @ self._ends[:, [*range(first, last + 1), -1]]
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

    def estimate(self, percent: float, *, confidence: float = 0.95, seed: int = 0) -> Estimate:
        """The percentile with its interval; without one where something is missing."""
        figure = self.percentile(percent)
        low = high = error = None
        if figure is not None and not self.missing(percent):
            error = self.log_error(percent, np.random.default_rng(seed))
            reach = float(t.ppf(0.5 + confidence / 2, self.freedom)) * error
            low, high = exp(log(figure) - reach), exp(log(figure) + reach)
        return Estimate(
            percent=percent,
            count=self.count,
            figure=figure,
            low=low,
            high=high,
            confidence=confidence,
            error_share=error,
        )

    @staticmethod
    def _places(ends: NDArray[np.int64], percent: float) -> NDArray[np.intp]:
        """Column of the percentile in each row of running totals; the last column is the whole."""
        ranks = np.maximum(1, np.ceil(ends[:, -1] * (percent / 100) - 1e-9))
        found: NDArray[np.intp] = (ends >= ranks[:, None]).argmax(axis=1)
        return found


def _valid(buckets: Buckets) -> Iterable[tuple[float, int]]:
    for value, count in buckets:
        if count < 0 or not np.isfinite(value) or value <= 0:
            raise ConfigError(f"histogram: a bucket of {count} values at {value}")
        if count:
            yield value, count
