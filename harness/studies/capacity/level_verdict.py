"""A level of a capacity search, judged: how each objective stands by the interval of its figure,
and what they and the generator's state come to together."""

from collections.abc import Sequence
from enum import StrEnum
from math import sqrt
from typing import Protocol

from harness.errors import ConfigError


class Judged(StrEnum):
    """What a level showed."""

    OVER = "over"
    CLOSE = "close"
    UNDER = "under"
    INCONCLUSIVE = "inconclusive"


class Standing(StrEnum):
    """An objective at a level: by its interval, where there is one."""

    MET = "met"
    CLOSE = "close"
    MISSED = "missed"


class Bounds(Protocol):
    """A figure and the interval that it lies in; None where that is not known."""

    @property
    def figure(self) -> float | None: ...
    @property
    def low(self) -> float | None: ...
    @property
    def high(self) -> float | None: ...


def judge_level(
    objectives: Sequence[Standing],
    *,
    leftovers_growing: bool,
    generator_healthy: bool,
    held_back: bool,
) -> Judged:
    """A level's verdict in the order that keeps the generator's limit from being the service's.

    A missed objective or growing leftovers count even when the generator struggled: what it saw
    was bad enough. A good result does not count then, nor when the load that was asked for was
    ``held_back`` by anything of ours (arrivals dropped, guests missing).
    """
    if Standing.MISSED in objectives or leftovers_growing:
        return Judged.OVER
    if not generator_healthy or held_back or not objectives:
        return Judged.INCONCLUSIVE
    return Judged.CLOSE if Standing.CLOSE in objectives else Judged.UNDER


def standing(estimate: Bounds, limit: float, *, held: float = 1.0) -> Standing:
    """An upper limit against a figure's interval; CLOSE where there is none.

    ``held`` is how much of its longest time the level has been held, above 0 up to 1. Looking often
    finds by chance what one look would not, so early looks need the more distance from the limit
    (P. C. O'Brien, T. R. Fleming, 1979).
    """
    low, figure, high = estimate.low, estimate.figure, estimate.high
    if not 0 < held <= 1:
        raise ConfigError(f"capacity: held: expected a share above 0 up to 1, got {held!r}")
    if low is None or figure is None or high is None:
        return Standing.CLOSE
    wider = 1 / sqrt(held)
    if low > 0:  # a time: its error is a share of it
        low, high = figure * (low / figure) ** wider, figure * (high / figure) ** wider
    else:  # a share, of which next to nothing was seen
        low, high = 0.0, figure + (high - figure) * wider
    if low > limit:
        return Standing.MISSED
    return Standing.MET if high < limit else Standing.CLOSE
