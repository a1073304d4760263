"""Who may come in, and when: the schedule or a free slot, the cap on sessions, a pause, the end."""

from dataclasses import replace
from typing import Any, NamedTuple

import gevent
from gevent.event import Event
from locust.exception import StopUser

from harness.clock import monotonic_ns
from harness.load.arrivals import Arrivals, Counts
from harness.load.slots import Mix, Slots

KINDS = (
    "due",
    "started",
    "late",
    "dropped",
    "paused",
    "no_slot",
    "slots_gone",
    "slots_done",
    "at_cap",
)


class SlotsEnded(NamedTuple):
    """Slots that ended before the run did: for good, or because their rows were used up."""

    gone: int
    done: int


class Door:
    """Of one process. ``arrivals`` are those of an open workload; without them it is closed.

    ``max_sessions`` and ``max_per_s`` are this process's part of the cap on sessions and of the
    highest rate, where there are such: what the guard asks of a schedule is kept here by a closed
    workload, which has none.
    """

    def __init__(
        self,
        arrivals: Arrivals | None,
        *,
        max_sessions: int | None = None,
        max_per_s: float | None = None,
        mix: Mix | None = None,
    ) -> None:
        self.arrivals = arrivals
        self.slots = None if arrivals is None else Slots(arrivals, mix)
        self._spacing_ns = int(1e9 / max_per_s) if max_per_s and arrivals is None else 0
        self._next_ns = 0
        self._max_sessions = max_sessions
        self._begun = self._admitted = 0
        self._shut = Event()
        self._going = Event()
        """cleared while the run is paused"""
        self._going.set()
        self._counts = Counts()
        """of a closed workload"""
        self._said = Counts()

    @property
    def begun(self) -> int:
        """Guests who have come in; slots that wait for one don't count."""
        return self._begun

    @property
    def shut(self) -> bool:
        """Whether nobody comes in any more."""
        return self._shut.is_set()

    def next_arrival(self, user: Any = None) -> int:
        """Wait for the next guest of a slot (a Locust user); the due time (monotonic ns).

        Raises StopUser when there is none any more.
        """
        if self.arrivals is None and not self.shut:
            gevent.wait([self._going, self._shut], count=1)  # while the run is paused
        # Between this look at the cap and the counting nobody else may have a turn.
        if self._max_sessions is not None and self._admitted >= self._max_sessions:
            self._present.at_cap = 1
            self._shut.wait()  # the cap is reached; those in session may finish
        if self.shut:
            raise StopUser
        self._admitted += 1
        if self.arrivals is None or self.slots is None:
            self._keep_rate()
            self._begun += 1
            self._counts.due += 1
            self._counts.started += 1
            return monotonic_ns()
        due_ns = self.slots.next_arrival(user)
        if self.shut:  # in the very turn of the loop in which it was handed out
            raise StopUser
        self._begun += 1
        self.arrivals.started(due_ns)
        return due_ns

    @property
    def over(self) -> bool:
        """Whether the whole schedule is behind us and nobody waits for a slot."""
        if self.arrivals is None or self.slots is None:
            return False
        return self.arrivals.over and not self.slots.any_waiting

    @property
    def at_cap(self) -> bool:
        """Whether the cap on sessions has turned a guest away."""
        return bool(self._present.at_cap)

    def _keep_rate(self) -> None:
        """Guests of a closed workload come one after the other, at the highest rate at most.

        Raises StopUser when the end comes first.
        """
        if not self._spacing_ns:
            return
        now_ns = monotonic_ns()
        at_ns = max(now_ns, self._next_ns)
        self._next_ns = at_ns + self._spacing_ns
        if at_ns > now_ns and self._shut.wait((at_ns - now_ns) / 1e9):
            raise StopUser

    def slot_gone(self) -> None:
        """A slot has ended, and nobody had asked it to."""
        self._present.slots_gone += 1

    def slot_done(self) -> None:
        """A slot has ended because there is nothing more for it to do."""
        self._present.slots_done += 1

    @property
    def slots_ended(self) -> "SlotsEnded":
        """How many slots ended so."""
        return SlotsEnded(self._present.slots_gone, self._present.slots_done)

    @property
    def _present(self) -> Counts:
        return self._counts if self.arrivals is None else self.arrivals.counts

    def pause(self, on: bool) -> None:
        """No new guests while it is on."""
        if self.arrivals is not None and self.slots is not None:
            if on:
                self.slots.pass_by()
            self.arrivals.take_passed(monotonic_ns())
            self.arrivals.paused = on
        if on:
            self._going.clear()
        else:
            self._going.set()

    def close(self) -> None:
        """For good: who waits is sent home."""
        self._shut.set()
        if self.arrivals is not None and self.slots is not None:
            self.arrivals.close(monotonic_ns(), short=self.slots.short)
            self.slots.stop()

    def since_last(self, now_ns: int) -> dict[str, int]:
        """How many arrivals of each kind there were since the last time this was asked."""
        if self.arrivals is not None and self.slots is not None and not self.shut:
            self.arrivals.pass_time(now_ns)
            self.arrivals.take_passed(now_ns)
            self.slots.look_again()
        counts = self._present
        said, self._said = self._said, replace(counts)
        return {name: getattr(counts, name) - getattr(said, name) for name in KINDS}
