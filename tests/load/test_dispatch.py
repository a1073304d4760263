"""Who may come in: up to the cap and not one more, not in a pause, and nobody after the end."""

import sys
from typing import Any

import gevent
import pytest
from gevent.event import Event
from locust.exception import StopUser

from harness.clock import monotonic_ns
from harness.load.arrivals import Arrivals
from harness.load.dispatch import Dispatcher
from harness.workload.arrivals import steady
from tests.turns import turns

S = 1_000_000_000


def open_workload(per_s: float = 50) -> Arrivals:
    return Arrivals(
        steady(per_second=per_s, over="60s"),
        start_ns=monotonic_ns(),
        late_after_s=1,
        drop_after_s=2,
    )


def slots_at(dispatcher: Dispatcher, number: int, came: list[int], stay_s: float = 0) -> list[Any]:
    """So many slots, each with one guest after the other; all of them have asked for the first."""
    asking: list[int] = []

    def slot() -> None:
        asking.append(1)
        while True:
            try:
                came.append(dispatcher.next_arrival())
            except StopUser:
                return
            gevent.sleep(stay_s)

    slots = [gevent.spawn(slot) for _ in range(number)]
    while len(asking) < number:  # on a busy machine that takes several turns of the loop
        gevent.sleep(0)
    return slots


def test_the_cap_holds_however_many_ask_at_once() -> None:
    dispatcher, came = Dispatcher(None, max_sessions=25), []
    slots = slots_at(dispatcher, 10, came, 0.001)
    with gevent.Timeout(20):
        while len(came) < 25:
            gevent.sleep(0.01)
    gevent.sleep(0.3)
    assert len(came) == 25
    assert not any(slot.ready() for slot in slots), "who waits at the cap keeps its place"
    assert dispatcher.since_last(monotonic_ns())["started"] == 25
    assert dispatcher.counts.at_cap
    dispatcher.close()
    gevent.joinall(slots, timeout=5, raise_error=True)
    assert len(came) == 25


def test_a_cap_of_nought_lets_nobody_in() -> None:
    dispatcher, came = Dispatcher(None, max_sessions=0), []
    slots = slots_at(dispatcher, 3, came)
    gevent.sleep(0.1)
    dispatcher.close()
    gevent.joinall(slots, timeout=5, raise_error=True)
    assert came == []


@pytest.mark.parametrize("arrivals", [None, open_workload], ids=["closed", "open"])
def test_nobody_comes_in_during_a_pause(arrivals: Any) -> None:
    dispatcher, came = Dispatcher(None if arrivals is None else arrivals()), []
    slots = slots_at(dispatcher, 2, came, 0.01)
    gevent.sleep(0.3)
    dispatcher.pause(True)
    gevent.sleep(0.1)
    before = len(came)
    assert before > 0
    gevent.sleep(0.3)
    assert len(came) == before
    dispatcher.pause(False)
    gevent.sleep(0.3)
    assert len(came) > before
    dispatcher.close()
    gevent.joinall(slots, timeout=5, raise_error=True)


def test_a_pause_does_not_outlive_the_end() -> None:
    dispatcher, came = Dispatcher(None), []
    dispatcher.pause(True)
    slots = slots_at(dispatcher, 2, came)
    gevent.sleep(0.05)
    dispatcher.close()
    gevent.joinall(slots, timeout=5, raise_error=True)
    assert came == []
    assert dispatcher.shut
    with pytest.raises(StopUser):
        dispatcher.next_arrival()


def test_counts_are_told_as_they_grow() -> None:
    dispatcher, came = Dispatcher(open_workload(100)), []
    slots = slots_at(dispatcher, 5, came)
    told = []
    for _ in range(3):
        gevent.sleep(0.2)
        told.append(dispatcher.since_last(monotonic_ns()))
    dispatcher.close()
    gevent.joinall(slots, timeout=5, raise_error=True)
    told.append(dispatcher.since_last(monotonic_ns()))
    assert sum(one["started"] for one in told) == len(came) > 30
    assert all(count >= 0 for one in told for count in one.values())


def test_a_closed_workload_keeps_the_highest_rate() -> None:
    dispatcher, came, ticks = Dispatcher(None, max_per_s=50), [], 0
    began_ns = monotonic_ns()
    slots = slots_at(dispatcher, 20, came)
    while monotonic_ns() < began_ns + S:
        gevent.sleep(0.02)  # of a machine that stands still we miss as many as the guests do
        ticks += 1
    dispatcher.close()
    gevent.joinall(slots, timeout=5, raise_error=True)
    took_s = (monotonic_ns() - began_ns) / 1e9
    early = [n for n, at_ns in enumerate(sorted(came)) if at_ns - began_ns < n * 0.02e9 - 2e6]
    assert early == [], "sooner than the rate lets them"
    assert len(came) > 0.4 * ticks
    held_s = dispatcher.since_last(monotonic_ns())["held_ms"] / 1000
    assert held_s > 10 * took_s, "nineteen of the slots stood empty nearly all the time"


