"""The share of bad outcomes with an interval that bears bad spells.

Two intervals, of which the wider counts: the exact one for independent outcomes (C. J. Clopper,
E. S. Pearson, 1934), and the one from how much blocks of time differ (the ratio estimator; W. G.
Cochran, Sampling Techniques, 1977, section 6.3), because errors come in clusters.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt
from statistics import NormalDist

import numpy as np
from scipy.stats import beta, t

from harness.errors import ConfigError

BLOCKS = 30
FEWEST_BLOCKS = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """A share, 0 to 1, with its interval; all None where nothing was counted."""

    count: int
    figure: float | None
    low: float | None
    high: float | None
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

    @property
    def enough(self) -> bool:
        """Is there an interval?"""
        return self.low is not None and self.high is not None


def estimate_share(blocks: Sequence[tuple[int, int]], *, confidence: float = 0.95) -> Share:
    """``blocks`` are (bad, all) of stretches of time, in order. Raises ConfigError for nonsense."""
    if any(not 0 <= bad <= whole for bad, whole in blocks):
        raise ConfigError("share: expected counts of bad outcomes among all")
    if not 0.5 <= confidence < 1:
        raise ConfigError(f"confidence: expected 0.5 up to below 1, got {confidence!r}")
    rows = np.array([block for block in blocks if block[1]], dtype=float)
    if not len(rows):
        return Share(count=0, figure=None, low=None, high=None, confidence=confidence)
    bad, whole = map(float, rows.sum(axis=0))
    figure = float(bad / whole)
    tail = (1 - confidence) / 2
    low = float(beta.ppf(tail, bad, whole - bad + 1)) if bad else 0.0
    high = float(beta.ppf(1 - tail, bad + 1, whole - bad)) if bad < whole else 1.0
    if len(rows) > BLOCKS:
        edges = np.linspace(0, len(rows), BLOCKS + 1).astype(int)[:-1]
        rows = np.add.reduceat(rows, edges, axis=0)
    many = len(rows)
    reach = 0.0
    if many >= FEWEST_BLOCKS:
        rest = rows[:, 0] - figure * rows[:, 1]
        error = sqrt(many / (many - 1) * float((rest**2).sum())) / whole
        reach = float(t.ppf(1 - tail, many - 1)) * error
        low, high = min(low, max(0.0, figure - reach)), max(high, min(1.0, figure + reach))
    return Share(
        count=int(whole),
        figure=figure,
        low=low,
        high=high,
        confidence=confidence,
        spells_reach=reach,
    )
