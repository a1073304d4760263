"""Which guests may come in, and when: by the schedule or a free slot, the cap on sessions, a pause,
and the end of the run.

A due arrival goes to the slot of its class that has been free for longest. If none is free, it
waits for one, and starts late or is dropped. Its class is drawn by weight: if it went to any free
slot, the class with the shortest stories would get more than its weight.

The occupancy is the number of guests in session; the length of each session is counted too.
"""

from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from random import Random
from typing import Any

import gevent
from gevent import Greenlet
from gevent.event import AsyncResult, Event
from locust.exception import StopUser

from harness.clock import monotonic_ns
from harness.load.arrivals import Arrivals, Counts
from harness.load.logs import LOG
from harness.measure.model import Section, counters_of

SENT_AT_ONCE = 50
"""How many free slots are ended in one turn of the event loop: about 2 ms, mostly in Locust."""
SENT_EVERY_S = 0.001


class Mix:
    """The classes of one process's arrivals; ``shares`` are what each is to get of all (sum 1).

    ``alone``: it is the only process of the run.
    """

    def __init__(self, shares: Mapping[str, float], rng: Random, *, alone: bool = True) -> None:
        self._shares = dict(shares)
        self._alone = alone
        self._rng = rng
        self._slots = Counter[str]()

    @property
    def several(self) -> bool:
        """Whether there is more than one class to draw from."""
        return len(self._shares) > 1

    def add_slot(self, kind: str) -> None:
        self._slots[kind] += 1

    def remove_slot(self, kind: str) -> None:
        """Locust has stopped it, perhaps to start one in another process."""
        self._slots[kind] -= 1

    def has_slots(self, kind: str) -> bool:
        return self._slots[kind] > 0

    def draw(self) -> str:
        """The class of the next arrival.

        By weight. A worker may have few slots of a class or none, because Locust hands them out by
        weight over all workers together: there it is by the slots that it has.
        """
        here = {kind: many for kind, many in self._slots.items() if many > 0}
        if here and not self._alone:
            kinds, weights = list(here), [float(many) for many in here.values()]
        else:
            kinds, weights = list(self._shares), list(self._shares.values())
        return self._rng.choices(kinds, weights)[0]


def shares_of(user_classes: Iterable[Any], slots: int) -> dict[str, float]:
    """What each class is to get of the arrivals: by weight; a ``fixed_count`` by its slots.

    Users of Locust's own that open no guests (there is no ``guest`` in them) get none.
    """
    classes = [kind for kind in user_classes if hasattr(kind, "guest")]
    fixed = {
        kind.__name__: kind.fixed_count / max(slots, 1) for kind in classes if kind.fixed_count
    }
    left = max(0.0, 1 - sum(fixed.values()))
    free = {kind.__name__: float(kind.weight) for kind in classes if not kind.fixed_count}
    total = sum(free.values())
    shares = fixed | {name: left * weight / total for name, weight in free.items() if total}
    whole = sum(shares.values())
    return {name: share / whole for name, share in shares.items() if share} if whole else {}


