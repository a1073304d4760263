"""Ties a run to Locust's events. Registered once, when :mod:`harness.load` is imported."""

import contextlib
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import gevent
from locust import events
from locust.runners import STATE_RUNNING, STATE_SPAWNING, MasterRunner, WorkerRunner

from harness.clock import monotonic_ns, utc_iso, wall_ns
from harness.config.run_config import SEARCH, SIMULATOR, RunConfig
from harness.errors import ConfigError, LedgerError
from harness.exit_codes import ExitCode
from harness.finish import finish_run
from harness.ledger.runs import sweep_command
from harness.load.admission import (
    Admission,
    cap_of,
    check_tasks,
    rate_of,
    refuse,
    tell_shortly,
    warm_up_s,
)
from harness.load.cluster.drain import Barrier, add_failures, finish_worker, register_worker
from harness.load.cluster.handshake import HELLO, Handshake, describe
from harness.load.cluster.leases import Lease, Shares
from harness.load.cluster.master_port import MasterPort, harden_receiving
from harness.load.cluster.replication import Copies, Shipper
from harness.load.dispatch import shares_of
from harness.load.health import Duties, calling_place, place_of
from harness.load.live.prometheus import MetricsServer
from harness.load.live.totals import INTERVAL, AbortWatch, Live
from harness.load.live.web import SessionsTab, guard
from harness.load.locust_stats import trim
from harness.load.options import LEARNED, RUN_ID, SHARES, RunOptions, add_options, seed
from harness.load.pausing import Asked, register_paused
from harness.load.run import LEAD_NS, Run, time_to_clear_s
from harness.load.shape import schedule_facts
from harness.load.signals import (
    Interrupts,
    OneEnd,
    end_with_supervisor,
    ending_on_error,
    watch_parent,
)
from harness.machine import keep_files_private, raise_file_limit
from harness.preflight.disk import RoomWatch
from harness.preflight.stamp import Permit
from harness.reconcile.platform import note_counts
from harness.rundir.layout import (
    ABORTED,
    ENDED_BY_HAND,
    ENDED_BY_SEARCH,
    ENDED_FOR_DISK,
    ENDED_FOR_WINDOW,
    begin_run,
    make_run_directory,
    new_run_id,
    others_may_write,
    sign_ins_fact,
    target_facts,
)
from harness.streams import open_console, outlast_readers
from harness.transport.dial import check_sources
from harness.workload.schedule import Piece, Share


def register() -> None:
    """Listen to Locust."""
    end_with_supervisor()
    harden_receiving()
    sys.excepthook = tell_shortly(sys.excepthook)
    for hook, listener in ((events.init_command_line_parser, add_options), (events.init, _attach)):
        hook.add_listener(listener)  # type: ignore[no-untyped-call]


def _attach(environment: Any, runner: Any, **_: Any) -> None:
    keep_files_private()
    outlast_readers()  # what Locust's process prints must not end what it does
    plugin = Plugin(environment, runner)
    environment.harness_plugin = plugin
    if not isinstance(runner, WorkerRunner):  # a worker learns its options from the master
        plugin.admission.tell_breaks(plugin.admission.check_options())
    raise_file_limit()
    plugin.admission.take_shape()
    if isinstance(runner, WorkerRunner):
        plugin.say_hello()
    else:
        plugin.admission.ask_permission()
        gevent.spawn(plugin.admission.await_workers)
    plugin.open_windows()
    environment.events.test_start.add_listener(plugin.on_test_start)
    environment.events.test_start.fire = ending_on_error(
        environment.events.test_start, plugin.on_failed_start
    )
    if not isinstance(runner, MasterRunner):
        environment.events.user_error.add_listener(plugin.on_user_error)
    environment.events.test_stopping.add_listener(plugin.on_test_stopping)
    environment.events.test_stop.add_listener(plugin.on_test_stop)
    environment.events.quitting.add_listener(plugin.on_quitting)
    plugin.interrupts.install(supervised=not isinstance(runner, WorkerRunner))
    if isinstance(runner, WorkerRunner):
        if environment.parsed_options.processes:
            watch_parent()
        if runner.worker_state in (STATE_SPAWNING, STATE_RUNNING):
            plugin.on_test_start()  # its orders came before we could listen
    # Locust sets the time limit next, without a pause, and a timer counts from when the event loop
    # last looked at the clock; only to one that it has called itself does it look again. Otherwise
    # the run would end too early by as long as the set-up of the locustfile takes.
    gevent.sleep(0)


