"""Queueing formulas against published tables, closed forms and each other."""

from math import exp, inf, log

import numpy as np
import pytest
from examples import at_most
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import poisson

from harness.errors import ConfigError
from harness.studies.queueing import (
    ImpatientQueue,
    Queue,
    at_once_percentile,
    erlang_b,
    erlang_c,
    poisson_quantile,
    servers_needed,
)


@pytest.mark.parametrize(
    ("servers", "load"),
    # Offered traffic at 1 % blocking, from the Erlang B tables that telephone engineers use
    # (e.g. Siemens, "Telephone traffic theory: tables and charts", 1970).
    [(1, 0.0101), (5, 1.36), (10, 4.46), (20, 12.0), (50, 37.9), (100, 84.1)],
)
def test_erlang_b_of_the_published_tables(servers: int, load: float) -> None:
    assert erlang_b(load, servers) == pytest.approx(0.01, rel=0.03)


def test_erlang_b_of_ten_erlangs_on_ten_servers() -> None:
    assert erlang_b(10, 10) == pytest.approx(0.2146, abs=5e-5)  # same tables


def test_the_worked_example_of_mitans_erlang_c_page() -> None:
    # "The Erlang-C formula", mitan.co.uk: 360 calls per half hour, 4 minutes, 55 agents
    queue = Queue(arrivals_per_s=360 / 1800, service_s=240, servers=55)
    assert queue.load == pytest.approx(48)
    assert queue.wait_probability == pytest.approx(0.239, abs=5e-4)
    assert queue.mean_wait_s == pytest.approx(8.2, abs=0.05)
    assert queue.served_within(15) == pytest.approx(0.846, abs=5e-4)


def test_the_worked_example_of_call_centre_helper() -> None:
    # "Erlang C formula made simple", callcentrehelper.com: 200 calls an hour, 3 minutes, 14 agents
    queue = Queue(arrivals_per_s=200 / 3600, service_s=180, servers=14)
    assert queue.wait_probability == pytest.approx(0.1741, abs=5e-5)
    assert queue.served_within(20) == pytest.approx(0.888, abs=5e-4)
    assert queue.mean_wait_s == pytest.approx(7.8, abs=0.05)
    assert queue.utilisation == pytest.approx(0.714, abs=5e-4)


@given(st.floats(min_value=0.01, max_value=0.99))
def test_one_and_two_servers_have_closed_forms(rho: float) -> None:
    assert erlang_c(rho, 1) == pytest.approx(rho)
    assert erlang_c(2 * rho, 2) == pytest.approx(2 * rho * rho / (1 + rho))
    alone = Queue(arrivals_per_s=rho / 3, service_s=3, servers=1)
    assert alone.mean_wait_s + 3 == pytest.approx(3 / (1 - rho))
    # M/M/1's response time is exponential
    assert alone.response_above(5) == pytest.approx(exp(-5 * (1 - rho) / 3))
    assert alone.response_percentile_s(95) == pytest.approx(-log(0.05) * 3 / (1 - rho))


queues = st.builds(
    lambda servers, rho, service: Queue(
        arrivals_per_s=servers * rho / service, service_s=service, servers=servers
    ),
    st.integers(min_value=1, max_value=300),
    st.floats(min_value=0.01, max_value=0.995),
    st.floats(min_value=0.01, max_value=600),
)


@given(queues, st.floats(min_value=1, max_value=99.9))
def test_percentiles_invert_the_tails(queue: Queue, percent: float) -> None:
    above = 1 - percent / 100
    response = queue.response_percentile_s(percent)
    assert queue.response_above(response) == pytest.approx(above, rel=1e-6)
    assert 1 - queue.served_within(response) <= above


@at_most(25)
@given(queues)
def test_the_mean_response_is_the_area_under_its_tail(queue: Queue) -> None:
    top = queue.response_percentile_s(99.9999)
    step = top / 1000
    area = sum(queue.response_above((i + 0.5) * step) for i in range(1000)) * step
    assert area == pytest.approx(queue.mean_wait_s + queue.service_s, rel=2e-3)


def test_as_fast_as_the_drain_is_no_special_case() -> None:
    queue = Queue(arrivals_per_s=1, service_s=1, servers=2)  # drains at exactly the service rate
    close = Queue(arrivals_per_s=1 + 1e-9, service_s=1, servers=2)
    assert queue.response_above(2) == pytest.approx(close.response_above(2))


def test_an_overloaded_queue_grows_without_end() -> None:
    queue = Queue(arrivals_per_s=4, service_s=1, servers=4)
    assert queue.wait_probability == 1
    assert queue.mean_wait_s == queue.response_percentile_s(95) == inf
    assert queue.served_within(60) == 0
    assert queue.served_within(1e9) == 0


