"""Waiting ends by the bell or by the clock, and never twice."""

import gevent
import pytest

from harness.clock import monotonic_ns
from harness.transport.waiter import Bell


def test_ringing_ends_the_wait() -> None:
    bell = Bell()
    gevent.spawn_later(0.01, bell.ring)
    assert bell.wait(10) is True


def test_time_ends_the_wait() -> None:
    assert Bell().wait(0.01) is False


def test_ringing_with_nobody_waiting_is_not_remembered() -> None:
    bell = Bell()
    bell.ring()
    assert bell.wait(0.01) is False


def test_a_killed_wait_leaves_the_bell_usable() -> None:
    bell = Bell()
    killed = gevent.spawn(bell.wait, 10)
    gevent.sleep(0)
    killed.kill()
    with pytest.raises(gevent.Timeout), gevent.Timeout(0.01):
        bell.wait(10)
    gevent.spawn_later(0.01, bell.ring)
    assert bell.wait(10) is True


def test_ring_and_timer_in_the_same_turn_wake_once() -> None:
    bell = Bell()
    for _ in range(50):
        gevent.spawn_later(0.001, bell.ring)
        bell.wait(0.001)
    gevent.sleep(0.02)
    assert bell.wait(0.01) is False


def test_a_ring_does_not_reach_into_another_wait_of_a_killed_greenlet() -> None:
    bell, woken = Bell(), []

    def visit() -> None:
        try:
            bell.wait(10)
        finally:
            woken.append(gevent.sleep(0.05))

    greenlet = gevent.spawn(visit)
    gevent.sleep(0)
    greenlet.kill(block=False)
    bell.ring()
    gevent.sleep(0.02)
    assert woken == []  # it still sleeps: the ring found nobody
    greenlet.join(1)
    assert woken == [None]


def test_dozing_never_lasts_longer_than_asked() -> None:
    bell = Bell()
    started = monotonic_ns()
    bell.wait(0.01)
    assert bell.doze(monotonic_ns() + 20_000_000) is False
    gevent.spawn_later(0.001, bell.ring)
    assert bell.doze(monotonic_ns() + 10_000_000_000) is True
    bell.doze(monotonic_ns() + 10_000_000)  # earlier than the timer that is still running
    assert monotonic_ns() - started < 5_000_000_000
    bell.close()
    bell.close()


def test_waking_from_the_event_loop_lets_go_at_once() -> None:
    bell, order = Bell(), []

    def visit() -> None:
        bell.wait(10)
        order.append("story")
        gevent.sleep(0)

    def turn() -> None:
        bell.wake()
        order.append("turn is over")
        bell.wake()  # nobody waits any more

    greenlet = gevent.spawn(visit)
    gevent.sleep(0)
    gevent.get_hub().loop.run_callback(turn)
    greenlet.join(10)
    assert order == ["story", "turn is over"]
