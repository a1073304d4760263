"""The ledger of a running process: the states of its guests' sessions, made durable.

Changes are collected and written in groups by a thread of its own, one commit after the other, so
the event loop never waits for the disk. A greenlet that must know that its change is durable calls
:meth:`Ledger.flush`, which waits for the commit that covers the change.

Guests' tokens are derived: a keyed hash of a secret of the run, a worker's number and a sequence
number. So a token can be computed again: if a ledger file is lost with its disk, the secret alone
gives a list of tokens to try (``harness sweep --derive``). The secret and the list of workers are
in the run directory, readable for the owner only. Workers that share the directory share both. A
worker on another machine makes its own secret beside its own ledger; the master's copy of that
ledger holds it too, as it holds the tokens.
"""

import fcntl
import hashlib
import hmac
import os
import secrets
import sqlite3
import uuid
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import KW_ONLY, dataclass, field
from enum import StrEnum
from pathlib import Path
from types import MappingProxyType
from typing import Literal

import gevent
import orjson
from gevent import monkey
from gevent.event import Event
from gevent.threadpool import ThreadPool

from harness.clock import wall_ns
from harness.errors import LedgerError
from harness.rundir.layout import RunDirectory, sync_folder, write_once

SCHEMA_VERSION = 1
SCHEMA = """
-- Version 1: first.
CREATE TABLE meta (                 -- run_id, worker, pid, host, started_ns, heartbeat_ns, ended_ns
  key   TEXT PRIMARY KEY,
  value TEXT NOT NULL
) WITHOUT ROWID;
CREATE TABLE sessions (
  id          INTEGER PRIMARY KEY,  -- 1, 2, 3 … in the order of intent
  token       TEXT NOT NULL,        -- the guest's credential: never shown whole without being asked
  stage       TEXT NOT NULL,        -- see Stage
  reason      TEXT NOT NULL,        -- why it is there, where that is not obvious; bounded words
  intended_ns INTEGER NOT NULL,     -- wall clock
  changed_ns  INTEGER NOT NULL,     -- wall clock
  message_id  TEXT NOT NULL         -- of its first message; leads to the conversation
);
"""


class Stage(StrEnum):
    """The last known state of a session. A session never goes back to an earlier stage."""

    INTENDED = "intended"
    """about to be opened: the request that can open it is sent next, or was just sent"""
    CONFIGURED = "configured"
    """the service answered; no conversation yet"""
    JOINED = "joined"
    """the guest has joined or spoken: there is a conversation, and it may hold an agent"""
    CLEARING = "clearing"
    """Clear is about to be sent, or was"""
    LOST = "lost"
    """given up without proof of its end; the reason says why"""
    NEVER_CONFIGURED = "never_configured"
    """provably never existed: nothing was sent that could create it, or the service refused"""
    ENDED = "ended"
    """the service itself said that it was over"""
    CLEARED = "cleared"
    """SessionClearedEvent came: the proof"""
    SETTLED = "settled"
    """ended afterwards, by a sweep; the reason names the evidence"""

    DISCONNECTED = "disconnected"
    """the Platform API shows that its conversation has ended, so it holds no agent; the session
    itself expires"""


COUNTED_AS: Mapping[Stage, str] = MappingProxyType(
    {
        Stage.CLEARED: "cleared",
        Stage.ENDED: "ended_by_service",
        Stage.NEVER_CONFIGURED: "never_configured",
        Stage.SETTLED: "settled",
        Stage.DISCONNECTED: "disconnected",
    }
)
"""The class of the account in which a session is counted that came to such a stage."""
OVER = frozenset(COUNTED_AS)
"""Stages of sessions that have ended. All others are leftovers once the run is over."""
SILENT = frozenset({Stage.INTENDED, Stage.CONFIGURED})
"""Stages of sessions that have not spoken yet: they have no conversation."""

OPEN_UNANSWERED = "open_unanswered"
"""Reason suffix: a configureSession sent at or before that time was never answered. The service may
still carry it out, so no proof counts yet. The same holds at :attr:`Stage.INTENDED`."""


