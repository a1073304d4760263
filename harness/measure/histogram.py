"""Histograms of durations, in the standard HDR form.

Three significant digits from 1 microsecond to a week (a soak's guests stay for hours). A counter
place stands for a span of values: the first 2,048 places for one microsecond each, every further
1,024 for spans twice as wide as those before.

A day of intervals is millions of small histograms. :func:`decoded` reads many at once, into what is
not zero. The encoded form is HDR's V2: base64 of zlib of a header and zigzag LEB128 counts, where a
negative number is a run of zeros. Other HDR libraries read it.
"""

import struct
import zlib
from abc import ABC, abstractmethod
from base64 import b64decode, b64encode
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import ceil

import numpy as np
import numpy.typing as npt

from harness.errors import ConfigError

Durations = Sequence[int] | npt.NDArray[np.int64]
LOWEST_US = 1
HIGHEST_US = 7 * 86_400 * 1_000_000
DIGITS = 3
HALF_BITS = 10
"""A bucket has 2 ** 11 values at three digits, of which the upper half is not in the one before."""
MASK = (2 << HALF_BITS) - 1
PLACES = (HIGHEST_US.bit_length() - HALF_BITS + 1) << HALF_BITS
"""Counter places of a histogram."""
TOP_US = (1 << HIGHEST_US.bit_length()) - 1
"""The highest value that the last place stands for."""
COOKIE = 0x1C849303 | 0x10
COMPRESSED_COOKIE = 0x1C849304 | 0x10
HEADER = struct.Struct(">iiiiqqd")

Numbers = npt.NDArray[np.int64]


def rank(percent: float, count: int) -> int:
    """Rank (1 = lowest) of the value at this percentile: at least ``percent`` % of values are at or
    below it. (The library rounds; its percentile may lie below that share.)
    """
    return max(1, ceil(round(percent / 100 * count, 9)))


class Distribution(ABC):
    """What can be asked of durations that were counted, however the counts are kept."""

    __slots__ = ()

    @abstractmethod
    def used(self) -> tuple[Numbers, Numbers]:
        """Its rising counter places with something in them, and the counts there."""

    @property
    def count(self) -> int:
        """How many durations are in it."""
        return int(self.used()[1].sum())

    def percentiles_ms(self, quantiles: Sequence[float]) -> list[float | None]:
        """The duration in milliseconds at each percentile (0 to 100); None where nothing is known.

        100 is the highest recorded value, exactly to the histogram's digits.
        """
        places, counts = self.used()
        if not len(places):
            return [None] * len(quantiles)
        ends = np.cumsum(counts)
        ranks = [rank(quantile, int(ends[-1])) for quantile in quantiles]
        limits_us = highest_us(places[np.searchsorted(ends, ranks)])
        return [float(value) / 1000 for value in limits_us]

    def percentile_ms(self, quantile: float) -> float | None:
        """One of :meth:`percentiles_ms`."""
        return self.percentiles_ms([quantile])[0]

    def at_rank_ms(self, rank: int) -> float | None:
        """The duration in milliseconds with that rank (1 is the lowest); None when there is none.

        A rank beyond the highest gives the highest.
        """
        places, counts = self.used()
        if not len(places):
            return None
        ends = np.cumsum(counts)
        place = int(np.searchsorted(ends, min(rank, int(ends[-1]))))
        return float(highest_us(places[place : place + 1])[0]) / 1000

    @property
    def mean_ms(self) -> float | None:
        """The mean in milliseconds, each value taken as the middle of its span; None if empty."""
        places, counts = self.used()
        if not len(places):
            return None
        widths = np.int64(1) << np.maximum((places >> HALF_BITS) - 1, 0)
        middles = highest_us(places) + 1 - widths + widths // 2
        return float((middles * counts).sum() / counts.sum()) / 1000

    @property
    def max_ms(self) -> float | None:
        """The highest value in milliseconds, None when empty."""
        places, _ = self.used()
        return float(highest_us(places[-1:])[0]) / 1000 if len(places) else None

    def count_up_to_ms(self, limit_ms: float) -> int:
        """How many durations are at most so long, to the histogram's digits."""
        places, counts = self.used()
        limit_us = int(limit_ms * 1000)
        bucket = (limit_us | MASK).bit_length() - HALF_BITS - 1
        highest = (bucket << HALF_BITS) + (limit_us >> bucket)
        return int(counts[places <= highest].sum())

    def count_above_ms(self, limit_ms: float) -> int:
        """How many durations are longer than that, to the histogram's digits."""
        places, counts = self.used()
        return int(counts[highest_us(places) > limit_ms * 1000].sum())

    def buckets_us(self) -> Iterator[tuple[int, int]]:
        """(highest equivalent value in microseconds, count) of each place with something in it."""
        places, counts = self.used()
        yield from zip(highest_us(places).tolist(), counts.tolist(), strict=True)

    def without(self, part: "Distribution") -> "Counted":
        """What is left when the durations that are also in ``part`` are taken out."""
        places, counts = self.used()
        others, out = part.used()
        _, ours, theirs = np.intersect1d(places, others, return_indices=True)
        counts = counts.copy()
        counts[ours] -= out[theirs]
        kept = counts > 0
        return Counted(places[kept], counts[kept])


