"""One ledger file: its schema, how it is made, and how batches of changes reach the disk."""

import os
import sqlite3
from collections.abc import Mapping, Sequence
from enum import StrEnum
from pathlib import Path

from harness.errors import LedgerError

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
    """How far a session is known to have come. It only ever moves on."""

    INTENDED = "intended"
    """about to be opened; nothing that could create it has left yet, or just has"""
    CONFIGURED = "configured"
    """the service answered; no conversation yet"""
    JOINED = "joined"
    """the guest has joined or spoken: a conversation lives and may hold an agent"""
    CLEARING = "clearing"
    """Clear is about to be sent, or was"""
    LOST = "lost"
    """given up without proof of its end; the reason says how"""
    NEVER_CONFIGURED = "never_configured"
    """provably never existed: nothing was sent that could create it, or the service refused"""
    ENDED = "ended"
    """the service itself said that it was over"""
    CLEARED = "cleared"
    """SessionClearedEvent came: the proof"""
    SETTLED = "settled"
    """ended afterwards, by a sweep; the reason says with what evidence"""

    DISCONNECTED = "disconnected"
    """its conversation is over by the Platform API: it holds nobody; the session itself lapses"""


OVER = frozenset(
    {Stage.NEVER_CONFIGURED, Stage.ENDED, Stage.CLEARED, Stage.SETTLED, Stage.DISCONNECTED}
)
"""Stages with nothing left to end. All others are leftovers once the run is over."""

Insert = tuple[int, str, str, int, int]
"""id, token, stage, intended_ns, changed_ns"""
Update = tuple[str, str, str, int, int]
"""stage, reason, message_id, changed_ns, id"""


class Store:
    """The writing side of one file. Used by one thread at a time."""

    def __init__(self, path: Path, meta: Mapping[str, str]) -> None:
        """Make the file (mode 0600). Raises LedgerError when it exists or can't be made."""
        self.path = path
        try:
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
            self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
            # FULL: each commit is on the disk itself when it returns, so that not even a power
            # cut loses an intent. Commits are grouped, so one of these serves many sessions.
            self._db.execute("PRAGMA journal_mode = WAL")
            self._db.execute("PRAGMA synchronous = FULL")
            self._db.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
            self._db.executescript(SCHEMA)
            self.write((), (), {"ended_ns": "", **meta})
        except (OSError, sqlite3.Error) as error:
            raise LedgerError(f"the ledger {path} can't be made: {error}") from error

    def write(
        self, inserts: Sequence[Insert], updates: Sequence[Update], meta: Mapping[str, str]
    ) -> None:
        """One transaction; on return it is on the disk. Raises LedgerError, then nothing is."""
        db = self._db
        try:
            db.execute("BEGIN IMMEDIATE")
            try:
                db.executemany("INSERT INTO sessions VALUES (?, ?, ?, '', ?, ?, '')", inserts)
                db.executemany(
                    "UPDATE sessions SET stage = ?, reason = ?, "
                    "message_id = ifnull(nullif(?, ''), message_id), changed_ns = ? WHERE id = ?",
                    updates,
                )
                db.executemany("INSERT OR REPLACE INTO meta VALUES (?, ?)", meta.items())
                db.execute("COMMIT")
            except BaseException:
                if db.in_transaction:
                    db.execute("ROLLBACK")
                raise
        except sqlite3.Error as error:
            raise LedgerError(f"the ledger {self.path} can't be written: {error}") from error

    def close(self) -> None:
        """Fold the write-ahead log into the file and close it, so that one file is left.

        Raises LedgerError; the log stays beside the file then, and readers find it.
        """
        try:
            self._db.execute("PRAGMA journal_mode = DELETE")
            self._db.close()
        except sqlite3.Error as error:
            raise LedgerError(f"the ledger {self.path} can't be closed: {error}") from error
