"""Ties a run to Locust's events. Registered once, when :mod:`harness.load` is imported."""

import contextlib
import math
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

import gevent
from locust import events
from locust.runners import MasterRunner, WorkerRunner
from rich.console import Console

from harness.clock import monotonic_ns, utc_iso, wall_ns
from harness.errors import ConfigError, LedgerError, PreflightRefused
from harness.exit_codes import ExitCode
from harness.guard import Intent, Rule
from harness.guest.settings import GuestSettings
from harness.load.asked import seed
from harness.load.drain import Barrier, add_failures, finish_worker, register_worker
from harness.load.interrupts import Interrupts, watch_parent
from harness.load.live import INTERVAL, Live
from harness.load.live_metrics import MetricsServer
from harness.load.live_watch import AbortWatch
from harness.load.live_web import SessionsTab
from harness.load.muster import HELLO, Muster, describe
from harness.load.options import RUN_ID, WORKERS, RunOptions, add_options, read_options
from harness.load.run import Run
from harness.load.shapes import ArrivalShape, peak_per_s
from harness.load.shipping import Copies, Shipper
from harness.machine import LINGER_S, Share, raise_file_limit, shortfalls, this_machine
from harness.preflight.permit import Permit, permit
from harness.reconcile.lost import find_lost, sweep_lost
from harness.report.judging import read_objectives
from harness.report.opening import make_run_directory, new_run_id, point_latest, write_start
from harness.report.record import build_record, write_record
from harness.report.terminal import show_summary
from harness.slo.objective import Objective


def register() -> None:
    """Listen to Locust."""
    for hook, listener in ((events.init_command_line_parser, add_options), (events.init, _attach)):
        hook.add_listener(listener)  # type: ignore[no-untyped-call]


def _attach(environment: Any, runner: Any, **_: Any) -> None:
    plugin = Plugin(environment, runner)
    environment.harness_plugin = plugin
    if not isinstance(runner, WorkerRunner):  # a worker learns its options from the master
        plugin.check_options()
    raise_file_limit()
    plugin.take_shape()
    if isinstance(runner, WorkerRunner):
        plugin.say_hello()
    else:
        plugin.ask_permission()
    plugin.open_windows()
    environment.events.test_start.add_listener(plugin.on_test_start)
    environment.events.test_stopping.add_listener(plugin.on_test_stopping)
    environment.events.test_stop.add_listener(plugin.on_test_stop)
    environment.events.quitting.add_listener(plugin.on_quitting)
    gevent.signal_handler(signal.SIGUSR1, plugin.hurry)
    plugin.interrupts.install()
    if isinstance(runner, WorkerRunner) and environment.parsed_options.processes:
        watch_parent()


