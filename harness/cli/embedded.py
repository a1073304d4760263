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

from harness.errors import ConfigError

START_WITHIN_S = 20


class EmbeddedSimulator:
    """Started by :meth:`start`; ``url`` is the target, with its deployment id."""

    def __init__(self, process: "subprocess.Popen[str]", ready: dict[str, Any]) -> None:
        self._process = process
        self.url = f"{ready['url']}?deploymentId={ready['deployment_id']}"
        self.ca_file: str | None = ready.get("ca_file")
        self.pid: int = ready["pid"]
        scheme = "https" if ready["url"].startswith("wss") else "http"
        self._admin = f"{scheme}{ready['url'].removeprefix('wss').removeprefix('ws')}"
        self._admin = self._admin.removesuffix("/v1") + "/sim"
        self._tls = ssl.create_default_context(cafile=self.ca_file) if self.ca_file else None

    @classmethod
    def start(cls, *options: str) -> "EmbeddedSimulator":
        """Start it and wait until it listens. Raises ConfigError with the simulator's reason."""
        process = subprocess.Popen(
            [sys.executable, "-m", "harness", "simulate", *options],
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
        return cls(process, json.loads(line))

    def truth(self) -> dict[str, Any] | None:
        """What really happened; None when the simulator can't be asked any more."""
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
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(10)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        for pipe in (self._process.stdout, self._process.stderr):
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
