"""Guests' tokens, derived: keyed hash of a secret of the run, a worker's number and a sequence.

A token so made can be made again. Should a ledger file be lost with its disk, the secret alone
leaves a list of tokens to try (``harness sweep --derive``). The secret and the list of workers lie
in the run directory, for the owner only. Workers that share the directory share both. A worker on
another machine makes its own beside its own ledger; the master's copy of that ledger holds it too,
as it holds the tokens.
"""

import fcntl
import hashlib
import hmac
import os
import secrets
import uuid
from itertools import count
from pathlib import Path

import orjson

from harness.errors import LedgerError
from harness.rundir.layout import RunDirectory, write_once

SECRET_BYTES = 32
SECRET = "secret"
"""Under this name a ledger holds the secret of its worker's tokens."""


def run_secret(directory: Path) -> bytes:
    """The secret of the run, made by the first who asks. Raises LedgerError."""
    path = RunDirectory(directory).secret
    try:
        if not path.exists():
            write_once(path, secrets.token_bytes(SECRET_BYTES))  # whoever was first counts
        found = path.read_bytes()
    except OSError as error:
        raise LedgerError(
            f"the run's secret {path} can't be used: {error.strerror or error}"
        ) from error
    if len(found) != SECRET_BYTES:
        raise LedgerError(
            f"the run's secret {path} is damaged: expected {SECRET_BYTES} bytes, not {len(found)}"
        )
    return found


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
    found = {}
    for number, line in enumerate(lines):
        try:
            name = str(orjson.loads(line)["worker"])
        except (orjson.JSONDecodeError, KeyError, TypeError):
            name = f"worker {number}"  # a damaged line still is a number that was given
        found[name] = number
    return found


def derive(secret: bytes, worker: int, sequence: int) -> str:
    """The token of a worker's guest: 122 bits of HMAC-SHA256 in the form of a random UUID."""
    digest = hmac.digest(secret, f"{worker}:{sequence}".encode(), "sha256")
    return str(uuid.UUID(bytes=digest[:16], version=4))


def guest_tag(token: str) -> str:
    """A name for a guest that may be shown: it leads to the token only for who knows the token."""
    return hashlib.sha256(token.encode()).hexdigest()[:16]


class Tokens:
    """The tokens of one worker, one after the other."""

    def __init__(self, secret: bytes, worker: int) -> None:
        self.worker = worker
        self._secret = secret
        self._sequence = count(1)

    @classmethod
    def of(cls, directory: Path, name: str) -> "Tokens":
        """Those of the worker ``name`` of a run, under a number of its own. Raises LedgerError."""
        return cls(run_secret(directory), claim_number(directory, name))

    def meta(self) -> dict[str, str]:
        """For the ledger, and so for a master's copy of it: from it all tokens can be made again,
        should the worker be lost with its disk before it could tell of the last ones.
        """
        return {"number": str(self.worker), SECRET: self._secret.hex()}

    def next(self) -> str:
        """A fresh token."""
        return derive(self._secret, self.worker, next(self._sequence))
