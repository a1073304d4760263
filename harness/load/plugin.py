"""Ties a run to Locust's events. Registered once, when :mod:`harness.load` is imported."""

import contextlib
import math
import signal
import sys
from pathlib import Path
from typing import Any, NoReturn

import gevent
from locust import events
from locust.runners import MasterRunner, WorkerRunner
from rich.console import Console

from harness.clock import utc_iso
from harness.errors import ConfigError, LedgerError
from harness.exit_codes import ExitCode
from harness.guest.settings import GuestSettings
from harness.load.drain import Barrier, finish_worker, register_worker
from harness.load.interrupts import Interrupts, watch_parent
from harness.load.options import RUN_ID, WORKERS, RunOptions, add_options, read_options
from harness.load.run import Run
from harness.load.shapes import ArrivalShape
from harness.load.shipping import Copies, Shipper
from harness.reconcile.lost import find_lost, sweep_lost
from harness.report.opening import make_run_directory, new_run_id, point_latest, write_start
from harness.report.record import build_record, write_record
from harness.report.terminal import show_summary


def register() -> None:
    """Listen to Locust."""
    for hook, listener in ((events.init_command_line_parser, add_options), (events.init, _attach)):
        hook.add_listener(listener)  # type: ignore[no-untyped-call]


def _attach(environment: Any, runner: Any, **_: Any) -> None:
    plugin = Plugin(environment, runner)
    environment.harness_plugin = plugin
    if not isinstance(runner, WorkerRunner):  # a worker learns its options from the master
        plugin.check_options()
    plugin.take_shape()
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
        self._options: RunOptions | None = None
        self._barrier = Barrier(runner) if isinstance(runner, MasterRunner) else None
        self._copies = Copies(runner) if isinstance(runner, MasterRunner) else None
        self._unanswered: set[str] = set()
        self._failures: list[str] = []
        self._runs = 0
        self._quitting = False
        self.interrupts = Interrupts(hurry=self.hurry, leave=self._leave)
        if isinstance(runner, WorkerRunner):
            register_worker(runner)

    # Before the run.

    def check_options(self) -> RunOptions:
        """Options and target, or the end of the process with one sentence."""
        try:
            options = read_options(self._environment.parsed_options)
        except ConfigError as error:
            _refuse(str(error), ExitCode.CONFIG)
        if not options.target.loopback:
            _refuse(
                f"the target {options.target.netloc} is not on this machine: a real deployment "
                "needs an approved target and a preflight (harness preflight)",
                ExitCode.PREFLIGHT,
            )
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
        # A second more than the schedule: Locust's clock starts before the first guest can.
        options.run_time = options.run_time or math.ceil(checked.arrivals.duration_s) + 1

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
            if isinstance(self._runner, WorkerRunner):
                self._start_run(options, directory, getattr(parsed, WORKERS, 1))
                return
            setattr(parsed, RUN_ID, run_id)
            self._write_start(options, directory)
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
        )
        if isinstance(self._runner, WorkerRunner):
            run.shipper = Shipper(self._runner, run.name, run.meta)
            run.ledger.on_commit = run.shipper.take

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
            objectives=getattr(environment, "harness_objectives", []),
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
        if self._copies is not None:
            self._copies.close()
            failures = self._copies.failures
        if self._unanswered:
            failures = [
                f"{len(self._unanswered)} workers did not come to an orderly end",
                *failures,
            ]
        if failures:
            with contextlib.suppress(OSError), (directory / "failures.txt").open("a") as file:
                file.writelines(f"{why}\n" for why in failures)
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