class Slots:
    """The free slots of one process, and the greenlet that wakes them.

    Without a ``mix`` of several classes all slots are alike.
    """

    def __init__(self, arrivals: Arrivals, mix: Mix | None = None) -> None:
        self.arrivals = arrivals
        self._mix = mix if mix is not None and mix.several else None
        self._free: dict[str, deque[tuple[AsyncResult[int | None], Any]]] = {}
        self._waiting: dict[str, deque[int]] = {}
        """arrivals that are due and have found no slot yet, by class"""
        self._missed = Counter[str]()
        """arrivals that were dropped before any slot of their class asked for one"""
        self._changed = Event()
        self._stopped = False
        self._waker = gevent.spawn(self._wake_forever)
        self._sender: Greenlet[..., None] | None = None

    def next_arrival(self, user: Any = None) -> int:
        """Wait for the next arrival of this slot; returns when it was due. Raises StopUser at the
        end.

        ``user`` is the slot's Locust user: a user that Locust is removing gets no arrival.
        """
        if self._stopped or _leaving(user):
            raise StopUser
        kind = "" if self._mix is None else type(user).__name__
        free = self._free.setdefault(kind, deque())
        now_ns = monotonic_ns()
        # Slots that wait in the queue would already have been given an earlier arrival.
        due_ns = self._next_of(kind, now_ns, slot_free=bool(free))
        if due_ns is not None:
            return due_ns
        place: AsyncResult[int | None] = AsyncResult()
        free.append((place, user))
        try:
            due_ns = place.get()
            if due_ns is None:  # an exception in its place would hold on to the frames of the slot
                raise StopUser
            return due_ns
        except gevent.GreenletExit:
            if place.value is not None:  # handed out in this very turn of the loop
                self._waiting.setdefault(kind, deque()).appendleft(place.value)
                self._changed.set()
            raise
        finally:
            if not place.ready():
                free.remove((place, user))

    @property
    def any_waiting(self) -> bool:
        """Whether an arrival is waiting for a slot."""
        return any(self._waiting.values())

    @property
    def short(self) -> int:
        """Arrivals that are late by now because no slot of their class is free."""
        now_ns = monotonic_ns()
        return sum(
            self.arrivals.is_late(due_ns, now_ns)
            for kind, waiting in self._waiting.items()
            for due_ns in waiting
            if not self._free.get(kind)
        )

    @property
    def never_asked(self) -> dict[str, int]:
        """Arrivals that are late or dropped, of each class whose slots have never asked for one."""
        now_ns, many = monotonic_ns(), Counter(self._missed)
        for kind, waiting in self._waiting.items():
            many[kind] += sum(self.arrivals.is_late(due_ns, now_ns) for due_ns in waiting)
        return {
            kind: number
            for kind, number in many.items()
            if number
            and kind not in self._free
            and (self._mix is None or self._mix.has_slots(kind))
        }

    @property
    def to_spare(self) -> bool:
        """Whether slots of every class are free, so that the next arrival of any class has room."""
        return bool(self._free) and all(self._free.values())

    def look_again(self) -> None:
        """Check again: the share has changed, a user is leaving, or a second has passed."""
        for free in self._free.values():
            for place, user in list(free):
                if _leaving(user):
                    free.remove((place, user))
                    place.set(None)
        self._drop_overdue(monotonic_ns())
        self._changed.set()

    def pause(self, on: bool) -> None:
        """Arrivals that wait for a slot when a pause begins, or are due in it, are skipped."""
        if on:
            self._take_due(monotonic_ns())
            for waiting in self._waiting.values():
                self.arrivals.counts.paused += len(waiting)
                waiting.clear()
        self.arrivals.take_passed(monotonic_ns())
        self.arrivals.paused = on

    def stop(self) -> None:
        """No more arrivals: a greenlet ends all waiting slots; ``await_ended`` waits for it."""
        self._stopped = True
        self._waker.kill(block=False)
        self._sender = gevent.spawn(self._end_waiting)

    def await_ended(self) -> None:
        """Wait until no slot waits any more."""
        if self._sender is not None:
            self._sender.join()

    def _end_waiting(self) -> None:
        # A spike has thousands of slots: ended all at once, they would stall the guests in session.
        for free in self._free.values():
            while free:
                for _ in range(min(SENT_AT_ONCE, len(free))):
                    free.popleft()[0].set(None)
                gevent.sleep(SENT_EVERY_S)

    def _wake_forever(self) -> None:
        while True:
            due_ns = self.arrivals.due_next_ns()
            if due_ns is None:
                self._changed.wait()
            else:
                self._changed.wait(max(0.0, (due_ns - monotonic_ns()) / 1e9))
            self._changed.clear()
            self._hand_out()

    def _hand_out(self) -> None:
        now_ns = monotonic_ns()
        self._take_due(now_ns)
        for kind, free in self._free.items():
            while free:
                due_ns = self._next_of(kind, now_ns, slot_free=True)
                if due_ns is None:
                    break
                free.popleft()[0].set(due_ns)

    def _take_due(self, now_ns: int) -> None:
        while (due_ns := self.arrivals.take(now_ns)) is not None:
            kind = "" if self._mix is None else self._mix.draw()
            self._waiting.setdefault(kind, deque()).append(due_ns)

    def _next_of(self, kind: str, now_ns: int, *, slot_free: bool) -> int | None:
        """The longest-waiting arrival of a class that can still be started."""
        self._take_due(now_ns)
        waiting, arrivals = self._waiting.get(kind), self.arrivals
        while waiting:
            due_ns = waiting.popleft()
            if arrivals.drop_overdue(due_ns, now_ns, slot_free=slot_free):
                continue
            if not slot_free and arrivals.is_late(due_ns, now_ns):
                arrivals.counts.no_slot += 1
            return due_ns
        return None

    def _drop_overdue(self, now_ns: int) -> None:
        """Drop arrivals that have waited for too long now, not only when a slot asks."""
        for kind, waiting in self._waiting.items():
            free = bool(self._free.get(kind))
            while waiting and self.arrivals.drop_overdue(waiting[0], now_ns, slot_free=free):
                waiting.popleft()
                if kind not in self._free:
                    self._missed[kind] += 1


