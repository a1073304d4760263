"""Reading many histograms at once gives what the library gives one by one."""

import base64

import pytest
from examples import at_most
from hdrh.histogram import HdrHistogram
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import ConfigError
from harness.measure.histogram import (
    DIGITS,
    HIGHEST_US,
    LOWEST_US,
    PLACES,
    Histogram,
    combined,
    decoded,
)

DURATIONS = st.lists(st.integers(min_value=0, max_value=HIGHEST_US * 1000), max_size=30)
ASKED = (1, 50, 95, 99, 99.9, 100)


def of(durations_ns: list[int]) -> Histogram:
    histogram = Histogram()
    for duration in durations_ns:
        histogram.record_many_ns([duration])
    return histogram


@at_most(40)
@given(st.lists(DURATIONS, min_size=1, max_size=5))
def test_it_agrees_with_the_library(groups: list[list[int]]) -> None:
    whole = of([duration for group in groups for duration in group])
    texts = [of(group).encode() for group in groups if group]
    found = decoded(texts)
    assert list(found.buckets_us()) == list(whole.buckets_us())
    assert found.percentiles_ms(ASKED) == whole.percentiles_ms(ASKED)
    assert (found.count, found.max_ms) == (whole.count, whole.max_ms)


@at_most(40)
@given(st.lists(DURATIONS.filter(bool), min_size=1, max_size=5))
def test_combining_is_decoding_all(groups: list[list[int]]) -> None:
    texts = [of(group).encode() for group in groups]
    apart = combined([decoded([text]) for text in texts])
    assert list(apart.buckets_us()) == list(decoded(texts).buckets_us())


def test_large_counts_and_equal_values() -> None:
    histogram = Histogram()
    for _ in range(20_000):
        histogram.record_many_ns([1_000_000])
    found = decoded([histogram.encode()] * 3)
    assert (found.count, found.percentiles_ms([50])) == (60_000, histogram.percentiles_ms([50]))


def test_nothing_is_nothing_and_not_zero() -> None:
    empty = decoded([])
    assert (empty.count, empty.max_ms, empty.percentiles_ms([50])) == (0, None, [None])
    assert decoded([Histogram().encode()]).count == 0


def test_a_histogram_can_not_have_more_counters_than_thought() -> None:
    assert int(of([HIGHEST_US * 1000]).used()[0][-1]) < PLACES
    assert HdrHistogram(LOWEST_US, HIGHEST_US, DIGITS).counts_len == PLACES


@pytest.mark.parametrize("text", ["", "x", "HISTgarbage", base64.b64encode(b"a" * 80).decode()])
def test_garbage_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="not an HDR histogram"):
        decoded([text])


@at_most(100)
@given(st.data())
def test_a_damaged_text_is_refused_or_reads_the_same(data: st.DataObject) -> None:
    text = of([1_000_000, 5_000_000_000]).encode()
    place = data.draw(st.integers(0, len(text) - 1))
    letter = data.draw(st.sampled_from("ABCabc019+/= \n"))
    try:
        found = decoded([text[:place] + letter + text[place + 2 :]])
    except ConfigError:
        return
    assert list(found.buckets_us()) == list(decoded([text]).buckets_us())  # it holds a checksum
