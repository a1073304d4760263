"""The simulator as a process of its own beside a run."""

import os
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Any

import orjson

from harness.config.run_config import child_environment
from harness.errors import ConfigError
from harness.processes import Lifeline, deferred_stops

START_WITHIN_S = 20.0


class EmbeddedSimulator:
    """Begun by :meth:`start`, ended by :meth:`stop`, whatever comes between.

    Whoever has it can stop it, also where it was interrupted in the middle of its start. Should we
    die before it, it ends by itself, but not before the last guest has left it.
    """

    def __init__(self, *options: str, log: Path | None = None, outlives_us: bool = False) -> None:
        """What it prints goes to ``log``; ``outlives_us``: only :meth:`stop` ends it."""
        self._options = options
        self._process: subprocess.Popen[bytes] | None = None
        self._log_path = log
        self._held = ExitStack()
        self._outlives_us = outlives_us
        self.admin = ""
        """where it can be asked for its truth"""
        self.url = ""
        """the target, with its deployment id"""
        self.ca_file: str | None = None
        self.pid = 0

    def start(self, *, within_s: float = START_WITHIN_S) -> str:
        """Start it, wait until it listens; its url.

        Raises ConfigError with the simulator's reason.
        """
        lifeline = None if self._outlives_us else self._held.enter_context(Lifeline())
        with deferred_stops(), self._open_log() as log:
            self._process = process = subprocess.Popen(
                [sys.executable, "-m", "harness", "simulate", *self._options],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=child_environment({} if lifeline is None else lifeline.environment),
                pass_fds=() if lifeline is None else lifeline.fds,
                start_new_session=True,  # Ctrl-C is for us; the simulator goes last
            )
            log = self._held.enter_context(os.fdopen(os.dup(log.fileno()), "rb"))
        if lifeline is not None:
            lifeline.started()
        try:
            ready = self._await_ready(process, log, time.monotonic() + within_s)
        except BaseException:
            self.stop()
            raise
        self.ca_file, self.pid = ready.get("ca_file"), ready["pid"]
        self.url = f"{ready['url']}?deploymentId={ready['deployment_id']}"
        scheme = "https" if ready["url"].startswith("wss") else "http"
        admin = f"{scheme}{ready['url'].removeprefix('wss').removeprefix('ws')}"
        self.admin = admin.removesuffix("/v1") + "/sim"
        return self.url

    def stop(self) -> None:
        """End it in order; safe to call twice."""
        process = self._process
        if process is not None and process.poll() is None:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self._held.close()

    def _open_log(self) -> IO[bytes]:
        if self._log_path is None:
            return tempfile.TemporaryFile()
        try:
            return self._log_path.open("w+b")
        except OSError as error:
            raise ConfigError(f"{self._log_path} can't be written: {error.strerror}") from error

    def _await_ready(
        self, process: "subprocess.Popen[bytes]", log: IO[bytes], deadline: float
    ) -> dict[str, Any]:
        while True:
            ended = process.poll() is not None
            told = os.pread(log.fileno(), 65_536, 0).decode(errors="replace")
            for line in told.splitlines(keepends=True):
                if line.startswith("{") and line.endswith("\n"):
                    found: dict[str, Any] = orjson.loads(line)
                    return found
            if ended:
                why = told.strip().removeprefix("error: ")
                raise ConfigError(f"the simulator did not start: {why or 'it gave no reason'}")
            if time.monotonic() > deadline:
                raise ConfigError(
                    "the simulator did not start in time"
                    + (f": {told.strip()}" if told.strip() else "")
                )
            time.sleep(0.02)
