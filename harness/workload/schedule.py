"""Schedules: the due time of the i-th arrival without living through those before it.

A schedule can't drift, and any worker can compute any part of it (:class:`Share` is a
worker's part). Users make them with ``harness.workload.arrivals``.

Guests per interval come from a CSV file, such as what a contact centre's report exports:
a header line, then one line per interval in order, without gaps::

    start,guests
    09:00,120
    09:15,180

``start`` is a time of day (``09:00``, ``09:00:30``), a date and time (``2026-11-16T09:00``), or an
offset (``0``, ``15m``, ``1h30m``). All intervals have the length of the first step, the last one
too. ``guests`` is zero or more; decimals are allowed (averages of several Mondays).

Workers that join or are lost cut a schedule at an arrival; from each cut on, ``n`` of them share
what follows, every ``n``-th for each. So each arrival is exactly one worker's, whatever happens.
"""

from abc import ABC, abstractmethod
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from fractions import Fraction
from functools import cached_property
from itertools import accumulate
from math import ceil, exp, fsum, isfinite, lgamma, log, sqrt
from pathlib import Path
from random import Random

from harness.errors import ConfigError
from harness.foreign import read_text
from harness.units import duration_text, parse_iso, seconds
from harness.workload.data import csv_rows

NS = 1_000_000_000
# Expected arrivals per block of a Poisson schedule: small enough to draw one in well under a
# millisecond, large enough that the table of block counts stays small over days.
POISSON_BLOCK = 256


class Schedule(ABC):
    """When guests arrive, over a stretch of time that begins at 0. Immutable.

    The functions of the public API make one; ``a + b`` puts two after each other::

        arrivals: Schedule = ramp(per_minute=(2, 20), over="20m") + steady(per_minute=20, over="1h")

    Rates are guests per second, times are seconds, due times are nanoseconds from the start.
    """

    @property
    @abstractmethod
    def duration_s(self) -> float:
        """Length in seconds; the last arrival is due before its end."""

    @property
    @abstractmethod
    def count(self) -> int:
        """How many guests arrive in all."""

    def due_ns(self, index: int) -> int:
        """Nanoseconds from the start to arrival ``index`` (from 0); IndexError past the end."""
        if not 0 <= index < self.count:
            raise IndexError(f"arrival {index}: there are {self.count}")
        return self._due_ns(index)

    @abstractmethod
    def _due_ns(self, index: int) -> int:
        """The same for an arrival that there is."""

    @abstractmethod
    def rate_at(self, at_s: float) -> float:
        """Mean guests per second at that time; 0 before the start and from the end on."""

    @abstractmethod
    def describe(self) -> str:
        """In a few words, without the count."""

    def index_at(self, at_ns: int) -> int:
        """The first arrival due at that time or later; the count of all when there is none."""
        return bisect_left(range(self.count), at_ns, key=self.due_ns)

    def __add__(self, other: "Schedule") -> "Schedule":
        return chain(self, other)


@dataclass(frozen=True, slots=True)
class Segment:
    """A stretch in which the rate (guests per second) changes linearly from first to last."""

    length_ns: int
    first: Fraction
    last: Fraction

    @property
    def area(self) -> Fraction:
        """Expected arrivals in it."""
        return (self.first + self.last) / 2 * Fraction(self.length_ns, NS)

    def offset_ns(self, area: Fraction) -> int:
        """When, from the segment's start, the area reaches ``area`` (below its whole area)."""
        if self.first == self.last:
            return int(area * NS / self.first)  # exact
        start, wanted = float(self.first), float(area)
        slope = float(self.last - self.first) * NS / self.length_ns
        # The root of start*t + slope*t²/2 = wanted in the form that doesn't cancel.
        root = sqrt(max(0.0, start * start + 2 * slope * wanted))
        below = start + root
        at_ns = int(2 * wanted / below * NS) if below else 0
        return min(at_ns, self.length_ns)

    def rate_at(self, offset_ns: int) -> float:
        part = Fraction(offset_ns, self.length_ns)
        return float(self.first + (self.last - self.first) * part)


