"""One run in one process: its ledger, its recorder, its open guests, and how it comes to an end.

A run starts with Locust's test and ends with it. Ending has three stages: no new guests; the open
conversations may finish (for Locust's stop timeout); what is still open is cleared, in parallel at
a bounded rate. Every road that Locust has to an end goes through :meth:`Run.drain`.
"""

import contextlib
import random
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import gevent
from gevent.event import Event
from gevent.lock import BoundedSemaphore
from locust.exception import (
    InterruptTaskSet,
    RescheduleTask,
    RescheduleTaskImmediately,
    StopTest,
    StopUser,
)
from locust.runners import STATE_RUNNING

from harness.clock import monotonic_ns, utc_iso, wall_ns
from harness.errors import LedgerError
from harness.guest.outcomes import Why, sign_in_outcome
from harness.guest.questions import Listening
from harness.guest.session import GuestSession
from harness.guest.settings import SignIn
from harness.judge.series import LEAD_S
from harness.ledger.ledger import COUNTED_AS, Ledger, Stage, Store, Tokens
from harness.ledger.reader import Account, meta_of_this_process
from harness.load.arrivals import Arrivals, ArrivalShape, Lease
from harness.load.cluster.replication import Shipper, new_node_name
from harness.load.dispatch import Dispatcher, Mix, Occupancy, Slots, Visit, shares_of
from harness.load.health import Duties, LoopLag, ProcessHealth, ScriptErrors
from harness.load.live.totals import BridgedRecorder
from harness.load.logs import LOG
from harness.load.options import RunOptions, run_seed
from harness.measure.histogram import Histogram
from harness.measure.model import COMING, Phase, Sample
from harness.measure.recorder import (
    ARRIVAL_LATENESS,
    GUESTS_ARRIVED,
    GUESTS_FAILED,
    GUESTS_OF,
    LAG_LOOP,
    NEVER_ASKED,
    SESSION_CUT,
    SESSION_LENGTH,
    STORIES_TOLD,
)
from harness.measure.snapshot import IntervalWriter
from harness.rundir.layout import RunDirectory, begin_run, target_facts
from harness.units import seconds
from harness.workload.schedule import Share

BY_CHOICE = (InterruptTaskSet, RescheduleTask, RescheduleTaskImmediately, StopTest, StopUser)
"""Exceptions by which a story tells Locust what to do next: the story ends normally."""
OnInterval = Callable[[str, Mapping[str, Any], Mapping[str, Histogram]], None]
"""(process, an interval's row, its histograms): called for each interval"""
INTERVAL_S = 1.0
CLEARS_BEGUN_PER_S = 200
"""How many open sessions a process begins to clear per second at the end, to avoid a burst."""
DRAIN_LIMIT_S = 60.0
ABANDONED_EVERY_S = 0.2
"""How often the end of a run looks for sessions whose greenlet has died."""
MOST_BREAKS = 20
"""How many different sentences about broken stories are kept."""
CLEARING_S = 2.0
"""Time that clearing needs beyond its rate: for the last proofs, and for closing the files."""
OVER_FOR = 2
"""How many checks in a row must agree: a guest who has just come may not be in session yet."""
NO_MORE_GUESTS = "no guest can come any more: ending the run"
ENDS_OF_A_RUN = (Stage.CLEARED, Stage.ENDED, Stage.NEVER_CONFIGURED)
"""The ends that a session can come to while its run lasts."""
LEAD_NS = int(LEAD_S * 1e9)
"""The schedule begins this late, because the slots must exist before it."""


def time_to_clear_s(sessions: int) -> float:
    """How long a process needs to clear this many sessions, with a reserve (seconds)."""
    return CLEARING_S + 1.25 * sessions / CLEARS_BEGUN_PER_S


