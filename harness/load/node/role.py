"""The common parts of the roles, and the role of a process that runs alone."""

import contextlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import gevent
from gevent.event import Event

from harness import __version__
from harness.clock import monotonic_ns, utc_iso, wall_ns
from harness.config.run_config import SEARCH, SIMULATOR, SIMULATOR_NAME, RunConfig
from harness.errors import ConfigError, ExitCode
from harness.finish import finish_run
from harness.load.admission import Admission, check_tasks, closed_limits, refuse, warm_up_s
from harness.load.arrivals import schedule_facts
from harness.load.dispatch import shares_of
from harness.load.health import Duties
from harness.load.live.totals import AbortWatch, Live, trim
from harness.load.logs import LOG
from harness.load.options import RunOptions, own_objectives, run_seed
from harness.load.run import Run
from harness.measure.histogram import Histogram
from harness.preflight.disk import RoomWatch
from harness.preflight.guard import Permit
from harness.rundir.layout import (
    ABORTED,
    AT_THE_END,
    ENDED_BY_HAND,
    ENDED_BY_SEARCH,
    ENDED_FOR_DISK,
    ENDED_FOR_WINDOW,
    RunDirectory,
    begin_run,
    make_run_directory,
    new_run_id,
    others_may_write,
    target_facts,
)
from harness.streams import open_console
from harness.transport.dial import check_sources

Row = Mapping[str, Any]
Histograms = Mapping[str, Histogram]


class Node(ABC):
    """One process of a run. ``runner`` is its Locust runner."""

    leads = True
    """whether it makes the run directory and the record"""
    role: ClassVar[str]
    """the role in one word"""

    def __init__(self, environment: Any, runner: Any) -> None:
        self.environment = environment
        self.runner = runner
        self.admission = Admission(environment)
        self.config = RunConfig.of_process()
        """read once: at the end there may be no free file descriptor to read it"""
        self.directory: Path | None = None
        """the directory of the present or last run"""
        self.going = False
        """whether a run that this process has begun is going on"""
        self.options: RunOptions | None = None
        self.failures: list[str] = []
        """why the figures of the run can't be trusted"""

    @property
    def run(self) -> Run | None:
        """The run of this process; None if no guests run in it."""
        return Run.present(self.environment)

    @property
    def names(self) -> tuple[str, str]:
        """The run's name, and this process's role and name, for its log lines."""
        run = "" if self.directory is None else self.directory.name
        return run, self.role if self.run is None else f"{self.role} {self.run.name}"

    @abstractmethod
    def prepare(self) -> None:
        """Before any run: check the options, and make this process visible."""

    def start(self) -> None:
        """A test begins: open this process's part of the run.

        Raises ConfigError, LedgerError or OSError.
        """
        options = self.options = self.admission.check_options()
        check_tasks(self.environment)
        parsed = self.environment.parsed_options
        warm_up = warm_up_s(options, self.admission.shape, parsed.run_time)
        self._begin(options, warm_up)
        self.going = True
        LOG.info("begun: %s slots, target %s", parsed.num_users, options.target.host)

    @abstractmethod
    def _begin(self, options: RunOptions, warm_up: float) -> None:
        """Open what this role needs for a run."""

    @abstractmethod
    def watch(self) -> None:
        """Once a second, from the start of the process on."""

    def drain(self) -> None:
        """Called however the run ends; returns when no guest is left in session."""
        if self.run is not None:
            self.run.drain()

    @abstractmethod
    def finish(self) -> None:
        """The test is over: close the files of this process; a leader also makes the record."""

    @abstractmethod
    def fail_start(self, why: str) -> None:
        """A listener of Locust's has failed before this process had a run of its own."""

    def note_ended_from_outside(self) -> None:  # noqa: B027 - a worker's master notes it
        """A signal has ended the run."""

    def leave(self) -> None:  # noqa: B027 - a master tells its workers
        """A signal has ended the run, and now the process."""

    def hurry(self) -> None:
        """Skip the time for conversations to finish: clear at once."""
        if self.run is not None:
            self.run.hurry()

    @property
    def in_session(self) -> int:
        """Guests in session, in the process that has most of them."""
        return 0 if self.run is None else self.run.in_session

    @abstractmethod
    def hand_in(self, process: str, row: Row, histograms: Histograms) -> None:
        """Take what a process has measured in the last interval."""

    def open_run(self, options: RunOptions, directory: Path, **more: Any) -> Run:
        """The run of this process. Raises LedgerError, ConfigError or OSError."""
        self.environment.harness_run = run = Run(
            self.environment,
            options,
            directory,
            shape=self.admission.shape,
            on_interval=self.hand_in,
            **more,
        )
        return run


class Early(NamedTuple):
    """Why a run is stopped before its time limit; ``noted`` goes into its ``start.json``."""

    reasons: Sequence[str]
    noted: Mapping[str, Any]
    void: bool = False
    """whether this makes its figures untrustworthy"""


Duty = tuple[str, Callable[[], Early | None]]
"""A duty that is done once a second, with its name."""


