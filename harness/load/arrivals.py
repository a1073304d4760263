"""This process's part of a schedule: which arrival is next, and what becomes of each."""

from collections.abc import Sequence
from dataclasses import dataclass

from harness.clock import monotonic_ns
from harness.workload.partition import Piece, Share
from harness.workload.schedule import Schedule


@dataclass(slots=True)
class Counts:
    """Arrivals so far: due by now, started (of those late), dropped, not wanted in a pause.

    ``no_slot`` are those that were late or dropped because no slot was free when they were due;
    ``slots_gone`` are slots that ended for good, though nobody had asked them to, ``slots_done``
    those that had nothing more to do; ``at_cap`` is 1 once the cap on sessions has turned one away.
    """

    due: int = 0
    started: int = 0
    late: int = 0
    dropped: int = 0
    paused: int = 0
    no_slot: int = 0
    slots_gone: int = 0
    slots_done: int = 0
    at_cap: int = 0


class Arrivals:
    """The arrivals of one process; ``share`` says which of the schedule's are its own.

    ``until`` is the first arrival that it may not start yet: a worker holds a lease on its share
    which its master extends, so that a worker that was given up can't start what others do now.
    """

    def __init__(
        self,
        schedule: Schedule,
        *,
        start_ns: int,
        late_after_s: float,
        drop_after_s: float,
        share: Share | None = None,
        until: int | None = None,
    ) -> None:
        self._schedule = schedule
        self._share = Share.of(schedule.count, 0, 1) if share is None else share
        self._until = schedule.count if until is None else until
        self._start_ns = start_ns
        self._late_ns = int(late_after_s * 1e9)
        self._drop_ns = int(drop_after_s * 1e9)
        self._taken = self._passed = -1
        self._next = self._share.after(-1)
        self._next_due_ns: int | None = None
        self._closed = False
        self.paused = False
        """while it is set, arrivals that come due are passed by"""
        self.counts = Counts()

    def due_next_ns(self) -> int | None:
        """When the next arrival that may be started is due; None: none, or not to be known yet."""
        if self._next is None or self._next >= self._until or self._closed:
            return None
        if self._next_due_ns is None:
            self._next_due_ns = self._due_ns(self._next)
        return self._next_due_ns

    def take(self, now_ns: int) -> int | None:
        """The due time of an arrival that is due by now and can still be started; None: there is
        none. Those that are too late to start are dropped on the way.
        """
        while (due_ns := self.due_next_ns()) is not None and due_ns <= now_ns:
            assert self._next is not None
            self._taken = self._next
            self._next = self._share.after(self._taken)
            self._next_due_ns = None
            if self.paused:
                self.counts.paused += 1
                continue
            if now_ns - due_ns <= self._drop_ns:
                return due_ns
            self.counts.dropped += 1
        return None

    @property
    def over(self) -> bool:
        """Whether no arrival of this process's share is to come any more."""
        return self._next is None

    def is_late(self, due_ns: int, now_ns: int) -> bool:
        """Whether an arrival that is started now counts as late."""
        return now_ns - due_ns > self._late_ns

    def drop_overdue(self, due_ns: int, now_ns: int, *, slot_free: bool) -> bool:
        """Drop an arrival that was taken, if it is too late to start it; whether it was.

        Where no slot was free, that was the reason.
        """
        if now_ns - due_ns <= self._drop_ns:
            return False
        self.counts.dropped += 1
        if not slot_free:
            self.counts.no_slot += 1
        return True

    def take_passed(self, now_ns: int) -> None:
        """In a pause: pass by what has come due, also when no slot asks for it."""
        if self.paused:
            assert self.take(now_ns) is None

    def started(self, due_ns: int) -> None:
        """Note that the arrival due then is being started now."""
        self.counts.started += 1
        if monotonic_ns() - due_ns > self._late_ns:
            self.counts.late += 1

    def grant(self, pieces: Sequence[Piece], until: int) -> bool:
        """Take a new share and lease from the master; False if it cuts into what was taken."""
        before = self._share.many(self._taken + 1)
        self._share.set(pieces)
        kept = self._share.many(self._taken + 1) == before
        self._until = max(self._until, until)
        self._next = self._share.after(self._taken)
        self._next_due_ns = None
        return kept

    def move(self, start_ns: int) -> None:
        """Set when the schedule began; only for a worker that has had no share of it so far."""
        self._start_ns = start_ns
        self._next_due_ns = None

    def pass_time(self, now_ns: int) -> None:
        """Bring the count of what is due up to date, as far as it is certain to be ours."""
        after = self._share.after(self._passed)
        while after is not None and after < self._until and self._due_ns(after) <= now_ns:
            self._passed = after
            self.counts.due += 1
            after = self._share.after(after)

    def close(self, now_ns: int, *, short: int = 0) -> None:
        """The end of arrivals: what was due and has not been started is dropped, or was paused;
        ``short`` of that for want of a slot.

        An arrival due at this very moment was not turned away: it counts as not due any more.
        """
        self.take_passed(now_ns)
        self._closed = True
        self.pass_time(now_ns - self._late_ns)
        counts = self.counts
        counts.due = max(counts.due, counts.started + counts.dropped + counts.paused)
        dropped = max(counts.dropped, counts.due - counts.started - counts.paused)
        counts.no_slot += min(short, dropped - counts.dropped)
        counts.dropped = dropped

    def _due_ns(self, index: int) -> int:
        return self._start_ns + self._schedule.due_ns(index)