def with_unanswered(reason: str) -> str:
    """The reason, with :data:`OPEN_UNANSWERED` added."""
    if OPEN_UNANSWERED in reason:
        return reason
    return f"{reason}, {OPEN_UNANSWERED}" if reason else OPEN_UNANSWERED


Insert = tuple[int, str, str, int, int]
"""id, token, stage, intended_ns, changed_ns"""
Update = tuple[str, str, str, int, int]
"""stage, reason, message_id, changed_ns, id"""


FOLD_TRIES, FOLD_AGAIN_S = 10, 0.1
"""Attempts to fold the log, and the pause between them (seconds): a reader needs the file only for
a moment."""


def _make(path: Path, meta: Mapping[str, str]) -> None:
    """Create the file under a temporary name; it gets its own when it is on the disk."""
    unready = path.with_name(f".{path.name}-{os.getpid()}")
    try:
        os.close(os.open(unready, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        with closing(_connected(unready)) as db:
            db.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
            db.executescript(SCHEMA)
            db.executemany("INSERT INTO meta VALUES (?, ?)", meta.items())
            db.execute("PRAGMA wal_checkpoint(TRUNCATE)")  # close() does not report a full disk
        os.link(unready, path)  # unlike a rename, this replaces nothing
        sync_folder(path.parent)
    finally:
        for left in path.parent.glob(f"{unready.name}*"):
            left.unlink()


def _connected(path: Path) -> sqlite3.Connection:
    db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    # FULL: each commit is on the disk itself when it returns, so that not even a power
    # cut loses an intent. Commits are grouped, so one of these serves many sessions.
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("PRAGMA synchronous = FULL")
    return db


class Store:
    """The writing side of one file. Used by one thread at a time."""

    def __init__(self, path: Path, meta: Mapping[str, str]) -> None:
        """Make the file (mode 0600). Raises LedgerError when it exists or can't be made.

        A process that dies meanwhile leaves no ledger: a file of this name is complete from its
        first moment.
        """
        self.path = path
        try:
            _make(path, {"ended_ns": "", **meta})
            self._db = _connected(path)
        except (OSError, sqlite3.Error) as error:
            raise LedgerError(f"the ledger {path} can't be made: {error}") from error

    def write(
        self,
        inserts: Sequence[Insert],
        updates: Sequence[Update],
        meta: Mapping[str, str],
        *,
        repeated: Literal["ABORT", "IGNORE", "REPLACE"] = "ABORT",
    ) -> None:
        """One transaction; on return it is on the disk. After a LedgerError nothing was written.

        ``repeated``: what happens to an insert whose row exists already (an SQLite conflict
        clause).
        """
        try:
            with self._db as db:  # commits, or rolls back
                db.execute("BEGIN IMMEDIATE")
                db.executemany(
                    f"INSERT OR {repeated} INTO sessions VALUES (?, ?, ?, '', ?, ?, '')", inserts
                )
                db.executemany(
                    "UPDATE sessions SET stage = ?, reason = ?, "
                    "message_id = ifnull(nullif(?, ''), message_id), changed_ns = ? WHERE id = ?",
                    updates,
                )
                db.executemany("INSERT OR REPLACE INTO meta VALUES (?, ?)", meta.items())
        except sqlite3.Error as error:
            raise LedgerError(f"the ledger {self.path} can't be written: {error}") from error

    def close(self) -> None:
        """Fold the write-ahead log into the file and close it, so that one file is left.

        While another process reads the file, the log can't be folded: it then stays beside the
        file, where readers find it. Raises LedgerError.
        """
        try:
            self._fold()
            self._db.close()
        except sqlite3.Error as error:
            raise LedgerError(f"the ledger {self.path} can't be closed: {error}") from error

    def _fold(self) -> None:
        for _ in range(FOLD_TRIES):
            try:
                self._db.execute("PRAGMA journal_mode = DELETE")
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode != sqlite3.SQLITE_BUSY:
                    raise
                monkey.get_original("time", "sleep")(FOLD_AGAIN_S)  # in a thread of its own
            else:
                return


@dataclass(slots=True)
class Entry:
    """One session's row in the ledger, as its guest holds it."""

    id: int
    token: str = field(repr=False)
    stage: Stage = Stage.INTENDED
    reason: str = ""


@dataclass(slots=True)
class Group:
    """Changes that are committed together, and the event that is set when they were, or failed."""

    inserts: list[Insert] = field(default_factory=list)
    updates: list[Update] = field(default_factory=list)
    meta: dict[str, str] = field(default_factory=dict)
    written: Event = field(default_factory=Event)

    def __bool__(self) -> bool:
        return bool(self.inserts or self.updates or self.meta)


def run_in(thread: ThreadPool, work: Callable[..., None], *args: object) -> None:
    """Do a piece of the store's work in its thread. Raises LedgerError.

    The thread returns the error as a value. If it raised it, gevent would print it; on a full disk
    printing to the log fails too, the thread would die, and we would wait for ever.
    """

    def attempt() -> LedgerError | None:
        try:
            work(*args)
        except LedgerError as error:
            return error
        return None

    error = thread.apply(attempt)
    if error is not None:
        raise error


@dataclass(eq=False, repr=False)
class Ledger:
    """Written by :meth:`record_intent`, :meth:`mark` and :meth:`flush`. One for each process, used
    in one event loop."""

    _store: Store
    _: KW_ONLY
    on_failure: Callable[[LedgerError], None] | None = None
    """called with the first error"""
    on_commit: Callable[[Group], None] | None = None
    """called with each group that has reached the disk"""
    tally: Counter[Stage] = field(default_factory=Counter)
    """the number of sessions at each stage; the sum is all that were ever intended"""
    reasons: Counter[str] = field(default_factory=Counter)
    """why the sessions that are lost now were given up"""
    _failure: LedgerError | None = None
    intended: int = 0
    """how many sessions were ever intended; this is also the id of the newest"""
    _collecting: Group = field(default_factory=Group)
    _writing: Group | None = None
    _work: Event = field(default_factory=Event)
    _closed: bool = False

    def __post_init__(self) -> None:
        self._thread = ThreadPool(1)
        self._committer = gevent.spawn(self._commit_groups)

    @property
    def balanced(self) -> bool:
        """The accounting identity: every session ever intended is at exactly one stage."""
        counted = sum(self.tally.values())
        return (
            self.intended == counted
            and min(self.tally.values(), default=0) >= 0
            and sum(self.reasons.values()) == self.tally[Stage.LOST]
        )

    @property
    def open(self) -> int:
        """Sessions that have no proof of their end yet and are not given up."""
        return self.intended - sum(self.tally[stage] for stage in OVER) - self.tally[Stage.LOST]

    def record_intent(self, token: str) -> Entry:
        """Record a session before it is opened. Call :meth:`flush` before sending any request that
        could open it.

        Raises LedgerError if the ledger has failed before.
        """
        self._check()
        self.intended += 1
        entry = Entry(self.intended, token)
        now = wall_ns()
        self._collecting.inserts.append((entry.id, token, entry.stage, now, now))
        self.tally[entry.stage] += 1
        self._work.set()
        return entry

    def mark(self, entry: Entry, stage: Stage, reason: str = "", *, message_id: str = "") -> None:
        """Set a session's stage. A session that has ended stays so."""
        if entry.stage in OVER:
            return
        self.tally[entry.stage] -= 1
        self.tally[stage] += 1
        if entry.stage == Stage.LOST:
            self.reasons[entry.reason] -= 1
        if stage == Stage.LOST:
            self.reasons[reason] += 1
        entry.stage, entry.reason = stage, reason
        self._collecting.updates.append((stage, reason, message_id, wall_ns(), entry.id))
        self._work.set()

    def note(self, key: str, value: str) -> None:
        """Write a value about the process itself, such as its heartbeat."""
        self._collecting.meta[key] = value
        self._work.set()

    def flush(self) -> None:
        """Return when all changes so far are on the disk. Raises LedgerError if they can't be."""
        group = self._collecting if self._collecting else self._writing
        if group is not None:
            group.written.wait()
            gevent.sleep(0)  # the event wakes all who wait in one turn of the loop: as many stalls
        self._check()

    def close(self) -> None:
        """Write the remaining changes, note the proper end, close the file. Raises LedgerError."""
        if self._closed:
            return
        self._closed = True
        self.note("ended_ns", str(wall_ns()))
        try:
            self.flush()
        finally:
            self._committer.kill()
            run_in(self._thread, self._store.close)
            self._thread.kill()

    def _check(self) -> None:
        if self._failure is not None:
            raise LedgerError(str(self._failure))

    def _commit_groups(self) -> None:
        while True:
            self._work.wait()
            self._work.clear()
            group, self._collecting = self._collecting, Group()
            self._writing = group
            try:
                run_in(self._thread, self._store.write, group.inserts, group.updates, group.meta)
                if self.on_commit is not None:
                    self.on_commit(group)
            except LedgerError as error:
                self._fail(error)
            finally:
                self._writing = None
                group.written.set()

    def _fail(self, error: LedgerError) -> None:
        first = self._failure is None
        self._failure = self._failure or error
        if first and self.on_failure is not None:
            self.on_failure(error)


SECRET_BYTES = 32
SECRET = "secret"
"""The key of the secret of the worker's tokens, in ``meta``."""
RESERVED = "reserved"
"""The key of how many tokens the worker may have used, in the ``meta`` of a master's copy."""


def run_secret(directory: Path) -> bytes:
    """The secret of the run, made by the first process that needs it. Raises LedgerError."""
    path = RunDirectory(directory).secret
    try:
        if not path.exists():
            write_once(path, secrets.token_bytes(SECRET_BYTES))  # the first process wins
        secret = path.read_bytes()
    except OSError as error:
        raise LedgerError(
            f"the run's secret {path} can't be used: {error.strerror or error}"
        ) from error
    if len(secret) != SECRET_BYTES:
        raise LedgerError(
            f"the run's secret {path} is damaged: expected {SECRET_BYTES} bytes, not {len(secret)}"
        )
    return secret


def claim_number(directory: Path, name: str) -> int:
    """The next free worker number of the run: 0, 1, 2 … Never given twice. Raises LedgerError."""
    path = RunDirectory(directory).workers
    try:
        handle = os.open(path, os.O_CREAT | os.O_RDWR | os.O_APPEND, 0o600)
        with os.fdopen(handle, "r+b") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            number = len(file.read().splitlines())
            file.write(orjson.dumps({"number": number, "worker": name}) + b"\n")
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise LedgerError(
            f"the list of workers {path} can't be written: {error.strerror or error}"
        ) from error
    return number


def claimed(directory: Path) -> dict[str, int]:
    """The workers of a run and their numbers; empty when there is no list."""
    try:
        lines = RunDirectory(directory).workers.read_bytes().splitlines()
    except OSError:
        return {}
    numbers = {}
    for number, line in enumerate(lines):
        try:
            name = str(orjson.loads(line)["worker"])
        except (orjson.JSONDecodeError, KeyError, TypeError):
            name = f"worker {number}"  # even a damaged line stands for a number that was given
        numbers[name] = number
    return numbers


def derive(secret: bytes, worker: int, sequence: int) -> str:
    """The token of a worker's guest: 122 bits of HMAC-SHA256 in the form of a random UUID."""
    digest = hmac.digest(secret, f"{worker}:{sequence}".encode(), "sha256")
    return str(uuid.UUID(bytes=digest[:16], version=4))


def guest_tag(token: str) -> str:
    """A name for a guest that may be shown: the token can't be derived from it."""
    return hashlib.sha256(token.encode()).hexdigest()[:16]


class Tokens:
    """The tokens of one worker, one after the other."""

    def __init__(self, secret: bytes, worker: int) -> None:
        self.worker = worker
        self.used = 0
        self._secret = secret

    @classmethod
    def of(cls, directory: Path, name: str) -> "Tokens":
        """The tokens of the worker ``name`` of a run, with a number of its own. Raises
        LedgerError."""
        return cls(run_secret(directory), claim_number(directory, name))

    def meta(self) -> dict[str, str]:
        """Values for the ledger, and so for a master's copy of it. From them all tokens can be
        derived again, if the worker is lost with its disk before it has sent its last rows.
        """
        return {"number": str(self.worker), SECRET: self._secret.hex()}

    def next(self) -> str:
        self.used += 1
        return derive(self._secret, self.worker, self.used)