@given(
    st.integers(min_value=1, max_value=200),
    st.floats(min_value=0.1, max_value=3),
    st.floats(min_value=0.1, max_value=100),
)
def test_erlang_a_with_patience_like_service_is_a_poisson_count(
    servers: int, pressure: float, service_s: float
) -> None:
    # Then everybody leaves at the same rate, waiting or served: M/M/infinity in numbers.
    load = servers * pressure
    queue = ImpatientQueue(
        arrivals_per_s=load / service_s, service_s=service_s, servers=servers, patience_s=service_s
    )
    assert queue.wait_probability == pytest.approx(poisson.sf(servers - 1, load), rel=1e-6)
    above = np.arange(servers, 5 * servers + 400)
    waiting = float(((above - servers) * poisson.pmf(above, load)).sum())
    assert queue.mean_wait_s * queue.arrivals_per_s == pytest.approx(waiting, rel=1e-6, abs=1e-9)
    assert queue.served_within(1e4 * service_s) + queue.abandon_probability == pytest.approx(1)


@given(queues)
def test_erlang_a_lies_between_erlang_b_and_erlang_c(queue: Queue) -> None:
    def with_patience(patience_s: float) -> ImpatientQueue:
        return ImpatientQueue(
            arrivals_per_s=queue.arrivals_per_s,
            service_s=queue.service_s,
            servers=queue.servers,
            patience_s=patience_s,
        )

    hasty = with_patience(queue.service_s * 1e-7 / queue.servers)
    assert hasty.abandon_probability == pytest.approx(
        erlang_b(queue.load, queue.servers), rel=1e-4, abs=1e-12
    )
    calm = with_patience(queue.service_s * 1e6)
    assert calm.wait_probability == pytest.approx(queue.wait_probability, rel=0.02, abs=1e-12)
    # how many are served at once or within a time t agrees with Erlang C's wait
    assert calm.served_within(queue.service_s) == pytest.approx(
        queue.served_within(queue.service_s), abs=0.005
    )


def test_a_badly_overloaded_queue_serves_what_it_can() -> None:
    queue = ImpatientQueue(arrivals_per_s=5000, service_s=1, servers=4, patience_s=60)
    assert queue.abandon_probability == pytest.approx(1 - 4 / 5000)
    assert queue.utilisation == pytest.approx(1)
    assert queue.served_within(1) < 1e-9


@given(st.floats(min_value=0.05, max_value=400))
def test_servers_needed_is_the_smallest_that_is_enough(load: float) -> None:
    def enough(servers: int) -> bool:
        return erlang_c(load, servers) <= 0.2

    servers = servers_needed(load, enough)
    assert enough(servers)
    assert servers == 1 or not enough(servers - 1)


@given(queues)
@pytest.mark.rates
def test_at_once_are_as_many_as_littles_law_says(queue: Queue) -> None:
    # the percentiles of a number add up to its mean
    shares = [(i + 0.5) / 400 for i in range(400)]
    mean = sum(at_once_percentile(queue, 3.0, share) for share in shares) / 400
    load = queue.load + queue.arrivals_per_s * queue.mean_wait_s + 3
    assert mean == pytest.approx(load, rel=0.03, abs=0.05)


def test_without_waiting_guests_at_once_are_poisson() -> None:
    queue = Queue(arrivals_per_s=0.5, service_s=20, servers=200)
    assert at_once_percentile(queue, 5.0, 0.999) == poisson.ppf(0.999, 15)
    patient = ImpatientQueue(arrivals_per_s=0.5, service_s=20, servers=1, patience_s=20)
    # who waits leaves as fast as who is served: as with servers for all
    assert at_once_percentile(patient, 5.0, 0.999) == poisson.ppf(0.999, 15)


@pytest.mark.parametrize(
    "nonsense",
    [
        lambda: Queue(arrivals_per_s=0, service_s=1, servers=1),
        lambda: Queue(arrivals_per_s=1, service_s=-1, servers=1),
        lambda: Queue(arrivals_per_s=float("nan"), service_s=1, servers=1),
        lambda: Queue(arrivals_per_s=1, service_s=1, servers=0),
        lambda: Queue(arrivals_per_s=1, service_s=1, servers=10**9),
        lambda: ImpatientQueue(arrivals_per_s=1, service_s=1, servers=1, patience_s=0),
        lambda: Queue(arrivals_per_s=1, service_s=2, servers=4).response_percentile_s(100),
        lambda: erlang_b(-1, 2),
        lambda: servers_needed(5, lambda _: False),
        lambda: servers_needed(5e6, lambda _: True),
    ],
)
def test_nonsense_is_refused(nonsense: object) -> None:
    assert callable(nonsense)
    with pytest.raises(ConfigError):
        nonsense()


@given(share=st.floats(0.01, 0.9999), mean=st.floats(0, 1e5))
def test_how_many_come_at_most_by_chance(share: float, mean: float) -> None:
    assert poisson_quantile(share, mean) == poisson.ppf(share, mean)
