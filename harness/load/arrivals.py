"""An open workload: guests arrive when the schedule says, whether or not we are ready for them.

Locust's users are the *slots*: each has room for one guest at a time. A slot takes the next arrival
and waits until it is due. When all slots are busy arrivals start late, and that is counted; an
arrival that would start later than ``drop_after`` is dropped, and that is counted too. Nothing is
made up for in a burst, and the schedule never moves.

Where there are several processes, master and workers agree on which worker starts which arrivals,
also when one joins or is lost. Each worker asks once a second for its share of the schedule and for
a *lease*: the arrival up to which it may go. The master leases a few seconds ahead. When a worker
joins or is lost, the master cuts the schedule at the furthest arrival that it has ever leased, and
shares the rest among the workers that are here. So no arrival is started twice, however slow a
message or a worker is: no worker goes beyond its lease, and every lease beyond a cut comes together
with the new share. Arrivals that a lost worker had been given before the cut, and did not start,
count as dropped (see ``lost_arrivals``).
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from locust import LoadTestShape
from locust.runners import MasterRunner

from harness.clock import monotonic_ns, utc_iso
from harness.errors import ConfigError
from harness.judge.series import schedule_parts
from harness.judge.validity import write_shares
from harness.load.logs import LOG
from harness.units import seconds
from harness.workload.arrivals import Schedule
from harness.workload.schedule import Partition, Piece, Share

LEASE_NS = 5_000_000_000
"""How far ahead of the present a worker may go."""
LOST_AFTER_NS = 5_000_000_000
"""A worker that has not asked for this long gets no share of the rest."""


def peak_per_s(schedule: Schedule) -> float:
    """The highest mean rate, sampled at two thousand moments."""
    length_s = schedule.duration_s
    return max(schedule.rate_at(length_s * moment / 2000) for moment in range(2000))


def no_arrivals(schedule: Schedule) -> str:
    """A sentence if the schedule has no arrivals, because few were expected and none was drawn."""
    if schedule.count:
        return ""
    return (
        f"no guest will come: {schedule.describe()} drew no arrival. Take a higher rate, a longer "
        "time or another seed"
    )


def schedule_facts(schedule: Schedule) -> dict[str, Any]:
    """The figures of a schedule that the record needs to show how much of it the run covered."""
    return {
        "count": schedule.count,
        "duration_s": schedule.duration_s,
        "parts": schedule_parts(schedule),
    }


def check_only_one(shapes: Iterable[LoadTestShape]) -> None:
    """Raises ConfigError for several shapes: Locust would silently use only the first."""
    names = [type(shape).__name__ for shape in shapes]
    if len(names) > 1:
        raise ConfigError(
            f"there are {len(names)} shapes ({', '.join(names)}), a run has one: put schedules "
            "after each other with then(...), and mark a shape that others are made from with "
            "abstract = True"
        )


class ArrivalShape(LoadTestShape):
    """An open workload: guests arrive when its schedule says. Inherit from it, once a file.

    ::

        class Rising(ArrivalShape):
            arrivals = ramp(per_minute=(2, 20), over="20m")
            slots = 60

    ``arrivals`` is the schedule. ``slots`` is how many guests may be in session at once (100);
    :func:`slots_for` computes it. Times are texts with a unit, or seconds:

    * an arrival that starts later than ``late_after`` (``"100ms"``) counts as late;
    * one that could only start later than ``drop_after`` (``"5s"``) is dropped;
    * the first ``warm_up`` (``"0s"``) of the run is not judged; ``--warm-up`` wins over it.

    What makes no sense is a ConfigError before the run, naming class and attribute.
    """

    abstract = True
    use_common_options = True  # -u is the number of slots, -t may cut the schedule short

    arrivals: ClassVar[Schedule]
    slots: ClassVar[int] = 100
    late_after: ClassVar[str] = "100ms"
    drop_after: ClassVar[str] = "5s"
    warm_up: ClassVar[str] = "0s"

    def tick(self) -> None:
        """Unused: the harness takes the shape over before Locust asks it (see admission)."""
        return

    @classmethod
    def checked(cls) -> "type[ArrivalShape]":
        """The class itself, validated. Raises ConfigError naming the class and the attribute."""
        name = cls.__name__
        if not isinstance(getattr(cls, "arrivals", None), Schedule):
            raise ConfigError(
                f"{name}.arrivals: expected a schedule such as steady(...) or ramp(...)"
            )
        if not isinstance(cls.slots, int) or cls.slots < 1:
            raise ConfigError(f"{name}.slots: expected one slot or more, got {cls.slots!r}")
        seconds(cls.warm_up, f"{name}.warm_up")
        late = seconds(cls.late_after, f"{name}.late_after")
        if seconds(cls.drop_after, f"{name}.drop_after") < late:
            raise ConfigError(f"{name}.drop_after: expected no less than late_after")
        return cls


@dataclass(slots=True)
class Counts:
    """Arrivals so far: due by now, started (of those late), dropped, not wanted in a pause.

    ``no_slot`` counts those that were late or dropped because no slot was free when they were due.
    ``slots_gone`` are slots that ended for good without being asked to, ``slots_done`` those that
    had nothing more to do. ``at_cap`` is 1 once the cap on sessions has turned one away.
    ``held_ms`` is how long the highest rate, or a master that did not answer, kept slots of a
    closed workload empty.
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
    held_ms: int = 0