def _leaving(user: Any) -> bool:
    """Whether Locust has asked this user to stop at the end of its task."""
    return getattr(user, "_state", "") == "stopping"


def _take_turn() -> None:
    """Let other greenlets run first.

    An event wakes all its waiters in one turn of the loop: thousands of slots would stall the
    guests in session. The loop runs callbacks only until it must serve others.
    """
    gevent.sleep(0)


class Dispatcher:
    """Lets the guests of one process come in. Without ``arrivals`` the workload is closed.

    ``max_sessions`` and ``max_per_s`` are this process's part of the cap on sessions and of the
    highest rate, if there are such limits. (For an open workload the guard has checked the
    schedule; a closed workload has none, so it is limited here.) ``await_leave`` is called before
    each guest begins, and may wait; it raises StopUser if the run ends first.
    """

    def __init__(
        self,
        arrivals: Arrivals | None,
        *,
        max_sessions: int | None = None,
        max_per_s: float | None = None,
        mix: Mix | None = None,
        await_leave: Callable[[], None] = lambda: None,
    ) -> None:
        self.arrivals = arrivals
        self._await_leave = await_leave
        self.slots = None if arrivals is None else Slots(arrivals, mix)
        self.counts = Counts() if arrivals is None else arrivals.counts
        self.begun = 0
        """guests who have come in (slots that wait for one do not count)"""
        self._spacing_ns = int(1e9 / max_per_s) if max_per_s and arrivals is None else 0
        self._next_ns = 0
        self._max_sessions = max_sessions
        self._admitted = 0
        self._shut = Event()
        self._going = Event()
        """cleared while the run is paused and not over"""
        self._going.set()
        self._last = Counts()

    @property
    def shut(self) -> bool:
        """Whether no guest may come in any more."""
        return self._shut.is_set()

    def next_arrival(self, user: Any = None) -> int:
        """Wait for the next guest of a slot (a Locust user); returns the due time (monotonic ns).

        Raises StopUser if no guest comes any more.
        """
        while self.slots is None and not self._going.is_set():  # while the run is paused
            self._going.wait()
            _take_turn()
        # No other greenlet may run between this check of the cap and the counting.
        if self._max_sessions is not None and self._admitted >= self._max_sessions:
            if not self.counts.at_cap:
                LOG.info("the cap of %s sessions is reached", self._max_sessions)
            self.counts.at_cap = 1
            self._shut.wait()  # the cap is reached; those in session may finish
            _take_turn()
        if self.shut:
            raise StopUser
        self._admitted += 1
        if self.slots is None:
            self._keep_rate()
            self._await_leave_timed()
            self.begun += 1
            self.counts.due += 1
            self.counts.started += 1
            return monotonic_ns()
        due_ns = self.slots.next_arrival(user)
        self._await_leave()
        if self.shut:  # meanwhile, or in the very turn of the loop in which it was handed out
            raise StopUser
        self.begun += 1
        self.slots.arrivals.started(due_ns)
        return due_ns

    @property
    def over(self) -> bool:
        """Whether no guest can come any more: the cap is reached, or the schedule is over and no
        arrival waits for a slot."""
        if self.counts.at_cap or self.slots is None:
            return bool(self.counts.at_cap)
        return self.slots.arrivals.over and not self.slots.any_waiting

    def _keep_rate(self) -> None:
        """Keep the guests of a closed workload within the highest rate.

        Raises StopUser if the run ends first.
        """
        if not self._spacing_ns:
            return
        now_ns = monotonic_ns()
        at_ns = max(now_ns, self._next_ns)
        self._next_ns = at_ns + self._spacing_ns
        if at_ns <= now_ns:
            return
        try:
            if self._shut.wait((at_ns - now_ns) / 1e9):
                _take_turn()
                raise StopUser
        finally:  # also if Locust removes the slot
            self.counts.held_ms += (monotonic_ns() - now_ns) // 1_000_000

    def _await_leave_timed(self) -> None:
        began_ns = monotonic_ns()
        try:
            self._await_leave()
        finally:
            self.counts.held_ms += (monotonic_ns() - began_ns) // 1_000_000

    def pause(self, on: bool) -> None:
        """No new guests while it is on."""
        if self.slots is not None:
            self.slots.pause(on)
        if on and not self.shut:
            self._going.clear()
        else:
            self._going.set()

    def close(self) -> dict[str, int]:
        """End the arrivals for good, and end the waiting slots.

        Returns, by class, the arrivals that were turned away because no slot of the class ever
        asked for one.
        """
        self._shut.set()
        self._going.set()
        if self.slots is None:
            return {}
        # At the cap the slots that asked had to wait.
        never_asked = {} if self.counts.at_cap else self.slots.never_asked
        self.slots.arrivals.close(monotonic_ns(), short=self.slots.short)
        self.slots.stop()
        return never_asked

    def await_ended(self) -> None:
        """After ``close``: wait until no slot waits for an arrival any more."""
        if self.slots is not None:
            self.slots.await_ended()

    def since_last(self, now_ns: int) -> dict[str, int]:
        """How many arrivals of each kind there were since the last call."""
        if self.slots is not None and not self.shut:
            self.slots.arrivals.pass_time(now_ns)
            self.slots.arrivals.take_passed(now_ns)
            self.slots.look_again()
        before, self._last = self._last, replace(self.counts)
        return {
            name: getattr(self._last, name) - getattr(before, name)
            for name in counters_of(Section.ARRIVALS)
        }


