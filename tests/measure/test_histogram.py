"""Nothing recorded is lost: not by its size, not by merging, not by encoding."""

import gc
from fractions import Fraction
from math import ceil
from weakref import ref

import pytest
from examples import at_most
from hdrh.histogram import HdrHistogram
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import ConfigError
from harness.measure.histogram import DIGITS, HIGHEST_US, LOWEST_US, Histogram, decoded
from harness.measure.model import COUNTERS

DURATIONS = st.lists(st.integers(min_value=0, max_value=HIGHEST_US * 1000), max_size=50)


def of(durations_ns: list[int]) -> Histogram:
    histogram = Histogram()
    for duration in durations_ns:
        histogram.record_many_ns([duration])
    return histogram


def test_empty_knows_nothing_rather_than_zero() -> None:
    empty = Histogram()
    assert empty.percentiles_ms([50, 99]) == [None, None]
    assert (empty.mean_ms, empty.max_ms, empty.count) == (None, None, 0)


def test_three_digits_hold() -> None:
    found = of([1_049_000_000]).percentile_ms(50)
    assert found == pytest.approx(1049, rel=1e-3)


def test_a_value_out_of_range_is_counted_and_kept_in_the_top_bucket() -> None:
    day_ns = 86_400 * 1_000_000_000
    histogram = of([12 * day_ns, 13 * day_ns])
    assert (histogram.count, histogram.out_of_range) == (2, 1)
    assert of([13 * day_ns]).max_ms == pytest.approx(7 * day_ns / 1e6, rel=1e-3)
    told = COUNTERS["out_of_range"]
    assert (told.many, told.more) == ("durations above twelve days", "kept as a week")


@at_most(25)
@given(DURATIONS, DURATIONS)
def test_merging_is_the_same_as_recording_everything_in_one(a: list[int], b: list[int]) -> None:
    merged = of(a)
    merged.merge(of(b))
    whole = of(a + b)
    assert list(merged.buckets_us()) == list(whole.buckets_us())
    assert merged.percentiles_ms([0, 50, 99.9, 100]) == whole.percentiles_ms([0, 50, 99.9, 100])


@at_most(25)
@given(DURATIONS)
def test_encoding_keeps_all(durations: list[int]) -> None:
    back = Histogram()
    if durations:
        back.merge_encoded(of(durations).encode())
    assert list(back.buckets_us()) == list(of(durations).buckets_us())


def test_garbage_is_refused() -> None:
    with pytest.raises(ConfigError, match="not an HDR histogram"):
        Histogram().merge_encoded("HISTgarbage")


@pytest.mark.slow
@at_most(5)
@given(DURATIONS.filter(bool))
def test_the_quick_reading_agrees_with_the_library_s_own(durations: list[int]) -> None:
    histogram = of(durations)
    library = HdrHistogram.decode(histogram.encode().encode())
    walked = [
        (item.value_iterated_to, item.count_at_value_iterated_to)
        for item in library.get_recorded_iterator()
    ]
    assert list(histogram.buckets_us()) == walked
    asked = [1, 50, 95, 99.9, 100]
    each = [value for value, many in walked for _ in range(many)]
    ranks = [max(1, ceil(len(each) * Fraction(str(q)) / 100)) for q in asked]
    highest = library.get_max_value()
    assert histogram.percentiles_ms(asked) == [min(each[r - 1], highest) / 1000 for r in ranks]


@at_most(25)
@given(DURATIONS.filter(bool), DURATIONS.filter(bool))
def test_adding_counts_is_merging(a: list[int], b: list[int]) -> None:
    added, merged = of(a), of(a)
    found = decoded([of(b).encode()])
    added.add(found)
    merged.merge(of(b))
    assert list(added.buckets_us()) == list(merged.buckets_us())
    assert (added.count, added.max_ms) == (merged.count, merged.max_ms)
    assert added.mean_ms == pytest.approx(merged.mean_ms)
    assert added.encode() == merged.encode()


@given(st.lists(st.integers(-(10**9), 3 * 7200 * 10**9), max_size=200))
def test_many_at_once_are_the_same_as_one_by_one(durations_ns: list[int]) -> None:
    single, many = Histogram(), Histogram()
    for duration_ns in durations_ns:
        single.record_many_ns([duration_ns])
    many.record_many_ns(durations_ns)
    assert many.encode() == single.encode()
    assert (many.count, many.out_of_range, many.max_ms, many.mean_ms) == (
        single.count,
        single.out_of_range,
        single.max_ms,
        single.mean_ms,
    )
    assert list(many.buckets_us()) == list(single.buckets_us())


@pytest.mark.slow
@at_most(5)
@given(DURATIONS)
def test_the_mean_is_the_librarys(durations_ns: list[int]) -> None:
    histogram = of(durations_ns)
    library = HdrHistogram.decode(histogram.encode().encode()).get_mean_value() / 1000
    assert (histogram.mean_ms or 0) == pytest.approx(library)


@at_most(25)
@given(DURATIONS)
def test_what_the_library_records_and_writes_is_the_same(durations_ns: list[int]) -> None:
    library = HdrHistogram(LOWEST_US, HIGHEST_US, DIGITS)
    for duration_ns in durations_ns:
        library.record_value(max(LOWEST_US, duration_ns // 1000))
    assert of(durations_ns).encode() == library.encode().decode()


def test_a_histogram_is_freed_at_once() -> None:
    histogram = full()
    histogram.merge_encoded(histogram.encode())
    gone = ref(histogram._counts)
    gc.disable()
    try:
        del histogram
        assert gone() is None
    finally:
        gc.enable()


def full() -> Histogram:
    histogram = Histogram()
    histogram.record_many_ns(range(1_000_000, 90_000_000, 100_000))
    return histogram
