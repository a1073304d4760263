"""Durations and rates as people write them: ``50ms``, ``20s``, ``1m30s``, ``72h``, ``10/s``."""

import math
import re
from datetime import UTC, datetime
from functools import lru_cache

from harness.errors import ConfigError

MOST_WAIT_S = 3600.0
"""Longer waits are not believed."""
_SECONDS = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_PART = re.compile(r"(\d+(?:\.\d+)?)(us|ms|s|m|h|d)")
_RATE = re.compile(r"(\d+(?:\.\d+)?)\s*/\s*(s|min|m|h)")
_PER_SECOND = {"s": 1.0, "m": 1 / 60, "min": 1 / 60, "h": 1 / 3600}


def seconds(text: str | float, what: str = "duration") -> float:
    """``"1m30s"`` → 90.0. A bare number is seconds. Raises ConfigError naming ``what``."""
    if type(text) is str:  # as most stories have it, with every message
        return _written_seconds(text, what)
    value = float(text) if type(text) in (int, float) else _written_seconds(str(text), what)
    return _checked(value, what, text)


def _checked(value: float, what: str, text: str | float) -> float:
    if not math.isfinite(value) or value < 0:
        raise ConfigError(f"{what}: expected a duration of zero or more, got {text!r}")
    return value


@lru_cache(256)  # stories say ``within="20s"`` with every message
def _written_seconds(text: str, what: str) -> float:
    compact = text.strip().replace(" ", "").lower()
    if re.fullmatch(r"\d+(?:\.\d+)?", compact):
        return _checked(float(compact), what, text)
    parts = _PART.findall(compact)
    if not parts or "".join(number + unit for number, unit in parts) != compact:
        raise ConfigError(f"{what}: expected a duration such as 50ms, 20s or 1m30s, got {text!r}")
    value = math.fsum(float(number) * _SECONDS[unit] for number, unit in parts)
    return _checked(value, what, text)


def read_retry_after_s(value: object) -> float | None:
    """How long a server asks us to wait (``retryAfter``, ``Retry-After``), an hour at most.

    None for what is no number of seconds of zero or more: it may send anything.
    """
    if isinstance(value, str) and not (value.isascii() and value.isdecimal()):
        return None  # also the HTTP form that names a date: nobody has been seen to send it
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    wait_s = float(value[:20] if isinstance(value, str) else value)
    return min(wait_s, MOST_WAIT_S) if wait_s >= 0 else None  # not a number is not


def parse_iso(text: str) -> datetime:
    """A time in ISO 8601; in UTC where it names no zone. Raises ValueError."""
    at = datetime.fromisoformat(text)
    return at if at.tzinfo else at.replace(tzinfo=UTC)


def rate_per_s(text: str, what: str = "rate") -> float:
    """``"10/s"`` → 10.0, ``"600/min"`` → 10.0. Raises ConfigError naming ``what``."""
    match = _RATE.fullmatch(text.strip().lower())
    if match is None:
        raise ConfigError(f"{what}: expected a rate such as 10/s or 600/min, got {text!r}")
    return float(match[1]) * _PER_SECOND[match[2]]


def figure_text(value: float) -> str:
    """Four digits, or all before the point: 0.1234, 97.5, 2,400 and never 2.4e+03."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def duration_text(value_s: float) -> str:
    """90.0 → ``1m30s``; below ten seconds with what decimals are needed."""
    if value_s < 1e-3:
        return f"{value_s * 1e6:.3g}us" if value_s else "0s"
    if value_s < 1:
        return f"{value_s * 1e3:.3g}ms"
    if value_s < 60:
        return f"{value_s:.3g}s"
    whole = round(value_s)
    text = ""
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60), ("s", 1)):
        count, whole = divmod(whole, size)
        if count:
            text += f"{count}{unit}"
    return text


def about_text(value_s: float) -> str:
    """As :func:`duration_text`, in two figures or so: 15176.0 → ``4h10m``."""
    step = next(
        size
        for end, size in ((600, 1), (3600, 60), (36_000, 600), (172_800, 3600), (1e300, 86_400))
        if value_s < end
    )
    return duration_text(value_s if value_s < 1 else max(1, round(value_s / step)) * step)


def size_text(size: float) -> str:
    """Bytes: 9_200_000 → ``9.2 MB``."""
    for unit, bytes_each in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6)):
        if size >= bytes_each:
            return f"{size / bytes_each:,.3g} {unit}"
    return f"{size / 1e3:,.0f} kB"


def milliseconds(value: float | None) -> str:
    """Three significant digits where that makes sense, a dash where nothing was measured."""
    if value is None:
        return "-"
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
