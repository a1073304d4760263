"""Workers on other machines send their ledger and measurements to the master while they run.

Each worker sends the changes that its ledger has just committed, and the intervals that it has just
written, in batches, one at a time: the next is sent when the last was acknowledged. The waiting
changes are bounded. If the master is silent for too long, or finds that a batch does not follow the
one before, the worker sends everything again from its own files (a snapshot), and the copy counts
as complete only after the end of that. The master writes the copy beside its own files, unless it
sees the worker's own files there (one machine, one folder). So the figures of the whole run are
merged from the histograms of all workers, wherever they ran, and depend on no last report.

The copy is always a little behind. So with each batch a worker reserves tokens, and it uses none
that its master does not know of as reserved, nor any once the master has been silent for as long as
makes it take the worker for dead. If the worker is lost with its disk, all that it can have opened
is among those tokens, which can be derived again.

The copy holds tokens, and Locust's channel between worker and master is neither encrypted nor
authenticated: run master and workers on a network of their own.

Each process of a run has a node name that is never used twice, even for the same host and pid: a
container that is restarted in place has the same host name and is process 1 again, and two machines
may have the same host name. The ledger, measurements, copies and leases of a node are kept under
this name, so two processes must never share it.
"""

import os
import platform
import secrets
from collections import OrderedDict, deque
from collections.abc import Callable, Collection, Mapping, Sequence
from io import FileIO
from pathlib import Path
from types import MappingProxyType
from typing import Any, NoReturn, TypeVar

import gevent
import psutil
from gevent.event import Event
from gevent.queue import Queue
from gevent.threadpool import ThreadPool

from harness.clock import monotonic_ns, wall_ns
from harness.errors import LedgerError
from harness.ledger.ledger import RESERVED, Group, Insert, Store, Update, run_in
from harness.ledger.reader import HEARTBEAT_FRESH_S, Row, read_meta, read_process, rows_after
from harness.load.logs import LOG
from harness.measure.snapshot import write_whole
from harness.rundir.layout import RunDirectory

HOST_CHARACTERS = 40
"""Most characters of the host in a node name, which becomes part of file names."""


def new_node_name() -> str:
    """A unique name: host and pid for the reader; start time and a nonce to make it unique.

    Letters, digits, dots, dashes and underscores.
    """
    host = plain(platform.node() or "host")[:HOST_CHARACTERS]
    born = int(psutil.Process().create_time())
    return f"{host}-{os.getpid()}-{born:x}-{secrets.token_hex(4)}"


def plain(name: str) -> str:
    """A name, made safe for a file name."""
    return "".join(c if c.isascii() and (c.isalnum() or c in "._-") else "_" for c in name)


BEGIN, GO_ON, END = "begin", "go on", "end"
"""The parts of a snapshot; a batch of new changes is none of them."""
NAME_CHARACTERS = 80
"""Most characters of a worker's name that came over the network."""
BATCH = 2_000
"""Most changes in one message."""
WAITING = 100_000
"""Most changes that may wait for the master (some 20 MB)."""
MEASURED_BATCH = 500_000
"""Bytes of measurements in one message, about; an interval is never split."""
MEASURED_WAITING = 50_000_000
"""Most bytes of measurements that may wait for the master (an hour or more of silence)."""
AGAIN_AFTER_S = 5.0
RESERVE, RESERVE_BATCHES = 100, 5
"""Tokens that a worker reserves: so many, and what it would use until so many more batches."""
SNAPSHOTS = 5
"""After this many refused snapshots in a row the worker stops sending."""
ON_ITS_WAY = "the worker has not sent all of it again yet"


Change = TypeVar("Change", Insert, Update)


