"""The read side: what the ledger files of a run say about its sessions. Reading changes nothing.

A *leftover* is any session without proof of its end. Every session ever intended stands in exactly
one class of :class:`Account`.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from harness.clock import wall_ns
from harness.errors import LedgerError
from harness.ledger.reader import (
    NOT_OVER,
    Contents,
    Process,
    ledger_files,
    opened,
    read_contents,
    read_process,
)
from harness.ledger.store import Stage

__all__ = [
    "IN_USE",
    "KILLED",
    "WORKER_LOST",
    "Account",
    "Leftover",
    "ledger_files",
    "read_account",
    "read_leftovers",
    "read_process",
    "settle",
]

KILLED = "killed"
"""Reason of a session whose process ended without a word."""
WORKER_LOST = "worker lost"
"""Reason of a session whose process was on another machine and is not heard of any more."""
IN_USE = "in use"
"""Reason of a session whose process is still at work."""
UNFINISHED = "unfinished"
"""Reason of a session whose process came to its end in order, but not this session to its own."""


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

    @property
    def age_s(self) -> float:
        """Seconds since it was intended; never negative, whatever the clock did meanwhile."""
        return max(0, wall_ns() - self.intended_ns) / 1e9


@dataclass(slots=True, kw_only=True)
class Account:
    """Where all intended sessions of a run stand; ``balanced`` must be true."""

    intended: int = 0
    cleared: int = 0
    ended_by_service: int = 0
    never_configured: int = 0
    settled: int = 0
    """proved ended by a sweep"""
    disconnected: int = 0
    """ended by the Platform API: their conversations are over, their sessions lapse"""
    leftover: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    workers: int = 0
    workers_lost: int = 0
    damaged: list[str] = field(default_factory=list)
    """what is wrong with files that may hold more sessions than could be read"""

    @property
    def opened(self) -> int:
        """Sessions that existed or may exist at the service."""
        return self.intended - self.never_configured

    @property
    def balanced(self) -> bool:
        """The accounting identity."""
        ended = self.cleared + self.ended_by_service + self.never_configured
        ended += self.settled + self.disconnected
        return self.intended == ended + self.leftover == ended + sum(self.reasons.values())

    def add(self, contents: Contents) -> None:
        """Count one file in."""
        process = contents.process
        self.workers += 1
        self.workers_lost += not (process.ended or process.alive)
        if contents.damage:
            self.damaged.append(contents.damage)
        for (stage, reason), count in contents.counts.items():
            self.intended += count
            match stage:
                case Stage.CLEARED:
                    self.cleared += count
                case Stage.ENDED:
                    self.ended_by_service += count
                case Stage.NEVER_CONFIGURED:
                    self.never_configured += count
                case Stage.SETTLED:
                    self.settled += count
                case Stage.DISCONNECTED:
                    self.disconnected += count
                case _:
                    self.leftover += count
                    self.reasons[_reason(stage, reason, process)] += count


def read_account(run_dir: Path) -> Account:
    """Count all sessions of a run."""
    account = Account()
    for path in ledger_files(run_dir):
        account.add(read_contents(path))
    return account


def read_leftovers(run_dir: Path) -> Iterator[Leftover]:
    """All sessions of a run without proof of their end."""
    for path in ledger_files(run_dir):
        contents = read_contents(path)
        for row, token, stage, reason, intended_ns, changed_ns, message_id in contents.open:
            yield Leftover(
                token=token,
                state=stage,
                reason=_reason(stage, reason, contents.process),
                worker=contents.process.worker,
                intended_ns=intended_ns,
                changed_ns=changed_ns,
                message_id=message_id,
                file=path,
                row=row,
            )


def holds_leftovers(path: Path) -> bool:
    """Whether a ledger file lists a session without proof, or may hide one: the short answer."""
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


def _reason(stage: str, reason: str, process: Process) -> str:
    if reason:
        return reason
    if stage == Stage.LOST:
        return "lost"
    if process.alive:
        return IN_USE
    if process.ended:
        return UNFINISHED
    return KILLED if process.here or not process.host else WORKER_LOST
