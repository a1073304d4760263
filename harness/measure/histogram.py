"""A histogram of durations; the only place that touches the HDR library.

Three significant digits from 1 microsecond to a week (a soak's guests stay for hours). The library
drops values out of range without a word and spoils the minimum when an empty histogram is merged;
both are mended here.

Histograms read back from a log, many at once.

A day of intervals is millions of small histograms; the library needs a counter array of its own
for each. Here they are decoded together into what is not zero. The form is the standard one (HDR
V2: base64 of zlib of a header and zigzag LEB128 counts, negative ones standing for runs of zeros).
"""

import struct
import zlib
from base64 import b64decode
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import ceil
from weakref import proxy

import numpy as np
import numpy.typing as npt
from hdrh.histogram import HdrHistogram

from harness.errors import ConfigError

LOWEST_US = 1
HIGHEST_US = 7 * 86_400 * 1_000_000
DIGITS = 3


def rank(percent: float, count: int) -> int:
    """Which of so many values, counted from the lowest, is the percentile: so many per cent are
    not above it. (The library rounds, by which a percentile may lie below its share.)
    """
    return max(1, ceil(round(percent / 100 * count, 9)))


class Histogram:
    """Counts of durations. Recorded in nanoseconds, kept in microseconds, read in milliseconds."""

    __slots__ = ("_hdr", "out_of_range")

    def __init__(self) -> None:
        self._hdr = _without_cycle(HdrHistogram(LOWEST_US, HIGHEST_US, DIGITS))
        self.out_of_range = 0
        """Values above the highest; they are counted there and in the top bucket."""

    def record_ns(self, duration_ns: int) -> None:
        """Count one duration; less than a microsecond counts as one."""
        if not self._hdr.record_value(max(LOWEST_US, duration_ns // 1000)):
            self.out_of_range += 1
            self._hdr.record_value(HIGHEST_US)

    def record_many_ns(self, durations_ns: Sequence[int]) -> None:
        """Count them all; the same as one by one, at a fraction of the cost."""
        if not durations_ns:
            return
        hdr = self._hdr
        values = np.maximum(np.array(durations_ns, dtype=np.int64) // 1000, LOWEST_US)
        half_bits = hdr.sub_bucket_half_count_magnitude
        # frexp's exponent is the bit length, exactly so below 2**53 microseconds (285 years)
        bits = np.frexp(values | hdr.sub_bucket_mask)[1].astype(np.int64)
        bucket = bits - (half_bits + 1)
        places = (bucket << half_bits) + (values >> bucket)
        beyond = int(np.count_nonzero(places >= hdr.counts_len))
        if beyond:
            self.out_of_range += beyond
            hdr.record_value(HIGHEST_US, beyond)
            inside = places < hdr.counts_len
            places, values = places[inside], values[inside]
            if not len(values):
                return
        counts = np.frombuffer(hdr.counts, dtype=np.int64)
        np.add.at(counts, places, 1)
        hdr.total_count += len(values)
        hdr.min_value = min(hdr.min_value, int(values.min()))
        hdr.max_value = max(hdr.max_value, int(values.max()))

    @property
    def count(self) -> int:
        """How many durations are in it."""
        return int(self._hdr.total_count)

    def merge(self, other: "Histogram") -> None:
        """Add all of ``other``; the result is as if everything had been recorded here."""
        if other.count:
            self._hdr.add(other._hdr)
        self.out_of_range += other.out_of_range

    def percentiles_ms(self, quantiles: Sequence[float]) -> list[float | None]:
        """The duration in milliseconds at each percentile (0 to 100); None where nothing is known.

        100 is the highest recorded value, exactly to the histogram's digits.
        """
        if not self.count:
            return [None] * len(quantiles)
        values, counts = self._recorded()
        ranks = [rank(quantile, self.count) for quantile in quantiles]
        places = np.searchsorted(np.cumsum(counts), ranks)
        highest = self._hdr.get_max_value()
        return [min(int(value), highest) / 1000 for value in values[places]]

    def percentile_ms(self, quantile: float) -> float | None:
        """One of :meth:`percentiles_ms`."""
        return self.percentiles_ms([quantile])[0]

    def at_rank_ms(self, rank: int) -> float | None:
        """The duration in milliseconds with that rank (1 is the lowest); None when there is none.

        A rank beyond the highest gives the highest.
        """
        if not self.count:
            return None
        values, counts = self._recorded()
        place = int(np.searchsorted(np.cumsum(counts), min(max(1, rank), self.count)))
        return float(min(int(values[place]), self._hdr.get_max_value())) / 1000

    def count_up_to_ms(self, limit_ms: float) -> int:
        """How many durations are at most so long, to the histogram's digits."""
        if not self.count:
            return 0
        values, counts = self._recorded()
        limit_us = self._hdr.get_highest_equivalent_value(int(limit_ms * 1000))
        return int(counts[values <= limit_us].sum())

    def used(self) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Its counter places and the counts there, as :meth:`add_counts` takes them: a small copy
        of a histogram."""
        counts = np.frombuffer(self._hdr.counts, dtype=np.int64)
        places = np.flatnonzero(counts)
        return places, counts[places]

    def without(self, part: "Histogram") -> "Histogram":
        """What is left when ``part``, which is in it, is taken out."""
        left = Histogram()
        counts = np.frombuffer(self._hdr.counts, dtype=np.int64) - np.frombuffer(
            part._hdr.counts, dtype=np.int64
        )
        places = np.flatnonzero(counts > 0)
        left.add_counts(places, counts[places])
        return left

    @property
    def mean_ms(self) -> float | None:
        """The mean in milliseconds, each value taken as the middle of its bucket; None if empty."""
        if not self.count:
            return None
        values, counts = self._recorded()
        half_bits = self._hdr.sub_bucket_half_count_magnitude
        bits = np.frexp(values.astype(np.float64))[1].astype(np.int64)
        widths = 1 << np.maximum(bits - (half_bits + 1), 0)
        middles = values + 1 - widths + widths // 2
        return float((middles * counts).sum() / counts.sum()) / 1000

    @property
    def max_ms(self) -> float | None:
        """The highest value in milliseconds, None when empty."""
        return float(self._hdr.get_max_value()) / 1000 if self.count else None

    def count_above_ms(self, limit_ms: float) -> int:
        """How many durations are longer than that, to the histogram's digits."""
        if not self.count:
            return 0
        values, counts = self._recorded()
        return int(counts[values > limit_ms * 1000].sum())

    def buckets_us(self) -> Iterator[tuple[int, int]]:
        """(highest equivalent value in microseconds, count) of each bucket with something in it."""
        values, counts = self._recorded()
        yield from zip(values.tolist(), counts.tolist(), strict=True)

    def _recorded(self) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """The same as two arrays.

        The library walks its 31,000 counters one by one in Python for each such question, which
        is a hundred times slower than looking at the few that hold something.
        """
        counts = np.frombuffer(self._hdr.counts, dtype=np.int64)
        used = np.flatnonzero(counts)
        half_bits = self._hdr.sub_bucket_half_count_magnitude
        bucket = np.maximum((used >> half_bits) - 1, 0)
        lowest = (used - (bucket << half_bits)) << bucket
        return lowest + (1 << bucket) - 1, counts[used]

    def encode(self) -> str:
        """The standard compressed HDR form, base64."""
        return str(self._hdr.encode().decode("ascii"))

    def merge_encoded(self, text: str) -> None:
        """Merge what :meth:`encode` gave. Raises ConfigError when it is not a histogram."""
        try:
            self._hdr.add(_without_cycle(HdrHistogram.decode(text.encode("ascii"))))
        except Exception as error:  # the decoder raises whatever the bytes provoke
            raise ConfigError(f"not an HDR histogram: {error}") from error

    def add_counts(self, places: npt.NDArray[np.int64], counts: npt.NDArray[np.int64]) -> None:
        """Add counts at rising counter places, as :mod:`harness.measure.histogram` decodes them."""
        if not len(places):
            return
        held = np.frombuffer(self._hdr.counts, dtype=np.int64)
        if places[-1] >= len(held):
            raise ConfigError("not an HDR histogram: a value out of range")
        held[places] += counts
        hdr = self._hdr
        lowest = hdr.get_value_from_index(int(places[0]))
        highest = hdr.get_highest_equivalent_value(hdr.get_value_from_index(int(places[-1])))
        hdr.total_count += int(counts.sum())
        hdr.min_value = min(hdr.min_value, lowest)
        hdr.max_value = max(hdr.max_value, highest)


def _without_cycle(hdr: HdrHistogram) -> HdrHistogram:
    """The same histogram, freed as soon as nobody holds it.

    The library's histogram and its encoder hold each other; a process that makes some every second
    would grow by megabytes until Python looks for cycles, which it does ever more rarely.
    """
    hdr.encoder.histogram = proxy(hdr)
    return hdr


COOKIE = 0x1C849303 | 0x10
COMPRESSED_COOKIE = 0x1C849304 | 0x10
HEADER = struct.Struct(">iiiiqqd")
HALF_BITS = 10
"""A bucket has 2 ** 11 values at three digits, of which the upper half is not in the one before."""
PLACES = 33 * 1024
"""More counters than a histogram of ours can have."""

Numbers = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Counted:
    """A histogram as rising counter places and the counts there, none of them zero."""

    places: Numbers
    counts: Numbers

    @property
    def count(self) -> int:
        """How many durations are in it."""
        return int(self.counts.sum())

    @property
    def max_ms(self) -> float | None:
        """The highest value in milliseconds, None when empty."""
        return float(highest_us(self.places[-1:])[0]) / 1000 if len(self.places) else None

    def percentiles_ms(self, quantiles: Sequence[float]) -> list[float | None]:
        """The duration in milliseconds at each percentile (0 to 100); None when empty."""
        if not len(self.places):
            return [None] * len(quantiles)
        ends = np.cumsum(self.counts)
        ranks = [rank(quantile, int(ends[-1])) for quantile in quantiles]
        found = highest_us(self.places[np.searchsorted(ends, ranks)])
        return [float(value) / 1000 for value in found]

    def at_rank_ms(self, rank: int) -> float | None:
        """The so manieth of all durations from below, the highest where there are fewer."""
        if not len(self.places):
            return None
        ends = np.cumsum(self.counts)
        place = int(np.searchsorted(ends, min(rank, int(ends[-1]))))
        return float(highest_us(self.places[place : place + 1])[0]) / 1000

    def without(self, part: "Counted") -> "Counted":
        """All but the durations that are also in ``part``."""
        _, ours, theirs = np.intersect1d(self.places, part.places, return_indices=True)
        counts = self.counts.copy()
        counts[ours] -= part.counts[theirs]
        kept = counts > 0
        return Counted(self.places[kept], counts[kept])

    def buckets_us(self) -> Iterator[tuple[int, int]]:
        """(highest equivalent value in microseconds, count) of each bucket with something in it."""
        yield from zip(highest_us(self.places).tolist(), self.counts.tolist(), strict=True)


def highest_us(places: Numbers) -> Numbers:
    """The highest value that each counter place stands for, in microseconds."""
    bucket = np.maximum((places >> HALF_BITS) - 1, 0)
    lowest = (places - (bucket << HALF_BITS)) << bucket
    found: Numbers = lowest + (np.int64(1) << bucket) - 1
    return found


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