class Run:
    """One run in one process, with all that belongs to it."""

    def __init__(
        self,
        environment: Any,
        options: RunOptions,
        directory: Path,
        *,
        shape: type[ArrivalShape] | None = None,
        worker: int = 0,
        workers: int = 1,
        share: Share | None = None,
        until: int | None = None,
        joined: bool = False,
        on_interval: OnInterval | None = None,
        max_sessions: int | None = None,
        max_per_s: float | None = None,
        warm_up_s: float = 0.0,
        on_over: Callable[[], None] | None = None,
        clock_ahead_ns: int = 0,
        awaits_welcome: bool = False,
    ) -> None:
        """Open the files of this process. Raises LedgerError, ConfigError or OSError.

        ``share``: the arrivals of the schedule that this process has (None: all), for now those
        before ``until``. ``joined``: it joined while the run was going on. ``on_over`` ends the run
        when no guest can come any more, if this process can know that. ``awaits_welcome``: no guest
        comes in before :meth:`let_in`. ``clock_ahead_ns``: how far this machine's clock is ahead of
        the master's.
        """
        self.environment = environment
        self.options = options
        self.directory = directory
        self.worker, self.workers, self.joined = worker, workers, joined
        self.name = new_node_name()
        self.failures: list[str] = []
        """sentences that say why this run's figures are void; also written to ``failures.txt``"""
        self.recorder = BridgedRecorder(environment)
        run_id = directory.name
        settings = options.guest_options.settings(options.terms, workers=workers, run_id=run_id)
        if options.guest_options.listen:
            settings = replace(settings, listening=Listening(self._may_listen))
        self.settings = settings
        if not RunDirectory(directory).start.exists():  # a worker with a disk of its own
            facts = target_facts(options.target, options.guest_options.sign_ins_file)
            begin_run(directory, started=utc_iso(), **facts)
        self._tokens = Tokens.of(directory, self.name)
        self.clock_ahead_ns = clock_ahead_ns
        """subtracted from the times measured here, so that they are the master's"""
        started_ns = self._wall_ns()
        self._writer = IntervalWriter(directory, self.name, started_ns=started_ns)
        self.meta = {
            "run_id": run_id,
            "worker": self.name,
            **self._tokens.meta(),
            "share": f"{worker}/{workers}",
            **meta_of_this_process(),
            "started_ns": str(started_ns),
            "heartbeat_ns": str(started_ns),
        }
        """the ledger's values about this process"""
        self.lease: Lease | None = None
        """in a worker of an open workload: asks the master for its share"""
        self.shipper: Shipper | None = None
        """in a worker: sends the content of its files to the master"""
        self.ledger = Ledger(
            Store(RunDirectory(directory).ledger(self.name), self.meta),
            on_failure=lambda error: self.fail(str(error)),
        )
        self._told_silent = False
        self._script_errors = ScriptErrors()
        self._health = ProcessHealth(directory, disk_guard=options.disk_guard)
        self._duties = Duties()
        self._on_interval, self._on_over = on_interval, on_over
        self._sign_ins = count(worker, workers)
        # Otherwise each greenlet keeps ten frames of its caller, which nothing reads.
        gevent.config.track_greenlet_tree = False
        random.seed(
            f"{run_seed()} {worker}"
        )  # Locust picks tasks and waits by the module's generator
        self.seeds = random.Random(f"{run_seed()} {worker} thinking")
        self._occupancy = Occupancy(monotonic_ns())
        self._breaks_recorded: set[str] = set()
        self._open: dict[GuestSession, tuple[Any, Visit]] = {}
        """guests in session, with the greenlet that opened them: a slot may have several"""
        self._abandoned: set[GuestSession] = set()
        """those of them that are being ended because their greenlet has died"""
        self._quiet = Event()
        """set while no guest is in session"""
        self._quiet.set()
        self._hurried = Event()
        self._over_for = 0
        """checks in a row at which no guest was in session and none could come"""
        self._draining = BoundedSemaphore()
        self.visits: set[object] = set()
        """the visits of guests that have not left, kept so that none is garbage-collected"""
        self._finished = False
        self._closed = Event()
        self._phase = Phase.RUNNING
        arrivals = None
        if shape is not None:
            arrivals = Arrivals(
                shape.arrivals,
                start_ns=monotonic_ns() + LEAD_NS,
                late_after_s=seconds(shape.late_after),
                drop_after_s=seconds(shape.drop_after),
                share=share,
                until=until,
            )
        shares = shares_of(environment.user_classes, environment.parsed_options.num_users or 1)
        self._mix = Mix(shares, random.Random(f"{run_seed()} {worker} mix"), alone=workers == 1)
        if warm_up_s:
            self.recorder.judged_from_ns = monotonic_ns() + LEAD_NS + int(warm_up_s * 1e9)
        self._dispatch = Dispatcher(
            arrivals,
            max_sessions=max_sessions,
            max_per_s=max_per_s,
            mix=self._mix,
            await_leave=self._await_token,
        )
        self.awaits_welcome = awaits_welcome
        """no guest is let in yet"""
        self._dispatch.pause(awaits_welcome)
        self._lag = LoopLag(partial(self.recorder.add_duration, LAG_LOOP))
        self._lag.start()
        self._interval_began_ns = monotonic_ns()
        self._ticker = gevent.spawn(self._tick_forever)

    def tokens_used(self) -> int:
        """How many tokens this process has used."""
        return self._tokens.used

    def ship_to(self, shipper: Shipper) -> None:
        """In a worker: send ledger and measurements to the master, from the first line on."""
        self.shipper = shipper
        self.ledger.on_commit = shipper.take
        shipper.take_measured(b"", self._writer.header)
        self._writer.on_write = shipper.take_measured

    @staticmethod
    def present(environment: Any) -> "Run | None":
        """The run that goes on in a Locust environment."""
        run: Run | None = getattr(environment, "harness_run", None)
        return run

    @staticmethod
    def of(environment: Any) -> "Run":
        """The run that goes on. Raises StopUser if there is none: between two tests of the web
        UI."""
        if (run := Run.present(environment)) is None:
            raise StopUser
        return run

    @staticmethod
    def rng_of(environment: Any) -> random.Random:
        """A random generator for one slot, derived from the run's seed."""
        run = Run.present(environment)
        return random.Random() if run is None else random.Random(run.seeds.getrandbits(64))

    @property
    def arrivals(self) -> Arrivals | None:
        """Of an open workload."""
        return self._dispatch.arrivals

    @property
    def in_session(self) -> int:
        return len(self._open)

    @property
    def slots(self) -> Slots | None:
        """Of an open workload."""
        return self._dispatch.slots

    # Called by slots.

    def next_arrival(self, user: Any = None) -> int:
        """Wait for the next guest of a slot (a Locust user); returns the due time.

        Raises StopUser if no guest comes any more.
        """
        due_ns = self._dispatch.next_arrival(user)
        self.recorder.count(f"{GUESTS_OF}{type(user).__name__}")
        if self.arrivals is not None:
            self.recorder.add_duration(ARRIVAL_LATENESS, monotonic_ns() - due_ns)
        return due_ns

    def next_sign_in(self) -> str:
        """The JWT of the guest who has just arrived, if the run has sign-ins; each worker has its
        own.

        Empty for an anonymous guest.
        """
        return self.options.guest_options.sign_in_of(next(self._sign_ins))

    def note_no_sign_in(self, due_ns: int, began_ns: int, error: Exception) -> None:
        """Count a guest who could not be signed in as one whose session did not open."""
        now = monotonic_ns()
        outcome = sign_in_outcome(error)
        self.recorder.add(Sample("session_open", due_ns, began_ns, now, now, outcome))
        self.recorder.count(GUESTS_ARRIVED)
        self.recorder.count(GUESTS_FAILED + Why.NOT_SIGNED_IN)

    def new_session(
        self,
        due_ns: int,
        think_s: Any,
        *,
        sign_in: SignIn = "",
        max_age_s: float = 0.0,
        greets: bool | None = None,
        stop_requested: Callable[[], bool] = lambda: False,
    ) -> GuestSession:
        """A guest with a new token; its attributes show the service its run and its own name.

        ``stop_requested``: whether its slot was asked to stop. A worker waits until its master
        knows of the token. Raises StopUser if the run ends first.
        """
        self._await_token()  # again: others may have begun while this guest signed in
        return GuestSession(
            self.options.guest_options.of_guest(
                self.settings, sign_in=sign_in, max_age_s=max_age_s, greets=greets
            ),
            self._tokens.next(),
            ledger=self.ledger,
            recorder=self.recorder,
            due_ns=due_ns,
            think_s=think_s,
            ends_by_choice=BY_CHOICE,
            run_kills=lambda: stop_requested() or self._phase not in COMING,
        )

    def _await_token(self) -> None:
        # No other greenlet may run between the last look and the use of the token.
        while self.shipper is not None and not self.shipper.may_use_token():
            if self._dispatch.shut:
                raise StopUser
            if not (self.shipper.may_use.wait(INTERVAL_S) or self._told_silent):
                self._told_silent = True
                LOG.warning("the master takes no report of this worker: guests wait until it does")

    def occupied(self, session: GuestSession) -> Visit:
        """Count a guest as in session, so that the end of the run can find it."""
        visit = Visit(self._occupancy, partial(self._gone, session))
        self._open[session] = gevent.getcurrent(), visit
        self._quiet.clear()
        return visit

    def _gone(self, session: GuestSession, length_ns: int) -> None:
        self._open.pop(session, None)
        cut = self._phase is Phase.CLEARING
        self.recorder.add_duration(SESSION_CUT if cut else SESSION_LENGTH, length_ns)
        if not self._open:
            self._quiet.set()

    # Pause and end.

    def pause(self, on: bool) -> None:
        """While it is on, no new guests; those in session go on."""
        if on is not (self._phase is Phase.PAUSED):
            LOG.info("paused" if on else "going on")
        self._dispatch.pause(on or self.awaits_welcome)
        if self._phase in COMING:
            self._phase = Phase.PAUSED if on else Phase.RUNNING

    def let_in(self) -> None:
        """Guests may come, unless the run is paused."""
        self.awaits_welcome = False
        self._dispatch.pause(self._phase is Phase.PAUSED)

    def _wall_ns(self) -> int:
        return wall_ns() - self.clock_ahead_ns

    def _may_listen(self) -> bool:
        """Whether a guest who has finished may stay and listen: no arrival waits for its slot."""
        return self.slots is None or self.slots.to_spare or self._dispatch.shut

    def tell_once(self, key: str, sentence: str) -> None:
        """Record a story that broke off: each ``key`` once, and :data:`MOST_BREAKS` in all."""
        if key not in self._breaks_recorded and len(self._breaks_recorded) < MOST_BREAKS:
            self._breaks_recorded.add(key)
            self.recorder.count(STORIES_TOLD + sentence)

    def note_script_error(self, error: BaseException) -> None:
        """Note that a story has ended by an error of its own: the run is INVALID."""
        if name := self._script_errors.count_of(error):
            self.recorder.count(name)
        # Slots count too: those that wait for their first guest have begun no story yet.
        if self._script_errors.hopeless(self._dispatch.begun + self.environment.runner.user_count):
            self.fail("most stories ended by errors of their own: the run was ended")

    def add_slot(self, kind: str) -> None:
        self._mix.add_slot(kind)

    def slot_ended(self, kind: str, error: BaseException | None, *, by_request: bool) -> None:
        """A slot has ended: by an error, because it was asked to, or by a story's StopUser.

        Arrivals for a slot that is gone for good wait for its class, and are dropped in the end.
        """
        if error is not None:
            self.note_script_error(error)
        if by_request:
            self._mix.remove_slot(kind)
        elif not self._dispatch.shut:
            self._dispatch.counts.slots_gone += 1

    def rows_used_up(self) -> None:
        """A slot ends normally because each row of its script was used once."""
        self._dispatch.counts.slots_done += 1

    def _end_without_slots(self) -> None:
        """End the run early when no guest can come any more: no slot is left, the cap is reached,
        or the schedule is over."""
        if self._dispatch.shut:
            return
        runner, counts = self.environment.runner, self._dispatch.counts
        over = self._dispatch.over and not self._open
        self._over_for = self._over_for + 1 if over else 0
        if over:
            if self._over_for > OVER_FOR:
                self._end_over()
            return
        if runner.user_count or runner.state != STATE_RUNNING:
            return
        if counts.slots_gone:
            self.fail("every slot ended for good: no guest could come any more")
        elif counts.slots_done:
            self._end_over()

    def _end_over(self) -> None:
        if self._on_over is not None:
            LOG.info(NO_MORE_GUESTS)
            self._stop_arrivals()
            gevent.spawn(self._on_over)

    def fail(self, why: str) -> None:
        """Note that the run's record can't be trusted, and end the run."""
        if why in self.failures:
            return
        self.failures.append(why)
        LOG.error("the figures can't be trusted: %s", why)
        failures = RunDirectory(self.directory).failures
        with contextlib.suppress(OSError), failures.open("a", encoding="utf-8") as file:
            file.write(why + "\n")
        if not self._dispatch.shut:
            self._stop_arrivals()
            gevent.spawn(self.environment.runner.quit)

    def drain(self) -> int:
        """Stop arrivals, let conversations finish, clear the rest. Returns how many sessions remain
        open.

        Two callers at once (a master's order and a signal) both wait for the same end.
        """
        self._stop_arrivals()
        with self._draining:
            return self._drain()

    def _drain(self) -> int:
        if self._phase is Phase.ENDED:
            return self.ledger.open
        self._phase = Phase.FINISHING
        self._dispatch.await_ended()  # before Locust ends all of its users in one turn
        LOG.info("no new guests; %s in session may finish", len(self._open))
        if not self.failures:
            grace_s = float(self.environment.stop_timeout or 0)
            self._wait_for_guests(grace_s, self._hurried)
        self._phase = Phase.CLEARING
        LOG.info("clearing %s sessions", len(self._open))
        for slot in dict.fromkeys(opener for opener, _ in self._open.values()):
            slot.kill(block=False)
            gevent.sleep(1 / CLEARS_BEGUN_PER_S)
        self._wait_for_guests(DRAIN_LIMIT_S)
        self._phase = Phase.ENDED
        LOG.info("ended; %s sessions without proof of their end", self.ledger.open)
        return self.ledger.open

    def _wait_for_guests(self, limit_s: float, *or_until: Event) -> None:
        """Wait until the last guest has left, the limit is over, or one of the events is set."""
        deadline = monotonic_ns() + int(limit_s * 1e9)
        while (left_s := (deadline - monotonic_ns()) / 1e9) > 0:
            self._end_abandoned()
            wait_s = min(left_s, ABANDONED_EVERY_S)
            if gevent.wait([self._quiet, *or_until], timeout=wait_s, count=1):
                return

    def _end_abandoned(self) -> None:
        """End sessions whose greenlet has died without ending them."""
        for session, (opener, visit) in list(self._open.items()):
            if opener.dead and session not in self._abandoned:
                self._abandoned.add(session)
                LOG.debug("ending a session whose story has gone")
                gevent.spawn(self._end_for, session, visit)

    def _end_for(self, session: GuestSession, visit: Visit) -> None:
        try:
            session.abandon()
        finally:
            self._abandoned.discard(session)
            visit.end()

    def _stop_arrivals(self) -> None:
        if not self._dispatch.shut:
            for kind, many in self._dispatch.close().items():
                self.recorder.count(NEVER_ASKED + kind, many)
            if self.lease is not None:
                self.lease.wanted = False

    def hurry(self) -> None:
        """Clear at once instead of letting conversations finish (the second Ctrl-C)."""
        LOG.info("in a hurry: clearing at once")
        self._stop_arrivals()
        self._hurried.set()

    def finish(self) -> None:
        """Write the last interval and close the files; every caller returns when that is done."""
        if self._finished:
            self._closed.wait()  # two callers may meet here: the process exits after us
            return
        self._finished = True
        try:
            self._close()
        finally:
            self._closed.set()

    def _close(self) -> None:
        self._stop_arrivals()
        self._ticker.kill()
        self._lag.stop()
        self._tick()
        try:
            self._writer.close()
        except OSError as error:
            self.fail(f"the measurements can't be written: {error.strerror or error}")
        try:
            self.ledger.close()
        except LedgerError as error:
            self.fail(str(error))

    # Once a second.

    def _tick_forever(self) -> None:
        due = monotonic_ns()
        while True:
            due += int(INTERVAL_S * 1e9)
            gevent.sleep(max(0.0, (due - monotonic_ns()) / 1e9))
            self._tick()

    def _tick(self) -> None:
        """Do every duty once, each guarded: first what may end the run, then the files, then the
        live view."""
        do = self._duties.do
        for why in do("the watch over clock and disk", self._health.complaints, ()):
            self.fail(why)
        do("the account of sessions", self._check_account, None)
        do("the look for an end", self._end_without_slots, None)
        try:
            row, histograms = self._write_interval()
        except Exception as error:  # noqa: BLE001 - the record has a gap, and says so
            reason = error.strerror if isinstance(error, OSError) else None
            why = reason or f"{type(error).__name__}: {error}"
            self.fail(f"the measurements can't be written: {why}")
        else:
            if (watcher := self._on_interval) is not None:
                do("handing on measurements", lambda: watcher(self.name, row, histograms), None)
        if not self._finished:
            do("the heartbeat", lambda: self.ledger.note("heartbeat_ns", str(wall_ns())), None)

    def _check_account(self) -> None:
        if not self.ledger.balanced:
            self.fail("the live account of sessions does not add up")

    def _write_interval(self) -> tuple[dict[str, Any], dict[str, Histogram]]:
        """Write the measurements since the last call; returns them as written. Raises OSError."""
        now = monotonic_ns()
        length_s, self._interval_began_ns = (now - self._interval_began_ns) / 1e9, now
        collected = self.recorder.take()
        state: dict[str, Any] = {
            "phase": self._phase,
            "sessions": self._sessions(),
            "arrivals": self._dispatch.since_last(now),
            "process": self._duties.do("the look at this process's needs", self._health.needs, {}),
        }
        row = {**state, "outcomes": collected.outcomes, "counts": collected.counts}
        row["left_by_reason"] = {why: n for why, n in self.ledger.reasons.items() if n}
        histograms = dict(collected.histograms)
        length_s = max(length_s, 0.001)
        self._writer.write(collected, ended_ns=self._wall_ns(), length_s=length_s, state=state)
        return row, histograms

    def _sessions(self) -> dict[str, int]:
        tally, intended = self.ledger.tally, self.ledger.intended
        account = Account(intended=intended, never_configured=tally[Stage.NEVER_CONFIGURED])
        return {
            "intended": intended,
            "opened": account.opened,
            **{COUNTED_AS[stage]: tally[stage] for stage in ENDS_OF_A_RUN},
            "leftover": tally[Stage.LOST],
            "to_go": self.ledger.open,
            "occupancy": len(self._open),
            **self._occupancy.totals(monotonic_ns()),
        }