class Histogram(Distribution):
    """Counts of durations. Recorded in nanoseconds, kept in microseconds, read in milliseconds."""

    __slots__ = ("_counts", "_top", "count", "out_of_range")
    count: int

    def __init__(self) -> None:
        self._counts = np.zeros(PLACES, dtype=np.int64)
        self._top = -1  # the highest place with something in it
        self.count = 0
        """How many durations are in it."""
        self.out_of_range = 0
        """Values above the highest; they are counted there and in the top place."""

    def record_many_ns(self, durations_ns: Durations) -> None:
        """Count them all; less than a microsecond counts as one."""
        if not len(durations_ns):
            return
        values = np.maximum(np.array(durations_ns, dtype=np.int64) // 1000, LOWEST_US)
        beyond = values > TOP_US
        self.out_of_range += int(np.count_nonzero(beyond))
        values[beyond] = HIGHEST_US
        # frexp's exponent is the bit length, exactly so below 2**53 microseconds (285 years)
        bucket = np.frexp(values | MASK)[1].astype(np.int64) - (HALF_BITS + 1)
        places = (bucket << HALF_BITS) + (values >> bucket)
        np.add.at(self._counts, places, 1)
        self.count += len(values)
        self._top = max(self._top, int(places.max()))

    def merge(self, other: "Histogram") -> None:
        """Add all of ``other``; the result is as if everything had been recorded here."""
        if other.count:
            self._counts += other._counts
            self.count += other.count
            self._top = max(self._top, other._top)
        self.out_of_range += other.out_of_range

    def used(self) -> tuple[Numbers, Numbers]:
        """Its rising counter places with something in them, and the counts there: small copies."""
        places = np.flatnonzero(self._counts[: self._top + 1])
        return places, self._counts[places]

    def encode(self) -> str:
        """The standard compressed HDR form, base64."""
        places, counts = self.used()
        numbers = np.empty(2 * len(places), dtype=np.int64)
        numbers[::2] = np.diff(places, prepend=-1)
        numbers[::2] = 1 - numbers[::2]  # the zeros before each count, negative
        numbers[1::2] = counts
        numbers = numbers[numbers != 0]
        zigzag = ((numbers << 1) ^ (numbers >> 63)).astype(np.uint64)
        most = (int(zigzag.max(initial=0)).bit_length() + 6) // 7
        septets = zigzag[:, np.newaxis] >> (7 * np.arange(most, dtype=np.uint64))
        digits = (septets & 127).astype(np.uint8)
        digits[:, :-1] |= (septets[:, 1:] > 0).astype(np.uint8) << 7  # more of it follows
        body = digits[septets > 0].tobytes()
        header = HEADER.pack(COOKIE, len(body), 0, DIGITS, LOWEST_US, HIGHEST_US, 1.0)
        packed = zlib.compress(header + body)
        return b64encode(struct.pack(">ii", COMPRESSED_COOKIE, len(packed)) + packed).decode()

    def merge_encoded(self, text: str) -> None:
        """Merge what :meth:`encode` gave. Raises ConfigError when it is not a histogram."""
        self.add(decoded([text]))

    def add(self, part: "Counted") -> None:
        """Add what :func:`decoded` gave. Raises ConfigError when it is of another range."""
        if not len(part.places):
            return
        if part.places[-1] >= PLACES:
            raise ConfigError("not an HDR histogram: a value out of range")
        self._counts[part.places] += part.counts
        self.count += part.count
        self._top = max(self._top, int(part.places[-1]))

    def counted(self) -> "Counted":
        """Only the places with something in them: a small copy."""
        return Counted(*self.used())


@dataclass(frozen=True, slots=True)
class Counted(Distribution):
    """A histogram as rising counter places and the counts there, none of them zero."""

    places: Numbers
    counts: Numbers

    def used(self) -> tuple[Numbers, Numbers]:
        """Both of them."""
        return self.places, self.counts


def highest_us(places: Numbers) -> Numbers:
    """The highest value that each counter place stands for, in microseconds."""
    bucket = np.maximum((places >> HALF_BITS) - 1, 0)
    lowest = (places - (bucket << HALF_BITS)) << bucket
    highest: Numbers = lowest + (np.int64(1) << bucket) - 1
    return highest


def decoded(texts: Sequence[str]) -> Counted:
    """The sum of encoded histograms. Raises ConfigError when one of them is none of ours."""
    payloads = [_payload(text) for text in texts]
    data = np.frombuffer(b"".join(payloads), dtype=np.uint8)
    if not len(data):
        return Counted(np.zeros(0, np.int64), np.zeros(0, np.int64))
    lasts = np.flatnonzero(data < 128)
    firsts = np.concatenate(([0], lasts[:-1] + 1))
    widths = lasts - firsts + 1
    if int(widths.max()) > 8:
        raise ConfigError("not an HDR histogram: a count too large to be true")
    within = np.arange(len(data)) - np.repeat(firsts, widths)
    numbers = np.add.reduceat((data & 127).astype(np.int64) << (7 * within), firsts)
    numbers = (numbers >> 1) ^ -(numbers & 1)
    steps = np.where(numbers < 0, -numbers, 1)
    places = np.cumsum(steps) - steps
    # Each histogram's places begin at zero again.
    if len(payloads) > 1:
        lengths = np.array([len(payload) for payload in payloads if payload])
        begins = np.searchsorted(firsts, np.cumsum(lengths) - lengths)
        ends = np.append(begins[1:], len(numbers))
        places -= np.repeat(places[begins], ends - begins)
    used = numbers > 0
    return _summed(places[used], numbers[used])


def decoded_where_whole(texts: Sequence[str], damaged: list[str]) -> Counted:
    """As :func:`decoded`, without those that can't be read; ``damaged`` takes why each can't."""
    try:
        return decoded(texts)
    except ConfigError:
        whole = []
    for text in texts:
        try:
            decoded([text])
        except ConfigError as error:
            damaged.append(str(error))
        else:
            whole.append(text)
    return decoded(whole)


def combined(parts: Sequence[Counted]) -> Counted:
    """The sum of histograms."""
    if len(parts) == 1:
        return parts[0]
    return _summed(
        np.concatenate([part.places for part in parts]),
        np.concatenate([part.counts for part in parts]),
    )


def _summed(places: Numbers, counts: Numbers) -> Counted:
    """Places may come in any order and more than once."""
    if not len(places):
        return Counted(places, counts)
    order = np.argsort(places, kind="stable")
    places = places[order]
    if places[-1] >= PLACES:
        raise ConfigError("not an HDR histogram: a value out of range")
    new = np.empty(len(places), dtype=bool)
    new[0] = True
    np.not_equal(places[1:], places[:-1], out=new[1:])
    begins = np.flatnonzero(new)
    return Counted(places[begins], np.add.reduceat(counts[order], begins))


def _payload(text: str) -> bytes:
    try:
        raw = b64decode(text)
        cookie, length = struct.unpack_from(">ii", raw)
        payload = zlib.decompress(raw[8 : 8 + length])
        header = HEADER.unpack_from(payload)
    except (ValueError, struct.error, zlib.error) as error:
        raise ConfigError(f"not an HDR histogram: {error}") from error
    if cookie != COMPRESSED_COOKIE or header[0] != COOKIE:
        raise ConfigError("not an HDR histogram: unknown version")
    if header[2:5] != (0, DIGITS, LOWEST_US) or header[5] > HIGHEST_US:
        raise ConfigError("not a histogram of ours: other range or digits")
    body = payload[HEADER.size : HEADER.size + header[1]]
    if body and body[-1] >= 128:
        raise ConfigError("not an HDR histogram: cut short")
    return body
