"""A planted queue is found from its own percentiles; what is no queue is doubted."""

from random import Random

import pytest

from harness.errors import ConfigError
from harness.studies.capacity.models import fit_queue
from harness.studies.queueing import Queue


def percentiles(servers: int, service_s: float, loads: list[float], percent: float) -> list[float]:
    return [
        Queue(
            arrivals_per_s=load * servers / service_s, service_s=service_s, servers=servers
        ).response_percentile_s(percent)
        for load in loads
    ]


LOADS = [0.2, 0.4, 0.6, 0.8, 0.9]


@pytest.mark.parametrize(("servers", "service_s"), [(1, 0.1), (4, 0.05), (10, 0.3)])
def test_a_planted_queue_is_found_exactly(servers: int, service_s: float) -> None:
    rates = [load * servers / service_s for load in LOADS]
    found = fit_queue(rates, percentiles(servers, service_s, LOADS, 95), 95)
    assert found.servers == servers
    assert found.service_s == pytest.approx(service_s, rel=0.01)
    assert max(map(abs, found.residuals)) < 0.01
    assert found.doubts == ()
    (limit,) = percentiles(servers, service_s, [0.85], 95)
    assert found.rate_at(limit) == pytest.approx(0.85 * servers / service_s, rel=0.01)


def test_one_worker_has_the_textbooks_formula() -> None:
    # M/M/1 (Kleinrock, section 3.2): the response is exponential with mean 1 / (mu - lambda)
    rates = [1.0, 3.0, 6.0, 8.0]
    times = [2.995732 / (10 - rate) for rate in rates]  # p95: ln 20 means
    found = fit_queue(rates, times, 95)
    assert (found.servers, found.service_s) == (1, pytest.approx(0.1, rel=0.005))
    assert found.rate_at(2.995732) == pytest.approx(9, rel=0.005)


def test_with_errors_of_measurement_the_limit_is_still_near() -> None:
    rng = Random(3)
    rates = [load * 4 / 0.05 for load in LOADS]
    times = [time * rng.uniform(0.95, 1.05) for time in percentiles(4, 0.05, LOADS, 90)]
    (limit,) = percentiles(4, 0.05, [0.85], 90)
    assert fit_queue(rates, times, 90).rate_at(limit) == pytest.approx(0.85 * 80, rel=0.05)


def test_what_is_no_queue_is_doubted() -> None:
    flat_then_wall = fit_queue([10, 20, 30, 40, 50], [0.1, 0.1, 0.1, 0.1, 2.0], 95)
    assert "no such queue describes it" in flat_then_wall.doubts[0]
    few = fit_queue([1, 2, 3], percentiles(4, 0.05, [0.1, 0.2, 0.3], 95), 95)
    assert any("only 3 levels" in doubt for doubt in few.doubts)
    idle = fit_queue([1, 2, 3, 4], [0.15, 0.15, 0.15, 0.15], 95)
    assert any("their number is a guess" in doubt for doubt in idle.doubts)
    assert idle.rate_at(0.01) is None


@pytest.mark.parametrize(
    ("rates", "times"),
    [([1, 2], [1, 1]), ([1, 2, 2], [1, 1, 1]), ([1, 2, 0], [1, 1, 1]), ([1, 2, 3], [1, 1]),
     ([1, 2, 3], [1, 1, float("nan")])],
)  # fmt: skip
def test_nonsense_is_refused(rates: list[float], times: list[float]) -> None:
    with pytest.raises(ConfigError, match="queue: "):
        fit_queue(rates, times, 95)
