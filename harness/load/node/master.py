"""The master of a run on several processes: no guest runs in it; it leads those that have some."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from locust.runners import MasterRunner

from harness.load.cluster.drain import Barrier
from harness.load.cluster.handout import Handout
from harness.load.cluster.handshake import Handshake, describe
from harness.load.cluster.leases import Shares
from harness.load.cluster.messages import MasterPort, Reports
from harness.load.cluster.replication import Copies
from harness.load.live.totals import Live
from harness.load.logs import LOG
from harness.load.node.role import Duty, Early, Leader
from harness.load.node.worker import PAUSED
from harness.load.options import LEARNED, RUN_ID, SHARES, RunOptions
from harness.load.run import LEAD_NS, OVER_FOR


class MasterNode(Leader):
    """Tells the workers what to do, and has from them what they measured."""

    role = "master"

    def __init__(self, environment: Any, runner: MasterRunner) -> None:
        super().__init__(environment, runner)
        self._handshake = Handshake(runner, lambda: describe(environment, self.admission.shape))
        self.admission.handshake = self._handshake
        self._handout = Handout(runner, environment)
        sent_home = self._handshake.sent_home
        self._barrier = Barrier(runner, sent_home)
        self._copies = Copies(sent_home)
        self._shares = Shares(runner, sent_home)
        self._barrier.on_leave = self._shares.leave
        self._unanswered: set[str] = set()
        self._reports = Reports(
            runner,
            live=lambda: self.live,
            handshake=self._handshake,
            shares=self._shares,
            copies=self._copies,
        )
        self._port = MasterPort(
            runner, self._handshake.hold
        )  # when everybody has said what he listens to

    def _open(self, options: RunOptions, directory: Path, warm_up: float) -> None:  # noqa: ARG002
        self._unanswered = set()
        self._barrier.open()
        self._copies.open(directory)
        # Attributes that are added to Locust's options travel to the workers with their orders.
        parsed = self.environment.parsed_options
        setattr(parsed, RUN_ID, directory.name)
        setattr(parsed, LEARNED, {} if options.learned is None else options.learned.as_dict())
        setattr(parsed, SHARES, self._open_shares(directory))

    def _open_shares(self, directory: Path) -> dict[str, Any]:
        """Which part of the work is whose."""
        shape = self.admission.shape
        if shape is None:
            ready = [worker.id for worker in self.runner.clients.ready]
            return {"places": {worker: place for place, worker in enumerate(ready)}, "until": 0}
        return self._shares.open(shape.arrivals, directory, lead_ns=LEAD_NS)

    def _duties_of(self, directory: Path) -> list[Duty]:
        return [
            *super()._duties_of(directory),
            ("the workers' shares", self._shares.look),
            ("the end of the schedule", self._over(self.live)),
        ]

    def _over(self, live: Live) -> Callable[[], Early | None]:
        """Ends the run when all arrivals have come and the last guest has left.

        A lost worker takes arrivals along: such a run ends by its time limit.
        """
        shape = self.admission.shape
        count = 0 if shape is None else shape.arrivals.count
        looks = 0

        def look() -> Early | None:
            nonlocal looks
            came = sum(live.arrivals.get(kind, 0) for kind in ("started", "dropped", "paused"))
            over = 0 < count <= came and not live.total("sessions", "occupancy")
            looks = looks + 1 if over else 0
            if looks <= OVER_FOR:
                return None
            LOG.info("no guest can come any more: ending the run")
            return Early(reasons=(), noted={})

        return look

    def pause(self, on: bool) -> None:
        if on is not self._paused:
            LOG.info("%s all workers", "pausing" if on else "going on with")
        self.runner.send_message(PAUSED, {"paused": on})

    def drain(self) -> None:
        """Wait until every worker has ended its sessions."""
        LOG.info("waiting for every worker to end its sessions")
        self._shares.freeze()
        self._unanswered = self._barrier.wait(float(self.environment.stop_timeout or 0))
        for worker in sorted(self._unanswered):
            LOG.warning("worker %s did not come to an orderly end", worker)

    def leave(self) -> None:
        """Tell all workers to leave.

        Told to stop by a signal, Locust has each of them report anew, and tells only those to leave
        whose report it has read. While it made the record it read none: they would wait a minute.
        """
        for worker in self._barrier.answered:
            self.runner.send_message("quit", None, worker)

    def hurry(self) -> None:
        self._barrier.hurry()

    @property
    def in_session(self) -> int:
        """As the workers last said."""
        return self.live.most_in_session()

    def _close(self) -> Sequence[str]:
        self._copies.close()
        self._shares.close(self._barrier.answered)
        refused = dict(self._port.refused)
        if self._copies.refused:
            refused["out of sequence"] = self._copies.refused
        if refused:
            self.notes["refused_messages"] = refused
        if self._handshake.sent_home:
            self.notes["sent_home"] = sorted(set(self._handshake.sent_home.values()))
        if self._handshake.clocks:
            self.notes["clocks"] = dict(self._handshake.clocks)
        many = len(self._unanswered)
        who = "1 worker" if many == 1 else f"{many} workers"
        missing = [f"{who} did not come to an orderly end"]
        return [
            *(missing if self._unanswered else ()),
            *self._barrier.failures,
            *self._copies.failures,
        ]
