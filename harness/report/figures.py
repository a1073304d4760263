"""Figures as text, the same in every kind of report. What is not known is a dash, never a zero."""

from collections.abc import Mapping
from datetime import UTC, datetime

from harness.units import duration_text, size_text

UNKNOWN = "—"


def count_text(value: float | None) -> str:
    """12345 → ``12,345``."""
    return UNKNOWN if value is None else f"{value:,.0f}"


def ms_text(value_ms: float | None) -> str:
    """Milliseconds with three digits in the unit that fits: ``0.82 ms``, ``1.23 s``."""
    if value_ms is None:
        return UNKNOWN
    if value_ms < 999.5:
        return f"{_three_digits(value_ms)} ms"
    if value_ms < 60_000:
        return f"{_three_digits(value_ms / 1000)} s"
    return duration_text(value_ms / 1000)


def number_text(value: float | None) -> str:
    """A bare number with at most three decimals."""
    if value is None:
        return UNKNOWN
    return f"{value:,.0f}" if value == int(value) else f"{value:,.3f}".rstrip("0").rstrip(".")


def with_unit(value: float | None, unit: str | None) -> str:
    """An objective's figure: ``1.2 s``, ``0.3 %``, ``0``; units are ms, s, share, count or none."""
    if value is None:
        return UNKNOWN
    if unit == "share":
        return percent_text(value)
    if unit == "count":
        return number_text(value)
    if unit in ("s", "ms", "us"):
        return ms_text(value * {"s": 1e3, "ms": 1.0, "us": 1e-3}[unit])
    return f"{number_text(value)} {unit}" if unit else number_text(value)


def percent_text(share: float | None) -> str:
    """0.0123 → ``1.2 %``; what is not zero never reads ``0 %``."""
    if share is None:
        return UNKNOWN
    percent = share * 100
    if 0 < abs(percent) < 0.01:
        return "< 0.01 %" if percent > 0 else "> -0.01 %"
    digits = 0 if abs(percent) >= 99.995 else 1 if abs(percent) >= 1 else 2
    return f"{percent:.{digits}f} %" if percent else "0 %"


def share_text(part: float | None, whole: float | None) -> str:
    """A part of a whole in percent; unknown where the whole is none."""
    return percent_text(part / whole) if part is not None and whole else UNKNOWN


def length_text(value_s: float | None) -> str:
    """A duration in words of the command line: ``1h5m``."""
    return UNKNOWN if value_s is None else duration_text(value_s)


def clock_text(at_s: float) -> str:
    """The time of day in UTC."""
    return datetime.fromtimestamp(at_s, tz=UTC).strftime("%H:%M:%S")


def moment_text(at: datetime | None) -> str:
    """Date and time in UTC."""
    return UNKNOWN if at is None else at.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def _three_digits(value: float) -> str:
    if 0 < value < 0.00995:
        return f"{value:.3f}"
    if value >= 99.95:
        return f"{value:.0f}"
    return f"{value:.1f}" if value >= 9.995 else f"{value:.2f}"


def disk_text(disk: Mapping[str, int | bool | None]) -> str:
    """What a run was expected to write, and the room for it: ``9.8 MB expected; 79 GB were free``.

    In bytes, under ``total`` and ``free``.
    """
    total, free = disk.get("total"), disk.get("free")
    room = "" if free is None else f"; {size_text(free)} were free"
    return f"{UNKNOWN if total is None else size_text(total)} expected{room}"
