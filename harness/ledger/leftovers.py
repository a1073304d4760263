"""The read side: what the ledger files of a run say about its sessions. Reading changes nothing.

A *leftover* is any session without proof of its end. Every session ever intended stands in exactly
one class of :class:`Account`.
"""

import platform
import sqlite3
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from harness.clock import wall_ns
from harness.errors import LedgerError
from harness.ledger.store import FILE_NAME, OVER, SCHEMA_VERSION, Stage

KILLED = "killed"
"""Reason of a session whose process ended without a word."""
RUNNING = "in use"
"""Reason of a session whose process is still at work."""
HEARTBEAT_FRESH_S = 10.0
"""A process that has not noted its heartbeat for so long is taken for dead."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Leftover:
    """One session without proof of its end. Times are wall-clock nanoseconds."""

    token: str
    state: str
    reason: str
    worker: str
    intended_ns: int
    changed_ns: int
    message_id: str
    file: Path
    row: int

    @property
    def short_token(self) -> str:
        """Enough of the token to tell it from others; the whole is a credential."""
        return self.token[:8] + "…"

    @property
    def holds_conversation(self) -> bool:
        """Whether the guest had spoken, so that an agent may be held."""
        return self.state not in (Stage.INTENDED, Stage.CONFIGURED)


@dataclass(slots=True, kw_only=True)
class Account:
    """Where all intended sessions of a run stand; ``balanced`` must be true."""

    intended: int = 0
    cleared: int = 0
    ended_by_service: int = 0
    never_configured: int = 0
    settled: int = 0
    leftover: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    workers: int = 0
    workers_lost: int = 0

    @property
    def opened(self) -> int:
        """Sessions that existed or may exist at the service."""
        return self.intended - self.never_configured

    @property
    def balanced(self) -> bool:
        """The accounting identity."""
        ended = self.cleared + self.ended_by_service + self.never_configured + self.settled
        return self.intended == ended + self.leftover == ended + sum(self.reasons.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class Process:
    """What a ledger file says about the process that wrote it."""

    run_id: str
    worker: str
    ended: bool
    heartbeat_ns: int
    host: str
    pid: int

    @property
    def alive(self) -> bool:
        """Whether it may still be using its sessions: not ended, heard of lately, and there."""
        if self.ended or wall_ns() - self.heartbeat_ns > HEARTBEAT_FRESH_S * 1e9:
            return False
        return self.host != platform.node() or _exists(self.pid)


def ledger_files(run_dir: Path) -> list[Path]:
    """The ledger files of a run, one per process."""
    return sorted(run_dir.glob(FILE_NAME.format(worker="*")))


def read_process(path: Path) -> Process:
    """Who wrote this ledger. Raises LedgerError when the file can't be read."""
    with opened(path) as db:
        meta = dict(db.execute("SELECT key, value FROM meta"))
    return Process(
        run_id=meta.get("run_id", ""),
        worker=meta.get("worker", path.stem.partition("-")[2]),
        ended=bool(meta.get("ended_ns")),
        heartbeat_ns=int(meta.get("heartbeat_ns") or meta.get("started_ns") or 0),
        host=meta.get("host", ""),
        pid=int(meta.get("pid") or 0),
    )


def read_account(run_dir: Path) -> Account:
    """Count all sessions of a run. Raises LedgerError when a file can't be read."""
    account = Account()
    for path in ledger_files(run_dir):
        process = read_process(path)
        account.workers += 1
        account.workers_lost += not (process.ended or process.alive)
        with opened(path) as db:
            rows = db.execute(
                "SELECT stage, reason, count(*) FROM sessions GROUP BY 1, 2"
            ).fetchall()
        for stage, reason, count in rows:
            account.intended += count
            if stage == Stage.CLEARED:
                account.cleared += count
            elif stage == Stage.ENDED:
                account.ended_by_service += count
            elif stage == Stage.NEVER_CONFIGURED:
                account.never_configured += count
            elif stage == Stage.SETTLED:
                account.settled += count
            else:
                account.leftover += count
                account.reasons[_reason(stage, reason, process)] += count
    return account


def read_leftovers(run_dir: Path) -> Iterator[Leftover]:
    """All sessions of a run without proof of their end. Raises LedgerError."""
    over = ", ".join(f"'{stage}'" for stage in sorted(OVER))
    for path in ledger_files(run_dir):
        process = read_process(path)
        with opened(path) as db:
            rows = db.execute(
                "SELECT id, token, stage, reason, intended_ns, changed_ns, message_id "
                f"FROM sessions WHERE stage NOT IN ({over}) ORDER BY id"
            ).fetchall()
        for row, token, stage, reason, intended_ns, changed_ns, message_id in rows:
            yield Leftover(
                token=token,
                state=stage,
                reason=_reason(stage, reason, process),
                worker=process.worker,
                intended_ns=intended_ns,
                changed_ns=changed_ns,
                message_id=message_id,
                file=path,
                row=row,
            )


def settle(leftover: Leftover, evidence: str) -> None:
    """Note that a leftover was ended afterwards. Raises LedgerError."""
    with opened(leftover.file, writable=True) as db:
        db.execute(
            "UPDATE sessions SET stage = ?, reason = ?, changed_ns = ? WHERE id = ?",
            (Stage.SETTLED, evidence, wall_ns(), leftover.row),
        )


@contextmanager
def opened(path: Path, *, writable: bool = False) -> Iterator[sqlite3.Connection]:
    """A ledger file, checked. Raises LedgerError naming the file and what is wrong with it."""
    mode = "rw" if writable else "ro"
    try:
        with closing(
            sqlite3.connect(
                f"{path.resolve().as_uri()}?mode={mode}", uri=True, isolation_level=None
            )
        ) as db:
            version = db.execute("PRAGMA user_version").fetchone()[0]
            if version != SCHEMA_VERSION:
                raise LedgerError(
                    f"the ledger {path} has schema version {version}, "
                    f"this harness reads version {SCHEMA_VERSION}"
                )
            yield db
    except sqlite3.Error as error:
        raise LedgerError(f"the ledger {path} can't be read: {error}") from error


def _exists(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _reason(stage: str, reason: str, process: Process) -> str:
    if reason:
        return reason
    if stage == Stage.LOST:
        return "lost"
    return RUNNING if process.alive else KILLED
