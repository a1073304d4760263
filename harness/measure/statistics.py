"""Percentiles of histograms with confidence intervals from order statistics.

A histogram is pairs (value, count); the value stands for everything in its bucket. The interval
needs no assumption about the distribution: the number of values below the true percentile is
binomial, so two order statistics enclose it with a known probability (e.g. H. A. David, H. N.
Nagaraja, Order Statistics, 2003, section 7.1). It assumes independent values; where answers come
in good and bad spells, compare by blocks of time instead (``harness.studies.compare.statistics``).
"""

from collections.abc import Iterable
from dataclasses import dataclass
from math import ceil, log

import numpy as np
from scipy.stats import binom

from harness.errors import ConfigError


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """A percentile with its interval; ``low`` or ``high`` is None where too few values bound it."""

    percent: float
    count: int
    figure: float | None
    low: float | None
    high: float | None
    confidence: float
    error_share: float | None = None
    """the figure's standard error as a share of it, where that is known"""

    @property
    def enough(self) -> bool:
        """Are there enough values for an interval on both sides?"""
        return self.low is not None and self.high is not None

    @property
    def note(self) -> str:
        """Empty, or what is missing."""
        if self.enough:
            return ""
        needed = values_needed(self.percent, self.confidence)
        return f"{self.count} values; an interval for p{self.percent:g} takes {needed}"


class Counts:
    """A histogram ready to be asked: values in rising order, how many of each."""

    __slots__ = ("_ends", "values")

    def __init__(self, buckets: Iterable[tuple[float, int]]) -> None:
        pairs = sorted((value, count) for value, count in buckets if count)
        if any(count < 0 for _, count in pairs):
            raise ConfigError("histogram: a bucket with a negative count")
        self.values = np.array([value for value, _ in pairs], dtype=float)
        self._ends = np.cumsum(np.array([count for _, count in pairs], dtype=np.int64))
        if not np.isfinite(self.values).all():
            raise ConfigError("histogram: a bucket that is not a number")

    @property
    def count(self) -> int:
        """How many values in all."""
        return int(self._ends[-1]) if self._ends.size else 0

    def ranked(self, rank: int) -> float:
        """The value of a rank, 1 for the smallest."""
        return float(self.values[np.searchsorted(self._ends, rank)])

    def percentile(self, percent: float) -> float | None:
        """The smallest value that ``percent`` of all don't exceed; None when empty."""
        if not self.count:
            return None
        return self.ranked(max(1, ceil(round(self.count * _share(percent), 9))))

    def estimate(self, percent: float, *, confidence: float = 0.95) -> Estimate:
        """The percentile with an interval that encloses the true one with ``confidence``."""
        share, count = _share(percent), self.count
        tail = (1.0 - _confidence(confidence)) / 2.0
        low = high = None
        if count:
            # P(fewer than `lower` values lie below the true percentile) <= tail, and likewise above
            lower = int(binom.ppf(tail, count, share))
            upper = int(binom.ppf(1.0 - tail, count, share)) + 1
            low = self.ranked(lower) if lower >= 1 else None
            high = self.ranked(upper) if upper <= count else None
        return Estimate(
            percent=percent,
            count=count,
            figure=self.percentile(percent),
            low=low,
            high=high,
            confidence=confidence,
        )


def values_needed(percent: float, confidence: float = 0.95) -> int:
    """How many independent values bound the percentile on both sides."""
    share = _share(percent)
    tail = (1.0 - _confidence(confidence)) / 2.0
    return ceil(log(tail) / log(max(share, 1.0 - share)))


def _share(percent: float) -> float:
    if not 0 < percent < 100:
        raise ConfigError(f"percentile: expected a number between 0 and 100, got {percent!r}")
    return percent / 100.0


def _confidence(confidence: float) -> float:
    if not 0.5 <= confidence < 1:
        raise ConfigError(f"confidence: expected 0.5 up to below 1, got {confidence!r}")
    return confidence
