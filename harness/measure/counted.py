"""Histograms read back from a log, many at once.

A day of intervals is millions of small histograms; the library needs a counter array of its own
for each. Here they are decoded together into what is not zero. The form is the standard one (HDR
V2: base64 of zlib of a header and zigzag LEB128 counts, negative ones standing for runs of zeros).
"""

import struct
import zlib
from base64 import b64decode
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from harness.errors import ConfigError
from harness.measure.histogram import DIGITS, HIGHEST_US, LOWEST_US, rank

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
