"""Hands each arrival, when it is due, to the slot that has been free for longest.

An arrival is taken from the schedule only then, so a slot that is stopped while it waits takes
nothing with it. When no slot is free the arrival waits for one, and starts late or is dropped.
"""

from collections import deque
from typing import Any

import gevent
from gevent.event import AsyncResult, Event
from locust.exception import StopUser

from harness.clock import monotonic_ns
from harness.load.arrivals import Arrivals


class Slots:
    """The free slots of one process, and the greenlet that wakes them."""

    def __init__(self, arrivals: Arrivals) -> None:
        self._arrivals = arrivals
        self._free: deque[tuple[AsyncResult[int], Any]] = deque()
        self._changed = Event()
        self._stopped = False
        self._usher = gevent.spawn(self._usher_forever)

    def next_arrival(self, user: Any = None) -> int:
        """Wait for the next arrival of this slot; when it was due. Raises StopUser at the end.

        ``user`` is the slot's Locust user: one that Locust is taking away gets no arrival.
        """
        if self._stopped or _leaving(user):
            raise StopUser
        # Those that wait in the queue would have been handed what is due now.
        take = self._arrivals.take if self._free else self._arrivals.take_late
        due_ns = take(monotonic_ns())
        if due_ns is not None:
            return due_ns
        place: AsyncResult[int] = AsyncResult()
        self._free.append((place, user))
        if len(self._free) == 1:
            self._changed.set()
        try:
            due_ns = place.get()
            assert due_ns is not None
            return due_ns
        except gevent.GreenletExit:
            if place.value is not None:  # handed out in this very turn of the loop
                self._arrivals.give_back(place.value)
                self._changed.set()
            raise
        finally:
            if not place.ready():
                self._free.remove((place, user))

    @property
    def any_free(self) -> bool:
        """Whether a slot is waiting for an arrival."""
        return bool(self._free)

    def look_again(self) -> None:
        """What is to come has changed, or a user is leaving."""
        for place, user in list(self._free):
            if _leaving(user):
                self._free.remove((place, user))
                place.set_exception(StopUser())
        self._changed.set()

    def stop(self) -> None:
        """No more arrivals: all that wait are sent home."""
        self._stopped = True
        self._usher.kill(block=False)
        while self._free:
            self._free.popleft()[0].set_exception(StopUser())

    def _usher_forever(self) -> None:
        while True:
            due_ns = self._arrivals.due_next_ns() if self._free else None
            if due_ns is None:
                self._changed.wait()
            else:
                self._changed.wait(max(0.0, (due_ns - monotonic_ns()) / 1e9))
            self._changed.clear()
            self._hand_out()

    def _hand_out(self) -> None:
        while self._free:
            due_ns = self._arrivals.take(monotonic_ns())
            if due_ns is None:
                return
            self._free.popleft()[0].set(due_ns)


def _leaving(user: Any) -> bool:
    """Whether Locust has asked this user to stop at the end of its task."""
    return getattr(user, "_state", "") == "stopping"
