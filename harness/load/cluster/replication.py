"""Workers on other machines ship their ledger and measurements to the master while they run.

Each worker sends what its ledger has just committed and the intervals it has just written, in
batches, one at a time: the next goes when the last was acknowledged. What waits is bounded; should
the master stay silent for too long, the copy is marked as incomplete and the worker's own files
remain the full record. The master writes the copy beside its own files, unless it sees the
worker's own ones there (one machine, one folder). So the figures of the whole are merged from the
histograms of all workers, wherever they ran, and rest on no last report.

Tokens go with it, and Locust's channel between worker and master is neither encrypted nor
authenticated: run master and workers on a network of their own.

The name of one process of a run, as a node: never used twice, whatever host and pid are.

A container that is restarted in place has the same host name and is process 1 again; two machines
may have one host name. All that is kept of a node, its ledger, measurements, copies and leases, is
kept under this name, so two lives must not share it.
"""

import os
import platform
import secrets
import sys
from collections import OrderedDict, deque
from pathlib import Path
from typing import Any, NoReturn

import gevent
import psutil
from gevent.event import Event
from gevent.queue import Queue
from gevent.threadpool import ThreadPool
from locust.runners import MasterRunner, WorkerRunner

from harness.clock import monotonic_ns, wall_ns
from harness.errors import LedgerError
from harness.ledger.ledger import Group, Insert, Store, Update, run_in
from harness.ledger.reader import read_process
from harness.measure.snapshot import write_whole
from harness.rundir.layout import RunDirectory

HOST_CHARACTERS = 40
"""The name becomes part of file names."""


def new_node_name() -> str:
    """Host and pid, for people; when the process was born and a nonce, so that it is the only one.

    Letters, digits, dots, dashes and underscores.
    """
    host = plain(platform.node() or "host")[:HOST_CHARACTERS]
    born = int(psutil.Process().create_time())
    return f"{host}-{os.getpid()}-{born:x}-{secrets.token_hex(4)}"


def plain(name: str) -> str:
    """A name, fit for a file."""
    return "".join(c if c.isascii() and (c.isalnum() or c in "._-") else "_" for c in name)


SHIP = "harness_ledger"
SHIPPED = "harness_ledger_ack"
NAME_CHARACTERS = 80
"""of a worker's name that came over the network, at most"""
BATCH = 2_000
"""Changes in one message, at most."""
WAITING = 100_000
"""Changes that may wait for the master, at most (some 20 MB)."""
MEASURED_BATCH = 500_000
"""Bytes of measurements in one message, about; one interval goes whole."""
MEASURED_WAITING = 50_000_000
"""Bytes of measurements that may wait for the master (an hour or more of silence)."""
AGAIN_AFTER_S = 5.0
REFUSED = "the master refused what the worker said: it does not follow what came before"
INCOMPLETE = "the master did not take all that the worker had to say"


class Shipper:
    """The worker's side. Give :meth:`take` to the ledger, :meth:`take_measured` to the writer."""

    def __init__(self, runner: WorkerRunner, worker: str, meta: dict[str, str]) -> None:
        self._runner = runner
        self._worker = worker
        self._first = {**meta, "copy_of": worker}
        self._run = meta.get("run_id", "")
        self._inserts: OrderedDict[int, Insert] = OrderedDict()
        self._updates: OrderedDict[int, Update] = OrderedDict()
        self._meta: dict[str, str] = {}
        self._measured: deque[tuple[bytes, bytes]] = deque()
        self._measured_bytes = 0
        self._lost = False
        self._needless = False
        """the master sees this worker's own files, or takes nothing more"""
        self._batch = 0
        self._work, self._answered, self._idle = Event(), Event(), Event()
        self._idle.set()
        runner.custom_messages.pop(SHIPPED, None)  # of the run before, in the web UI
        runner.register_message(SHIPPED, self._on_answer)
        self._sender = gevent.spawn(self._send_forever)

    def take(self, group: Group) -> None:
        """What was just committed. Several changes of one session become one."""
        if self._needless:
            return
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

    def take_measured(self, intervals: bytes, histograms: bytes) -> None:
        """What was just appended to the two files of measurements."""
        if self._needless:
            return
        self._measured.append((intervals, histograms))
        self._measured_bytes += len(intervals) + len(histograms)
        while self._measured_bytes > MEASURED_WAITING and len(self._measured) > 1:
            self._measured_bytes -= sum(map(len, self._measured.popleft()))
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
            while self._inserts or self._updates or self._meta or self._measured:
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
            meta["damaged"] = INCOMPLETE
        intervals, histograms = self._next_measured()
        self._batch += 1
        return {
            "run": self._run,
            "worker": self._worker,
            "number": self._batch,
            "inserts": inserts,
            "updates": updates,
            "meta": meta,
            "intervals": intervals,
            "histograms": histograms,
        }

    def _next_measured(self) -> tuple[bytes, bytes]:
        intervals, histograms = [], []
        room = MEASURED_BATCH
        while self._measured and room > 0:
            some, more = self._measured.popleft()
            intervals.append(some)
            histograms.append(more)
            self._measured_bytes -= len(some) + len(more)
            room -= len(some) + len(more)
        return b"".join(intervals), b"".join(histograms)

    def _send(self, batch: dict[str, Any]) -> None:
        self._answered.clear()
        while True:
            self._runner.send_message(SHIP, batch)
            if self._answered.wait(AGAIN_AFTER_S):
                return

    def _on_answer(self, environment: Any, msg: Any) -> None:  # noqa: ARG002 - Locust's form
        if msg.data["worker"] == self._worker and msg.data["number"] == self._batch:
            if msg.data.get("refused"):
                print(f"error: {REFUSED}; this worker's own ledger is whole", file=sys.stderr)
            self._needless = bool(msg.data.get("here") or msg.data.get("refused"))
            if self._needless:
                self._inserts.clear()
                self._updates.clear()
                self._meta.clear()
                self._measured.clear()
            self._answered.set()