@dataclass(frozen=True)
class Rates(Schedule):
    """A rate made of linear pieces, arrivals evenly spread under it."""

    segments: tuple[Segment, ...]
    words: str

    @cached_property
    def starts_ns(self) -> list[int]:
        return list(accumulate((s.length_ns for s in self.segments), initial=0))

    @cached_property
    def areas(self) -> list[Fraction]:
        """Area before each segment, and after the last."""
        return list(accumulate((s.area for s in self.segments), initial=Fraction(0)))

    @cached_property
    def duration_s(self) -> float:
        return self.starts_ns[-1] / NS

    @cached_property
    def count(self) -> int:
        return ceil(self.areas[-1])

    def _due_ns(self, index: int) -> int:
        return self.time_at(Fraction(index))

    def time_at(self, area: Fraction) -> int:
        """The time in ns at which ``area`` arrivals are expected to have come."""
        at = min(bisect_right(self.areas, area), len(self.segments)) - 1
        return self.starts_ns[at] + self.segments[at].offset_ns(area - self.areas[at])

    def rate_at(self, at_s: float) -> float:
        at_ns = int(at_s * NS)
        if not 0 <= at_ns < self.starts_ns[-1]:
            return 0.0
        at = bisect_right(self.starts_ns, at_ns) - 1
        return self.segments[at].rate_at(at_ns - self.starts_ns[at])

    def describe(self) -> str:
        return self.words


@dataclass(frozen=True)
class Poisson(Schedule):
    """Independent arrivals at the mean rate of ``base``: a pure function of seed and index.

    The area under the rate is cut into blocks; each block's count is Poisson, and its arrivals lie
    in it like sorted uniform numbers, which is what a Poisson process is. Only the counts are kept.
    """

    base: Rates
    seed: int
    _recent: dict[int, list[float]] = field(default_factory=dict, compare=False, repr=False)

    @cached_property
    def firsts(self) -> list[int]:
        """Index of the first arrival of each block, and the count of all."""
        whole, rest = divmod(self.base.areas[-1], POISSON_BLOCK)
        draw = Random(f"{self.seed} counts")
        table = _poisson_cdf(POISSON_BLOCK)
        counts = [bisect_right(table, draw.random()) for _ in range(whole)]
        counts.append(bisect_right(_poisson_cdf(float(rest)), draw.random()))
        return list(accumulate(counts, initial=0))

    @property
    def duration_s(self) -> float:
        return self.base.duration_s

    @property
    def count(self) -> int:
        return self.firsts[-1]

    def _due_ns(self, index: int) -> int:
        block = bisect_right(self.firsts, index) - 1
        inside = self._block(block)[index - self.firsts[block]]
        return self.base.time_at(block * POISSON_BLOCK + Fraction(inside))

    def _block(self, block: int) -> list[float]:
        """Places of the block's arrivals, as area from the block's start; two blocks are kept."""
        places = self._recent.get(block)
        if places is None:
            width = min(POISSON_BLOCK, float(self.base.areas[-1] - block * POISSON_BLOCK))
            draw = Random(f"{self.seed} block {block}")
            many = self.firsts[block + 1] - self.firsts[block]
            places = sorted(draw.random() * width for _ in range(many))
            if len(self._recent) > 1:
                self._recent.clear()
            self._recent[block] = places
        return places

    def rate_at(self, at_s: float) -> float:
        return self.base.rate_at(at_s)

    def describe(self) -> str:
        return f"Poisson (seed {self.seed}), mean {self.base.describe()}"


