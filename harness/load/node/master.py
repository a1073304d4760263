"""The master of a run on several processes: it has no guests; it leads the workers, which do."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import gevent
from locust.runners import MasterRunner

from harness.clock import monotonic_ns
from harness.errors import safe_quote
from harness.load.arrivals import Shares
from harness.load.cluster.handout import Handout
from harness.load.cluster.handshake import Handshake, describe
from harness.load.cluster.messages import DRAIN, DRAINED, HURRY, MasterPort, Reports
from harness.load.cluster.replication import Copies
from harness.load.live.totals import Live
from harness.load.logs import LOG
from harness.load.node.role import Duty, Early, Leader
from harness.load.node.worker import PAUSED
from harness.load.options import LEARNED, RUN_ID, SHARES, RunOptions
from harness.load.run import DRAIN_LIMIT_S, LEAD_NS, NO_MORE_GUESTS, OVER_FOR


class Barrier:
    """At the end of a run the master waits until every worker has ended its sessions.

    Otherwise the results of the teardown are lost: Locust's master orders its workers to quit,
    waits half a second, and leaves while they are still clearing.
    """

    def __init__(self, runner: MasterRunner, dismissed: Collection[str] = ()) -> None:
        self._runner = runner
        self._dismissed = dismissed
        """Locust's ids of workers that took no part in the run"""
        self._expected: set[str] = set()
        self._missed: set[str] = set()
        self._watch: gevent.Greenlet[[], None] | None = None
        self._drained: dict[str, int] = {}
        self.failures: list[str] = []
        """why workers ended, as they reported it; their own disks may have been too full for it"""
        self.on_leave: Callable[[str], None] | None = None
        """called with each worker that has ended"""
        runner.register_message(DRAINED, self._on_drained)

    def open(self) -> None:
        """A run begins, with the workers that are here now."""
        self._drained, self.failures, self._missed = {}, [], set()
        self._expected = self._here()  # (a worker lost in an earlier run is listed for a while)
        self._watch = gevent.spawn(self._watch_forever)

    def wait(self, grace_s: float) -> set[str]:
        """Order all workers to drain; returns the ids of those that did not confirm it in time."""
        if self._watch is not None:
            self._watch.kill(block=False)
        self._expected |= self._here()
        ordered: set[str] = set()
        deadline = monotonic_ns() + int((grace_s + DRAIN_LIMIT_S + 5) * 1e9)
        while (waiting := self._waiting()) and monotonic_ns() < deadline:
            for worker in waiting - ordered:  # a missing worker may come back meanwhile
                self._runner.send_message(DRAIN, None, worker)
            ordered |= waiting
            gevent.sleep(0.05)
        unanswered = self._expected - self._drained.keys() - set(self._dismissed)
        if away := self._missed & self._drained.keys():
            who = "1 worker was" if len(away) == 1 else f"{len(away)} workers were"
            self.failures.append(
                f"{who} not heard of for a time, and came back: "
                "what was measured meanwhile is not due to the service alone"
            )
        return unanswered

    def _watch_forever(self) -> None:
        while True:
            self._missed |= {worker.id for worker in self._runner.clients.missing}
            gevent.sleep(0.5)

    @property
    def answered(self) -> set[str]:
        """The workers that have ended properly."""
        return set(self._drained)

    def hurry(self) -> None:
        """Tell all workers to clear at once."""
        for worker in self._waiting():
            self._runner.send_message(HURRY, None, worker)

    def _here(self) -> set[str]:
        there = {worker.id for worker in self._runner.clients.all if worker.state != "missing"}
        return there - set(self._dismissed)

    def _waiting(self) -> set[str]:
        """The workers that are here, take part and have not answered."""
        return (self._here() & self._expected) - self._drained.keys()

    def _on_drained(self, environment: Any, msg: Any) -> None:  # noqa: ARG002 - Locust's form
        if msg.node_id in self._dismissed:
            return
        self._drained[msg.node_id] = int(msg.data["left"])
        reasons = [safe_quote(why) for why in msg.data.get("failures", ())]
        if msg.data.get("behind"):
            reasons.append(
                f"the copy of a worker's ledger is incomplete ({safe_quote(msg.node_id, 100)}): "
                "its own files are complete"
            )
        self.failures += [why for why in reasons if why not in self.failures]
        if self.on_leave is not None:
            self.on_leave(msg.node_id)


