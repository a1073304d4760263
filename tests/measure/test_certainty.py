"""Bounds of shares and percentiles agree with the reference, and say what they promise."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import beta, binom

from harness.measure.statistics import (
    at_most,
    rank_bounds,
    samples_needed,
    samples_to_decide,
    share_bounds,
)


@given(st.integers(1, 100_000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_bounds_of_a_share_are_those_of_clopper_and_pearson(seen: tuple[int, int]) -> None:
    hits, whole = seen
    low, high = share_bounds(hits, whole)
    exact_low = beta.ppf(0.05, hits, whole - hits + 1) if hits else 0
    exact_high = beta.ppf(0.95, hits + 1, whole - hits) if hits < whole else 1
    assert low == pytest.approx(float(exact_low), rel=1e-7, abs=1e-12)
    assert high == pytest.approx(float(exact_high), rel=1e-7, abs=1e-12)


@given(st.integers(1, 10**6), st.floats(1e-6, 1 - 1e-6), st.floats(0, 1))
def test_the_probability_of_at_most_so_many(whole: int, share: float, part: float) -> None:
    hits = int(part * whole)
    assert at_most(hits, whole, share) == pytest.approx(
        float(binom.cdf(hits, whole, share)), rel=1e-6, abs=1e-9
    )


def test_no_error_of_a_hundred_is_up_to_three_per_cent() -> None:
    assert f"{share_bounds(0, 100)[1]:.1%}" == "3.0%"


@pytest.mark.parametrize(("percent", "needed"), [(50, 2), (95, 20), (99, 100), (99.9, 1000)])
def test_samples_that_a_percentile_needs(percent: float, needed: int) -> None:
    assert samples_needed(percent) == needed


@given(st.sampled_from([50.0, 90.0, 95.0, 99.0, 99.9]), st.integers(1, 20_000))
def test_ranks_enclose_a_percentile_as_surely_as_they_say(percent: float, whole: int) -> None:
    low, high = rank_bounds(percent, whole)
    share = percent / 100
    if low is not None:  # it is at least that sample: so many samples or more lie below it
        assert binom.sf(low - 1, whole, share) >= 0.95 - 1e-9
        assert binom.sf(low, whole, share) < 0.95
    if high is not None:
        assert binom.cdf(high - 1, whole, share) >= 0.95 - 1e-9
        assert binom.cdf(high - 2, whole, share) < 0.95
    assert low is None or high is None or low <= high


def test_twenty_samples_do_not_bound_a_p95_from_above_but_sixty_do() -> None:
    assert rank_bounds(95, 20)[1] is None
    assert rank_bounds(95, 58)[1] is None
    assert rank_bounds(95, 59)[1] == 59


def test_how_many_more_samples_would_decide() -> None:
    assert samples_to_decide(0, 100, 0.01, below=True) == 199  # the rule of three: 299 in all
    assert share_bounds(0, 299)[1] < 0.01
    assert samples_to_decide(0, 1000, 0.01, below=True) == 0
    assert samples_to_decide(2, 100, 0.01, below=True) is None
    assert samples_to_decide(1, 100, 0.01, below=True) is None
    assert samples_to_decide(99, 100, 0.9, below=False) == 0
    assert samples_to_decide(50, 100, 0.9, below=False) is None
