"""Shared fixtures: the simulator as a process of its own, as every user of the harness meets it,
and a real browser where there is one.
"""

import contextlib
import fcntl
import json
import os
import signal
import ssl
import subprocess
import sys
import urllib.request
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

# Importing Locust patches the whole process, and the tests of the simulator run asyncio in this
# one. What runs under Locust runs in processes of its own, which are patched as usual.
os.environ["LOCUST_SKIP_MONKEY_PATCH"] = "1"
import locust  # noqa: F401

del os.environ["LOCUST_SKIP_MONKEY_PATCH"]
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # As in a shell's background. What is ignored is inherited, and the tests send it.
    signal.signal(signal.SIGINT, signal.default_int_handler)
from browser import Browser, find_chromium

# The machine is shared: property tests take the time they take.
settings.register_profile("harness", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("harness")


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Tests marked ``alone`` wait for those of the other processes to end, and they for them."""
    if "PYTEST_XDIST_WORKER" not in os.environ:  # one process: one test at a time
        return (yield)
    cache = item.config.cache
    assert cache is not None
    with _turn(cache.mkdir("turns"), alone=item.get_closest_marker("alone") is not None):
        return (yield)


@contextlib.contextmanager
def _turn(directory: Path, *, alone: bool) -> Iterator[None]:
    with (directory / "door").open("w") as door, (directory / "room").open("w") as room:
        # Who wants the room alone keeps the door shut meanwhile, or it would wait for ever.
        fcntl.flock(door, fcntl.LOCK_EX)
        fcntl.flock(room, fcntl.LOCK_EX if alone else fcntl.LOCK_SH)
        fcntl.flock(door, fcntl.LOCK_UN)
        yield


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
        tls = ssl.create_default_context(cafile=self.ca_file) if self.ca_file else None
        with urllib.request.urlopen(f"{self.admin}/truth", timeout=10, context=tls) as answer:
            found: dict[str, Any] = json.load(answer)
        return found

    def faults(self, **faults: Any) -> None:
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
