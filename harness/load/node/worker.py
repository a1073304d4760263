"""A worker of a run on several processes: its guests run in it, its master leads the run."""

import contextlib
import os
import signal
import sys
from argparse import Namespace
from collections.abc import Mapping, Sequence
from typing import Any

import gevent
from locust.exception import RPCError
from locust.runners import WorkerRunner

from harness.clock import wall_ns
from harness.errors import ConfigError, ExitCode, safe_quote
from harness.ledger.reader import HEARTBEAT_FRESH_S
from harness.load.admission import closed_limits, refuse
from harness.load.arrivals import Lease
from harness.load.cluster.handshake import (
    CHECK,
    FACTS,
    HELLO,
    PARAMETERS,
    WELCOME,
    MasterClock,
    describe,
    facts_of,
)
from harness.load.cluster.messages import ANSWER, DRAIN, DRAINED, HURRY, REPORT, pack, pack_stats
from harness.load.cluster.replication import Shipper
from harness.load.logs import LOG
from harness.load.node.role import Histograms, Node, Row
from harness.load.options import (
    SHARES,
    RunOptions,
    has_masters_parameters,
    parameters,
    read_options,
    restart_environment,
    take_parameters,
)
from harness.load.run import Run
from harness.machine import defer_interrupts
from harness.preflight.disk import check_end
from harness.rundir.layout import check_reports, make_run_directory, sweep_command
from harness.transport.dial import check_sources
from harness.workload.schedule import Piece, Share

PAUSED = "harness_paused"
"""The message by which a master pauses its workers."""
LAST_WORDS_S = 0.3
"""Time for a message to be sent before the process restarts."""
SHIP_LIMIT_S = 15.0
CLOCK_QUESTIONS, CLOCK_PAUSE_S = 5, 0.1
"""How often a joining worker asks for the master's time, and the pause between two questions."""


