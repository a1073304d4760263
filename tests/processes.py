"""What tests start as processes of their own: our commands, and the simulator among them."""

import json
import re
import ssl
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import Any

from harness.errors import ExitCode

ROOT = Path(__file__).parent.parent


class StoodStill(Exception):
    """A run is void because the machine stood still: what a test is about was not tried.

    The one reason for which a test is repeated, alone (see ``conftest.py``).
    """


LATE = re.compile(
    "the generator lagged: "
    "|0 were dropped and [0-9]+ late though slots were free: the generator itself, or its master,"
    "|guests could come for only "
)
"""So says a run of seconds on a busy machine: it was late, or had hardly begun when it ended."""


def decided(code: int, output: str) -> int:
    """The exit code of a run. Raises StoodStill where the run says that its generator was late."""
    if code == ExitCode.INVALID and LATE.search(output):
        raise StoodStill(output)
    return code


def harness(*words: str, within_s: float = 170, **options: Any) -> Any:
    """Run a command of ours to its end; its exit code and output."""
    return subprocess.run(
        [sys.executable, "-m", "harness", *words],
        **{"cwd": ROOT, "capture_output": True, "text": True, "timeout": within_s, **options},
        check=False,
    )


def start_simulator(*options: str, **more: Any) -> tuple[Any, dict[str, Any]]:
    """A simulator, and what it says when it is ready. Who starts it ends it."""
    process = subprocess.Popen(
        [sys.executable, "-m", "harness", "simulate", *options],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
        **more,
    )
    assert process.stdout is not None
    return process, json.loads(process.stdout.readline())


class Simulator:
    """A running simulator with a quick bot, and its own view of what happened."""

    def __init__(self, *options: str) -> None:
        self.process, ready = start_simulator("--bot-delay", "5ms", *options)
        self.ca_file: str | None = ready.get("ca_file")
        self.url = f"{ready['url']}?deploymentId={ready['deployment_id']}"
        self.admin = ready["url"].replace("ws", "http", 1).removesuffix("/v1") + "/sim"

    def ask(self, path: str, method: str = "GET", body: Any = None) -> Any:
        """Its answer to a question about itself, or to an order."""
        tls = ssl.create_default_context(cafile=self.ca_file) if self.ca_file else None
        request = urllib.request.Request(
            f"{self.admin}/{path}",
            data=None if body is None else json.dumps(body).encode(),
            method=method,
            headers={"X-Simulator-Admin": "yes"},
        )
        with urllib.request.urlopen(request, timeout=20, context=tls) as answer:
            return json.load(answer)

    def truth(self) -> dict[str, Any]:
        """What really happened."""
        truth: dict[str, Any] = self.ask("truth")
        return truth

    def open_tokens(self) -> set[str]:
        """What is open at the service, by its own account: nothing of ours goes into it."""
        return set(self.truth()["open_tokens"])

    def faults(self, **faults: Any) -> None:
        """Replace the set of faults."""
        self.ask("faults", "PUT", faults)

    def stop(self) -> None:
        """End the process in order."""
        self.process.terminate()
        self.process.communicate(timeout=20)
