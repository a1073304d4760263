"""What tests start as processes of their own: our commands, and the simulator among them."""

import json
import re
import ssl
import subprocess
import sys
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Self

import psutil

from harness.errors import ExitCode

ROOT = Path(__file__).parent.parent


class StoodStill(Exception):
    """A run is void because the machine stood still: what a test is about was not tried.

    The one reason for which a test is repeated, alone; also where only its run's record gives it
    (see ``conftest.py``).
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


def command(*words: str, inside: Sequence[str] = ()) -> list[str]:
    """A command of ours; ``inside`` is one that runs it, such as one that gives it a network."""
    return [*inside, sys.executable, "-m", "harness", *words]


def harness(
    *words: str, within_s: float = 170, inside: Sequence[str] = (), **options: Any
) -> "subprocess.CompletedProcess[str]":
    """Run a command of ours to its end; its exit code and output."""
    return subprocess.run(
        command(*words, inside=inside),
        **{"cwd": ROOT, "capture_output": True, "text": True, "timeout": within_s, **options},
        check=False,
    )


class Started(subprocess.Popen[Any]):
    """A process that ends with its ``with`` block, or else with the test that started it."""

    begun: ClassVar[list["Started"]] = []
    """those of the present test (see ``conftest.py``)"""

    def __init__(self, *words: Any, **options: Any) -> None:
        super().__init__(*words, **options)
        self.begun.append(self)

    def __exit__(self, *what: Any) -> None:
        try:
            self.end()
        finally:
            super().__exit__(*what)

    def end(self) -> None:
        """End it in order. Raises TimeoutExpired where that takes it more than twenty seconds."""
        if self.poll() is None:
            self.terminate()
        try:
            self.communicate(timeout=20)
        except subprocess.TimeoutExpired:
            if self.poll() is None:
                for one in (*psutil.Process(self.pid).children(recursive=True), self):
                    one.kill()
            raise


def start_harness(*words: str, inside: Sequence[str] = (), **options: Any) -> Started:
    """A command of ours that goes on; all that it says is piped, as text. Who starts it ends it."""
    return Started(
        command(*words, inside=inside),
        **{
            "cwd": ROOT,
            "stdout": subprocess.PIPE,
            "stderr": subprocess.STDOUT,
            "text": True,
            **options,
        },
    )


def start_simulator(*words: str, **options: Any) -> tuple[Started, dict[str, Any]]:
    """A simulator, and what it says when it is ready. Who starts it ends it."""
    process = start_harness("simulate", *words, **{"stderr": None, **options})
    assert process.stdout is not None
    return process, json.loads(process.stdout.readline())


class Simulator:
    """A running simulator with a quick bot, and its own view of what happened.

    ``options`` are those of the process; who starts it ends it, by ``with`` or ``stop``.
    """

    def __init__(self, *words: str, **options: Any) -> None:
        self.process, ready = start_simulator("--bot-delay", "5ms", *words, **options)
        self.deployment_id: str = ready["deployment_id"]
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
        self.process.end()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
