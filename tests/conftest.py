"""Shared fixtures: the simulator as a process of its own, as every user of the harness meets it,
and a real browser where there is one.
"""

import json
import os
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

# Importing Locust patches the whole process, and the tests of the simulator run asyncio in this
# one. What runs under Locust runs in processes of its own, which are patched as usual.
os.environ["LOCUST_SKIP_MONKEY_PATCH"] = "1"
import locust  # noqa: F401

del os.environ["LOCUST_SKIP_MONKEY_PATCH"]
from browser import Browser, find_chromium

# The machine is shared: property tests take the time they take.
settings.register_profile("harness", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("harness")


class Simulator:
    """A running simulator and its own view of what happened."""

    def __init__(self, *options: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "harness", "simulate", "--bot-delay", "5ms", *options],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        ready = json.loads(self.process.stdout.readline())
        self.ca_file: str | None = ready.get("ca_file")
        self.url = f"{ready['url']}?deploymentId={ready['deployment_id']}"
        self.admin = ready["url"].replace("ws", "http", 1).removesuffix("/v1") + "/sim"

    def truth(self) -> dict[str, Any]:
        """What really happened."""
        with urllib.request.urlopen(f"{self.admin}/truth", timeout=10) as answer:
            found: dict[str, Any] = json.load(answer)
        return found

    def faults(self, **faults: float) -> None:
        """Replace the set of faults."""
        request = urllib.request.Request(
            f"{self.admin}/faults", data=json.dumps(faults).encode(), method="PUT"
        )
        urllib.request.urlopen(request, timeout=10).close()

    def stop(self) -> None:
        """End the process in order."""
        self.process.terminate()
        self.process.wait(10)
        assert self.process.stdout is not None
        self.process.stdout.close()


@pytest.fixture(scope="session")
def shared_simulator() -> Iterator[Simulator]:
    """One simulator for all tests of the session; use :func:`simulator`."""
    running = Simulator("--limits", "off")
    yield running
    running.stop()


@pytest.fixture
def simulator(shared_simulator: Simulator) -> Iterator[Simulator]:
    """The shared simulator with no faults. Count differences: others have used it before."""
    shared_simulator.faults()
    yield shared_simulator
    shared_simulator.faults()


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """A headless Chromium; skips where there is none (Debian: apt-get install chromium)."""
    program = find_chromium()
    if program is None:
        pytest.skip("no Chromium found; install one or name it in $CHROMIUM")
    with Browser(program, tmp_path_factory.mktemp("chromium")) as running:
        yield running