class WorkerNode(Node):
    """Does its share, and sends its measurements and its ledger to its master."""

    leads = False
    role = "worker"

    def __init__(self, environment: Any, runner: WorkerRunner) -> None:
        super().__init__(environment, runner)
        self._parent = os.getppid() if environment.parsed_options.processes else None
        """the parent of a worker that Locust has forked"""
        self._welcome = False
        """whether the master has let in this worker, if it joined during the run"""
        self._clock = MasterClock()
        self._last_line = ""
        """why this worker has not done its part"""
        environment.events.quit.add_listener(self._say_last)
        runner.register_message(ANSWER, self._on_answer)
        environment.events.report_to_master.add_listener(pack_stats)
        runner.register_message(DRAIN, self._on_drain, concurrent=True)
        runner.register_message(HURRY, self._on_hurry, concurrent=True)
        runner.register_message(PAUSED, self._on_paused, concurrent=True)
        runner.register_message(PARAMETERS, self._on_parameters, concurrent=True)
        runner.register_message(CHECK, self._on_check, concurrent=True)
        runner.register_message(WELCOME, self._on_welcome, concurrent=True)

    def prepare(self) -> None:
        """Tell the master what this process is."""
        self.admission.take_shape()
        self._say_hello()
        gevent.spawn(self._ask_clock_often)

    def _ask_clock_often(self) -> None:
        for _ in range(CLOCK_QUESTIONS):
            self._report(clock=True)
            gevent.sleep(CLOCK_PAUSE_S)

    def _say_hello(self) -> None:
        self.runner.send_message(HELLO, describe(self.environment, self.admission.shape))

    def _begin(self, options: RunOptions, warm_up: float) -> None:
        """Begin as the master ordered; a worker that joins during the run has no share yet."""
        check_sources(options.target)
        assert options.run_id is not None
        self.directory = make_run_directory(options.reports, options.run_id)
        shares = getattr(self.environment.parsed_options, SHARES)
        shape, places = self.admission.shape, shares["places"]
        place = places.get(self.runner.client_id)
        share = None
        if shape is not None:
            pieces = [] if place is None else [Piece(0, place, len(places))]
            share = Share(shape.arrivals.count, pieces)
        cap, rate = closed_limits(options, shape, place, len(places))
        number = max(len(places), self.runner.worker_index) if place is None else place
        run = self.open_run(
            options,
            self.directory,
            worker=number,
            workers=number + 1 if place is None else len(places),
            share=share,
            until=0 if place is None else int(shares["until"]),
            joined=place is None,
            warm_up_s=0.0 if place is None else warm_up,
            max_sessions=cap,
            max_per_s=rate,
            clock_ahead_ns=self._clock.ahead_ns,
            awaits_welcome=place is None and not self._welcome,
        )
        LOG.info("share: %s of %s", "none so far" if place is None else place + 1, len(places))
        if not run.awaits_welcome:
            self._take_part(run)

    def _take_part(self, run: Run) -> None:
        """From now on guests may come, and their measurements are sent to the master."""
        assert self.directory is not None
        shipper = Shipper(self._report, self.directory, run.name, run.meta, run.tokens_used)
        if run.awaits_welcome:
            shipper.send_all()
            run.let_in()
        run.ship_to(shipper)
        if run.arrivals is not None and run.slots is not None:
            run.lease = Lease(
                run.arrivals,
                joined=run.joined,
                on_change=run.slots.look_again,
                on_conflict=run.fail,
            )
        self._report()

    def watch(self) -> None:
        """Check that the parent lives: without it a forked worker would go on loading for a minute,
        until it misses its master's heartbeat. Also ask for the master's time.
        """
        if self.run is None:  # in a run the reports of measurements ask
            self._report(clock=True)
        if self._clock.stepped and self.run is not None:
            self.run.fail(self._clock.stepped)
        if self._parent is not None and os.getppid() != self._parent:
            self._parent = None
            LOG.warning("the master's process has died: ending properly")
            os.kill(os.getpid(), signal.SIGTERM)

    def finish(self) -> None:
        """Close the files, make sure that the master has their content, and report the end.

        Also without an order of the master: a worker that gets a signal ends by itself.
        """
        if (run := self.run) is not None:
            self._finish(run)
            if not self._last_line:
                LOG.info("the end was reported to the master")
            self.environment.harness_run = None
        self.going = False

    def _finish(self, run: Run) -> None:
        left = run.ledger.open
        run.finish()
        behind = False
        if run.shipper is not None:
            # A dismissed worker has no sessions: the master does not need its ledger.
            announced = run.ledger.intended > 0
            behind = announced and not run.shipper.flush(within_s=SHIP_LIMIT_S)
        last = {"left": left, "failures": run.failures, "behind": behind}
        with contextlib.suppress(RPCError):
            self.runner.send_message(DRAINED, last)
        self._conclude(run, left, cut_off=behind or self._master_silent)

    @property
    def _master_silent(self) -> bool:
        heard_s = self.runner.last_heartbeat_timestamp
        return heard_s is not None and wall_ns() / 1e9 - heard_s > HEARTBEAT_FRESH_S

    def _conclude(self, run: Run, left: int, *, cut_off: bool) -> None:
        """Choose the exit code. That of a worker which has done its part is 0, whatever its guests
        met with: its master judges that."""
        if self.environment.process_exit_code == ExitCode.CONFIG:
            return  # the master has dismissed this worker: it has opened nothing
        whys = [*(["the master did not hear of the end"] if cut_off else []), *run.failures]
        self.environment.process_exit_code = int(ExitCode.PASS)
        self._last_line = ""
        if whys:
            code = ExitCode.LEFTOVERS if left else ExitCode.INVALID
            self.environment.process_exit_code = int(code)
            self._last_line = f"this worker has not done its part: {'; '.join(whys)}"
            if left:
                self._last_line += f". End what remains with: {sweep_command(run.directory)}"

    def _say_last(self, **_: Any) -> None:
        if self._last_line:
            print(self._last_line, file=sys.stderr, flush=True)

    def fail_start(self, why: str) -> None:
        """There is no run in this process: leave."""
        refuse(why, ExitCode.CONFIG)

    def hand_in(self, process: str, row: Row, histograms: Histograms) -> None:
        """Send it to the master, in the report of this second."""
        encoded = {tag: histogram.encode() for tag, histogram in histograms.items()}
        self._report({"process": process, "row": row, "encoded": encoded})

    def _report(self, live: Mapping[str, Any] | None = None, *, clock: bool = False) -> None:
        """Send a report: with the measurements of this second, or between two with more of the
        ledger.

        ``clock``: ask for the master's time, as a report with measurements always does.
        """
        run, report = self.run, dict[str, Any]()
        if clock or live is not None:
            report["clock"] = self._clock.question()
        if live is not None:
            report["live"] = live
            if run is not None and run.lease is not None and run.lease.wanted:
                report["share"] = run.name
        if run is not None and run.shipper is not None and (batch := run.shipper.next_batch()):
            report["batch"] = batch
        if report:
            with contextlib.suppress(RPCError):  # parts without an answer are sent again
                self.runner.send_message(REPORT, pack(report))

    def _on_answer(self, environment: Any, msg: Any) -> None:  # noqa: ARG002 - Locust's form
        answer, run = msg.data, self.run
        if "clock" in answer:
            self._clock.take(answer["clock"])
        if run is None:
            return
        run.clock_ahead_ns = self._clock.ahead_ns
        if run.lease is not None and answer.get("share"):
            run.lease.take(answer["share"])
        if run.shipper is not None and "batch" in answer:
            run.shipper.take_answer(answer["batch"])

    # Locust 2.47 calls listeners by these names, 2.46 concurrent ones by position.
    def _on_drain(self, environment: Any, msg: Any) -> None:  # noqa: ARG002 - Locust's form
        if (run := self.run) is None:
            self.runner.send_message(DRAINED, {"left": 0})
            return
        run.drain()
        self._finish(run)

    def _on_hurry(self, environment: Any, msg: Any) -> None:  # noqa: ARG002 - Locust's form
        self.hurry()

    def _on_paused(self, environment: Any, msg: Any) -> None:  # noqa: ARG002 - Locust's form
        if self.run is not None:
            self.run.pause(bool(msg.data["paused"]))

    def _on_parameters(self, environment: Any, msg: Any) -> None:  # noqa: ARG002 - Locust's form
        """Take the master's parameters: the locustfile may have been imported with others."""
        if has_masters_parameters() or msg.data == parameters():
            return
        if take_parameters(msg.data):
            self._say_hello()
            return
        LOG.info("starting anew with the master's parameters, the seed among them")
        if (run := self.run) is not None:
            run.finish()  # no guest has been let in yet
        self.runner.send_message("client_stopped", None)
        gevent.sleep(LAST_WORDS_S)
        defer_interrupts(deferred=True)
        os.execve(sys.executable, restart_command(sys.orig_argv), restart_environment(msg.data))

    def _on_check(self, environment: Any, msg: Any) -> None:
        """Answer with the facts that result from the master's options on this machine."""
        try:
            options = read_options(Namespace(**{**vars(environment.parsed_options), **msg.data}))
            check_sources(options.target)
            options.target.tls_context()
            check_reports(options.reports)
            if options.disk_guard:
                check_end(options.reports)
            facts = facts_of(environment, options)
        except ConfigError as error:
            LOG.error("this worker can't take part: %s", error)
            facts = {"trouble": str(error)}
        self.runner.send_message(FACTS, facts)

    def _on_welcome(self, environment: Any, msg: Any) -> None:
        if problems := [safe_quote(why) for why in msg.data["problems"]]:
            LOG.error("the master has dismissed this worker: %s", "; ".join(problems))
            environment.process_exit_code = int(ExitCode.CONFIG)
            self.runner.quit()
            return
        self._welcome = True
        if (run := self.run) is not None and run.awaits_welcome:
            self._take_part(run)


def restart_command(words: Sequence[str]) -> list[str]:
    """The command line to restart this process alone: a forked worker must fork no others."""
    arguments, skip = [], False
    for word in words[1:]:
        if skip or word.startswith("--processes="):
            skip = False
        elif word == "--processes":
            skip = True
        else:
            arguments.append(word)
    return [sys.executable, *arguments]