class MasterNode(Leader):
    """Gives the workers their orders, and gets their measurements."""

    role = "master"

    def __init__(self, environment: Any, runner: MasterRunner) -> None:
        super().__init__(environment, runner)
        self._handshake = Handshake(runner, lambda: describe(environment, self.admission.shape))
        self.admission.handshake = self._handshake
        Handout(runner, environment)  # the runner keeps it, as what answers its message
        dismissed = self._handshake.dismissed
        self._barrier = Barrier(runner, dismissed)
        self._copies = Copies(dismissed)
        self._shares = Shares(runner, dismissed)
        self._barrier.on_leave = self._shares.leave
        self._unanswered: set[str] = set()
        self._reports = Reports(
            runner,
            live=lambda: self.live,
            handshake=self._handshake,
            shares=self._shares,
            copies=self._copies,
        )
        self._port = MasterPort(runner, self._handshake.hold)  # after all listeners have been added

    def _open(self, options: RunOptions, directory: Path, warm_up: float) -> None:  # noqa: ARG002
        self._unanswered = set()
        self._barrier.open()
        self._copies.open(directory)
        # Attributes that are added to Locust's options travel to the workers with their orders.
        parsed = self.environment.parsed_options
        setattr(parsed, RUN_ID, directory.name)
        setattr(parsed, LEARNED, {} if options.learned is None else asdict(options.learned))
        setattr(parsed, SHARES, self._open_shares(directory))
        self._order_everybody()

    def _order_everybody(self) -> None:
        """Make sure that every worker with a share gets Locust's orders.

        Locust chose the workers to order before all had said hello.
        """
        runner: Any = self.runner
        dispatcher = runner._users_dispatcher
        chosen = {worker.id for worker in dispatcher._worker_nodes}
        for worker in runner.clients.ready:
            if worker.id not in chosen:
                dispatcher.add_worker(worker)

    def _open_shares(self, directory: Path) -> dict[str, Any]:
        """Share the work among the workers."""
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
        """End the run when all arrivals have come and the last guest has left.

        If a worker is lost with its arrivals, the run ends by its time limit.
        """
        shape = self.admission.shape
        count = 0 if shape is None else shape.arrivals.count
        looks = 0

        def look() -> Early | None:
            nonlocal looks
            arrivals_so_far = sum(
                live.arrivals.get(kind, 0) for kind in ("started", "dropped", "paused")
            )
            over = 0 < count <= arrivals_so_far and not live.total("sessions", "occupancy")
            looks = looks + 1 if over else 0
            if looks <= OVER_FOR:
                return None
            LOG.info(NO_MORE_GUESTS)
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
            LOG.warning("worker %s did not end properly", worker)

    def leave(self) -> None:
        """Tell all workers to leave.

        After a signal Locust asks each of them for a new report, and orders only those to leave
        whose report it has read. It reads none while the record is made, so they would wait a
        minute.
        """
        for worker in self._barrier.answered:
            self.runner.send_message("quit", None, worker)

    def hurry(self) -> None:
        super().hurry()
        self._barrier.hurry()

    @property
    def in_session(self) -> int:
        """Guests in session, by the workers' last reports."""
        return self.live.most_in_session()

    def _close(self) -> Sequence[str]:
        self._copies.close()
        self._shares.close(self._barrier.answered)
        refused = dict(self._port.refused)
        if self._copies.refused:
            refused["out of sequence"] = self._copies.refused
        if refused:
            self.notes["refused_messages"] = refused
        if self._handshake.dismissed:
            self.notes["dismissed_workers"] = sorted(set(self._handshake.dismissed.values()))
        if self._handshake.clocks:
            self.notes["clocks"] = dict(self._handshake.clocks)
        many = len(self._unanswered)
        who = "1 worker" if many == 1 else f"{many} workers"
        missing = [f"{who} did not end properly"]
        return [
            *(missing if self._unanswered else ()),
            *self._barrier.failures,
            *self._copies.failures,
        ]
