"""Think times: how long a guest waits before speaking, drawn from a seeded generator.

Each is a callable ``(rng) -> seconds``. Written forms, as scripts and options give them::

    6s                              always six seconds
    uniform(4s, 12s)                any time between, all as likely
    lognormal(6s, p95=20s)          median six seconds, one in twenty above twenty
    lognormal(6s, sigma=0.7)        the same family by its shape
    lognormal(6s, p95=20s, max=1m)  and never above a minute
    data(2.1s, 3.4s, 9s)            one of the measured times, all as likely

People's pauses are skewed to the right, which is why lognormal is the one to take without data.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import exp, fsum, isfinite, log
from random import Random
from statistics import NormalDist
from typing import Protocol

from harness.errors import ConfigError
from harness.units import duration_text, seconds

Duration = str | float | int

_CALL = re.compile(r"(\w+)\s*\((.*)\)", re.DOTALL)
_Z95 = NormalDist().inv_cdf(0.95)
_FORMS = "6s, uniform(4s, 12s), lognormal(6s, p95=20s), lognormal(6s, sigma=0.7) or data(2s, 3s)"


class ThinkTime(Protocol):
    """A distribution of seconds."""

    def __call__(self, rng: Random) -> float:
        """One draw, in seconds, zero or more."""

    @property
    def mean_s(self) -> float:
        """The expected seconds."""

    def describe(self) -> str:
        """The written form; ``parse_think`` reads it back."""


@dataclass(frozen=True, slots=True)
class Constant:
    value_s: float

    def __call__(self, rng: Random) -> float:
        del rng  # nothing to draw
        return self.value_s

    @property
    def mean_s(self) -> float:
        return self.value_s

    def describe(self) -> str:
        return _text(self.value_s)


@dataclass(frozen=True, slots=True)
class Uniform:
    """Any time between two, all as likely."""

    low_s: float
    high_s: float

    def __call__(self, rng: Random) -> float:
        return self.low_s + (self.high_s - self.low_s) * rng.random()

    @property
    def mean_s(self) -> float:
        return (self.low_s + self.high_s) / 2

    def describe(self) -> str:
        return f"uniform({_text(self.low_s)}, {_text(self.high_s)})"


@dataclass(frozen=True, slots=True)
class Lognormal:
    """Skewed to the right; draws above ``max_s`` count as ``max_s``."""

    median_s: float
    sigma: float
    max_s: float | None = None

    def __call__(self, rng: Random) -> float:
        drawn = rng.lognormvariate(log(self.median_s), self.sigma)
        return drawn if self.max_s is None else min(drawn, self.max_s)

    @property
    def mean_s(self) -> float:
        whole = self.median_s * exp(self.sigma**2 / 2)
        if self.max_s is None:
            return whole
        # E[min(X, m)] of a lognormal: the part below m, and m for the rest.
        unit = NormalDist()
        over = (log(self.max_s) - log(self.median_s)) / self.sigma
        return whole * unit.cdf(over - self.sigma) + self.max_s * (1 - unit.cdf(over))

    def describe(self) -> str:
        cap = "" if self.max_s is None else f", max={_text(self.max_s)}"
        return f"lognormal({_text(self.median_s)}, sigma={self.sigma!r}{cap})"


@dataclass(frozen=True, slots=True)
class FromData:
    """One of the measured times, all as likely."""

    values_s: tuple[float, ...]

    def __call__(self, rng: Random) -> float:
        return rng.choice(self.values_s)

    @property
    def mean_s(self) -> float:
        return fsum(self.values_s) / len(self.values_s)

    def describe(self) -> str:
        return f"data({', '.join(_text(value) for value in self.values_s)})"


DRAWN_AHEAD = 8


def draws(think: ThinkTime, seed: int) -> Iterator[float]:
    """An endless sequence of draws, the same for the same seed.

    For thousands of guests who each have a sequence of their own: a few draws are kept instead of
    a generator, which takes 2.5 KiB.
    """
    while True:
        rng = Random(seed)
        ahead = [think(rng) for _ in range(DRAWN_AHEAD)]
        seed = rng.getrandbits(64)
        del rng
        yield from ahead


def constant(value: Duration) -> Constant:
    """Always the same pause: ``constant("6s")``.

    A text with its unit, or seconds. Raises ConfigError for what is no time.
    """
    return Constant(_bounded(seconds(value, "constant()"), "constant()"))


def uniform(low: Duration, high: Duration) -> Uniform:
    """Any pause between two, all as likely: ``uniform("4s", "12s")``.

    Texts with their unit, or seconds. Raises ConfigError for what is no time, and for a ``high``
    below ``low``.
    """
    low_s = _bounded(seconds(low, "uniform(): low"), "uniform(): low")
    high_s = _bounded(seconds(high, "uniform(): high"), "uniform(): high")
    if high_s < low_s:
        raise ConfigError(f"uniform(): expected low before high, got {low!r} and {high!r}")
    return Uniform(low_s, high_s)


def lognormal(
    median: Duration,
    *,
    sigma: float | None = None,
    p95: Duration | None = None,
    maximum: Duration | None = None,
) -> Lognormal:
    """Pauses as people make them, skewed to the right: ``lognormal("6s", p95="20s")``.

    Give the median, and either the 95th percentile or the shape ``sigma`` (above 0, up to 5); no
    pause is longer than ``maximum``. Times are texts with a unit, or seconds. Raises ConfigError
    for what makes no distribution.
    """
    median_s = _bounded(seconds(median, "lognormal(): median"), "lognormal(): median")
    if median_s <= 0:
        raise ConfigError(f"lognormal(): median: expected a time above zero, got {median!r}")
    if (sigma is None) == (p95 is None):
        raise ConfigError("lognormal(): give either sigma or p95")
    if p95 is not None:
        p95_s = _bounded(seconds(p95, "lognormal(): p95"), "lognormal(): p95")
        if p95_s <= median_s:
            raise ConfigError(f"lognormal(): p95: expected more than the median, got {p95!r}")
        sigma = log(p95_s / median_s) / _Z95
    if sigma is None or not isfinite(sigma) or not 0 < sigma <= 5:
        raise ConfigError(f"lognormal(): sigma: expected a number above 0 up to 5, got {sigma!r}")
    max_s = None if maximum is None else seconds(maximum, "lognormal(): max")
    if max_s is not None and max_s < median_s:
        raise ConfigError(f"lognormal(): max: expected at least the median, got {maximum!r}")
    return Lognormal(median_s, sigma, max_s)


def from_data(values: Sequence[Duration]) -> FromData:
    """One of the pauses that were measured, all as likely: ``from_data(["2.1s", "3.4s", "9s"])``.

    Texts with their unit, or seconds. Raises ConfigError for none, and for what is no time.
    """
    if not values:
        raise ConfigError("data(): expected at least one time")
    return FromData(tuple(_bounded(seconds(value, "data()"), "data()") for value in values))


def parse_think(text: str | float, what: str = "think") -> ThinkTime:
    """A written form as a distribution. ConfigError begins with ``what``."""
    try:
        call = _CALL.fullmatch(text.strip()) if isinstance(text, str) else None
        if call is None:
            return constant(text)
        return _from_call(call[1].lower(), [part.strip() for part in call[2].split(",")])
    except ConfigError as error:
        raise ConfigError(f"{what}: {error}; write {_FORMS}") from None


def _from_call(name: str, parts: Sequence[str]) -> ThinkTime:
    plain = [part for part in parts if part and "=" not in part]
    named = dict(part.split("=", 1) for part in parts if "=" in part)
    named = {key.strip(): value.strip() for key, value in named.items()}
    if name == "data" and not named:
        return from_data(plain)
    if name in ("uniform", "between") and len(plain) == 2 and not named:
        return uniform(*plain)
    if name == "constant" and len(plain) == 1 and not named:
        return constant(plain[0])
    if name == "lognormal" and len(plain) == 1 and named.keys() <= {"sigma", "p95", "max"}:
        return lognormal(
            plain[0],
            sigma=_sigma(named["sigma"]) if "sigma" in named else None,
            p95=named.get("p95"),
            maximum=named.get("max"),
        )
    raise ConfigError(f"not a think time: {name}({', '.join(parts)})")


def _sigma(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ConfigError(f"lognormal(): sigma: expected a number, got {text!r}") from None


def _bounded(value_s: float, what: str) -> float:
    if value_s > 7 * 86400:
        raise ConfigError(f"{what}: {duration_text(value_s)} is longer than a week")
    return value_s


def _text(value_s: float) -> str:
    return f"{value_s!r}s" if value_s >= 0.001 else f"{value_s:.9f}s"