@dataclass(frozen=True)
class Chain(Schedule):
    parts: tuple[Schedule, ...]

    @cached_property
    def starts_ns(self) -> list[int]:
        return list(accumulate((round(p.duration_s * NS) for p in self.parts), initial=0))

    @cached_property
    def firsts(self) -> list[int]:
        return list(accumulate((p.count for p in self.parts), initial=0))

    @property
    def duration_s(self) -> float:
        return self.starts_ns[-1] / NS

    @property
    def count(self) -> int:
        return self.firsts[-1]

    def _due_ns(self, index: int) -> int:
        at = bisect_right(self.firsts, index) - 1
        return self.starts_ns[at] + self.parts[at].due_ns(index - self.firsts[at])

    def rate_at(self, at_s: float) -> float:
        at_ns = int(at_s * NS)
        if not 0 <= at_ns < self.starts_ns[-1]:
            return 0.0
        at = bisect_right(self.starts_ns, at_ns) - 1
        return self.parts[at].rate_at((at_ns - self.starts_ns[at]) / NS)

    def describe(self) -> str:
        return ", then ".join(part.describe() for part in self.parts)


def chain(*schedules: Schedule) -> Schedule:
    """One after the other, as one; at least one is needed."""
    parts: list[Schedule] = []
    for schedule in schedules:
        parts.extend(schedule.parts if isinstance(schedule, Chain) else [schedule])
    merged: list[Schedule] = []
    for part in parts:
        last = merged[-1] if merged else None
        if isinstance(part, Rates) and isinstance(last, Rates):
            # One rate function instead of two: no arrival is gained or lost at the joint.
            words = f"{last.words}, then {part.words}"
            merged[-1] = Rates((*last.segments, *part.segments), words)
        else:
            merged.append(part)
    return merged[0] if len(merged) == 1 else Chain(tuple(merged))


def _poisson_cdf(mean: float) -> list[float]:
    """P(N <= 0), P(N <= 1) … of a Poisson count, far enough that the rest is below 1e-16."""
    if mean <= 0:
        return [1.0]
    top = int(mean + 12 * sqrt(mean) + 40)
    terms = [exp(k * log(mean) - mean - lgamma(k + 1)) for k in range(top)]
    return [*list(accumulate(terms))[:-1], fsum(terms)]


COLUMNS = ("start", "guests")


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """Guests in consecutive intervals of one length."""

    interval_ns: int
    guests: tuple[Fraction, ...]


def read_profile(path: Path) -> Profile:
    """The profile in a file. ConfigError names file, line and what was expected."""
    return parse_profile(read_text(path), name=str(path))


def parse_profile(text: str, *, name: str) -> Profile:
    """The profile in a CSV text; ``name`` is what errors call it."""
    rows = list(csv_rows(text, name=name))
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
        return Fraction(str(parse_iso(cell).timestamp())), "a date and time"
    except ValueError:
        raise ConfigError(
            f"{place}: expected a time such as 09:15, 2026-11-16T09:15 or 15m, got {cell!r}"
        ) from None


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