def test_a_closed_workload_within_the_highest_rate_is_not_held_back() -> None:
    dispatcher, came = Dispatcher(None, max_per_s=20), []
    slots = slots_at(dispatcher, 1, came, 0.06)  # for longer than the 50 ms from one to the next
    with gevent.Timeout(20):
        while len(came) < 6:
            gevent.sleep(0.01)
    dispatcher.close()
    gevent.joinall(slots, timeout=5, raise_error=True)
    assert dispatcher.since_last(monotonic_ns())["held_ms"] == 0


@pytest.mark.parametrize("open_one", [True, False], ids=["open", "closed"])
def test_who_waits_for_leave_has_not_begun_and_the_wait_counts(open_one: bool) -> None:
    leave, came = Event(), list[int]()

    def await_leave() -> None:
        leave.wait()
        if dispatcher.shut:
            raise StopUser

    arrivals = open_workload(1000) if open_one else None
    dispatcher = Dispatcher(arrivals, await_leave=await_leave)
    slots = slots_at(dispatcher, 3, came, stay_s=60)
    gevent.sleep(1.2)
    assert (dispatcher.begun, dispatcher.counts.started) == (0, 0)
    leave.set()
    with gevent.Timeout(20):
        while len(came) < 3:
            gevent.sleep(0.01)
    counts = dispatcher.counts
    assert counts.started == 3
    assert counts.late == 3 if open_one else counts.held_ms > 3 * 1_000
    gevent.killall(slots)
    leave.clear()
    slots = slots_at(dispatcher, 2, came, stay_s=60)
    gevent.sleep(0.1)
    dispatcher.close()
    leave.set()
    gevent.joinall(slots, timeout=5, raise_error=True)
    assert (counts.started, len(came)) == (3, 3), "who did not come has not started"


def test_who_waits_has_not_begun() -> None:
    dispatcher = Dispatcher(open_workload(0.001))
    slots = slots_at(dispatcher, 5, [])
    gevent.sleep(0.1)
    assert dispatcher.begun == 1  # the first arrival is due at once
    dispatcher.close()
    gevent.joinall(slots, timeout=5, raise_error=True)


def test_free_slots_are_ended_a_few_at_a_time() -> None:
    """A spike has slots by the thousand: guests in session need their turns of the loop."""
    dispatcher = Dispatcher(open_workload(per_s=0.01))
    slots, portions, last = slots_at(dispatcher, 1000, []), [], 0
    gevent.sleep(0.1)  # the guest who was due at once has gone
    # On a busy machine gevent would put off what is left of a portion, and two would meet.
    interval_s = sys.getswitchinterval()
    sys.setswitchinterval(60)
    try:
        dispatcher.close()
        while last < len(slots):
            gevent.sleep(0.0001)  # sooner than the next portion
            gone = sum(slot.ready() for slot in slots)
            portions.append(gone - last)
            last = gone
    finally:
        sys.setswitchinterval(interval_s)
    dispatcher.await_ended()
    assert max(portions) <= 50


@pytest.mark.parametrize("limit", [{"max_per_s": 0.01}, {"max_sessions": 1}])
def test_slots_that_are_held_back_are_ended_a_few_at_a_time(limit: dict[str, Any]) -> None:
    dispatcher, came = Dispatcher(None, **limit), []
    slots = slots_at(dispatcher, 1000, came, stay_s=60)
    assert len(came) == 1
    with turns(lambda: sum(slot.ready() for slot in slots)) as counted:
        dispatcher.close()
        gevent.joinall(slots, timeout=5, count=999)
    assert sum(counted.portions) == 999
    assert max(counted.portions) <= 100
    gevent.killall(slots)


def test_after_a_pause_slots_go_on_a_few_at_a_time() -> None:
    dispatcher, came = Dispatcher(None), []
    dispatcher.pause(True)
    slots = slots_at(dispatcher, 1000, came, stay_s=60)
    with turns(lambda: len(came)) as counted:
        dispatcher.pause(False)
        with gevent.Timeout(20):
            while len(came) < 1000:
                gevent.sleep(0)
    assert max(counted.portions) <= 100
    gevent.killall(slots)
