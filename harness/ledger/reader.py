"""Read the ledger files of a run in any state: in use, crashed, truncated, garbled.

Damage is reported, never guessed away: :class:`Contents` holds the rows that could be read, and
``damage`` says why there may be more. Reading changes nothing; :func:`set_aside` makes a damaged
file usable again, without destroying it.

A *leftover* is any session without proof of its end. Every session ever intended is in exactly one
class of :class:`Account`.
"""

import os
import platform
import shutil
import sqlite3
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import orjson
import psutil

from harness.clock import wall_ns
from harness.errors import LedgerError
from harness.ledger.ledger import (
    COUNTED_AS,
    OPEN_UNANSWERED,
    OVER,
    RESERVED,
    SCHEMA_VERSION,
    SILENT,
    Stage,
    Store,
    claimed,
    with_unanswered,
)
from harness.rundir.layout import RunDirectory, worker_of

HEARTBEAT_FRESH_S = 10.0
"""A process on another machine counts as dead after this time without a heartbeat."""

MOST_BYTES = 1 << 34
"""A file header that claims a larger size is damaged itself."""

COLUMNS = "id, token, stage, reason, intended_ns, changed_ns, message_id"
Row = tuple[int, str, str, str, int, int, str]
"""The columns of ``sessions`` in the order of :data:`COLUMNS`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Process:
    """What a ledger file says about the process that wrote it."""

    worker: str
    ended: bool
    heartbeat_ns: int
    host: str
    pid: int
    birth: str = ""
    """when it was started, by the operating system (see :func:`birth_of`)"""
    place: str = ""
    """machine and process namespace (see :func:`place_of_this_process`); empty if unknown"""
    copy: bool = False
    """the file is a master's copy of a worker's ledger"""
    damaged: str = ""
    """the damage of the file from which this one was saved, if any"""
    derived: bool = False
    """all tokens that the file may lack were tried"""
    reserved: int = 0
    """how many tokens the worker may have used, by its own word in a master's copy"""
    share: tuple[int, int] = (0, 1)
    """(first, step): this process has every ``step``-th of the run's guests, from ``first`` on"""

    @property
    def here(self) -> bool:
        """Whether it runs, or ran, on this machine, so that its pid is valid here.

        The host name alone does not show that: containers may share it, each with a process 1.
        """
        if self.host != platform.node():
            return False
        return not self.place or self.place == place_of_this_process()

    @property
    def cut_off(self) -> bool:
        """Whether the file is the copy of a lost worker's ledger: sessions that the worker opened
        in its last seconds may be missing."""
        return self.behind and not self.alive

    @property
    def behind(self) -> bool:
        """Whether the file is a copy whose worker has not reported its end, and may still work."""
        return self.copy and not (self.ended or self.derived)

    @property
    def alive(self) -> bool:
        """Whether it may still be using its sessions.

        On this machine the process itself is looked up, so a step of the clock does not matter; of
        a process on another machine only the heartbeat is known.
        """
        if self.ended:
            return False
        if self.here and self.birth:
            return birth_of(self.pid) == self.birth
        if abs(wall_ns() - self.heartbeat_ns) > HEARTBEAT_FRESH_S * 1e9:
            return False
        return not self.here or bool(birth_of(self.pid))


@dataclass(slots=True, kw_only=True)
class Contents:
    """What one ledger file holds."""

    path: Path
    process: Process
    counts: Counter[tuple[str, str]] = field(default_factory=Counter)
    """sessions by (stage, reason)"""
    open: list[Row] = field(default_factory=list)
    """the sessions without proof of their end"""
    damage: str = ""

    @property
    def may_lack(self) -> bool:
        """Whether guests may have sent requests that are not in the file: it is damaged, or the
        copy of a worker that has not ended."""
        return bool(self.damage) or (self.process.copy and not self.process.ended)


def read_process(path: Path) -> Process:
    """The process that wrote this ledger, as far as the file can be read."""
    try:
        with opened(path) as db:
            return _process(path, _meta(db))
    except LedgerError:
        return _process(path, salvage(path)[0])


def read_processes(run_dir: Path) -> dict[Path, Process]:
    """The processes that wrote the ledgers of a run, by their files."""
    return {path: read_process(path) for path in RunDirectory(run_dir).ledgers()}


