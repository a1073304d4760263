"""What the person who starts a run asks of a ready locustfile: height, length, seed, occupancy.

``harness run --rate 30/min --over 10m --seed 7`` sets the environment that is read here, and so can
anybody who runs plain Locust. A locustfile names a default for each::

    arrivals = as_asked(rate="30/min", over="10m")

``objective(...)`` in a locustfile: what the run has to meet, checked before anything is sent.
"""

import secrets
from dataclasses import dataclass, field
from functools import cache
from math import ceil
from typing import Any

from locust import events

from harness.config.run_config import (
    ARRIVALS,
    OCCUPANCY,
    OVER,
    RATE,
    SEED,
    SILENCE,
    STAY,
    RunConfig,
    Setting,
)
from harness.errors import ConfigError
from harness.judge.objective import parse_objective
from harness.judge.record import KNOWN
from harness.load.shape import peak_per_s
from harness.units import rate_per_s, seconds
from harness.workload.arrivals import Schedule, poisson, steady

ROOM = 1.5
"""Slots beyond the mean occupancy: arrivals come in clusters and sessions differ in length."""


def rate(default: str) -> float:
    """Guests per second: what ``--rate`` says, or ``default`` such as ``"30/min"``."""
    return rate_per_s(_value(RATE, default), RATE.variable)


def over(default: str) -> float:
    """Seconds that arrivals go on: what ``--over`` says, or ``default`` such as ``"10m"``."""
    return seconds(_value(OVER, default), OVER.variable)


def stay(default: str) -> float:
    """Seconds that guests who stay for long remain: what ``--stay`` says, or ``default``."""
    return seconds(_value(STAY, default), STAY.variable)


def silence(default: str) -> float:
    """Seconds that such a guest is silent at a time: what ``--silence`` says, or ``default``."""
    return seconds(_value(SILENCE, default), SILENCE.variable)


def occupancy() -> int | None:
    """Guests to keep in session instead of the locustfile's schedule: what ``--occupancy`` says."""
    text = _value(OCCUPANCY, "")
    if text and not (text.isdecimal() and int(text) > 0):
        raise ConfigError(
            f"{OCCUPANCY.variable}: expected a number of guests at once, got {text!r}"
        )
    return int(text) if text else None


def seed() -> int:
    """The seed of this run: what ``--seed`` says, or one drawn now and recorded.

    Processes that are forked later, and the run itself, see the same one.
    """
    text = _value(SEED, "")
    if not text:
        text = _process().seed
    try:
        return int(text)
    except ValueError:
        raise ConfigError(f"{SEED.variable}: expected a whole number, got {text!r}") from None


def irregular(schedule: Schedule) -> Schedule:
    """The same mean rate as independent people come (Poisson), or evenly with ``--arrivals even``.

    Drawn from the run's seed, so that it can be repeated.
    """
    kind = _value(ARRIVALS, ARRIVALS.default)
    if kind not in ("poisson", "even"):
        raise ConfigError(f"{ARRIVALS.variable}: expected poisson or even, got {kind!r}")
    return schedule if kind == "even" else poisson(schedule, seed=seed())


def as_asked(*, rate: str, over: str) -> Schedule:
    """The plain case: a mean rate, held, guests coming as independent people do.

    ``rate`` and ``over`` are what holds when nothing else is asked for.
    """
    per_second = rate_per_s(_value(RATE, rate), RATE.variable)
    return irregular(steady(per_second=per_second, over=seconds(_value(OVER, over), OVER.variable)))


def slots_for(arrivals: Schedule | float, in_session: str | float) -> int:
    """Slots for a schedule (or a rate per second) and the time that a guest stays, on average.

    There is room for clusters of guests beyond the mean.
    """
    per_second = peak_per_s(arrivals) if isinstance(arrivals, Schedule) else arrivals
    return max(10, ceil(per_second * seconds(in_session, "slots_for()") * ROOM) + 5)


@dataclass(slots=True)
class _Process:
    """What lasts as long as a process; those that it forks begin with the same."""

    seed: str = field(default_factory=lambda: str(secrets.randbelow(2**31)))
    looked_at: set[str] = field(default_factory=set)


@cache
def _process() -> _Process:
    return _Process()


def looked_at() -> list[str]:
    """The variables that this process has asked for, so that one which is ignored is refused."""
    return sorted(_process().looked_at)


def _value(setting: Setting, default: str) -> str:
    _process().looked_at.add(setting.variable)
    return RunConfig.of_process().given.get(setting.variable) or default


def objective(*texts: str) -> None:
    """State what the run has to meet, such as ``"reply p95 < 5s"`` or ``"leftovers == 0"``.

    Raises ConfigError at once when a text can't be understood.
    """
    for text in texts:
        parse_objective(text, KNOWN)

    def attach(environment: Any, **_: Any) -> None:
        environment.harness_objectives = [*getattr(environment, "harness_objectives", []), *texts]

    events.init.add_listener(attach)  # type: ignore[no-untyped-call]
