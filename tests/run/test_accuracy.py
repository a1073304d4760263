"""Reported times are the service's: against planted delays, and with a stalling generator."""

import pytest
from benchmarks.accuracy import Case, run_case

pytestmark = pytest.mark.process


def test_planted_delays_are_found_again() -> None:
    case = Case(name="exponential", delay="exponential:80ms", users=30, think="50ms")
    result = run_case(case, seconds=6)
    assert result.count > 500
    # The tight bounds are the benchmark's; here the machine may be busy with other things.
    for quantile in ("p50", "p90"):
        assert result.ours[quantile] == pytest.approx(result.planted[quantile], rel=0.08)
    assert result.ours["p50"] >= result.planted["p50"] - 1


def test_stalls_of_the_generator_show_as_lag_and_void_the_run_but_not_as_service_time() -> None:
    case = Case(name="stall", delay="50ms", users=20, think="20ms", stall=True)
    result = run_case(case, seconds=6)
    # A fifth of the time is stalled: were that taken for the service's, p99 would be near 200 ms.
    assert result.ours["p99"] < 1.6 * result.planted["p99"]
    assert result.lag_p99_ms > 100
    assert result.verdict == "INVALID"
