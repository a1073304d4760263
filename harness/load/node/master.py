"""The master of a run on several processes: no guest runs in it; it leads those that have some."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import gevent
from locust.runners import MasterRunner

from harness.clock import monotonic_ns
from harness.errors import safe_quote
from harness.load.cluster.handout import Handout
from harness.load.cluster.handshake import Handshake, describe
from harness.load.cluster.leases import Shares
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

    Else the results of the teardown are lost: Locust's master tells its workers to quit, waits half
    a second, and leaves, while they are still clearing.
    """

    def __init__(self, runner: MasterRunner, sent_home: Collection[str] = ()) -> None:
        self._runner = runner
        self._sent_home = sent_home
        """Locust's ids of workers that had no part in the run"""
        self._expected: set[str] = set()
        self._missed: set[str] = set()
        self._watch: gevent.Greenlet[[], None] | None = None
        self._drained: dict[str, int] = {}
        self.failures: list[str] = []
        """what workers have said of why they ended; their disks may have been too full for it"""
        self.on_leave: Callable[[str], None] | None = None
        """called with each worker that has come to its end"""
        runner.register_message(DRAINED, self._on_drained)

    def open(self) -> None:
        """A run begins, with the workers that are here now."""
        self._drained, self.failures, self._missed = {}, [], set()
        self._expected = self._here()  # one that a run before has lost is listed for a while
        self._watch = gevent.spawn(self._watch_forever)

    def wait(self, grace_s: float) -> set[str]:
        """Ask all workers to drain; the ids of those that never said they had."""
        if self._watch is not None:
            self._watch.kill(block=False)
        self._expected |= self._here()
        ordered: set[str] = set()
        deadline = monotonic_ns() + int((grace_s + DRAIN_LIMIT_S + 5) * 1e9)
        while (waiting := self._waiting()) and monotonic_ns() < deadline:
            for worker in waiting - ordered:  # one that was missing may come back meanwhile
                self._runner.send_message(DRAIN, None, worker)
            ordered |= waiting
            gevent.sleep(0.05)
        unanswered = self._expected - self._drained.keys() - set(self._sent_home)
        if away := self._missed & self._drained.keys():
            who = "1 worker was" if len(away) == 1 else f"{len(away)} workers were"
            self.failures.append(
                f"{who} not heard of for a time, and came back: "
                "what they measured meanwhile is not the service's doing alone"
            )
        return unanswered

    def _watch_forever(self) -> None:
        while True:
            self._missed |= {worker.id for worker in self._runner.clients.missing}
            gevent.sleep(0.5)

    @property
    def answered(self) -> set[str]:
        """Who has come to an orderly end."""
        return set(self._drained)

    def hurry(self) -> None:
        """Tell all workers to clear at once."""
        for worker in self._waiting():
            self._runner.send_message(HURRY, None, worker)

    def _here(self) -> set[str]:
        there = {worker.id for worker in self._runner.clients.all if worker.state != "missing"}
        return there - set(self._sent_home)

    def _waiting(self) -> set[str]:
        """Who is here, takes part and has not answered."""
        return (self._here() & self._expected) - self._drained.keys()

    def _on_drained(self, environment: Any, msg: Any) -> None:  # noqa: ARG002 - Locust's form
        if msg.node_id in self._sent_home:
            return
        self._drained[msg.node_id] = int(msg.data["left"])
        reasons = [safe_quote(why) for why in msg.data.get("failures", ())]
        if msg.data.get("behind"):
            reasons.append(
                f"the copy of a worker's ledger is not whole ({safe_quote(msg.node_id, 100)}): "
                "its own files have all of it"
            )
        self.failures += [why for why in reasons if why not in self.failures]
        if self.on_leave is not None:
            self.on_leave(msg.node_id)


class MasterNode(Leader):
    """Tells the workers what to do, and has from them what they measured."""

    role = "master"

    def __init__(self, environment: Any, runner: MasterRunner) -> None:
        super().__init__(environment, runner)
        self._handshake = Handshake(runner, lambda: describe(environment, self.admission.shape))
        self.admission.handshake = self._handshake
        Handout(runner, environment)  # the runner keeps it, as what answers its message
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
        setattr(parsed, LEARNED, {} if options.learned is None else asdict(options.learned))
        setattr(parsed, SHARES, self._open_shares(directory))
        self._order_everybody()

    def _order_everybody(self) -> None:
        """Whoever has a share is to have Locust's orders.

        Locust has chosen whom to order before all had said who they are.
        """
        runner: Any = self.runner
        dispatcher = runner._users_dispatcher
        chosen = {worker.id for worker in dispatcher._worker_nodes}
        for worker in runner.clients.ready:
            if worker.id not in chosen:
                dispatcher.add_worker(worker)

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