class Leader(Node):
    """Leads a run, alone or as a master: makes its directory, watches it, makes its record."""

    def __init__(self, environment: Any, runner: Any) -> None:
        super().__init__(environment, runner)
        self.live = Live()
        self.notes: dict[str, Any] = {}
        """how the run ended, for ``start.json``"""
        self._permit = Permit()
        self._runs = 0
        self._duties: list[Duty] = []
        self._failed = Duties()
        self._paused = False
        self._hurried = Event()

    def prepare(self) -> None:
        """Ask for permission; open the Prometheus endpoint and the tab of the web UI."""
        options = self.admission.check_options()
        self.admission.take_shape()
        self.admission.tell_breaks(options)
        self.admission.ask_permission(options)
        gevent.spawn(self.admission.await_workers)
        if options.metrics is not None:
            from harness.load.live.prometheus import MetricsServer

            address, port = options.metrics
            try:
                server = MetricsServer(
                    lambda: self.live, port=port, address=address, facts=self._facts
                )
            except ConfigError as error:
                refuse(str(error), ExitCode.CONFIG)

            def close(**_: Any) -> None:
                if not {ENDED_BY_HAND, ENDED_BY_SEARCH} & self.notes.keys():
                    server.linger()
                server.close()

            self.environment.events.quit.add_listener(close)
        if self.environment.web_ui is not None:
            from harness.load.live.web import SessionsTab, guard  # it draws as the reports do

            parsed = self.environment.parsed_options
            guard(self.environment.web_ui.app, parsed.web_host or "", parsed.web_host_name)
            SessionsTab(self.environment.web_ui, self, options.terms.target.netloc)

    def _facts(self) -> dict[str, str]:
        """Which run this is, for monitoring that watches several."""
        return {
            "run_id": "" if self.directory is None else self.directory.name,
            "target": "" if self.options is None else self.options.target.netloc,
            "locustfile": Path(self.environment.parsed_options.locustfile).name,
            "version": __version__,
        }

    def _begin(self, options: RunOptions, warm_up: float) -> None:
        self.failures, self.notes = [], {}
        again = self._runs > 0  # from the web UI: a run of its own
        self._runs += 1
        run_id = new_run_id() if again or not options.run_id else options.run_id
        disk = self.admission.check_room(options, getattr(self.runner, "worker_count", 0))
        self.directory = directory = make_run_directory(options.reports, run_id)
        self.live = Live()  # set together with the name: the page must not mix two runs' figures
        self.going = True
        if warning := others_may_write(options.reports):
            LOG.warning(warning)
        self._permit = self.admission.ask_permission(options)
        self.admission.check_strength(options)
        self._write_start(options, directory, disk, warm_up)
        if options.terms.queues or options.terms.flows:
            from harness.reconcile.platform import note_counts

            note_counts(directory, "before", options.target)
        self._duties = self._duties_of(directory)
        self._failed = Duties()
        self._hurried = Event()
        self._open(options, directory, warm_up)

    @abstractmethod
    def _open(self, options: RunOptions, directory: Path, warm_up: float) -> None:
        """Open what a process with this role needs, after the run directory."""

    def _write_start(
        self, options: RunOptions, directory: Path, disk: dict[str, Any] | None, warm_up: float
    ) -> None:
        environment, shape = self.environment, self.admission.shape
        parsed = environment.parsed_options
        embedded = bool(self.config.get(SIMULATOR))
        begin_run(
            directory,
            started=utc_iso(),
            **target_facts(options.target, options.guest_options.sign_ins_file),
            platform=options.terms.platform_facts,
            learned=None if options.learned is None else asdict(options.learned),
            locustfile=parsed.locustfile,
            objectives=[
                *own_objectives(),
                *[objective.text for objective in self.admission.objectives],
            ],
            seed=run_seed(),
            target_name=SIMULATOR_NAME if embedded else options.terms.name or None,
            approval=options.terms.approval or None,
            overridden=list(self._permit.overridden),
            foreseen=self.admission.foreseen,
            arrivals=None if shape is None else shape.arrivals.describe(),
            schedule=None if shape is None else schedule_facts(shape.arrivals),
            mix=shares_of(environment.user_classes, parsed.num_users or 1),
            cap=closed_limits(options, shape, 0, 1)[0],
            confident=options.confident,
            warm_up_s=warm_up,
            slots=parsed.num_users,
            disk=disk,
            options={
                "users": parsed.num_users,
                "spawn_rate": parsed.spawn_rate,
                "run_time_s": parsed.run_time,
                "stop_timeout_s": environment.stop_timeout,
                "processes": parsed.processes,
            },
        )

    # While it goes on.

    def watch(self) -> None:
        """Do every duty once, each guarded by itself; the first reason to stop ends the run."""
        for name, duty in self._duties:
            early = self._failed.do(name, duty, None)
            if early is not None:
                self._stop_early(early)
                return

    def _duties_of(self, directory: Path) -> list[Duty]:
        expected = self.admission.expected
        room = None if expected is None else RoomWatch(directory, expected.ending)
        objectives, live = AbortWatch(self.admission.objectives, self.live), self.live

        def by_hand() -> Early | None:
            files = RunDirectory(directory)
            self._look_paused(files.pause.exists())
            if not files.stop.exists():
                return None
            return Early(reasons=["harness stop asked for it"], noted={ENDED_BY_HAND: True})

        def disk() -> Early | None:
            why = "" if room is None else room.look()
            if not why:
                return None
            return Early(reasons=[why], noted={ENDED_FOR_DISK: utc_iso()}, void=True)

        def window() -> Early | None:
            stop_at = self._permit.stop_at
            if stop_at is None or wall_ns() / 1e9 < stop_at.timestamp():
                return None
            why = f"the window closes soon: no new guests after {stop_at:%H:%M:%S}"
            return Early(reasons=[why], noted={ENDED_FOR_WINDOW: utc_iso()})

        def missed() -> Early | None:
            reasons = objectives.look(since_s())
            return Early(reasons=reasons, noted={ABORTED: list(reasons)}) if reasons else None

        def history() -> None:
            if self.environment.web_ui is not None:
                live.add_point(since_s())

        def since_s() -> float:
            return (monotonic_ns() - live.began_ns) / 1e9

        return [
            ("pause and stop", by_hand),
            ("the watch over the disk", disk),
            ("the target's window", window),
            ("the objectives", missed),
            ("the history", history),
            ("Locust's own history", lambda: trim(self.runner.stats, wall_ns() / 1e9)),
        ]

    def _look_paused(self, paused: bool) -> None:
        # Repeated while it lasts: a worker may join meanwhile.
        if paused or self._paused:
            self.pause(paused)
        self._paused = paused

    @abstractmethod
    def pause(self, on: bool) -> None:
        """No new guests while it is on."""

    def _stop_early(self, early: Early) -> None:
        """Stop first, then note the reason: the disk may be full, or no file descriptor free."""
        self._duties = []
        gevent.spawn(self.stop_or_quit)
        self.notes |= early.noted
        self.failures += early.reasons if early.void else ()
        for why in early.reasons:
            LOG.warning("stopping early: %s", why)

    def stop_or_quit(self) -> None:
        """End the run; a web UI stays open for the next one."""
        (self.runner.quit if self.environment.web_ui is None else self.runner.stop)()

    def note_ended_from_outside(self) -> None:
        """A signal has ended the run: from a person, or from the search that started it."""
        self.notes[ENDED_BY_SEARCH if self.config.get(SEARCH) else ENDED_BY_HAND] = True

    def fail_start(self, why: str) -> None:
        """If the run has a directory, its record says so; without one nothing was begun."""
        if not self.going or self.directory is None:
            self.admission.end()
            refuse(why, ExitCode.CONFIG)
        self.failures.append(why)
        add_failures(self.directory, [why])
        gevent.spawn(self.runner.quit)

    # Its end.

    def hurry(self) -> None:
        """Clear at once; what lost processes have left is ended without waiting for it."""
        self._hurried.set()
        super().hurry()

    def finish(self) -> None:
        """Close this process's files and make the record, once a run."""
        if (run := self.run) is not None:
            run.finish()
            self.failures += run.failures
            self.environment.harness_run = None
        options, directory = self.options, self.directory
        if not self.going or options is None or directory is None:
            return
        self.going, self._duties = False, []
        self.admission.end()
        self.failures = list(dict.fromkeys([*self.failures, *self._close()]))
        if self.failures:
            with contextlib.suppress(OSError):
                add_failures(directory, self.failures)
        finished = finish_run(
            directory,
            options.target,
            simulator=self.config.get(SIMULATOR),
            notes=self.notes,
            failures=self.failures,
            say=lambda text: print(f"{AT_THE_END}{text}", flush=True),
            hurried=self._hurried,
        )
        self.environment.process_exit_code = finished.exit_code
        finished.show(open_console())

    def _close(self) -> Sequence[str]:
        """Close what this role has opened; returns what failed, in sentences."""
        return ()

    def hand_in(self, process: str, row: Row, histograms: Histograms) -> None:
        """Add it to the totals of the run."""
        self.live.take(process, row, {tag: one.counted() for tag, one in histograms.items()})


class LocalNode(Leader):
    """Everything in one process: it leads the run, and its guests run in it."""

    role = "local"

    def _begin(self, options: RunOptions, warm_up: float) -> None:
        check_sources(options.target)
        super()._begin(options, warm_up)

    def _open(self, options: RunOptions, directory: Path, warm_up: float) -> None:
        cap, rate = closed_limits(options, self.admission.shape, 0, 1)
        self.open_run(
            options,
            directory,
            max_sessions=cap,
            max_per_s=rate,
            warm_up_s=warm_up,
            on_over=self.stop_or_quit,
        )

    def pause(self, on: bool) -> None:
        if self.run is not None:
            self.run.pause(on)


def add_failures(directory: Path, failures: list[str]) -> None:
    """Add sentences to ``failures.txt``; a line that a full disk has torn makes room for them."""
    path = RunDirectory(directory).failures
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    sentences = dict.fromkeys([*text.rpartition("\n")[0].splitlines(), *failures])
    path.write_text("".join(f"{why}\n" for why in sentences), encoding="utf-8")