class Occupancy:
    """The area under the occupancy, and the time in session of the guests who have left."""

    def __init__(self, now_ns: int) -> None:
        self._inside = 0
        self._changed_ns = now_ns
        self._area_ns = 0
        self._ended = 0
        self._ended_ns = 0

    def enter(self, now_ns: int) -> None:
        self._pass(now_ns)
        self._inside += 1

    def leave(self, came_ns: int, now_ns: int) -> None:
        """A guest who came at ``came_ns`` has left."""
        self._pass(now_ns)
        self._inside -= 1
        self._ended += 1
        self._ended_ns += now_ns - came_ns

    def totals(self, now_ns: int) -> dict[str, int]:
        """Running totals: guest-milliseconds in session; guests that left, and their time."""
        self._pass(now_ns)
        return {
            "occupancy_ms": self._area_ns // 1_000_000,
            "ended": self._ended,
            "ended_ms": self._ended_ns // 1_000_000,
        }

    def _pass(self, now_ns: int) -> None:
        self._area_ns += self._inside * (now_ns - self._changed_ns)
        self._changed_ns = now_ns


class Visit:
    """One guest's time in session; no generator, because thousands are held at a time."""

    __slots__ = ("_came_ns", "_occupancy", "_on_gone")

    def __init__(self, occupancy: Occupancy, on_gone: Callable[[int], None]) -> None:
        """``on_gone`` is called with the length in nanoseconds."""
        self._occupancy = occupancy
        self._on_gone = on_gone
        self._came_ns = 0

    def __enter__(self) -> None:
        self._came_ns = monotonic_ns()
        self._occupancy.enter(self._came_ns)

    def __exit__(self, *_: object) -> None:
        self.end()

    def end(self) -> None:
        """The guest has left; counts only once."""
        came_ns, self._came_ns = self._came_ns, 0
        if came_ns:
            now = monotonic_ns()
            self._occupancy.leave(came_ns, now)
            self._on_gone(now - came_ns)
