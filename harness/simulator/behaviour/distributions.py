"""Named distributions of service times: ``50ms``, ``exponential:50ms``, ``lognormal:50ms,0.5``.

The number after the name is the mean, so that queueing theory can be applied to what was asked for.
The second number of ``lognormal`` is the coefficient of variation (standard deviation divided by
mean). ``bimodal:50ms,1s,0.001`` has no one middle: it takes the first time, or with the given
probability the second.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from harness.errors import ConfigError
from harness.units import duration_text, seconds

NAMES = ("constant", "exponential", "lognormal", "uniform", "bimodal")


@dataclass(frozen=True, slots=True)
class Distribution:
    """A service time: its shape, mean in seconds, and coefficient of variation."""

    name: str
    mean_s: float
    variation: float
    modes: tuple[float, float, float] | None = None
    """Of ``bimodal``: both times in seconds and the probability of the second."""

    def sampler(self, source: Random) -> Callable[[], float]:
        """A function that draws one service time in seconds."""
        mean = self.mean_s
        if self.name == "constant" or mean == 0:
            return lambda: mean
        if self.name == "exponential":
            return lambda: source.expovariate(1 / mean)
        if self.name == "uniform":
            return lambda: source.uniform(0, 2 * mean)
        if self.modes is not None:
            usual, seldom, share = self.modes
            return lambda: seldom if source.random() < share else usual
        sigma = math.sqrt(math.log1p(self.variation**2))
        mu = math.log(mean) - sigma * sigma / 2
        return lambda: source.lognormvariate(mu, sigma)

    def __str__(self) -> str:
        if self.modes is not None:
            usual, seldom, share = self.modes
            return f"bimodal:{duration_text(usual)},{duration_text(seldom)},{share!r}"
        tail = f",{self.variation:g}" if self.name == "lognormal" else ""
        return f"{self.name}:{duration_text(self.mean_s)}{tail}"


def read_distribution(text: str, what: str) -> Distribution:
    """What the user wrote; a bare duration is constant. Raises ConfigError naming ``what``."""
    name, colon, rest = text.strip().partition(":")
    if not colon:
        return Distribution("constant", seconds(text, what), 0.0)
    if name not in NAMES:
        raise ConfigError(f"{what}: {name!r} is not one of {', '.join(NAMES)}")
    if name == "bimodal":
        return _bimodal(rest, text, what)
    mean_text, comma, variation_text = rest.partition(",")
    mean = seconds(mean_text, what)
    if name != "lognormal":
        if comma:
            raise ConfigError(f"{what}: {name} takes one number, its mean, got {text!r}")
        spread = {"constant": 0.0, "exponential": 1.0, "uniform": 1 / math.sqrt(3)}[name]
        return Distribution(name, mean, spread)
    try:
        variation = float(variation_text) if comma else 1.0
    except ValueError:
        variation = -1.0
    if not 0 < variation < 100:
        raise ConfigError(f"{what}: expected lognormal:MEAN,VARIATION, got {text!r}")
    return Distribution(name, mean, variation)


def _bimodal(rest: str, text: str, what: str) -> Distribution:
    parts = rest.split(",")
    try:
        share = float(parts[2])
    except (IndexError, ValueError):
        share = -1.0
    if len(parts) != 3 or not 0 < share < 1:
        raise ConfigError(f"{what}: expected bimodal:TIME,TIME,PROBABILITY, got {text!r}")
    usual, seldom = seconds(parts[0], what), seconds(parts[1], what)
    mean = usual + share * (seldom - usual)
    spread = abs(seldom - usual) * math.sqrt(share * (1 - share))
    variation = spread / mean if mean else 0.0
    return Distribution("bimodal", mean, variation, (usual, seldom, share))