def read_contents(path: Path) -> Contents:
    """The whole file, or the readable part of a damaged one. The file's content never raises."""
    try:
        with opened(path) as db:
            contents = Contents(path=path, process=_process(path, _meta(db)))
            check = db.execute("PRAGMA quick_check(1)").fetchone()[0]
            if check != "ok":
                raise LedgerError(f"the ledger {path} is damaged: {check}")
            grouped = "SELECT stage, reason, count(*) FROM sessions GROUP BY 1, 2"
            for stage, reason, count in db.execute(grouped):
                contents.counts[stage, reason] = count
            contents.open = db.execute(f"SELECT {COLUMNS} FROM sessions {NOT_OVER}").fetchall()
            contents.damage = contents.process.damaged
            return contents
    except LedgerError as error:
        meta, rows = salvage(path)
        contents = Contents(path=path, process=_process(path, meta), damage=str(error))
        contents.counts.update((row[2], row[3]) for row in rows)
        contents.open = [row for row in rows if row[2] not in OVER]
        return contents


def read_rows(path: Path) -> list[Row]:
    """All rows of a file, in the order of intent; the readable ones if it is damaged."""
    try:
        with opened(path) as db:
            return db.execute(f"SELECT {COLUMNS} FROM sessions ORDER BY id").fetchall()
    except LedgerError:
        return salvage(path)[1]


def read_meta(path: Path) -> dict[str, str]:
    """The file's values about the process that writes it. Raises LedgerError."""
    with opened(path) as db:
        return _meta(db)


def rows_after(path: Path, last: int, *, most: int) -> list[Row]:
    """The next rows of a file that is in use, in the order of intent. Raises LedgerError."""
    with opened(path) as db:
        query = f"SELECT {COLUMNS} FROM sessions WHERE id > ? ORDER BY id LIMIT ?"
        return db.execute(query, (last, most)).fetchall()


@contextmanager
def opened(path: Path, *, writable: bool = False) -> Iterator[sqlite3.Connection]:
    """A ledger file, checked. Raises LedgerError naming the file and what is wrong with it.

    A file that can't be opened read-only (a crash or a copy has lost the index of its write-ahead
    log) is read from a private copy.
    """
    try:
        lacks_index = _log_of(path).exists() and not path.with_name(path.name + "-shm").exists()
        if lacks_index and not writable:
            connected = _copied(path)
        else:
            connected = _connected(f"{path.resolve().as_uri()}?mode={'rw' if writable else 'ro'}")
        with connected as db:
            yield _checked(db, path)
    except (OSError, sqlite3.Error, ValueError) as error:
        what = "written; its sessions stay listed" if writable else "read"
        raise LedgerError(f"the ledger {path} can't be {what}: {error}") from error


def salvage(path: Path) -> tuple[dict[str, str], list[Row]]:
    """Meta and rows of a damaged file, as far as they can be read from both of its ends."""
    meta: dict[str, str] = {}
    rows: dict[int, Row] = {}
    try:
        with _copied(path, pad=True) as db:
            meta = _meta(db)
            for order in ("ASC", "DESC"):
                with suppress(sqlite3.Error):  # the rest is read from the other end of the damage
                    for row in db.execute(f"SELECT {COLUMNS} FROM sessions ORDER BY id {order}"):
                        if _plausible(row):
                            rows[row[0]] = row
    except (OSError, sqlite3.Error, ValueError):
        pass  # not a database at all: nothing can be read
    return meta, [rows[number] for number in sorted(rows)]


def birth_of(pid: int) -> str:
    """When a process was started: this tells it from a later process with the same pid.

    Empty if there is no such process (a zombie does not count). On Linux in ticks since the machine
    was started, which no step of the clock changes.
    """
    try:
        process = psutil.Process(pid)
        if process.status() == psutil.STATUS_ZOMBIE:
            return ""
        stat = Path(f"/proc/{pid}/stat")
        if stat.exists():
            return stat.read_text().rpartition(")")[2].split()[19]
        return str(process.create_time())
    except (psutil.Error, OSError, ValueError):
        return ""


def meta_of_this_process() -> dict[str, str]:
    """What a ledger notes of the process that writes it, so that other processes can find it."""
    return {
        "pid": str(os.getpid()),
        "birth": birth_of(os.getpid()),
        "host": platform.node(),
        "place": place_of_this_process(),
    }


