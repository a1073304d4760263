"""Arrivals go to the slot that is free for longest, when they are due; none is lost with a slot."""

from collections import Counter
from random import Random
from types import SimpleNamespace

import gevent
import pytest
from locust.exception import StopUser
from processes import StoodStill

from harness.clock import monotonic_ns
from harness.judge.validity import MIN_MIX_CHANCE, chance_of
from harness.load.arrivals import Arrivals
from harness.load.dispatch import Mix, Slots
from harness.workload.arrivals import steady

S = 1_000_000_000


def slots_for(per_s: float, *, begins_in_s: float = 0.05) -> tuple[Arrivals, Slots]:
    arrivals = Arrivals(
        steady(per_second=per_s, over="60s"),
        start_ns=monotonic_ns() + int(begins_in_s * S),
        late_after_s=1,
        drop_after_s=2,
    )
    return arrivals, Slots(arrivals)


def test_slots_take_turns_and_nothing_comes_early() -> None:
    _, slots = slots_for(50)
    came: list[tuple[int, int, int]] = []

    def slot(number: int) -> None:
        while True:
            due_ns = slots.next_arrival()
            came.append((number, due_ns, monotonic_ns()))

    waiting = [gevent.spawn(slot, number) for number in range(3)]
    gevent.sleep(0.5)
    slots.stop()
    gevent.joinall(waiting)
    assert len(came) > 9
    if any(now_ns - due_ns > S / 50 for _, due_ns, now_ns in came):
        raise StoodStill("one arrival was taken when the next was due")
    assert [number for number, _, _ in came] == [n % 3 for n in range(len(came))]
    assert all(due_ns <= now_ns for _, due_ns, now_ns in came)
    dues = [due_ns for _, due_ns, _ in came]
    assert dues == sorted(set(dues))


def test_without_a_free_slot_an_arrival_waits_for_one() -> None:
    _, slots = slots_for(50, begins_in_s=-0.1)
    gevent.sleep(0)
    first = slots.next_arrival()
    second = slots.next_arrival()
    assert first < second <= monotonic_ns()
    slots.stop()


def test_a_slot_that_is_killed_while_it_waits_takes_nothing_with_it() -> None:
    arrivals, slots = slots_for(100, begins_in_s=0.1)
    waiting = [gevent.spawn(slots.next_arrival) for _ in range(5)]
    gevent.sleep(0)
    gevent.killall(waiting)
    due_ns = arrivals.due_next_ns()
    assert slots.next_arrival() == due_ns
    slots.stop()


def test_arrivals_that_wait_for_a_slot_are_dropped_in_time_and_their_cause_is_counted() -> None:
    arrivals, slots = slots_for(20, begins_in_s=-4)
    gevent.sleep(0.05)
    slots.look_again()
    assert arrivals.counts.dropped == pytest.approx(40, abs=3)
    assert slots.short == pytest.approx(20, abs=3)
    before = arrivals.counts.dropped
    gevent.sleep(0.3)
    due_ns = slots.next_arrival()
    assert monotonic_ns() - due_ns == pytest.approx(2 * S, rel=0.1)
    # Those that it had to drop, and this one, which is late.
    assert arrivals.counts.no_slot == pytest.approx(arrivals.counts.dropped - before + 1, abs=3)
    assert arrivals.counts.no_slot > 4
    slots.stop()


class Long(SimpleNamespace):
    pass


class Short(SimpleNamespace):
    pass


def test_the_class_of_an_arrival_does_not_depend_on_which_slot_is_free() -> None:
    mix = Mix({"Long": 0.5, "Short": 0.5}, Random(1))
    arrivals = Arrivals(
        steady(per_second=400, over="60s"), start_ns=monotonic_ns(), late_after_s=5, drop_after_s=9
    )
    slots, came = Slots(arrivals, mix), Counter[str]()

    def slot(user: SimpleNamespace, stay_s: float) -> None:
        mix.add_slot(type(user).__name__)
        while True:
            slots.next_arrival(user)
            came[type(user).__name__] += 1
            gevent.sleep(stay_s)

    # All the short ones are free first, and always again long before the long ones.
    waiting = [gevent.spawn(slot, Short(), 0) for _ in range(20)]
    waiting += [gevent.spawn(slot, Long(), 0.05) for _ in range(40)]
    gevent.sleep(1)
    slots.stop()
    gevent.joinall(waiting)
    assert sum(came.values()) > 200
    assert chance_of(came["Long"], sum(came.values()), 0.5) > MIN_MIX_CHANCE


def test_arrivals_of_a_class_whose_slots_never_ask_are_counted_apart() -> None:
    mix = Mix({"Long": 0.4, "Short": 0.4, "Absent": 0.2}, Random(1))
    arrivals = Arrivals(
        steady(per_second=40, over="60s"), start_ns=monotonic_ns(), late_after_s=0.2, drop_after_s=1
    )
    slots = Slots(arrivals, mix)
    mix.add_slot("Long")
    mix.add_slot("Short")

    def slot() -> None:
        while True:
            slots.next_arrival(Short())

    asking = gevent.spawn(slot)
    for _ in range(15):
        gevent.sleep(0.1)
        slots.look_again()
    never_asked, counts = slots.never_asked, arrivals.counts
    slots.stop()
    gevent.joinall([asking])
    assert never_asked.keys() == {"Long"}  # of the third there are no slots: it wants some
    assert 0 < counts.dropped < counts.dropped + slots.short
    assert never_asked["Long"] > 10


def test_what_was_handed_to_a_slot_that_is_killed_in_that_moment_comes_back() -> None:
    arrivals, slots = slots_for(100, begins_in_s=0.05)
    slot = gevent.spawn(slots.next_arrival)
    gevent.sleep(0)
    first = arrivals.due_next_ns()
    assert first is not None
    while monotonic_ns() < first:  # without giving the greenlet its turn
        pass
    slot.kill(block=False)
    slots._hand_out()
    gevent.joinall([slot])
    assert isinstance(slot.value, gevent.GreenletExit)
    assert slots.next_arrival() == first
    slots.stop()


def test_users_that_locust_takes_away_get_no_arrival_and_leave_at_once() -> None:
    _, slots = slots_for(1, begins_in_s=30)
    users = [SimpleNamespace(_state="running") for _ in range(2)]
    waiting = [gevent.spawn(slots.next_arrival, user) for user in users]
    gevent.sleep(0)
    users[0]._state = "stopping"
    slots.look_again()
    gevent.sleep(0)
    assert [slot.ready() for slot in waiting] == [True, False]
    slots.stop()
    gevent.joinall(waiting)
    assert all(isinstance(slot.exception, StopUser) for slot in waiting)
    with pytest.raises(StopUser):
        slots.next_arrival()
