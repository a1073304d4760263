"""Where a rising load spoils the figures: the highest rate before the generator lags."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from math import isfinite

from harness.errors import ConfigError

WINDOW = 3
"""Seconds that are judged together: one late second says little."""
SPOILED_IN_A_ROW = 2
"""Windows one after the other that must be bad: one stall of the machine is no limit."""


class Limit(StrEnum):
    """What ended the rise."""

    GENERATOR = "the generator lagged"
    OTHER_SIDE = "the simulator was slow"
    NOT_REACHED = "not reached"


@dataclass(frozen=True, slots=True, kw_only=True)
class Second:
    """One second of the rise over all processes. Times in milliseconds."""

    done: float
    """what was done in it: guests cleared, messages delivered"""
    lag_ms: float
    """the generator's lag, p99"""
    answer_ms: float
    """what the other side took, median"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reached:
    """The highest rate (per second) that was held for a window before anything spoiled it."""

    per_s: float
    lag_ms: float
    limit: Limit


def find_limit(seconds: Sequence[Second], *, lag_ms: float, answer_ms: float) -> Reached | None:
    """The rate up to which the lag stayed within ``lag_ms`` and answers within ``answer_ms``.

    None without a single good window: then nothing can be said. Raises ConfigError for nonsense.
    """
    if not (isfinite(lag_ms) and lag_ms > 0 and isfinite(answer_ms) and answer_ms > 0):
        raise ConfigError("calibration: expected limits above zero")
    windows = [seconds[i : i + WINDOW] for i in range(0, len(seconds) - WINDOW + 1, WINDOW)]
    best: Reached | None = None
    bad = 0
    limit = Limit.NOT_REACHED
    for window in windows:
        lag = sorted(second.lag_ms for second in window)[WINDOW // 2]
        late = lag > lag_ms
        slow = sorted(second.answer_ms for second in window)[WINDOW // 2] > answer_ms
        if late or slow:
            bad += 1
            # A generator that lags also sees answers late: it is to blame first.
            limit = Limit.GENERATOR if late else Limit.OTHER_SIDE
            if bad == SPOILED_IN_A_ROW:
                break
            continue
        bad = 0
        rate = sum(second.done for second in window) / WINDOW
        if best is None or rate > best.per_s:
            best = Reached(per_s=rate, lag_ms=lag, limit=Limit.NOT_REACHED)
    if best is None:
        return None
    ended = limit if bad == SPOILED_IN_A_ROW else Limit.NOT_REACHED
    return Reached(per_s=best.per_s, lag_ms=best.lag_ms, limit=ended)


def is_spoiled(seconds: Sequence[Second], *, lag_ms: float, answer_ms: float) -> bool:
    """Whether the rise has gone beyond its limit already, so that it can end."""
    found = find_limit(seconds, lag_ms=lag_ms, answer_ms=answer_ms)
    if found is not None:
        return found.limit is not Limit.NOT_REACHED
    return len(seconds) >= 4 * WINDOW
