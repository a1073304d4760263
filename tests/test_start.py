"""What a start need not pay for is not imported by it: names are held here, not times."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from processes import ROOT

pytestmark = pytest.mark.process

LATER = {
    "harness.studies", "harness.reconcile", "harness.report", "harness.platform_api",
    "harness.preflight.trial", "harness.preflight.checks", "harness.preflight.probes",
    "scipy", "pydantic", "prometheus_client", "bokeh", "aiohttp",
}  # fmt: skip
"""For the end of a run, for commands of their own, or for those who ask for it."""
NOT_TO_SUPERVISE = {
    "gevent", "locust", "numpy", "sqlite3", "urllib3", "requests", "websockets", "yaml", "psutil",
    "harness.finish", "harness.guest", "harness.judge", "harness.ledger", "harness.load",
    "harness.preflight", "harness.protocol", "harness.simulator", "harness.transport",
    "harness.workload",
}  # fmt: skip
"""Of the process that starts Locust and looks after it: the simulator is a process of its own."""
NOT_TO_SIMULATE = {"cryptography", "trustme", "numpy", "scipy", "pydantic", "rich", "gevent"}
"""A simulator without TLS is as light as its web server."""
NOT_TO_END = {"scipy", "rich.progress"}
"""The end of a run of a few guests: there is no interval to take, and nothing to be swept."""


def imported(names: set[str], program: str) -> set[str]:
    """Those of ``names`` that a program in Python of its own has imported."""
    code = f"{program}\nimport sys\nprint(*({names!r} & sys.modules.keys()))"
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT, capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    return set(done.stdout.split())


def test_who_supervises_a_run() -> None:
    program = (
        "import harness.cli.main as cli\ncli.command_of('run')\n"
        "import harness.preflight.disk"  # asked for before every run
    )
    names = LATER | NOT_TO_SUPERVISE - {"harness.preflight"}
    assert imported(names, program) == set()


@pytest.mark.parametrize("command", ["leftovers", "runs", "stop", "pause", "target", "new"])
def test_commands_that_look_at_runs(command: str) -> None:
    heavy = {"numpy", "jinja2", "locust", "websockets"} | LATER - {"harness.reconcile"}
    program = f"import harness.cli.main as cli\ncli.command_of({command!r})\n"
    assert imported(heavy, program) == set()


def test_who_simulates() -> None:
    program = "import harness.cli.main as cli\ncli.command_of('simulate')\n"
    modules = imported(NOT_TO_SIMULATE | LATER, f"{program}import harness.simulator.server")
    assert modules == {"aiohttp"}


STORY = """
import atexit, sys
from locust import task
from harness.load import GuestUser

class Guest(GuestUser):
    @task
    def talk(self):
        with self.guest() as guest:
            guest.say("hello")
            with open({seen!r}, "w") as seen:
                print(*sys.modules, file=seen)

@atexit.register
def _():
    with open({ended!r}, "w") as seen:
        print(*sys.modules, file=seen)
"""


def test_who_plays_guests(simulator: Any, tmp_path: Path) -> None:
    seen, ended, file = tmp_path / "seen", tmp_path / "ended", tmp_path / "guests.py"
    file.write_text(STORY.format(seen=str(seen), ended=str(ended)))
    words = ("run", str(file), "-u", "1", "-t", "3s", "--target", simulator.url)
    subprocess.run(
        [sys.executable, "-m", "harness", *words, "--reports", str(tmp_path / "reports")],
        cwd=ROOT, capture_output=True, timeout=90, check=False,
    )  # fmt: skip
    assert set(seen.read_text().split()) & LATER == set()
    assert "harness.report.outputs" in ended.read_text().split()
    assert set(ended.read_text().split()) & NOT_TO_END == set()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux lists a process's threads")
def test_a_command_leaves_the_other_cores_alone() -> None:
    program = (
        "import os, sys\nfrom harness.cli.main import main\nsys.argv = ['harness', '--version']\n"
        "main()\nimport numpy\nprint(len(os.listdir('/proc/self/task')))"
    )
    environment = {name: text for name, text in os.environ.items() if "THREADS" not in name}
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    assert done.stdout.splitlines()[-1] == "1"
