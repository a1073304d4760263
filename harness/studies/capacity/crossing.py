"""Where a curve that rises with the load meets its limit, read from several levels at once.

A level near the limit is rarely clear by itself, but some of them together tell well where the
curve crosses: a straight line through their readings, each weighed by its error, and the interval
of its zero (E. C. Fieller, 1954). What is read is chosen so that a line is fair. A time in a queue
grows as 1 / (capacity - load), so its inverse falls in a line; a share of errors rises by about the
same factor for each step, so its logarithm does.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite, log, sqrt

from harness.errors import ConfigError

BELOW, ABOVE = -1.0, 0.7
"""How far from the limit a reading may lie to tell about the crossing."""
BENT = 0.15
"""How much of its distance from the limit a reading may be off because no curve is a line."""
FEWEST = 3
WIDTHS = 2.24
"""Standard errors to each side: 97.5 % where a line is right; it is never quite right."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """A level's distance from the limit: negative below, zero at it; ``error`` is standard."""

    value: float
    error: float

    def __post_init__(self) -> None:
        if not (isfinite(self.value) and isfinite(self.error) and self.error > 0):
            raise ConfigError(f"capacity: a reading of {self.value!r} with error {self.error!r}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Crossing:
    """Where the limit is met, with its interval, in the unit of the loads."""

    low: float
    centre: float
    high: float

    @property
    def width(self) -> float:
        """How far apart the ends are, as a share."""
        return self.high / self.low - 1


def read_time(figure: float, limit: float, error_share: float) -> Reading:
    """From a percentile of a time and its standard error as a share of it."""
    left = limit / figure
    return Reading(value=1 - left, error=left * error_share)


def read_share(figure: float, limit: float, error_share: float) -> Reading:
    """From a share of errors above zero and its standard error as a share of it."""
    # A factor of four is as far as readings tell, as with times.
    return Reading(value=log(figure / limit) / log(4), error=error_share / log(4))


def find_crossing(levels: Sequence[tuple[float, Reading]]) -> Crossing | None:
    """``levels`` are (load, reading), all of them around the crossing.

    None where they do not bound it on both sides.
    """
    return _line([(rate, reading) for rate, reading in levels if is_near(reading)])


def is_near(reading: Reading) -> bool:
    """Whether a reading tells about the crossing."""
    return BELOW <= reading.value <= ABOVE


def _line(levels: Sequence[tuple[float, Reading]]) -> Crossing | None:
    if len(levels) < FEWEST:
        return None
    weights = [1 / (r.error**2 + (BENT * r.value) ** 2) for _, r in levels]
    whole = sum(weights)
    middle = sum(w * rate for w, (rate, _) in zip(weights, levels, strict=True)) / whole
    height = sum(w * r.value for w, (_, r) in zip(weights, levels, strict=True)) / whole
    spread = sum(w * (rate - middle) ** 2 for w, (rate, _) in zip(weights, levels, strict=True))
    if spread <= 0:
        return None
    slope = (
        sum(w * (rate - middle) * r.value for w, (rate, r) in zip(weights, levels, strict=True))
        / spread
    )
    if slope <= 0:
        return None
    off = sum(
        w * (r.value - height - slope * (rate - middle)) ** 2
        for w, (rate, r) in zip(weights, levels, strict=True)
    )
    # Where the points lie off the line by more than their errors, all is less certain.
    more = max(1.0, off / (len(levels) - 2))
    reach = WIDTHS**2 * more
    # Fieller: all d with (height + slope d)^2 <= reach (1 / whole + d^2 / spread).
    a = slope**2 - reach / spread
    if a <= 0:
        return None  # not even the slope is certain
    b, c = height * slope, height**2 - reach / whole
    root = sqrt(max(0.0, b * b - a * c))
    low, high = middle + (-b - root) / a, middle + (-b + root) / a
    centre = middle - height / slope
    if not 0 < low < high:
        return None
    return Crossing(low=low, centre=centre, high=high)
