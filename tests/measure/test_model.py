"""Corrected latency counts from the due time and is never smaller than the service time."""

from itertools import product
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.measure.model import Outcome, Phase, RunningTotals, Sample, latest_phase

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


def an_interval(**more: Any) -> dict[str, Any]:
    sessions = {"occupancy": 2, "opened": 5}
    ended = {"reply": {Outcome.OK: 3, "timeout": 1}}
    counts = {"duplicate": 1}
    row = {"sessions": sessions, "outcomes": ended, "counts": counts, "arrivals": {"due": 5}}
    return {**row, "phase": "running", **more}


def test_running_totals_add_up_intervals_and_keep_the_newest_of_each_process() -> None:
    totals = RunningTotals()
    assert (totals.phase, totals.errors) == ("", 0)
    totals.add("a", an_interval())
    totals.add("a", an_interval(sessions={"occupancy": 1, "opened": 6}, phase="clearing"))
    totals.add("b", an_interval())
    assert totals.total("sessions", "occupancy") == 3
    assert totals.total("sessions", "opened") == 11
    assert totals.arrivals == {"due": 15}
    assert totals.counts == {"duplicate": 3}
    assert totals.outcomes == {"reply": {"ok": 9, "timeout": 3}}
    assert (totals.errors, totals.phase) == (3, "clearing")


@pytest.mark.parametrize(
    "damage",
    [
        {"sessions": {"opened": "many"}},
        {"outcomes": {"reply": {"ok": None}}},
        {"counts": 5},
        {"arrivals": {"due": "5"}},
    ],
)
def test_a_damaged_interval_adds_nothing(damage: dict[str, Any]) -> None:
    totals = RunningTotals()
    totals.add("a", an_interval())
    before = (dict(totals.newest), totals.arrivals, totals.counts, totals.outcomes)
    with pytest.raises((TypeError, AttributeError)):
        totals.add("a", an_interval(**damage))
    assert (totals.newest, totals.arrivals, totals.counts, totals.outcomes) == before