def place_of_this_process() -> str:
    """The machine's present boot, and the namespace of its pids; empty if unknown."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot}/{Path('/proc/self/ns/pid').readlink()}"
    except OSError:
        return ""


NOT_OVER = (
    f"WHERE stage NOT IN ({', '.join(f'{str(stage)!r}' for stage in sorted(OVER))}) ORDER BY id"
)
"""The part of a query that finds the sessions without proof of their end."""


@contextmanager
def _connected(uri: str) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(uri, uri=True, isolation_level=None)) as db:
        db.execute("PRAGMA busy_timeout = 5000")
        yield db


@contextmanager
def _copied(path: Path, *, pad: bool = False) -> Iterator[sqlite3.Connection]:
    with tempfile.TemporaryDirectory(prefix="harness-copy-") as folder:  # mode 0700
        copy = Path(folder) / path.name
        shutil.copyfile(path, copy)
        log = _log_of(path)
        if log.exists():
            shutil.copyfile(log, _log_of(copy))
        if pad:
            _pad(copy)
        with _connected(copy.as_uri()) as db:
            yield db


def _pad(copy: Path) -> None:
    """Extend a truncated file to its full length: SQLite does not read a shorter one at all."""
    with copy.open("r+b") as file:
        header = file.read(100)
        length = int.from_bytes(header[16:18], "big") * int.from_bytes(header[28:32], "big")
        if header.startswith(b"SQLite format 3") and copy.stat().st_size < length <= MOST_BYTES:
            file.truncate(length)


def _log_of(path: Path) -> Path:
    return path.with_name(path.name + "-wal")


def _checked(db: sqlite3.Connection, path: Path) -> sqlite3.Connection:
    version = db.execute("PRAGMA user_version").fetchone()[0]
    if version != SCHEMA_VERSION:
        raise LedgerError(
            f"the ledger {path} has schema version {version}, "
            f"this harness reads version {SCHEMA_VERSION}"
        )
    return db


def _meta(db: sqlite3.Connection) -> dict[str, str]:
    return dict(db.execute("SELECT key, value FROM meta"))


def _process(path: Path, meta: dict[str, str]) -> Process:
    return Process(
        worker=meta.get("worker", worker_of(path)),
        ended=bool(meta.get("ended_ns")),
        heartbeat_ns=_number(meta.get("heartbeat_ns") or meta.get("started_ns")),
        host=meta.get("host", ""),
        pid=_number(meta.get("pid")),
        birth=meta.get("birth", ""),
        place=meta.get("place", ""),
        copy="copy_of" in meta,
        damaged="" if meta.get("derived") else meta.get("damaged", ""),
        derived="derived" in meta,
        reserved=_number(meta.get(RESERVED)),
        share=_share(meta.get("share", "")),
    )


def _number(text: str | None) -> int:
    """The number in a text; 0 if it is none: one damaged value must not stop the reading."""
    return int(text) if text and text.isascii() and text.isdecimal() and len(text) < 20 else 0


def _share(text: str) -> tuple[int, int]:
    first, _, step = text.partition("/")
    return _number(first), max(1, _number(step))


def _plausible(row: Row) -> bool:
    return isinstance(row[0], int) and all(isinstance(row[n], str) for n in (1, 2, 3, 6))


def set_aside(path: Path) -> Path | None:
    """Replace a damaged file by a new one with its readable rows; keep the damaged one beside it.

    Returns where it is kept; None if the file is not damaged. The new file notes the damage of the
    old one. Raises LedgerError or OSError.
    """
    contents = read_contents(path)
    if not contents.damage or contents.process.damaged:
        return None
    meta, rows = salvage(path)
    stamp = wall_ns()
    fresh = path.with_name(f".salvaged-{stamp}{path.suffix}")
    store = Store(
        fresh,
        {
            "worker": contents.process.worker,
            **meta,
            "ended_ns": meta.get("ended_ns") or str(stamp),
            "damaged": contents.damage,
        },
    )
    store.write(
        [(row[0], row[1], row[2], row[4], row[5]) for row in rows],
        [(row[2], row[3], row[6], row[5], row[0]) for row in rows],
        {},
    )
    store.close()
    kept = path.with_name(f"damaged-{stamp}-{path.name}")
    path.rename(kept)
    for tail in ("-wal", "-shm"):
        log = path.with_name(path.name + tail)
        if log.exists():
            log.rename(kept.with_name(kept.name + tail))
    fresh.rename(path)
    return kept


KILLED = "killed"
"""Reason of a session whose process died."""
WORKER_LOST = "worker lost"
"""Reason of a session whose process was on another machine, and whose heartbeats have stopped."""
IN_USE = "in use"
"""Reason of a session whose process is still running."""
UNFINISHED = "unfinished"
"""Reason of a session that was not ended, though its process ended properly."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Leftover:
    """One session without proof of its end. Times are wall-clock nanoseconds."""

    token: str = field(repr=False)
    state: str
    reason: str
    worker: str
    intended_ns: int
    message_id: str
    file: Path
    row: int
    asked_ns: int = 0
    """latest time at which an unanswered configureSession may have been sent; 0 if all were
    answered"""
    asked_once: bool = False
    """whether at most one configureSession can have been sent: if there is a session, that one has
    opened it"""

    @property
    def short_token(self) -> str:
        """The first part of the token, enough to tell it from others; the whole is a credential."""
        return self.token[:8] + "…"

    @property
    def holds_conversation(self) -> bool:
        """Whether the guest had spoken, so that an agent may be held."""
        return self.state not in SILENT

    @property
    def age_s(self) -> float:
        """Seconds since it was intended; never negative, even if the clock was set back."""
        return max(0, wall_ns() - self.intended_ns) / 1e9


