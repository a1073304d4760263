"""Guests per interval from a CSV file, such as what a contact centre's report exports.

A header line, then one line per interval in order, without gaps::

    start,guests
    09:00,120
    09:15,180

``start`` is a time of day (``09:00``, ``09:00:30``), a date and time (``2026-11-16T09:00``), or an
offset (``0``, ``15m``, ``1h30m``). All intervals have the length of the first step, the last one
too. ``guests`` is zero or more; decimals are allowed (averages of several Mondays).
"""

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from fractions import Fraction
from math import isfinite
from pathlib import Path

from harness.errors import ConfigError
from harness.units import duration_text, seconds

NS = 1_000_000_000
COLUMNS = ("start", "guests")


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """Guests in consecutive intervals of one length."""

    interval_ns: int
    guests: tuple[Fraction, ...]


def read_profile(path: Path) -> Profile:
    """The profile in a file. ConfigError names file, line and what was expected."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: not UTF-8 text (byte {error.start})") from None
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror or error}") from None
    return parse_profile(text, name=str(path))


def parse_profile(text: str, *, name: str) -> Profile:
    """The profile in a CSV text; ``name`` is what errors call it."""
    reader = csv.reader(io.StringIO(text), strict=True)
    try:
        rows = [(reader.line_num, row) for row in reader if any(cell.strip() for cell in row)]
    except csv.Error as error:
        raise ConfigError(f"{name}, line {reader.line_num}: not readable as CSV: {error}") from None
    if not rows:
        raise ConfigError(f"{name}: empty; expected a header line 'start,guests' and intervals")
    where = _columns(rows[0][1], name)
    starts: list[Fraction] = []
    forms: set[str] = set()
    guests: list[Fraction] = []
    for line, row in rows[1:]:
        place = f"{name}, line {line}"
        if len(row) != len(rows[0][1]):
            raise ConfigError(f"{place}: expected {len(rows[0][1])} values, got {len(row)}")
        start, form = _start(row[where[0]], f"{place}, column start")
        forms.add(form)
        if len(forms) > 1:
            raise ConfigError(
                f"{place}, column start: {row[where[0]].strip()!r} is {form}, the lines before "
                f"have {(forms - {form}).pop()}"
            )
        starts.append(start)
        guests.append(_guests(row[where[1]], f"{place}, column guests"))
        _check_step(starts, place)
    if len(starts) < 2:
        raise ConfigError(f"{name}: expected at least two intervals, got {len(starts)}")
    return Profile(interval_ns=int((starts[1] - starts[0]) * NS), guests=tuple(guests))


def _columns(header: Sequence[str], name: str) -> tuple[int, int]:
    names = [cell.strip().lower() for cell in header]
    for column in COLUMNS:
        if names.count(column) != 1:
            raise ConfigError(
                f"{name}, line 1: expected one column '{column}', got: {', '.join(names)}"
            )
    return names.index("start"), names.index("guests")


def _start(text: str, place: str) -> tuple[Fraction, str]:
    """Seconds since whatever the first start counts from, and what it is written as."""
    cell = text.strip()
    if ":" not in cell:
        return Fraction(str(seconds(cell, place))), "an offset"
    for form in ("%H:%M", "%H:%M:%S"):
        try:
            clock = datetime.strptime(cell, form)  # a time of day, no zone
        except ValueError:
            continue
        at = Fraction(clock.hour * 3600 + clock.minute * 60 + clock.second)
        return at, "a time of day"
    try:
        moment = datetime.fromisoformat(cell)
    except ValueError:
        raise ConfigError(
            f"{place}: expected a time such as 09:15, 2026-11-16T09:15 or 15m, got {cell!r}"
        ) from None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return Fraction(str(moment.timestamp())), "a date and time"


def _guests(text: str, place: str) -> Fraction:
    try:
        number = float(text)
    except ValueError:
        number = -1.0
    if not isfinite(number) or number < 0:
        raise ConfigError(f"{place}: expected a number of guests, zero or more, got {text!r}")
    return Fraction(str(number))


def _check_step(starts: Sequence[Fraction], place: str) -> None:
    if len(starts) < 2:
        return
    step, first = starts[-1] - starts[-2], starts[1] - starts[0]
    if step <= 0:
        raise ConfigError(f"{place}: starts no later than the line before")
    if step != first:
        raise ConfigError(
            f"{place}: starts {duration_text(float(step))} after the line before, expected "
            f"{duration_text(float(first))}: intervals must be equally long, without gaps"
        )
