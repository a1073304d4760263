"""The simulator as a process of its own beside a run, and its own view of what happened."""

import json
import signal
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.request
from typing import Any

from harness.cli.deferral import deferred_stops
from harness.errors import ConfigError

START_WITHIN_S = 20


class EmbeddedSimulator:
    """Begun by :meth:`start`, ended by :meth:`stop`, whatever comes between.

    Whoever has it can stop it, also where it was interrupted in the middle of its start.
    """

    def __init__(self, *options: str) -> None:
        self._options = options
        self._process: subprocess.Popen[str] | None = None
        self._admin = ""
        self._tls: ssl.SSLContext | None = None
        self.url = ""
        """the target, with its deployment id"""
        self.ca_file: str | None = None
        self.pid = 0

    def start(self) -> str:
        """Start it, wait until it listens; its url.

        Raises ConfigError with the simulator's reason.
        """
        with deferred_stops():
            self._process = process = subprocess.Popen(
                [sys.executable, "-m", "harness", "simulate", *self._options],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                start_new_session=True,  # Ctrl-C is for us; the simulator goes last
            )
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line:
            _, told = process.communicate(timeout=START_WITHIN_S)
            why = told.strip().removeprefix("error: ")
            raise ConfigError(f"the simulator did not start: {why or 'it gave no reason'}")
        ready = json.loads(line)
        self.ca_file, self.pid = ready.get("ca_file"), ready["pid"]
        self.url = f"{ready['url']}?deploymentId={ready['deployment_id']}"
        scheme = "https" if ready["url"].startswith("wss") else "http"
        self._admin = f"{scheme}{ready['url'].removeprefix('wss').removeprefix('ws')}"
        self._admin = self._admin.removesuffix("/v1") + "/sim"
        self._tls = ssl.create_default_context(cafile=self.ca_file) if self.ca_file else None
        return self.url

    def truth(self) -> dict[str, Any] | None:
        """What really happened; None when the simulator can't be asked any more."""
        if not self._admin:
            return None
        try:
            with urllib.request.urlopen(
                f"{self._admin}/truth", timeout=10, context=self._tls
            ) as answer:
                found: dict[str, Any] = json.load(answer)
        except (OSError, urllib.error.URLError, ValueError):
            return None
        return found

    def stop(self) -> None:
        """End it in order; safe to call twice."""
        process = self._process
        if process is None:
            return
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        for pipe in (process.stdout, process.stderr):
            if pipe is not None:
                pipe.close()

    def settle_down(self, *, within_s: float = 2.0) -> dict[str, Any] | None:
        """The truth once nobody is connected any more (ends follow Clear with a delay)."""
        deadline = time.monotonic() + within_s
        while True:
            truth = self.truth()
            if truth is None or not truth.get("connections") or time.monotonic() > deadline:
                return truth
            time.sleep(0.1)