class Plugin:
    """What Locust's events do to the run of this process."""

    def __init__(self, environment: Any, runner: Any) -> None:
        self._environment = environment
        self._runner = runner
        self._shape: type[ArrivalShape] | None = None
        self._directory: Path | None = None
        self.directory: Path | None = None
        """of the present or last run"""
        self.runner = runner
        self._options: RunOptions | None = None
        self._barrier = Barrier(runner) if isinstance(runner, MasterRunner) else None
        self._copies = Copies(runner) if isinstance(runner, MasterRunner) else None
        self._unanswered: set[str] = set()
        self._failures: list[str] = []
        self._runs = 0
        self._quitting = False
        self.interrupts = Interrupts(hurry=self.hurry, leave=self._leave)
        self._objectives: tuple[Objective, ...] = ()
        self._watcher: Any = None
        self._permit = Permit()
        self._peak_per_s: float | None = None
        self._muster = Muster(runner) if isinstance(runner, MasterRunner) else None
        self.live = Live()
        if isinstance(runner, WorkerRunner):
            register_worker(runner)
        elif isinstance(runner, MasterRunner):
            runner.register_message(INTERVAL, self._on_worker_interval)

    # Before the run.

    def check_options(self) -> RunOptions:
        """Options and target, or the end of the process with one sentence."""
        try:
            options = read_options(self._environment.parsed_options)
        except ConfigError as error:
            _refuse(str(error), ExitCode.CONFIG)
        try:
            self._objectives = () if options.slo is None else read_objectives(options.slo)
        except ConfigError as error:
            _refuse(str(error), ExitCode.CONFIG)
        return options

    def take_shape(self) -> None:
        """Take an ArrivalShape over from Locust: its users become slots, all there at once.

        Locust would run a shape in a way that leaves the process deaf to SIGTERM.
        """
        environment, shape = self._environment, self._environment.shape_class
        if not isinstance(shape, ArrivalShape):
            return
        try:
            self._shape = checked = type(shape).checked()
        except ConfigError as error:
            _refuse(str(error), ExitCode.CONFIG)
        environment.shape_class = None
        options = environment.parsed_options
        options.num_users = options.num_users or checked.slots
        options.spawn_rate = options.num_users
        # More than the schedule: Locust's clock starts before the first guest can.
        options.run_time = options.run_time or math.ceil(checked.arrivals.duration_s) + 2
        self._peak_per_s = peak_per_s(checked.arrivals)

    def open_windows(self) -> None:
        """Let the run be seen: the Prometheus endpoint, and the Sessions tab of the web UI."""
        if isinstance(self._runner, WorkerRunner):
            return
        metrics = self.check_options().metrics
        if metrics is not None:
            address, port = metrics
            try:
                server = MetricsServer(lambda: self.live, port=port, address=address)
            except ConfigError as error:
                _refuse(str(error), ExitCode.CONFIG)
            self._environment.events.quit.add_listener(lambda **_: server.close())
        if self._environment.web_ui is not None:
            SessionsTab(self._environment.web_ui, self)

    def say_hello(self) -> None:
        """A worker tells its master what it is."""
        locustfile = str(self._environment.parsed_options.locustfile)
        self._runner.send_message(HELLO, describe(locustfile, self._shape))

    def ask_permission(self) -> Permit:
        """The guard's permission for this run, or the end of the process with its refusal."""
        environment, shape = self._environment, self._shape
        options = self.check_options()
        intent = Intent(
            sessions=None if shape is None else shape.arrivals.count,
            at_once=environment.parsed_options.num_users or 1,
            peak_per_s=self._peak_per_s,
            stop_timeout_s=float(environment.stop_timeout or 0),
        )
        try:
            return permit(
                options.terms, intent, reports=options.reports, overrides=options.overrides
            )
        except PreflightRefused as error:
            _refuse(str(error), ExitCode.PREFLIGHT)

    def _check_strength(self, options: RunOptions) -> None:
        """Whether this machine, or each worker's, can carry its share."""
        parsed, shape = self._environment.parsed_options, self._shape
        users = parsed.num_users or 1
        peak = self._peak_per_s
        sources = max(1, len(options.target.sources))
        over_s = LINGER_S if shape is None else shape.arrivals.duration_s
        if self._muster is not None:
            own = describe(str(parsed.locustfile), shape)
            whole = Share(at_once=users, per_s=peak, sources=sources, over_s=over_s)
            problems = self._muster.problems(own, whole)
        else:
            share = Share(at_once=users, per_s=peak, sources=sources, over_s=over_s)
            problems = list(shortfalls(this_machine(), share))
        if problems:
            if self._muster is not None:
                self._muster.dismiss()
            _refuse("; ".join(problems), ExitCode.CONFIG)

    # The run.

    def on_test_start(self, **_: Any) -> None:
        """Open the run directory and, where guests run, the files of this process."""
        options = self.check_options()
        self._options = options
        parsed = self._environment.parsed_options
        run_id = options.run_id or new_run_id()
        if self._runs and not isinstance(self._runner, WorkerRunner):
            run_id = new_run_id()  # once more from the web UI: a run of its own
        self._runs += 1
        try:
            self._directory = directory = make_run_directory(options.reports, run_id)
            self.directory = directory
            if isinstance(self._runner, WorkerRunner):
                self._start_run(options, directory, getattr(parsed, WORKERS, 1))
                return
            self._permit = self.ask_permission()
            self._check_strength(options)
            setattr(parsed, RUN_ID, run_id)
            self._write_start(options, directory)
            self.live = Live()
            self._watcher = gevent.spawn(self._watch)
            if self._barrier is not None and self._copies is not None:
                self._barrier.open()
                self._copies.open(directory)
                setattr(parsed, WORKERS, len(self._runner.clients.ready) or 1)
            else:
                self._start_run(options, directory, 1)
        except (ConfigError, LedgerError, OSError) as error:
            _refuse(str(error), ExitCode.CONFIG)

    def _start_run(self, options: RunOptions, directory: Path, workers: int) -> None:
        index = max(0, getattr(self._runner, "worker_index", 0))
        self._environment.harness_run = run = Run(
            self._environment,
            options,
            directory,
            shape=self._shape,
            worker=index % workers,
            workers=workers,
            on_interval=self._hand_in,
            max_sessions=self._cap(options, workers, index % workers),
        )
        if isinstance(self._runner, WorkerRunner):
            run.shipper = Shipper(self._runner, run.name, run.meta)
            run.ledger.on_commit = run.shipper.take

    def _cap(self, options: RunOptions, workers: int, worker: int) -> int | None:
        """This process's part of the cap on sessions."""
        if not options.terms.guarded or Rule.CAP in options.overrides:
            return None
        cap = options.terms.max_sessions
        return None if cap is None else len(range(worker, cap, workers))

    def _write_start(self, options: RunOptions, directory: Path) -> None:
        environment, shape = self._environment, self._shape
        parsed = environment.parsed_options
        write_start(
            directory,
            started=utc_iso(),
            target=options.target.url,
            deployment_id=options.target.deployment_id,
            ca_file=None if options.target.ca_file is None else str(options.target.ca_file),
            origin=options.target.origin,
            locustfile=parsed.locustfile,
            objectives=[
                *getattr(environment, "harness_objectives", []),
                *[objective.text for objective in self._objectives],
            ],
            seed=seed(),
            target_name=options.terms.name or None,
            approval=options.terms.approval or None,
            overridden=list(self._permit.overridden),
            arrivals=None if shape is None else shape.arrivals.describe(),
            slots=parsed.num_users,
            options={
                "users": parsed.num_users,
                "spawn_rate": parsed.spawn_rate,
                "run_time_s": parsed.run_time,
                "stop_timeout_s": environment.stop_timeout,
                "processes": parsed.processes,
            },
        )

    def _hand_in(self, process: str, row: Any, histograms: Any) -> None:
        if isinstance(self._runner, WorkerRunner):
            encoded = {tag: histogram.encode() for tag, histogram in histograms.items()}
            interval = {"process": process, "row": row, "encoded": encoded}
            self._runner.send_message(INTERVAL, interval)
        else:
            self.live.take(process, row, histograms)

    def _on_worker_interval(self, environment: Any, msg: Any) -> None:  # noqa: ARG002 - its form
        self.live.take_encoded(msg.data["process"], msg.data["row"], msg.data["encoded"])

    def _watch(self) -> None:
        """Once a second: keep the history, and stop the run when an objective says so."""
        watch, live = AbortWatch(self._objectives, self.live), self.live
        while True:
            gevent.sleep(1)
            now_s = (monotonic_ns() - live.began_ns) / 1e9
            live.add_point(now_s)
            reasons = watch.look(now_s)
            if reasons:
                return self._stop_early(reasons, aborted=list(reasons))
            stop_at = self._permit.stop_at
            if stop_at is not None and wall_ns() / 1e9 >= stop_at.timestamp():
                why = f"the window closes soon: no new guests after {stop_at:%H:%M:%S}"
                return self._stop_early([why], stopped_for_window=utc_iso())

    def _stop_early(self, reasons: Sequence[str], **noted: Any) -> None:
        if self._directory is not None:
            write_start(self._directory, **noted)
        for why in reasons:
            print(f"stopping early: {why}", flush=True)
        web = self._environment.web_ui is not None
        gevent.spawn(self._runner.stop if web else self._runner.quit)

    def on_test_stopping(self, **_: Any) -> None:
        """All roads to the end come through here; returns when no guest is left in session."""
        if self._barrier is not None:
            self._unanswered = self._barrier.wait(float(self._environment.stop_timeout or 0))
        elif (run := self._run) is not None:
            run.drain()

    def on_test_stop(self, **_: Any) -> None:
        """Close this process's files; whoever is in charge makes the record."""
        if (run := self._run) is not None:
            if isinstance(self._runner, WorkerRunner):
                finish_worker(self._runner, run)
            run.finish()
            self._failures = list(run.failures)
            self._environment.harness_run = None
        options, directory = self._options, self._directory
        if options is None or directory is None or isinstance(self._runner, WorkerRunner):
            return
        self._directory = None
        failures = []
        if self._barrier is not None and self._copies is not None:
            self._copies.close()
            failures = [*self._barrier.failures, *self._copies.failures]
        if self._watcher is not None:
            self._watcher.kill(block=False)
        if self._unanswered:
            failures = [
                f"{len(self._unanswered)} workers did not come to an orderly end",
                *failures,
            ]
        self._failures += failures
        if failures:
            with contextlib.suppress(OSError):
                add_failures(directory, failures)
        if not options.supervised:
            self._conclude(directory)

    def _conclude(self, directory: Path) -> None:
        """Record, report, summary and exit code of a run that nobody supervises."""
        try:
            self._sweep_lost(directory)
            record = build_record(directory)
            write_record(directory, record)
        except (ConfigError, LedgerError, OSError) as error:
            for why in (*self._failures, error):
                print(f"error: {why}", file=sys.stderr)
            self._environment.process_exit_code = int(ExitCode.INVALID)
            return
        point_latest(directory)
        show_summary(record, Console(), report=str(directory))
        self._environment.process_exit_code = record["exit_code"]

    def _sweep_lost(self, directory: Path) -> None:
        """What workers have left that died on the way is ended here and now."""
        lost = find_lost(directory)
        if self._options is None or not lost.leftovers:
            return
        target = self._options.target
        print(f"sweeping {len(lost.leftovers)} sessions of {len(lost.workers)} lost workers")
        sweep_lost(lost, GuestSettings(target=target, tls=target.tls_context()))

    def on_quitting(self, **_: Any) -> None:
        """Locust is about to leave, perhaps while guests are talking: end the run first."""
        if self._quitting:  # a second SIGTERM, while we are at it
            self.interrupts.again()
        self._quitting = True
        if self._run is not None or self._directory is not None:
            self._runner.stop()

    def _leave(self) -> None:
        """The third Ctrl-C: what the user must know before we are gone."""
        if self._directory is not None and not isinstance(self._runner, WorkerRunner):
            print(f"left. End what remains with: harness sweep {self._directory.name}", flush=True)

    def hurry(self) -> None:
        """Skip the time for conversations to finish: clear at once (SIGUSR1)."""
        if self._barrier is not None:
            self._barrier.hurry()
        elif (run := self._run) is not None:
            run.hurry()

    @property
    def _run(self) -> Run | None:
        run: Run | None = getattr(self._environment, "harness_run", None)
        return run


def _refuse(why: str, code: ExitCode) -> NoReturn:
    print(f"error: {why}", file=sys.stderr, flush=True)
    sys.exit(code)
