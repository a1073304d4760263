"""The file of ``harness guest --record``: what went to and fro, one JSON object a line.

Redacted unless asked otherwise: it is made to be passed on. ``harness script from-har``, ``harness
conform`` and ``harness simulate --from`` read it.
"""

import contextlib
import json
import os
import secrets
from pathlib import Path
from typing import Any

from harness.clock import monotonic_ns
from harness.errors import ConfigError
from harness.workload.har.reading import FORM_VERSION, HEAD_KEY, TEXT
from harness.workload.har.redaction import Personal, Redactor, learn


class RecordFile:
    """Takes in the frames of one guest. Times are seconds since it was opened.

    Nothing that becomes of the file reaches the guest: :attr:`failure` says what did.
    """

    def __init__(self, path: Path, *, token: str, redacted: bool) -> None:
        """Raises ConfigError when there is such a file, or it can't be written."""
        self.path = path
        self.frames = 0
        self.failure = ""
        self._started_ns = monotonic_ns()
        self._personal = Personal([token])
        self._redactor = Redactor(self._personal, key=secrets.token_bytes(32))
        self._redacted = redacted
        try:
            number = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError:
            raise ConfigError(f"--record: {path} is there already") from None
        except OSError as error:
            raise ConfigError(f"--record: {path}: {error.strerror}") from None
        self._file = os.fdopen(number, "w", encoding="utf-8")
        head = {HEAD_KEY: "harness guest", "version": FORM_VERSION, "redacted": redacted}
        self._write(head)

    def frame(self, outgoing: bool, data: bytes, at_ns: int) -> None:
        """One frame, as an observer of the guest is told of it."""
        text = data.decode("utf-8", "replace")
        if self._redacted:
            with contextlib.suppress(ValueError, RecursionError):
                learn(self._personal, json.loads(text))
            text = self._redactor.frame(text)
        at_s = max(at_ns - self._started_ns, 0) / 1e9
        kind = "send" if outgoing else "receive"
        self._write({"type": kind, "time": round(at_s, 6), "opcode": TEXT, "data": text})
        self.frames += 1

    def close(self) -> None:
        """Nothing more comes."""
        try:
            self._file.close()
        except OSError as error:
            self.failure = self.failure or str(error.strerror)

    @property
    def sentence(self) -> str:
        """What became of it."""
        if self.failure:
            return f"{self.path} is not whole: {self.failure}"
        what = "redacted" if self._redacted else "with the guest's token and all texts in it"
        told = f"{self.path}: {self.frames:,} frames, {what}"
        return f"{told}; read it before you pass it on" if self._redacted else told

    def _write(self, line: dict[str, Any]) -> None:
        if self.failure:
            return
        try:
            self._file.write(json.dumps(line) + "\n")
            self._file.flush()
        except OSError as error:
            self.failure = str(error.strerror)