@dataclass(slots=True, kw_only=True)
class Account:
    """The number of a run's intended sessions in each class; ``balanced`` must be true."""

    intended: int = 0
    cleared: int = 0
    ended_by_service: int = 0
    never_configured: int = 0
    settled: int = 0
    """proved ended by a sweep"""
    disconnected: int = 0
    """ended by the Platform API: their conversations have ended, their sessions expire"""
    leftover: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    workers: int = 0
    workers_lost: int = 0
    damaged: list[str] = field(default_factory=list)
    """the damage of files that may hold more sessions than could be read, or that are gone"""
    cut_off: list[str] = field(default_factory=list)
    """workers that were lost on other machines: the master's copy may lack their last sessions"""
    behind: list[str] = field(default_factory=list)
    """the same, with those that are still at work there"""

    @property
    def opened(self) -> int:
        """Sessions that existed or may exist at the service."""
        return self.intended - self.never_configured

    @property
    def may_hide(self) -> bool:
        """Whether there may be sessions that no ledger here lists."""
        return bool(self.damaged or self.cut_off)

    @property
    def unsure(self) -> list[str]:
        """Why there may be such sessions, in sentences."""
        lost = "was lost on another machine: sessions of its last seconds may be missing"
        return [*self.damaged, *(f"{worker} {lost}" for worker in self.cut_off)]

    @property
    def unsure_at_end(self) -> list[str]:
        """The same of a run that has ended: none of its workers should be at work any more."""
        lost = [
            f"{worker} did not report its end: sessions of its last seconds may be missing here "
            "(harness sweep --derive)"
            for worker in self.behind
        ]
        return [*self.damaged, *lost]

    @property
    def balanced(self) -> bool:
        """The accounting identity."""
        ended = self.cleared + self.ended_by_service + self.never_configured
        ended += self.settled + self.disconnected
        return self.intended == ended + self.leftover == ended + sum(self.reasons.values())

    def add(self, contents: Contents) -> None:
        process = contents.process
        self.workers += 1
        self.workers_lost += not (process.ended or process.alive)
        if contents.damage:
            self.damaged.append(contents.damage)
        if process.cut_off:
            self.cut_off.append(process.worker)
        if process.behind:
            self.behind.append(process.worker)
        for (stage, reason), count in contents.counts.items():
            self.intended += count
            if stage in OVER:
                name = COUNTED_AS[Stage(stage)]
                setattr(self, name, getattr(self, name) + count)
            else:
                self.leftover += count
                self.reasons[_reason(stage, reason, process)] += count


def read_account(run_dir: Path) -> Account:
    account = Account()
    for path in RunDirectory(run_dir).ledgers():
        account.add(read_contents(path))
    for path, intended in missing_ledgers(run_dir).items():
        account.damaged.append(
            f"the ledger {path} is gone: its worker intended {intended:,} sessions"
        )
    return account


