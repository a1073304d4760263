"""The end of a distributed run: the master waits until every worker has ended its sessions.

Without this the results of the teardown are lost: Locust's master tells its workers to quit, waits
half a second, and leaves, while they are still clearing.
"""

from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

import gevent
from locust.runners import MasterRunner

from harness.clock import monotonic_ns
from harness.errors import safe_quote
from harness.load.run import DRAIN_LIMIT_S
from harness.rundir.layout import RunDirectory

DRAIN = "harness_drain"
HURRY = "harness_hurry"
DRAINED = "harness_drained"


class Barrier:
    """The master's side: asks, and counts the answers."""

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


def add_failures(directory: Path, failures: list[str]) -> None:
    """Add sentences to ``failures.txt``; a line that a full disk has torn makes room for them."""
    path = RunDirectory(directory).failures
    before = path.read_text().rpartition("\n")[0].splitlines() if path.exists() else []
    path.write_text("".join(f"{why}\n" for why in dict.fromkeys([*before, *failures])))