class Plugin:
    """What Locust's events do to the run of this process."""

    def __init__(self, environment: Any, runner: Any) -> None:
        self._environment = environment
        self._config = RunConfig.of_process()
        """read once: at the end there may be no descriptor left to read it with"""
        self._runner = runner
        self._directory: Path | None = None
        self.directory: Path | None = None
        """of the present or last run"""
        self.runner = runner
        self._options: RunOptions | None = None
        self._barrier = Barrier(runner) if isinstance(runner, MasterRunner) else None
        self._copies = Copies(runner) if isinstance(runner, MasterRunner) else None
        self._shares = Shares(runner, self._say) if isinstance(runner, MasterRunner) else None
        if self._barrier is not None and self._shares is not None:
            self._barrier.on_leave = self._shares.leave
        self._unanswered: set[str] = set()
        self._failures: list[str] = []
        self._notes: dict[str, Any] = {}
        """how the run came to its end, for ``start.json``"""
        self._runs = 0
        self._stopping = False
        self._one_end = OneEnd(runner, on_story=self._on_story_end)
        self.interrupts = Interrupts(hurry=self.hurry, leave=self._leave, one_end=self._one_end)
        self._watcher: Any = None
        self._permit = Permit()
        handshake = Handshake(runner) if isinstance(runner, MasterRunner) else None
        self.admission = Admission(environment, handshake)
        self.live = Live()
        if isinstance(runner, WorkerRunner):
            register_worker(runner)
            register_paused(runner)
        elif isinstance(runner, MasterRunner):
            runner.register_message(INTERVAL, self._on_worker_interval)
        self._port = MasterPort(runner) if isinstance(runner, MasterRunner) else None

    # Before the run.

    def open_windows(self) -> None:
        """Let the run be seen: the Prometheus endpoint, and the Sessions tab of the web UI."""
        if isinstance(self._runner, WorkerRunner):
            return
        metrics = self.admission.check_options().metrics
        if metrics is not None:
            address, port = metrics
            try:
                server = MetricsServer(lambda: self.live, port=port, address=address)
            except ConfigError as error:
                refuse(str(error), ExitCode.CONFIG)
            self._environment.events.quit.add_listener(lambda **_: server.close())
        if self._environment.web_ui is not None:
            parsed = self._environment.parsed_options
            guard(self._environment.web_ui.app, parsed.web_host or "", parsed.web_host_name)
            SessionsTab(self._environment.web_ui, self)

    def say_hello(self) -> None:
        """A worker tells its master what it is."""
        locustfile = str(self._environment.parsed_options.locustfile)
        self._runner.send_message(HELLO, describe(locustfile, self.admission.shape))

    # The run.

    def on_test_start(self, **_: Any) -> None:
        """Open the run directory and, where guests run, the files of this process."""
        options = self.admission.check_options()
        self._options, self._failures, self._unanswered = options, [], set()
        self._stopping = False
        self._notes = {}
        parsed = self._environment.parsed_options
        run_id = options.run_id or new_run_id()
        if self._runs and not isinstance(self._runner, WorkerRunner):
            run_id = new_run_id()  # once more from the web UI: a run of its own
        self._runs += 1
        try:
            check_tasks(self._environment)
            warm_up = warm_up_s(options, self.admission.shape, parsed.run_time)
            if not isinstance(self._runner, MasterRunner):
                check_sources(options.target)
            disk = None
            if not isinstance(self._runner, WorkerRunner):
                workers = getattr(self._runner, "worker_count", 0)
                disk = self.admission.check_room(options, workers)
            self._directory = directory = make_run_directory(options.reports, run_id)
            self.directory = directory
            if isinstance(self._runner, WorkerRunner):
                self._start_work(options, directory, getattr(parsed, SHARES))
                return
            if warning := others_may_write(options.reports):
                self._say(f"warning: {warning}")
            self._permit = self.admission.ask_permission()
            self.admission.check_strength(options)
            setattr(parsed, RUN_ID, run_id)
            setattr(parsed, LEARNED, {} if options.learned is None else options.learned.as_dict())
            self._write_start(options, directory, disk)
            note_counts(directory, "before", options.target)
            self.live = Live()
            self._watcher = gevent.spawn(self._watch)
            if self._barrier is not None and self._copies is not None:
                self._barrier.open()
                self._copies.open(directory)
                setattr(parsed, SHARES, self._open_shares(directory))
            else:
                cap = cap_of(options, 0, 1) if self.admission.shape is None else None
                rate = rate_of(options, 0, 1)
                self._start_run(
                    options, directory, max_sessions=cap, max_per_s=rate, warm_up_s=warm_up
                )
        except (ConfigError, LedgerError, OSError) as error:
            refuse(str(error), ExitCode.CONFIG)

    def _open_shares(self, directory: Path) -> dict[str, Any]:
        """Which part of the work is whose: the master tells the workers with their orders."""
        assert self._shares is not None
        shape = self.admission.shape
        if shape is None:
            ready = [worker.id for worker in self._runner.clients.ready]
            return {"places": {worker: place for place, worker in enumerate(ready)}, "until": 0}
        return self._shares.open(shape.arrivals, directory, lead_ns=LEAD_NS)

    def _start_work(self, options: RunOptions, directory: Path, shares: dict[str, Any]) -> None:
        """Begin as a worker, or come in while the run is going on: then with no share so far."""
        shape, runner = self.admission.shape, self._runner
        warm_up = warm_up_s(options, shape, self._environment.parsed_options.run_time)
        places = shares["places"]
        place = places.get(runner.client_id)
        share = None
        if shape is not None:
            pieces = [] if place is None else [Piece(0, place, len(places))]
            share = Share(shape.arrivals.count, pieces)
        number = max(len(places), runner.worker_index) if place is None else place
        run = self._start_run(
            options,
            directory,
            worker=number,
            workers=number + 1 if place is None else len(places),
            share=share,
            until=0 if place is None else int(shares["until"]),
            joined=place is None,
            warm_up_s=0.0 if place is None else warm_up,
            max_sessions=cap_of(options, place, len(places)) if shape is None else None,
            max_per_s=rate_of(options, place, len(places)),
        )
        run.ship_to(Shipper(runner, run.name, run.meta))
        if run.arrivals is not None and run.slots is not None:
            run.lease = Lease(
                runner,
                run.name,
                run.arrivals,
                joined=run.joined,
                on_change=run.slots.look_again,
                on_conflict=run.fail,
            )

    def _start_run(self, options: RunOptions, directory: Path, **more: Any) -> Run:
        self._environment.harness_run = run = Run(
            self._environment,
            options,
            directory,
            shape=self.admission.shape,
            on_interval=self._hand_in,
            **more,
        )
        return run

    def _write_start(
        self, options: RunOptions, directory: Path, disk: dict[str, Any] | None
    ) -> None:
        environment, shape = self._environment, self.admission.shape
        parsed = environment.parsed_options
        begin_run(
            directory,
            started=utc_iso(),
            **target_facts(options.target),
            **sign_ins_fact(options.guest_options.sign_ins_file),
            platform=options.terms.platform_facts,
            learned=None if options.learned is None else options.learned.as_dict(),
            locustfile=parsed.locustfile,
            objectives=[
                *getattr(environment, "harness_objectives", []),
                *[objective.text for objective in self.admission.objectives],
            ],
            seed=seed(),
            target_name=options.terms.name or None,
            approval=options.terms.approval or None,
            overridden=list(self._permit.overridden),
            foreseen=self.admission.foreseen,
            arrivals=None if shape is None else shape.arrivals.describe(),
            schedule=None if shape is None else schedule_facts(shape.arrivals),
            mix=shares_of(environment.user_classes, parsed.num_users or 1),
            cap=cap_of(options, 0, 1) if shape is None else None,
            confident=options.confident,
            warm_up_s=warm_up_s(options, shape, parsed.run_time),
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
        """Once a second: keep the history short, and stop the run when it has to be."""
        do = Duties(self._say).do
        watch, live = AbortWatch(self.admission.objectives, self.live), self.live
        asked = Asked(self._runner, lambda: self._run)
        expected, directory = self.admission.expected, self._directory
        room = RoomWatch(directory, expected.ending) if expected and directory else None
        while directory is not None:
            gevent.sleep(1)
            now_s = (monotonic_ns() - live.began_ns) / 1e9
            if do("pause and stop", partial(asked.look, directory), False):
                return self._stop_early(["harness stop asked for it"], **{ENDED_BY_HAND: True})
            if room is not None and (why := do("the watch over the disk", room.look, "")):
                self._failures.append(why)
                return self._stop_early([why], **{ENDED_FOR_DISK: utc_iso()})
            stop_at = self._permit.stop_at
            if stop_at is not None and wall_ns() / 1e9 >= stop_at.timestamp():
                why = f"the window closes soon: no new guests after {stop_at:%H:%M:%S}"
                return self._stop_early([why], **{ENDED_FOR_WINDOW: utc_iso()})
            if reasons := do("the objectives", partial(watch.look, now_s), ()):
                return self._stop_early(reasons, **{ABORTED: list(reasons)})
            if self._shares is not None:
                do("the workers' shares", self._shares.look, None)
            if self._environment.web_ui is not None:
                do("the history", partial(live.add_point, now_s), None)
            do("Locust's own history", partial(trim, self._runner.stats, wall_ns() / 1e9), None)

    def _stop_early(self, reasons: Sequence[str], **noted: Any) -> None:
        """Stop first, and take notes after: the disk may be full, or no descriptor left."""
        web = self._environment.web_ui is not None
        gevent.spawn(self._runner.stop if web else self._runner.quit)
        self._notes |= noted
        for why in reasons:
            self._say(f"stopping early: {why}")

    @staticmethod
    def _say(text: str) -> None:
        print(text, flush=True)

    def on_test_stopping(self, **_: Any) -> None:
        """All roads to the end come through here; returns when no guest is left in session."""
        run = self._run
        self._stopping = True
        if self.interrupts.count:  # Ctrl-C ends the shape first, and with it the run
            self._notes[self._ended_from_outside] = True
        if self._barrier is not None and self._shares is not None:
            self._shares.freeze()
            self._unanswered = self._barrier.wait(float(self._environment.stop_timeout or 0))
        elif run is not None:
            run.drain()

    def _on_story_end(self) -> None:
        """A story that calls ``quit()`` ends as any other does, and the run beside it."""
        if (run := self._run) is not None:
            run.fail(f"a story ended the run by quit() or stop(): {calling_place()}")

    def on_user_error(self, exception: BaseException, **_: Any) -> None:
        """A story has ended by an error, wherever in it that was."""
        if (run := self._run) is not None:
            run.note_script_error(exception)

    def on_failed_start(self, error: Exception) -> None:
        """A listener of Locust's test_start has failed: there is no run without what it was for."""
        file, line = place_of(error)
        why = f"the start of the run failed: {type(error).__name__} in {file}, line {line}: {error}"
        if (run := self._run) is not None:
            run.fail(why)
        elif self._directory is None or isinstance(self._runner, WorkerRunner):
            self.admission.end()
            refuse(why, ExitCode.CONFIG)
        else:
            self._failures.append(why)
            add_failures(self._directory, [why])
            gevent.spawn(self._runner.quit)

    def _hurry_in_time(self) -> None:
        """After SIGTERM conversations may go on for what clearing leaves of the time we have."""
        if self._options is not None:
            run = self._run
            open_now = self.live.most_in_session() if run is None else run.in_session
            left_s = self._options.term_grace_s - time_to_clear_s(open_now)
            gevent.spawn_later(max(0.0, left_s), self.hurry)

    def on_test_stop(self, **_: Any) -> None:
        """Close this process's files; whoever is in charge makes the record."""
        if (run := self._run) is not None:
            if isinstance(self._runner, WorkerRunner):
                finish_worker(self._runner, run)
            run.finish()
            self._failures += run.failures
            self._environment.harness_run = None
        options, directory = self._options, self._directory
        if options is None or directory is None or isinstance(self._runner, WorkerRunner):
            return
        self._directory = None
        self.admission.end()
        failures = []
        if self.interrupts.orphaned:
            failures.append("harness run was killed: the run was ended early")
        if self._barrier is not None and self._copies is not None and self._shares is not None:
            self._copies.close()
            self._shares.close(self._barrier.answered)
            failures += [*self._barrier.failures, *self._copies.failures]
            if self._port is not None and self._port.refused:
                self._notes["refused_messages"] = self._port.refused
        if self._watcher is not None:
            self._watcher.kill(block=False)
        if self._unanswered:
            failures = [
                f"{len(self._unanswered)} workers did not come to an orderly end",
                *failures,
            ]
        self._failures = list(dict.fromkeys([*self._failures, *failures]))
        if self._failures:
            with contextlib.suppress(OSError):
                add_failures(directory, self._failures)
        finished = finish_run(
            directory,
            options.target,
            simulator=self._config.get(SIMULATOR),
            notes=self._notes,
            failures=self._failures,
        )
        self._environment.process_exit_code = finished.exit_code
        finished.show(open_console())

    def on_quitting(self, **_: Any) -> None:
        """Locust is about to leave, perhaps while guests are talking: end the run first."""
        self._one_end.enter_shutdown(self.interrupts.again)
        if self._run is None and self._directory is None:
            self._one_end.wait()  # there is no run any more, but its report is perhaps not made yet
            return
        # Locust leaves by itself only when a run is over: a signal came, or nobody is above us.
        if not (self._stopping or self.interrupts.orphaned):
            self._notes[self._ended_from_outside] = True
        if not (self.interrupts.count or self.interrupts.unhurried):
            self._hurry_in_time()  # by SIGTERM, or as if
        self._runner.stop()

    @property
    def _ended_from_outside(self) -> str:
        return ENDED_BY_SEARCH if self._config.get(SEARCH) else ENDED_BY_HAND

    def _leave(self) -> None:
        """The third Ctrl-C: what the user must know before we are gone."""
        if self._directory is not None and not isinstance(self._runner, WorkerRunner):
            print(f"left. End what remains with: {sweep_command(self._directory)}", flush=True)

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