class _Copy:
    """The files of one worker, as the master keeps them."""

    def __init__(self, directory: Path, worker: str, meta: dict[str, str]) -> None:
        """Create them. Raises LedgerError or OSError."""
        self._store = Store(RunDirectory(directory).ledger(worker), meta)
        self._intervals = RunDirectory(directory).intervals(worker).open("ab", buffering=0)
        self._histograms = RunDirectory(directory).histograms(worker).open("ab", buffering=0)

    def write(self, batch: dict[str, Any]) -> None:
        """Make a batch durable. Raises LedgerError."""
        inserts = [tuple(row) for row in batch["inserts"]]
        self._store.write(inserts, [tuple(row) for row in batch["updates"]], batch["meta"])
        try:
            write_whole(self._histograms, batch["histograms"])
            write_whole(self._intervals, batch["intervals"])
        except OSError as error:
            why = error.strerror or error
            raise LedgerError(f"a worker's measurements can't be written: {why}") from error

    def close(self) -> None:
        """Raises LedgerError."""
        self._intervals.close()
        self._histograms.close()
        self._store.close()


class Copies:
    """The master's side: files for each worker whose own are not to be seen here."""

    def __init__(self, runner: MasterRunner) -> None:
        self._runner = runner
        self._directory: Path | None = None
        self._copies: dict[str, _Copy | None] = {}
        self._last: dict[str, int] = {}
        self._owners: dict[str, str] = {}
        """Locust's id of the worker that has a name: no other may use it"""
        self._came: Queue[Any] = Queue()
        self._thread: ThreadPool | None = None
        self.failures: list[str] = []
        self.heard_of: dict[str, str] = {}
        """worker's name by its Locust id"""
        runner.register_message(SHIP, self._on_batch)

    def open(self, directory: Path) -> None:
        """A run begins."""
        self._directory = directory
        self._copies, self._last, self._owners = {}, {}, {}
        self.heard_of, self.failures = {}, []
        if self._thread is None:
            self._thread = ThreadPool(1)
            gevent.spawn(self._write_forever)

    def close(self) -> None:
        """The run is over: close the copies. What comes later is not for them."""
        deadline = monotonic_ns() + 2_000_000_000
        while not self._came.empty() and monotonic_ns() < deadline:
            gevent.sleep(0.01)
        copies, self._copies, self._directory = self._copies, {}, None
        for copy in copies.values():
            if copy is not None:
                try:
                    copy.close()
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
                self._note(str(error))
            except Exception as error:  # noqa: BLE001 - the copies of all others go on
                self._note(f"a part of a worker's ledger can't be copied: {type(error).__name__}")
            finally:
                self._came.get()

    def _note(self, why: str) -> None:
        if why not in self.failures:  # it is sent again until it is taken
            self.failures.append(why)

    def _take(self, node_id: str, batch: dict[str, Any]) -> None:
        worker, number = str(batch["worker"]), int(batch["number"])
        self.heard_of[node_id] = worker
        if self._directory is None or self._thread is None:
            return
        answer: dict[str, Any] = {"worker": worker, "number": number}
        last = self._last.get(worker, 0)
        if batch["run"] not in ("", self._directory.name):  # of a run that is over
            self._runner.send_message(SHIPPED, {**answer, "here": True}, node_id)
            return
        if self._owners.setdefault(worker, node_id) != node_id:
            self._refuse(node_id, answer, f"two workers call themselves {plain(worker)}")
        if number > last + 1:
            # Something is missing between: a copy with a gap in it would look whole.
            self._refuse(
                node_id, answer, f"batch {number} of {plain(worker)} came after batch {last}"
            )
        if number > last:
            if "heartbeat_ns" in batch["meta"]:  # by our clock: theirs may be another
                batch["meta"]["heartbeat_ns"] = str(wall_ns())
            copy = self._copy_of(worker, batch["meta"], node_id, answer)
            if copy is not None:
                run_in(self._thread, copy.write, batch)
            self._last[worker] = number
        here = worker in self._copies and self._copies[worker] is None
        self._runner.send_message(SHIPPED, {**answer, "here": here}, node_id)

    def _refuse(self, node_id: str, answer: dict[str, Any], why: str) -> NoReturn:
        """Take nothing of it, and say so to both sides. Raises LedgerError."""
        copy = self._copies.get(answer["worker"])
        if copy is not None and self._thread is not None:
            nothing = {"inserts": (), "updates": (), "intervals": b"", "histograms": b""}
            run_in(self._thread, copy.write, {**nothing, "meta": {"damaged": why}})
        self._runner.send_message(SHIPPED, {**answer, "refused": True}, node_id)
        raise LedgerError(f"{why}: it is refused, and the copy of its ledger is not whole")

    def _copy_of(
        self, worker: str, meta: dict[str, str], node_id: str, answer: dict[str, Any]
    ) -> _Copy | None:
        if worker not in self._copies:
            assert self._directory is not None
            name = plain(worker)[:NAME_CHARACTERS] or "worker"
            path = RunDirectory(self._directory).ledger(name)
            try:
                if path.exists():
                    there = read_process(path)
                    if there.copy or there.worker != worker:  # not the worker's own
                        self._refuse(node_id, answer, f"two workers call themselves {name}")
                    self._copies[worker] = None
                else:
                    self._copies[worker] = _Copy(self._directory, name, meta)
            except OSError as error:
                why = error.strerror or error
                raise LedgerError(f"no copy of worker {name} can be kept: {why}") from error
        return self._copies[worker]
