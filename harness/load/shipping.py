"""Workers on other machines ship their ledger to the master while they run.

Each worker sends what its ledger has just committed, in batches, one at a time: the next goes when
the last was acknowledged. What waits is bounded; should the master stay silent for too long, the
copy is marked as incomplete and the worker's own file remains the full record. The master writes
the copy beside its own files, unless it sees the worker's own file there (one machine, one folder).

Tokens go with it, and Locust's channel between worker and master is neither encrypted nor
authenticated: run master and workers on a network of their own.
"""

import platform
from collections import OrderedDict
from pathlib import Path
from typing import Any

import gevent
from gevent.event import Event
from gevent.queue import Queue
from gevent.threadpool import ThreadPool
from locust.runners import MasterRunner, WorkerRunner

from harness.clock import monotonic_ns
from harness.errors import LedgerError
from harness.ledger.ledger import Group, run_in
from harness.ledger.store import FILE_NAME, Insert, Store, Update

SHIP = "harness_ledger"
SHIPPED = "harness_ledger_ack"
BATCH = 2_000
"""Changes in one message, at most."""
WAITING = 100_000
"""Changes that may wait for the master, at most (some 20 MB)."""
AGAIN_AFTER_S = 5.0


class Shipper:
    """The worker's side. Give :meth:`take` to the ledger."""

    def __init__(self, runner: WorkerRunner, worker: str, meta: dict[str, str]) -> None:
        self._runner = runner
        self._worker = worker
        self._first = {**meta, "copy_of": worker}
        self._inserts: OrderedDict[int, Insert] = OrderedDict()
        self._updates: OrderedDict[int, Update] = OrderedDict()
        self._meta: dict[str, str] = {}
        self._lost = False
        self._batch = 0
        self._work, self._answered, self._idle = Event(), Event(), Event()
        self._idle.set()
        runner.custom_messages.pop(SHIPPED, None)  # of the run before, in the web UI
        runner.register_message(SHIPPED, self._on_answer)
        self._sender = gevent.spawn(self._send_forever)

    def take(self, group: Group) -> None:
        """What was just committed. Several changes of one session become one."""
        for insert in group.inserts:
            self._inserts[insert[0]] = insert
        for update in group.updates:
            stage, reason, message_id, changed_ns, row = update
            before = self._updates.pop(row, None)
            if before is not None and not message_id:
                message_id = before[2]
            self._updates[row] = (stage, reason, message_id, changed_ns, row)
        self._meta |= group.meta
        while len(self._inserts) + len(self._updates) > WAITING:
            (self._inserts or self._updates).popitem(last=False)
            self._lost = True
        self._idle.clear()
        self._work.set()

    def flush(self, *, within_s: float) -> bool:
        """Wait until the master has everything; False when it did not answer in time."""
        return bool(self._idle.wait(within_s))

    def stop(self) -> None:
        """Send nothing more."""
        self._sender.kill()

    def _send_forever(self) -> None:
        while True:
            self._work.wait()
            self._work.clear()
            while self._inserts or self._updates or self._meta:
                self._send(self._next_batch())
            self._idle.set()
            gevent.sleep(0.2)  # so that a busy worker sends few messages, with much in each

    def _next_batch(self) -> dict[str, Any]:
        inserts = [
            self._inserts.popitem(last=False)[1] for _ in range(min(BATCH, len(self._inserts)))
        ]
        room = BATCH - len(inserts)
        # An update never goes before the insert it belongs to: inserts leave first.
        updates = (
            []
            if self._inserts
            else [
                self._updates.popitem(last=False)[1] for _ in range(min(room, len(self._updates)))
            ]
        )
        meta: dict[str, str] = {}
        if not self._inserts and not self._updates:
            meta, self._meta = self._meta, {}
        if self._batch == 0:
            meta = {**self._first, **meta}
        if self._lost:
            meta["damaged"] = "the master did not take all that the worker's ledger said"
        self._batch += 1
        return {
            "worker": self._worker,
            "number": self._batch,
            "inserts": inserts,
            "updates": updates,
            "meta": meta,
        }

    def _send(self, batch: dict[str, Any]) -> None:
        self._answered.clear()
        while True:
            self._runner.send_message(SHIP, batch)
            if self._answered.wait(AGAIN_AFTER_S):
                return

    def _on_answer(self, environment: Any, msg: Any) -> None:  # noqa: ARG002 - Locust's form
        if msg.data["worker"] == self._worker and msg.data["number"] == self._batch:
            self._answered.set()


class Copies:
    """The master's side: a ledger file for each worker whose own file is not to be seen here."""

    def __init__(self, runner: MasterRunner) -> None:
        self._runner = runner
        self._directory: Path | None = None
        self._stores: dict[str, Store | None] = {}
        self._last: dict[str, int] = {}
        self._came: Queue[Any] = Queue()
        self._thread: ThreadPool | None = None
        self.failures: list[str] = []
        self.heard_of: dict[str, str] = {}
        """worker's name by its Locust id"""
        runner.register_message(SHIP, self._on_batch)

    def open(self, directory: Path) -> None:
        """A run begins."""
        self._directory = directory
        self._stores, self._last = {}, {}
        self.heard_of, self.failures = {}, []
        if self._thread is None:
            self._thread = ThreadPool(1)
            gevent.spawn(self._write_forever)

    def close(self) -> None:
        """The run is over: close the copies. What comes later is not for them."""
        deadline = monotonic_ns() + 2_000_000_000
        while not self._came.empty() and monotonic_ns() < deadline:
            gevent.sleep(0.01)
        stores, self._stores, self._directory = self._stores, {}, None
        for store in stores.values():
            if store is not None:
                try:
                    store.close()
                except LedgerError as error:
                    self.failures.append(str(error))

    def _on_batch(self, environment: Any, msg: Any) -> None:  # noqa: ARG002 - Locust's form
        self._came.put(msg)

    def _write_forever(self) -> None:
        while True:
            msg = self._came.peek()
            try:
                self._take(msg.node_id, msg.data)
            except LedgerError as error:
                self.failures.append(str(error))
            finally:
                self._came.get()

    def _take(self, node_id: str, batch: dict[str, Any]) -> None:
        worker, number = str(batch["worker"]), int(batch["number"])
        self.heard_of[node_id] = worker
        if self._directory is None or self._thread is None:
            return
        if number > self._last.get(worker, 0):
            store = self._store_of(worker, batch["meta"])
            if store is not None:
                run_in(
                    self._thread,
                    store.write,
                    [tuple(row) for row in batch["inserts"]],
                    [tuple(row) for row in batch["updates"]],
                    batch["meta"],
                )
            self._last[worker] = number
        self._runner.send_message(SHIPPED, {"worker": worker, "number": number}, node_id)

    def _store_of(self, worker: str, meta: dict[str, str]) -> Store | None:
        if worker not in self._stores:
            assert self._directory is not None
            path = self._directory / FILE_NAME.format(worker=_plain(worker))
            here = path.exists()  # the worker's own file
            self._stores[worker] = None if here else Store(path, meta)
        return self._stores[worker]


def _plain(worker: str) -> str:
    """A name that came over the network, fit for a file."""
    return "".join(c if c.isalnum() or c in "._-" else "_" for c in worker)[:80] or platform.node()
