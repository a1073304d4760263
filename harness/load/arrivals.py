"""Hands the arrivals of a schedule to slots, and counts what becomes of them."""

from dataclasses import dataclass

from harness.clock import monotonic_ns
from harness.workload.arrivals import Schedule


@dataclass(slots=True)
class Counts:
    """Arrivals so far: due by now, started (of those late), dropped."""

    due: int = 0
    started: int = 0
    late: int = 0
    dropped: int = 0


class Arrivals:
    """This process's stride of a schedule: of ``workers`` processes it is number ``worker``."""

    def __init__(
        self,
        schedule: Schedule,
        *,
        start_ns: int,
        late_after_s: float,
        drop_after_s: float,
        worker: int = 0,
        workers: int = 1,
    ) -> None:
        self._schedule = schedule
        self._indices = schedule.stride(worker, workers)
        self._start_ns = start_ns
        self._late_ns = int(late_after_s * 1e9)
        self._drop_ns = int(drop_after_s * 1e9)
        self._taken = 0
        self._passed = 0
        self.counts = Counts()

    def take(self) -> int | None:
        """The due time of the next arrival that can still be started; None when none is left.

        Arrivals that are too late to start are dropped on the way.
        """
        now = monotonic_ns()
        while self._taken < len(self._indices):
            due = self._due_ns(self._taken)
            self._taken += 1
            if now - due <= self._drop_ns:
                return due
            self.counts.dropped += 1
        return None

    def started(self, due_ns: int) -> None:
        """Note that the arrival due then is being started now."""
        self.counts.started += 1
        if monotonic_ns() - due_ns > self._late_ns:
            self.counts.late += 1

    def pass_time(self, now_ns: int) -> None:
        """Bring the count of what is due up to date."""
        while self._passed < len(self._indices) and self._due_ns(self._passed) <= now_ns:
            self._passed += 1
        self.counts.due = self._passed

    def close(self, now_ns: int) -> None:
        """The end of arrivals: what was due and has not been started is dropped.

        An arrival due at this very moment was not turned away: it counts as not due any more.
        """
        self.pass_time(now_ns - self._late_ns)
        self.counts.due = max(self.counts.due, self.counts.started + self.counts.dropped)
        self.counts.dropped = max(self.counts.dropped, self.counts.due - self.counts.started)

    def _due_ns(self, position: int) -> int:
        return self._start_ns + self._schedule.due_ns(self._indices[position])
