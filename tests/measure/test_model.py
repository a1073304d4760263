"""Corrected latency counts from the due time and is never smaller than the service time."""

from itertools import product

from hypothesis import given
from hypothesis import strategies as st

from harness.measure.model import Phase, Sample, latest_phase

STAMP = st.integers(min_value=0, max_value=10**15)


def test_a_late_start_shows_in_the_corrected_latency_only() -> None:
    sample = Sample("delivered", due_ns=0, sent_ns=700, arrived_ns=1000, seen_ns=1300)
    assert (sample.service_ns, sample.corrected_ns) == (300, 1000)


def test_a_run_is_in_the_latest_phase_that_any_of_its_processes_is_in() -> None:
    order = list(Phase)
    for first, second in product(order, order):
        assert latest_phase([first, second]) is max(first, second, key=order.index)
    assert latest_phase(["", "unheard of", "paused"]) is Phase.PAUSED
    assert latest_phase([]) == ""


@given(due=STAMP, sent=STAMP, took=STAMP)
def test_corrected_is_never_smaller_than_service(due: int, sent: int, took: int) -> None:
    sample = Sample("reply", due, sent, sent + took, sent + took)
    assert sample.corrected_ns >= sample.service_ns