class _Snapshot:
    """Reads a worker's own files from their beginning, part by part."""

    def __init__(self, directory: Path, worker: str) -> None:
        files = RunDirectory(directory)
        self._ledger = files.ledger(worker)
        self._measured = (files.intervals(worker), files.histograms(worker))
        self._read = [0, 0]
        self._last_row = 0
        self.begun = False

    def meta(self) -> dict[str, str]:
        """The ledger's values about the worker. Raises LedgerError."""
        return read_meta(self._ledger)

    def rows(self) -> list[Row]:
        """The next sessions; none when all were read. Raises LedgerError."""
        rows = rows_after(self._ledger, self._last_row, most=BATCH // 2)
        self._last_row = rows[-1][0] if rows else self._last_row
        return rows

    def measured(self) -> tuple[bytes, bytes]:
        """The next parts of intervals and histograms. Raises OSError."""
        parts = []
        for number, path in enumerate(self._measured):
            with path.open("rb") as file:
                file.seek(self._read[number])
                parts.append(file.read(MEASURED_BATCH // 2))
            self._read[number] += len(parts[-1])
        return parts[0], parts[1]


class Shipper:
    """The worker's side. Give :meth:`take` to the ledger, :meth:`take_measured` to the writer.

    :meth:`next_batch` gives the batch for the report of each second; :meth:`take_answer` takes the
    master's answer to it.
    """

    def __init__(
        self,
        report: Callable[[], None],
        directory: Path,
        worker: str,
        meta: dict[str, str],
        used: Callable[[], int] = lambda: 0,
    ) -> None:
        """``report`` sends a report at once, if there is more than one batch a second; ``used`` is
        how many tokens the worker has used."""
        self._report = report
        self._used = used
        self._used_before = 0
        """at the last batch"""
        self._reserved = 0
        self._known = 0
        """how many tokens the master knows to be reserved"""
        self._known_ns = -int(HEARTBEAT_FRESH_S * 1e9)
        """when the last batch that it has answered was made"""
        self._made_ns = 0
        self.may_use = Event()
        """set while a token may be used, as far as is known"""
        self._directory = directory
        self._worker = worker
        self._first = {**meta, "copy_of": worker}
        self._run = meta.get("run_id", "")
        self._inserts: OrderedDict[int, Insert] = OrderedDict()
        self._updates: OrderedDict[int, Update] = OrderedDict()
        self._meta: dict[str, str] = {}
        self._measured: deque[tuple[bytes, bytes]] = deque()
        self._measured_bytes = 0
        self._snapshot: _Snapshot | None = None
        """the snapshot that is being sent; new changes wait until its end"""
        self._snapshots = 0
        """snapshots begun since the master took a whole one"""
        self._here = False
        """the master sees this worker's own files"""
        self._needless = False
        """it does, or takes nothing more"""
        self._incomplete = False
        """the master takes nothing more, and its copy is not complete"""
        self._batch = 0
        self._ending = False
        """the batch that was sent last is the end of a snapshot"""
        self._on_its_way: dict[str, Any] | None = None
        self._sent_ns = 0
        self._answered = Event()

    def take(self, group: Group) -> None:
        """Take the changes that were just committed. Several changes of one session become one."""
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
        if len(self._inserts) + len(self._updates) > WAITING:
            self.send_all()

    def take_measured(self, intervals: bytes, histograms: bytes) -> None:
        """Take the bytes that were just appended to the two files of measurements."""
        if self._needless or self._snapshot is not None:  # a snapshot reads it from the files
            return
        self._measured.append((intervals, histograms))
        self._measured_bytes += len(intervals) + len(histograms)
        if self._measured_bytes > MEASURED_WAITING and len(self._measured) > 1:
            self.send_all()

    def may_use_token(self) -> bool:
        """Whether the worker may use one more token; if not, ``may_use`` is set when it may."""
        if self._here:
            return True  # the ledger is the worker's own
        if self._short and self._on_its_way is None:
            self._report()  # before the look: others may run, and use tokens, while it is sent
        silent_ns = monotonic_ns() - self._known_ns
        may = self._used() < self._known and silent_ns < HEARTBEAT_FRESH_S * 1e9
        if not may:
            self.may_use.clear()
        return may

    @property
    def _short(self) -> bool:
        """Whether few of the reserved tokens are left."""
        return not self._needless and self._reserved - self._used() < RESERVE // 2

    def _reserve(self) -> None:
        used = self._used()
        more = RESERVE + RESERVE_BATCHES * (used - self._used_before)
        self._used_before, self._reserved = used, max(self._reserved, used + more)

    def flush(self, *, within_s: float) -> bool:
        """Wait until the master has everything; False if it has not after ``within_s`` seconds."""
        deadline = monotonic_ns() + int(within_s * 1e9)
        while self._on_its_way or self._waits:
            left_s = (deadline - monotonic_ns()) / 1e9
            if left_s <= 0:
                return False
            self._answered.clear()
            self._report()
            self._answered.wait(min(left_s, AGAIN_AFTER_S))
        return not self._incomplete

    @property
    def _waits(self) -> bool:
        return bool(
            self._inserts or self._updates or self._meta or self._measured or self._snapshot
        )

    def send_all(self) -> None:
        """Send everything (again) from our own files; these hold the waiting changes too."""
        self._snapshot = _Snapshot(self._directory, self._worker)
        self._forget_waiting()

    def _forget_waiting(self) -> None:
        self._inserts.clear()
        self._updates.clear()
        self._measured.clear()
        self._measured_bytes = 0

    def next_batch(self) -> dict[str, Any] | None:
        """The batch to send now, if there is one; one without an answer is sent again after a
        while."""
        now_ns = monotonic_ns()
        if self._on_its_way is None and (self._waits or self._short):
            self._batch += 1
            self._made_ns = now_ns
            self._reserve()
            batch = {"run": self._run, "worker": self._worker, "number": self._batch}
            part = self._next_part()
            part["meta"][RESERVED] = str(self._reserved)
            self._on_its_way = batch | part
        elif self._on_its_way is None or now_ns - self._sent_ns < AGAIN_AFTER_S * 1e9:
            return None
        self._sent_ns = now_ns
        return self._on_its_way

    def _next_part(self) -> dict[str, Any]:
        if self._snapshot is not None:
            try:
                return self._next_of_snapshot(self._snapshot)
            except (LedgerError, OSError) as error:
                self._give_up(f"its own files can't be read: {error}")
        inserts = _pop(self._inserts, BATCH)
        # An update never goes before the insert it belongs to: inserts leave first.
        updates = [] if self._inserts else _pop(self._updates, BATCH - len(inserts))
        meta: dict[str, str] = {}
        if not self._inserts and not self._updates:
            meta, self._meta = self._meta, {}
        if self._batch == 1:
            meta = {**self._first, **meta}
        return _part(inserts, updates, meta, self._next_measured())

    def _next_of_snapshot(self, snapshot: _Snapshot) -> dict[str, Any]:
        if not snapshot.begun:
            snapshot.begun = True
            return _part(meta={**self._first, "damaged": ON_ITS_WAY}, snapshot=BEGIN)
        rows, measured = snapshot.rows(), snapshot.measured()
        if not (rows or any(measured)):
            # Nothing can change between this read and the changes that wait from now on.
            self._snapshot, self._ending = None, True
            return _part(meta={**snapshot.meta(), **self._first, "damaged": ""}, snapshot=END)
        inserts: list[Insert] = []
        updates: list[Update] = []
        for row, token, stage, reason, intended_ns, changed_ns, message_id in rows:
            self._inserts.pop(row, None)  # what waits as an update may be newer than this
            inserts.append((row, token, stage, intended_ns, changed_ns))
            if reason or message_id:
                updates.append((stage, reason, message_id, changed_ns, row))
        return _part(inserts, updates, {}, measured, snapshot=GO_ON)

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

    def take_answer(self, data: Mapping[str, Any]) -> None:
        """Take the master's answer to a batch."""
        if data["worker"] != self._worker or data["number"] != self._batch:
            return
        if not (data.get("refused") or data.get("again") or data.get("over")):
            self._known, self._known_ns = self._reserved, self._made_ns
        self._on_its_way = None
        ended, self._ending = self._ending, False
        if data.get("here"):
            self._here = self._needless = True
        elif data.get("over"):
            self._needless = True
        elif data.get("refused"):
            self._give_up("the master refused a batch of this worker")
        elif data.get("again"):
            self._snapshots += 1
            if self._snapshots > SNAPSHOTS:
                self._give_up(f"the master has not taken {SNAPSHOTS} copies of all of it")
            else:
                LOG.error(
                    "the master has missed something of this worker's ledger: all is sent again"
                )
                self.send_all()
        elif ended:
            self._snapshots = 0
        if self._needless:
            self._forget_waiting()
            self._meta.clear()
            self._snapshot = None
        self._answered.set()
        self.may_use.set()
        many_wait = len(self._inserts) + len(self._updates) > BATCH
        if self._snapshot or self._measured_bytes > MEASURED_BATCH or many_wait or self._short:
            self._report()

    def _give_up(self, why: str) -> None:
        LOG.error(f"{why}; this worker's own ledger is whole")
        self._needless = self._incomplete = True
        self._snapshot = None
        self._forget_waiting()
        self._meta = {"damaged": f"the copy is not whole: {why}"}


def _pop(waiting: OrderedDict[int, Change], most: int) -> list[Change]:
    """Take the oldest waiting changes."""
    return [waiting.popitem(last=False)[1] for _ in range(min(most, len(waiting)))]


def _part(
    inserts: Sequence[Insert] = (),
    updates: Sequence[Update] = (),
    meta: Mapping[str, str] = MappingProxyType({}),
    measured: tuple[bytes, bytes] = (b"", b""),
    *,
    snapshot: str = "",
) -> dict[str, Any]:
    return {
        "inserts": inserts,
        "updates": updates,
        "meta": dict(meta),
        "intervals": measured[0],
        "histograms": measured[1],
        "snapshot": snapshot,
    }


class _Measured:
    """The master's copy of one of a worker's two files of measurements."""

    def __init__(self, path: Path) -> None:
        """Create it. Raises OSError."""
        self._path = path
        self._again = path.with_name(f"{path.name}.again")
        self._file = path.open("ab", buffering=0)
        self._new: FileIO | None = None

    @property
    def size(self) -> int:
        """Bytes in the file that is written now."""
        return os.fstat(self._coming.fileno()).st_size

    def append(self, data: bytes) -> None:
        """Append bytes. After an OSError a part of them may be in the file."""
        write_whole(self._coming, data)

    def cut(self, size: int) -> None:
        """Cut the file back to an earlier size."""
        self._coming.truncate(size)

    @property
    def _coming(self) -> FileIO:
        return self._new or self._file

    def begin_again(self) -> None:
        """Write to a new file from now on; the old one is kept until the new one is complete."""
        self.drop_new()
        self._new = self._again.open("wb", buffering=0)

    def replace(self) -> None:
        """The new file is complete: replace the old one by it."""
        if self._new is not None:
            self._again.replace(self._path)
            self._file.close()
            self._file, self._new = self._new, None

    def drop_new(self) -> None:
        if self._new is not None:
            self._new.close()
            self._new = None
            self._again.unlink(missing_ok=True)

    def close(self) -> None:
        self.drop_new()
        self._file.close()


class _Copy:
    """The master's copies of one worker's files."""

    def __init__(self, directory: Path, worker: str, meta: dict[str, str]) -> None:
        """Create them. Raises LedgerError or OSError."""
        self._store = Store(RunDirectory(directory).ledger(worker), meta)
        self._intervals = _Measured(RunDirectory(directory).intervals(worker))
        self._histograms = _Measured(RunDirectory(directory).histograms(worker))
        self._files = (self._histograms, self._intervals)

    def write(self, batch: dict[str, Any]) -> None:
        """Make a batch durable; a failed one may be written again. Raises LedgerError."""
        part = batch["snapshot"]
        inserts = [tuple(row) for row in batch["inserts"]]
        updates = [tuple(row) for row in batch["updates"]]
        try:
            for file in self._files:
                if part == BEGIN:
                    file.begin_again()
                elif part == END:
                    file.replace()
            self._store.write(
                inserts, updates, batch["meta"], repeated="REPLACE" if part else "IGNORE"
            )
            sizes = [file.size for file in self._files]
            try:
                self._histograms.append(batch["histograms"])
                self._intervals.append(batch["intervals"])
            except OSError:
                for file, size in zip(self._files, sizes, strict=True):
                    file.cut(size)  # the same bytes are sent again
                raise
        except OSError as error:
            why = error.strerror or error
            raise LedgerError(f"a worker's measurements can't be written: {why}") from error

    def note(self, damage: str) -> None:
        """Note why the copy is incomplete. Raises LedgerError."""
        self._store.write((), (), {"damaged": damage})

    def close(self) -> None:
        """Raises LedgerError."""
        for file in self._files:
            file.close()
        self._store.close()


class Copies:
    """The master's side: copies for each worker whose own files are not in the run's directory."""

    def __init__(self, dismissed: Collection[str] = ()) -> None:
        self.on_taken: Callable[[str, dict[str, Any]], None] = lambda *_: None
        """called with a worker (Locust's id) and its answer, when its batch is on disk"""
        self._dismissed = dismissed
        self._directory: Path | None = None
        self._copies: dict[str, _Copy | None] = {}
        self._last: dict[str, int] = {}
        self._owners: dict[str, str] = {}
        """by name: Locust's id of the worker that has it; no other worker may use the name"""
        self._gaps: dict[str, str] = {}
        """by worker: why its copy is incomplete; a snapshot was asked for"""
        self._came: Queue[Any] = Queue()
        self._thread: ThreadPool | None = None
        self.failures: list[str] = []
        self.refused = 0
        """batches that did not follow the one before"""

    def open(self, directory: Path) -> None:
        self._directory = directory
        self._copies, self._last, self._owners, self._gaps = {}, {}, {}, {}
        self.failures, self.refused = [], 0
        if self._thread is None:
            self._thread = ThreadPool(1)
            gevent.spawn(self._write_forever)

    def close(self) -> None:
        """The run is over: close the copies. Later batches are not written."""
        deadline = monotonic_ns() + 2_000_000_000
        while not self._came.empty() and monotonic_ns() < deadline:
            gevent.sleep(0.01)
        self.failures += [
            f"{why}, and not all of it came again: the copy of its ledger is not whole"
            for why in self._gaps.values()
        ]
        copies, self._copies, self._directory = self._copies, {}, None
        for copy in copies.values():
            if copy is not None:
                try:
                    copy.close()
                except (LedgerError, OSError) as error:
                    self.failures.append(str(error))

    def take(self, node_id: str, batch: dict[str, Any]) -> None:
        """Take a batch; batches are written in the order in which they arrive."""
        self._came.put((node_id, batch))

    def _write_forever(self) -> None:
        while True:
            node_id, batch = self._came.peek()
            try:
                self._take(node_id, batch)
            except LedgerError as error:
                self._note(str(error))
            except Exception as error:  # noqa: BLE001 - the copies of all others go on
                self._note(f"a part of a worker's ledger can't be copied: {type(error).__name__}")
            finally:
                self._came.get()

    def _note(self, why: str) -> None:
        if why not in self.failures:  # the worker sends it again until it is taken
            self.failures.append(why)

    def _take(self, node_id: str, batch: dict[str, Any]) -> None:
        worker, number = str(batch["worker"]), int(batch["number"])
        if self._directory is None or self._thread is None:
            return
        answer = {"worker": worker, "number": number}
        if batch["run"] not in ("", self._directory.name) or node_id in self._dismissed:
            return self._answer(node_id, answer, over=True)  # nothing of it belongs to this run
        if self._owners.setdefault(worker, node_id) != node_id:
            self._refuse(node_id, answer, f"two workers call themselves {plain(worker)}")
        last = self._last.get(worker, 0)
        if number == last:  # sent again because our answer was late
            return self._answer(node_id, answer, here=self._is_here(worker))
        if number != last + 1 and batch["snapshot"] != BEGIN and not self._is_here(worker):
            return self._ask_again(node_id, answer, last)
        meta = batch["meta"]
        # Each batch is a sign of life, and lets the worker use tokens for a while. By our clock:
        # the worker's may differ.
        meta["heartbeat_ns"] = str(wall_ns())
        copy = self._copy_of(worker, meta, node_id, answer)
        if copy is not None:
            run_in(self._thread, copy.write, batch)
        if batch["snapshot"] == END:
            self._gaps.pop(worker, None)
        self._last[worker] = number
        self._answer(node_id, answer, here=self._is_here(worker))

    def _is_here(self, worker: str) -> bool:
        """Whether the worker's own files are in this directory."""
        return worker in self._copies and self._copies[worker] is None

    def _answer(self, node_id: str, answer: dict[str, Any], **more: bool) -> None:
        self.on_taken(node_id, {**answer, **more})

    def _ask_again(self, node_id: str, answer: dict[str, Any], last: int) -> None:
        """A batch is missing: ask for everything again (a gap would not show in the copy)."""
        worker = answer["worker"]
        why = f"batch {answer['number']} of {plain(worker)} came after batch {last}"
        self.refused += 1
        LOG.error(f"{why}: it is refused, and all of its ledger is asked for again")
        self._gaps.setdefault(worker, why)
        self._note_damage(worker, why)
        self._answer(node_id, answer, again=True)

    def _refuse(self, node_id: str, answer: dict[str, Any], why: str) -> NoReturn:
        """Refuse the batch, and tell both sides. Raises LedgerError."""
        self._note_damage(answer["worker"], why)
        self._answer(node_id, answer, refused=True)
        raise LedgerError(f"{why}: it is refused, and the copy of its ledger is not whole")

    def _note_damage(self, worker: str, why: str) -> None:
        copy = self._copies.get(worker)
        if copy is not None and self._thread is not None:
            run_in(self._thread, copy.note, why)

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
