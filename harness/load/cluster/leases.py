"""Master and workers agree on which worker starts which arrivals, also when one joins or is lost.

Each worker asks once a second for its share of the schedule and for a *lease*: the arrival up to
which it may go. The master leases a few seconds ahead. When a worker joins or is lost, the master
cuts the schedule at the furthest arrival that it has ever leased, and shares the rest among the
workers that are here. So no arrival is started twice, however slow a message or a worker is: no
worker goes beyond its lease, and every lease beyond a cut comes together with the new share.
Arrivals that a lost worker had been given before the cut, and did not start, count as dropped (see
``lost_arrivals``).
"""

from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

from locust.runners import MasterRunner

from harness.clock import monotonic_ns, utc_iso
from harness.judge.validity import write_shares
from harness.load.dispatch import Arrivals
from harness.load.logs import LOG
from harness.workload.schedule import Partition, Piece, Schedule

LEASE_NS = 5_000_000_000
"""How far ahead of the present a worker may go."""
LOST_AFTER_NS = 5_000_000_000
"""A worker that has not asked for this long gets no share of the rest."""


class Shares:
    """The master's side."""

    def __init__(self, runner: MasterRunner, dismissed: Collection[str] = ()) -> None:
        self._dismissed = dismissed
        self._runner = runner
        self._schedule: Schedule | None = None
        self._directory: Path | None = None
        self._partition = Partition(0, ())
        self._began_ns = 0
        self._ended_at: int | None = None
        """the first arrival that was no longer due when the run was stopped"""
        self._leased = 0
        """the furthest arrival that was ever leased to a worker"""
        self._last_question_ns: dict[str, int] = {}
        self._names: dict[str, str] = {}
        self._gone: dict[str, int] = {}
        """the arrivals of each lost worker, by its Locust id"""
        self._changes: list[dict[str, Any]] = []

    def open(self, schedule: Schedule, directory: Path, *, lead_ns: int) -> dict[str, Any]:
        """A run begins with the workers that are ready; returns what their orders must hold."""
        ready = [worker.id for worker in self._runner.clients.ready]
        self._schedule, self._directory = schedule, directory
        self._partition = Partition(schedule.count, ready)
        self._began_ns = monotonic_ns() + lead_ns
        self._last_question_ns = dict.fromkeys(ready, monotonic_ns() + lead_ns)
        self._names, self._gone, self._changes, self._ended_at = {}, {}, [], None
        self._leased = schedule.index_at(2 * LEASE_NS)  # the first question may take its time
        places = {worker: place for place, worker in enumerate(ready)}
        return {"places": places, "until": self._leased}

    def look(self) -> None:
        """Once a second: share the schedule anew if a worker was lost or has joined."""
        if self._schedule is None or self._ended_at is not None:
            return
        now_ns = monotonic_ns()
        here = [
            worker
            for worker, last_ns in self._last_question_ns.items()
            if now_ns - last_ns < LOST_AFTER_NS
        ]
        if here and set(here) != set(self._partition.workers):
            self._cut(here)

    def leave(self, worker: str) -> None:
        """A worker has ended by itself."""
        self._last_question_ns.pop(worker, None)
        self.look()

    def freeze(self) -> None:
        """No more arrivals: a worker that leaves from now on does so because the run is ending."""
        if self._schedule is not None:
            self._ended_at = self._schedule.index_at(self._elapsed_ns())

    def close(self, answered: set[str]) -> None:
        """The run is over; workers that are not in ``answered`` were lost with their arrivals."""
        if self._schedule is None or self._ended_at is None:
            return
        for worker in set(self._partition.workers) - answered:
            self._gone[worker] = self._partition.assigned(worker, self._ended_at)
        if self._changes or self._gone:
            self._write()
        self._schedule = None

    def _cut(self, here: list[str]) -> None:
        before = self._partition.workers
        first = min(self._leased, self._partition.count)
        self._partition.change(first, here)
        for worker in set(before) - set(here):
            self._gone[worker] = self._partition.assigned(worker, self._partition.count)
        for worker in here:
            self._gone.pop(worker, None)
        came, went = len(set(here) - set(before)), len(set(before) - set(here))
        parts = [f"{many} {word}" for many, word in ((went, "lost"), (came, "joined")) if many]
        where = (
            f"from arrival {first:,} on" if first < self._partition.count else "too late to help"
        )
        LOG.warning(f"workers: {', '.join(parts)}; {len(here)} share the schedule {where}")
        names = [self._names.get(worker, worker) for worker in here]
        self._changes.append({"at": utc_iso(), "first": first, "workers": names})
        self._write()

    def _write(self) -> None:
        assert self._directory is not None
        gone = {self._names.get(worker, worker): many for worker, many in self._gone.items()}
        try:
            write_shares(self._directory, self._changes, gone)
        except OSError as error:
            LOG.warning(f"the shares of the workers can't be written: {error.strerror or error}")

    def note_question(self, worker: str, name: str) -> bool:
        """A worker asks for its share; returns whether it gets one."""
        if self._schedule is None or worker in self._dismissed:
            return False
        self._last_question_ns[worker] = monotonic_ns()
        self._names[worker] = name
        return True

    def grant(self, worker: str) -> dict[str, Any] | None:
        """The share and lease of a worker that asked; None if the run is over."""
        schedule = self._schedule
        if schedule is None:
            return None
        elapsed_ns = self._elapsed_ns()
        until = 0
        if worker in self._partition.workers:
            until = schedule.index_at(elapsed_ns + LEASE_NS)
            self._leased = max(self._leased, until)
        pieces = [(p.first, p.place, p.places) for p in self._partition.pieces_of(worker)]
        return {"pieces": pieces, "until": until, "elapsed_ns": elapsed_ns}

    def _elapsed_ns(self) -> int:
        return monotonic_ns() - self._began_ns


class Lease:
    """The worker's side: gives its share and lease to the arrivals of this process."""

    def __init__(
        self,
        arrivals: Arrivals,
        *,
        joined: bool,
        on_change: Callable[[], None],
        on_conflict: Callable[[str], None],
    ) -> None:
        self.wanted = True
        """whether this worker still asks"""
        self._arrivals = arrivals
        self._moving = joined
        self._on_change = on_change
        self._on_conflict = on_conflict

    def take(self, granted: Mapping[str, Any]) -> None:
        """Take what the master has granted; without it the lease runs out."""
        if self._moving:  # it came in mid-run: the schedule began at the master's time
            self._arrivals.move(monotonic_ns() - int(granted["elapsed_ns"]))
            self._moving = False
        pieces = [Piece(*map(int, piece)) for piece in granted["pieces"]]
        if not self._arrivals.grant(pieces, int(granted["until"])):
            self._on_conflict("the master has given away arrivals that this worker had taken")
        self._on_change()
