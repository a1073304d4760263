"""Percentiles are the sample's own; their intervals enclose the true one as often as they say."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import ConfigError
from harness.measure.statistics import Counts

histograms = st.lists(
    st.tuples(st.floats(min_value=0, max_value=1e6), st.integers(min_value=0, max_value=30)),
    max_size=20,
)


@given(histograms, st.floats(min_value=0.1, max_value=99.9))
def test_a_percentile_is_that_of_all_values_written_out(
    buckets: list[tuple[float, int]], percent: float
) -> None:
    values = sorted(value for value, count in buckets for _ in range(count))
    found = Counts(buckets).percentile(percent)
    if not values:
        assert found is None
        return
    at_most = sum(value <= found for value in values) / len(values)
    below = sum(value < found for value in values) / len(values)
    assert below < percent / 100 + 1e-9
    assert at_most >= percent / 100 - 1e-9


@given(histograms, st.sampled_from([5.0, 50.0, 95.0, 99.0]))
def test_the_interval_encloses_the_figure(buckets: list[tuple[float, int]], percent: float) -> None:
    found = Counts(buckets).estimate(percent)
    if found.figure is None:
        assert not found.enough
        return
    assert found.low is None or found.low <= found.figure
    assert found.high is None or found.high >= found.figure


@pytest.mark.slow
@pytest.mark.parametrize(("percent", "count"), [(50.0, 40), (95.0, 300), (99.0, 2000)])
def test_intervals_enclose_the_true_percentile_as_often_as_stated(
    percent: float, count: int
) -> None:
    rng = np.random.default_rng(20)
    true = np.exp(0.8 * float(np.quantile(rng.normal(size=2_000_000), percent / 100)))
    hits = 0
    for _ in range(600):
        drawn = np.exp(0.8 * rng.normal(size=count))
        found = Counts((float(value), 1) for value in drawn).estimate(percent, confidence=0.9)
        assert found.low is not None
        assert found.high is not None
        hits += found.low <= true <= found.high
    assert hits / 600 >= 0.9 - 3 * np.sqrt(0.9 * 0.1 / 600)
    assert hits / 600 < 0.97  # nor is it far too wide


@pytest.mark.parametrize(
    ("count", "low", "high"), [(10, 2, 9), (20, 6, 15), (25, 8, 18), (30, 10, 21), (50, 18, 33)]
)
def test_the_ranks_are_those_of_the_published_table(count: int, low: int, high: int) -> None:
    # Ranks that enclose a median with 95 %, as tabulated by D. G. Altman and others, Statistics
    # with Confidence (2000); they follow from the binomial distribution.
    found = Counts((float(value), 1) for value in range(1, count + 1)).estimate(50)
    assert (found.low, found.high) == (low, high)


def test_too_few_values_have_no_interval() -> None:
    # the sample's extremes enclose the median of 5 with probability 1 - 2/32, of 6 with 1 - 2/64
    few, enough = (Counts([(value, 1) for value in range(count)]) for count in (5, 6))
    assert not few.estimate(50).enough
    assert enough.estimate(50).enough
    assert Counts([(1.0, 367)]).estimate(99).high is None
    assert Counts([(1.0, 368)]).estimate(99).high == 1


def test_nothing_recorded_is_not_zero() -> None:
    found = Counts([]).estimate(95)
    assert (found.figure, found.low, found.high, found.count) == (None, None, None, 0)


@pytest.mark.parametrize(
    "nonsense",
    [
        lambda: Counts([(1.0, -1)]),
        lambda: Counts([(float("nan"), 1)]),
        lambda: Counts([(1.0, 1)]).percentile(0),
        lambda: Counts([(1.0, 1)]).percentile(100),
        lambda: Counts([(1.0, 1)]).estimate(50, confidence=1),
    ],
)
def test_nonsense_is_refused(nonsense: object) -> None:
    assert callable(nonsense)
    with pytest.raises(ConfigError):
        nonsense()
