"""Waiting ends by the bell or by the clock, and never twice."""

import gevent
import pytest

from harness.transport.bell import Bell


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