class Arrivals:
    """The arrivals of one process; ``share`` says which arrivals of the schedule it has.

    ``until`` is the first arrival that it may not start yet: the master extends a worker's lease on
    its share, so that a worker that was given up can't start arrivals that others start now.
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
        self._granted: list[Piece] = []
        """the share that the master gave last"""
        self.paused = False
        """while it is set, due arrivals are skipped"""
        self.counts = Counts()

    def due_next_ns(self) -> int | None:
        """When the next arrival that may be started is due; None: there is none, or unknown."""
        if self._next is None or self._next >= self._until or self._closed:
            return None
        if self._next_due_ns is None:
            self._next_due_ns = self._due_ns(self._next)
        return self._next_due_ns

    def take(self, now_ns: int) -> int | None:
        """The due time of an arrival that is due now and can still be started; None if there is
        none. Arrivals that are too late to start are dropped on the way.
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
        """Whether all arrivals of this process's share are over."""
        return self._next is None

    def is_late(self, due_ns: int, now_ns: int) -> bool:
        """Whether an arrival that is started now counts as late."""
        return now_ns - due_ns > self._late_ns

    def drop_overdue(self, due_ns: int, now_ns: int, *, slot_free: bool) -> bool:
        """Drop an arrival that was taken, if it is too late to start it; returns whether it was.

        ``slot_free``: whether a slot was free; if none was, that is counted as the reason.
        """
        if now_ns - due_ns <= self._drop_ns:
            return False
        self.counts.dropped += 1
        if not slot_free:
            self.counts.no_slot += 1
        return True

    def take_passed(self, now_ns: int) -> None:
        """In a pause, skip the due arrivals, also when no slot asks for one."""
        if self.paused:
            self.take(now_ns)

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
        if (granted := list(pieces)) != self._granted:
            self._granted = granted
            LOG.info("share of the schedule: %s", granted)
        self._until = max(self._until, until)
        self._next = self._share.after(self._taken)
        self._next_due_ns = None
        return kept

    def move(self, start_ns: int) -> None:
        """Set the start time of the schedule; only for a worker without a share so far."""
        self._start_ns = start_ns
        self._next_due_ns = None

    def pass_time(self, now_ns: int) -> None:
        """Update the count of due arrivals, as far as they are certainly this process's."""
        after = self._share.after(self._passed)
        while after is not None and after < self._until and self._due_ns(after) <= now_ns:
            self._passed = after
            self.counts.due += 1
            after = self._share.after(after)

    def close(self, now_ns: int, *, short: int = 0) -> None:
        """End the arrivals: those that were due and not started count as dropped, or as paused;
        ``short`` of them because no slot was free.

        An arrival that is due at this very moment was not turned away: it counts as not due.
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