def missing_ledgers(run_dir: Path) -> dict[Path, int]:
    """The ledgers that are gone, and how many sessions their workers intended by their own count.

    Only for workers that wrote in this directory: a ledger of another machine was never here.
    """
    files = RunDirectory(run_dir)
    gone = (name for name in claimed(run_dir) if not files.ledger(name).exists())
    counted = {files.ledger(name): counted_sessions(run_dir, name) for name in gone}
    return {path: intended for path, intended in counted.items() if intended}


def counted_sessions(run_dir: Path, worker: str) -> int:
    """How many sessions a worker had intended by its last measurement; 0 if there is none."""
    try:
        lines = RunDirectory(run_dir).intervals(worker).read_bytes().splitlines()
    except OSError:
        return 0
    most = 0
    for line in lines:
        with suppress(KeyError, TypeError, ValueError):  # which a line that is no JSON raises too
            most = max(most, int(orjson.loads(line)["sessions"]["intended"]))
    return most


def read_leftovers(run_dir: Path) -> Iterator[Leftover]:
    """All sessions of a run without proof of their end."""
    for path in RunDirectory(run_dir).ledgers():
        contents = read_contents(path)
        alive, may_lack = contents.process.alive, contents.may_lack
        for row, token, stage, reason, intended_ns, changed_ns, message_id in contents.open:
            once = stage == Stage.INTENDED and OPEN_UNANSWERED not in reason
            yield Leftover(
                token=token,
                state=stage,
                reason=_reason(stage, reason, contents.process),
                worker=contents.process.worker,
                intended_ns=intended_ns,
                message_id=message_id,
                file=path,
                row=row,
                asked_ns=_asked_ns(stage, reason, changed_ns, contents),
                asked_once=once and not (alive or may_lack),
            )


def _asked_ns(stage: str, reason: str, changed_ns: int, contents: Contents) -> int:
    """A row can be older than the guest's last request. A copied row can also look older than it
    is, because the clock of another machine has stamped it."""
    process = contents.process
    may_lack = contents.may_lack and stage != Stage.LOST
    if not (stage == Stage.INTENDED or OPEN_UNANSWERED in reason or may_lack):
        return 0
    now = wall_ns()
    if process.alive:
        return now
    if stage != Stage.LOST or process.copy:
        changed_ns = max(changed_ns, process.heartbeat_ns) + int(HEARTBEAT_FRESH_S * 1e9)
    return min(changed_ns, now)


def holds_leftovers(path: Path) -> bool:
    """Whether a ledger file lists a session without proof, or may hide one (a quick check)."""
    try:
        with opened(path) as db:
            return db.execute(f"SELECT 1 FROM sessions {NOT_OVER} LIMIT 1").fetchone() is not None
    except LedgerError:
        return True


def settle(leftover: Leftover, evidence: str, stage: Stage = Stage.SETTLED) -> None:
    """Note that a leftover was ended afterwards: its session, or only its conversation.

    Raises LedgerError.
    """
    with opened(leftover.file, writable=True) as db:
        db.execute(
            "UPDATE sessions SET stage = ?, reason = ?, changed_ns = ? WHERE id = ?",
            (stage, evidence, wall_ns(), leftover.row),
        )


def note_asked(leftover: Leftover) -> tuple[str, int]:
    """Note that a configureSession for a leftover is about to be sent. Returns the values that
    :func:`take_back` needs.

    Raises LedgerError.
    """
    with opened(leftover.file, writable=True) as db:
        query = "SELECT reason, changed_ns FROM sessions WHERE id = ?"
        row: tuple[str, int] | None = db.execute(query, (leftover.row,)).fetchone()
        if row is None:
            raise LedgerError(f"the ledger {leftover.file} no longer lists one of its sessions")
        db.execute(NEW_REASON, (with_unanswered(row[0]), wall_ns(), leftover.row))
    return row


def take_back(leftover: Leftover, before: tuple[str, int]) -> None:
    """Undo :func:`note_asked`: all requests sent since then were answered. Raises LedgerError."""
    with opened(leftover.file, writable=True) as db:
        db.execute(NEW_REASON, (*before, leftover.row))


NEW_REASON = "UPDATE sessions SET reason = ?, changed_ns = ? WHERE id = ?"


def _reason(stage: str, reason: str, process: Process) -> str:
    if stage == Stage.LOST:
        return reason or "lost"
    if process.alive:
        return IN_USE  # even if its guest has unanswered requests at this moment
    if reason:
        return reason
    if process.ended:
        return UNFINISHED
    return KILLED if process.here or not process.host else WORKER_LOST
