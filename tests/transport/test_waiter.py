"""Waiting ends by the waiter or by the clock, and never twice."""

import gevent
import pytest

from harness.clock import monotonic_ns
from harness.transport.websocket import Waiter


def test_notified_ends_the_wait() -> None:
    waiter = Waiter()
    gevent.spawn_later(0.01, waiter.notify)
    assert waiter.wait(10) is True


def test_time_ends_the_wait() -> None:
    assert Waiter().wait(0.01) is False


def test_notified_with_nobody_waiting_is_not_remembered() -> None:
    waiter = Waiter()
    waiter.notify()
    assert waiter.wait(0.01) is False


def test_a_killed_wait_leaves_the_bell_usable() -> None:
    waiter = Waiter()
    killed = gevent.spawn(waiter.wait, 10)
    gevent.sleep(0)
    killed.kill()
    with pytest.raises(gevent.Timeout), gevent.Timeout(0.01):
        waiter.wait(10)
    gevent.spawn_later(0.01, waiter.notify)
    assert waiter.wait(10) is True


def test_ring_and_timer_in_the_same_turn_wake_once() -> None:
    waiter = Waiter()
    for _ in range(50):
        gevent.spawn_later(0.001, waiter.notify)
        waiter.wait(0.001)
    gevent.sleep(0.02)
    assert waiter.wait(0.01) is False


def test_a_ring_does_not_reach_into_another_wait_of_a_killed_greenlet() -> None:
    waiter, woken = Waiter(), []

    def visit() -> None:
        try:
            waiter.wait(10)
        finally:
            woken.append(gevent.sleep(0.05))

    greenlet = gevent.spawn(visit)
    gevent.sleep(0)
    greenlet.kill(block=False)
    waiter.notify()
    gevent.sleep(0.02)
    assert woken == []  # it still sleeps: there was nobody to notify
    greenlet.join(1)
    assert woken == [None]


def test_dozing_never_lasts_longer_than_asked() -> None:
    waiter = Waiter()
    started = monotonic_ns()
    waiter.wait(0.01)
    assert waiter.wait_until(monotonic_ns() + 20_000_000) is False
    gevent.spawn_later(0.001, waiter.notify)
    assert waiter.wait_until(monotonic_ns() + 10_000_000_000) is True
    waiter.wait_until(monotonic_ns() + 10_000_000)  # earlier than the timer that is still running
    assert monotonic_ns() - started < 5_000_000_000
    waiter.close()
    waiter.close()


def test_waking_from_the_event_loop_lets_go_at_once() -> None:
    waiter, order = Waiter(), []

    def visit() -> None:
        waiter.wait(10)
        order.append("story")
        gevent.sleep(0)

    def turn() -> None:
        waiter.wake()
        order.append("turn is over")
        waiter.wake()  # nobody waits any more

    greenlet = gevent.spawn(visit)
    gevent.sleep(0)
    gevent.get_hub().loop.run_callback(turn)
    greenlet.join(10)
    assert order == ["story", "turn is over"]
