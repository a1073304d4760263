"""A worker of a run on several processes: its guests run in it, its master leads the run."""

import os
import signal
from typing import Any

from locust.runners import WorkerRunner

from harness.exit_codes import ExitCode
from harness.load.admission import cap_of, rate_of, refuse
from harness.load.cluster.drain import finish_worker, register_worker
from harness.load.cluster.handshake import HELLO, describe
from harness.load.cluster.leases import Lease
from harness.load.cluster.replication import Shipper
from harness.load.live.totals import INTERVAL
from harness.load.logs import LOG
from harness.load.node.role import Histograms, Node, Row
from harness.load.options import SHARES, RunOptions
from harness.rundir.layout import make_run_directory
from harness.transport.dial import check_sources
from harness.workload.schedule import Piece, Share

PAUSED = "harness_paused"
"""The message by which a master pauses its workers."""


class WorkerNode(Node):
    """Does its share, and tells its master what it measured and what its ledger says."""

    leads = False
    role = "worker"

    def __init__(self, environment: Any, runner: WorkerRunner) -> None:
        super().__init__(environment, runner)
        self._parent = os.getppid() if environment.parsed_options.processes else None
        """of a worker that Locust has forked"""
        register_worker(runner)
        runner.register_message(PAUSED, self._on_paused, concurrent=True)

    def prepare(self) -> None:
        """Tell the master what this process is."""
        self.admission.take_shape()
        locustfile = str(self.environment.parsed_options.locustfile)
        self.runner.send_message(HELLO, describe(locustfile, self.admission.shape))

    def _begin(self, options: RunOptions, warm_up: float) -> None:
        """As told by the master; or come in while the run is going on, with no share so far."""
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
            max_sessions=cap_of(options, place, len(places)) if shape is None else None,
            max_per_s=rate_of(options, place, len(places)),
        )
        LOG.info("share: %s of %s", "none so far" if place is None else place + 1, len(places))
        run.ship_to(Shipper(self.runner, self.directory, run.name, run.meta))
        if run.arrivals is not None and run.slots is not None:
            run.lease = Lease(
                self.runner,
                run.name,
                run.arrivals,
                joined=run.joined,
                on_change=run.slots.look_again,
                on_conflict=run.fail,
            )

    def watch(self) -> None:
        """Whether the parent lives: without it a forked worker would load on for a minute, until
        it misses its master's heartbeat.
        """
        if self._parent is not None and os.getppid() != self._parent:
            self._parent = None
            LOG.warning("the master's process has died: ending in order")
            os.kill(os.getpid(), signal.SIGTERM)

    def finish(self) -> None:
        """Close the files, see that the master has what is in them, and say so."""
        if (run := self.run) is not None:
            finish_worker(self.runner, run)
            LOG.info("the master has been told")
            self.environment.harness_run = None
        self.going = False

    def fail_start(self, why: str) -> None:
        """There is no run here: leave."""
        self.admission.end()
        refuse(why, ExitCode.CONFIG)

    def hand_in(self, process: str, row: Row, histograms: Histograms) -> None:
        """To the master."""
        encoded = {tag: histogram.encode() for tag, histogram in histograms.items()}
        self.runner.send_message(INTERVAL, {"process": process, "row": row, "encoded": encoded})

    # Locust calls concurrent listeners by position: environment first, then the message.
    def _on_paused(self, environment: Any, msg: Any) -> None:  # noqa: ARG002 - Locust's form
        if self.run is not None:
            self.run.pause(bool(msg.data["paused"]))
