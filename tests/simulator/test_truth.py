"""The account's own arithmetic."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.simulator.truth import Delays, Tally, Truth


def test_open_is_opened_less_every_way_of_ending() -> None:
    tally = Tally(sessions_opened=10, sessions_cleared=3, sessions_expired=2, sessions_replaced=1)
    assert tally.figures()["sessions"] == {
        "opened": 10,
        "cleared": 3,
        "expired": 2,
        "replaced": 1,
        "open": 4,
    }


@given(st.lists(st.floats(0, 100), min_size=1, max_size=300))
def test_percentiles_of_delays_are_right_to_a_two_thousandth(values: list[float]) -> None:
    delays = Delays()
    for value in values:
        delays.add(value)
    for share in (0.5, 0.95, 1.0):
        exact = sorted(values)[max(-int(-share * len(values) // 1), 1) - 1] * 1000
        assert delays.percentile(share) == pytest.approx(exact, rel=0.00051, abs=0.0011)
    assert sum(delays.figures()["buckets_ms"].values()) == len(values)


def test_names_are_counted_and_delays_kept_by_operation() -> None:
    truth = Truth()
    truth.count("a")
    truth.count("a")
    truth.delay("reply", 0.05)
    assert truth.counts == {"a": 2}
    assert truth.delays["reply"].figures()["mean_ms"] == pytest.approx(50)