BIN_S = 900.0
"""Arrivals are looked at in intervals no shorter: what chance does in a minute is no peak."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BusyHour:
    """The busiest hour of a profile: guests in it, its worst interval over its mean, how read."""

    chats_per_h: float
    peak_factor: float
    how: str


def busy_hour(guests: Sequence[float], interval_s: float) -> BusyHour:
    """The busiest hour in intervals of a quarter of an hour or longer.

    Shorter ones are put together (the last takes what is left over): the fullest of sixty minutes
    is always far above their mean, also where nothing but chance is at work. ConfigError when
    nobody came at all.
    """
    if not guests or interval_s <= 0 or max(guests) <= 0:
        raise ConfigError("the profile has no guests to plan for")
    together = min(len(guests), max(1, ceil(BIN_S / interval_s - 1e-9)))
    bins: list[tuple[float, float]] = []  # guests, seconds
    for start in range(0, len(guests) - together + 1, together):
        last = start + 2 * together > len(guests)
        part = guests[start:] if last else guests[start : start + together]
        bins.append((sum(part), len(part) * interval_s))
    many = max(1, round(3600 / (together * interval_s)))
    hours = [bins[start : start + many] for start in range(max(1, len(bins) - many + 1))]
    mean, hour = max(
        ((sum(one for one, _ in hour) / sum(s for _, s in hour), hour) for hour in hours),
        key=lambda candidate: candidate[0],
    )
    if mean <= 0:
        raise ConfigError("the profile has no guests to plan for")
    length = duration_text(together * interval_s)
    how = f"in intervals of {length}"
    if together > 1:
        how += f" ({together} of {duration_text(interval_s)} together, so that chance is no peak)"
    elif interval_s > BIN_S:
        how += ": what is worse for less than that is not seen"
    peak = max(one / s for one, s in hour) / mean
    return BusyHour(chats_per_h=mean * 3600, peak_factor=peak, how=how)


@dataclass(frozen=True, slots=True)
class Piece:
    """From arrival ``first`` on: the arrivals of place ``place`` of ``places``; 0 places: none."""

    first: int
    place: int
    places: int


class Share:
    """One worker's arrivals: the pieces follow each other, each ends where the next begins."""

    def __init__(self, count: int, pieces: Sequence[Piece]) -> None:
        """``count`` is how many arrivals the whole schedule has. Raises ConfigError."""
        self._count = count
        self._pieces: tuple[Piece, ...] = ()
        self.set(pieces)

    @classmethod
    def of(cls, count: int, place: int, places: int) -> "Share":
        """The same place from the first arrival to the last. Raises ConfigError."""
        return cls(count, [Piece(0, place, places)])

    def set(self, pieces: Sequence[Piece]) -> None:
        """Replace the pieces. Raises ConfigError when they make no sense."""
        for piece in pieces:
            if piece.places and not 0 <= piece.place < piece.places:
                text = f"worker {piece.place} of {piece.places}"
                raise ConfigError(f"{text}: expected a number below {piece.places}")
        firsts = [piece.first for piece in pieces]
        if firsts != sorted(firsts):
            raise ConfigError(f"the pieces of a share are out of order: they begin at {firsts}")
        self._pieces = tuple(pieces)

    def after(self, index: int) -> int | None:
        """The first arrival of this share that comes after ``index``; None when there is none."""
        for piece, end in self._stretches():
            at = max(index + 1, piece.first)
            if at >= end or not piece.places:
                continue
            at += (piece.place - at) % piece.places
            if at < end:
                return at
        return None

    def many(self, below: int) -> int:
        """How many arrivals of this share come before arrival ``below``."""
        total = 0
        for piece, whole_end in self._stretches():
            end = min(whole_end, below)
            if piece.places and end > piece.first:
                first = piece.first + (piece.place - piece.first) % piece.places
                total += len(range(first, end, piece.places))
        return total

    def _stretches(self) -> Iterator[tuple[Piece, int]]:
        """Each piece and where it ends."""
        ends = [*(piece.first for piece in self._pieces[1:]), self._count]
        for piece, end in zip(self._pieces, ends, strict=False):
            yield piece, min(end, self._count)


class Partition:
    """Who has what: a list of workers for each stretch of the schedule."""

    def __init__(self, count: int, workers: Sequence[str]) -> None:
        self.count = count
        self._firsts = [0]
        self._workers = [tuple(workers)]

    @property
    def workers(self) -> tuple[str, ...]:
        """Those who share the last stretch."""
        return self._workers[-1]

    def change(self, first: int, workers: Sequence[str]) -> None:
        """From arrival ``first`` on these share. Raises ConfigError when that was cut before."""
        if first < self._firsts[-1]:
            raise ConfigError(f"arrival {first} has been given away at {self._firsts[-1]} already")
        if first == self._firsts[-1]:
            self._workers[-1] = tuple(workers)
        else:
            self._firsts.append(first)
            self._workers.append(tuple(workers))

    def pieces_of(self, worker: str) -> list[Piece]:
        """The share of one worker."""
        return [
            Piece(first, workers.index(worker), len(workers))
            if worker in workers
            else Piece(first, 0, 0)
            for first, workers in zip(self._firsts, self._workers, strict=True)
        ]

    def assigned(self, worker: str, below: int) -> int:
        """How many arrivals before ``below`` were one worker's."""
        return Share(self.count, self.pieces_of(worker)).many(below)
