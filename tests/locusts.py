"""Runs plain Locust in a process of its own, as a user does."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from processes import ROOT as ROOT
from processes import Started, decided

from harness.errors import ExitCode
from harness.supervise.children import free_port

STORY = """
from locust import constant, task
from harness.load import ArrivalShape, GuestUser, objective, steady

class Guest(GuestUser):
    think_time = {think!r}

    @task
    def talk(self):
        with self.guest() as guest:
            for _ in range({messages}):
                guest.say("hello")
                guest.await_reply(within="5s")
                guest.think()
{more}
"""


def locustfile(directory: Path, *, messages: int = 2, think: str = "10ms", more: str = "") -> Path:
    """A small locustfile in ``directory``."""
    path = directory / "guests.py"
    path.write_text(STORY.format(messages=messages, think=think, more=more))
    return path


INSPECT = """
import os, sys
from harness.load.__main__ import main

answers = os.dup(1)
for file in sys.argv[1:]:
    os.dup2(answers, 1)
    main(file)
"""


def inspect_each(files: Sequence[Path]) -> list[dict[str, Any]]:
    """What is in each locustfile: by a child of one process, which has imported Locust once."""
    done = subprocess.run(
        [sys.executable, "-c", INSPECT, *files],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    return [json.loads(line) for line in done.stdout.splitlines()]


def environment_for(directory: Path, target: str, **more: str) -> dict[str, str]:
    """What Locust finds in its environment."""
    return {
        **os.environ,
        "HARNESS_TARGET": target,
        "HARNESS_REPORTS": str(directory / "reports"),
        **more,
    }


def launch(
    file: Path,
    environment: dict[str, str],
    *words: str,
    stdout: Any = subprocess.PIPE,
    folder: Path = ROOT,
    inside: Sequence[str] = (),
) -> Any:
    """Plain Locust as a process group of its own; its output goes where it is wanted, as text.

    ``inside`` is a command that runs it, such as one that gives it a network of its own.
    """
    return Started(
        [*inside, sys.executable, "-m", "locust", "-f", str(file), *words],
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=stdout,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def start(file: Path, directory: Path, target: str, *options: str, **env: str) -> Any:
    """Start Locust; its output is piped. Workers of several runs at once are kept apart."""
    if "--processes" in options:
        port = free_port()
        options = (*options, "--master-bind-host", "127.0.0.1", "--master-bind-port", port)
        options = (*options, "--master-port", port)
    environment = environment_for(directory, target, **env)
    return launch(file, environment, "--headless", "--only-summary", *options)


def finish(process: Any, *, within_s: float = 60) -> tuple[int, str]:
    """Exit code and output."""
    output, _ = process.communicate(timeout=within_s)
    return process.returncode, output


def in_session(directory: Path, at_least: int) -> None:
    """Wait until so many guests are in session, in all processes of the run together."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        occupancy = 0
        for path in (directory / "reports").glob("2*/intervals-*.jsonl"):
            lines = path.read_text().splitlines()
            occupancy += json.loads(lines[-1])["sessions"]["occupancy"] if lines else 0
        if occupancy >= at_least:
            return
        time.sleep(0.1)
    raise AssertionError("the guests never came")


def only_run(directory: Path) -> Path:
    """The directory of the one run that was made."""
    (place,) = [
        path
        for path in (directory / "reports").iterdir()
        if path.is_dir() and not path.is_symlink()
    ]
    return place


def passed(code: int, output: str) -> bool:
    """Whether a run passed. Raises StoodStill."""
    return decided(code, output) == ExitCode.PASS


def undecided(code: int, output: str) -> bool:
    """Whether the run says that all its guests were cut by its end, so that none can be judged.

    Raises StoodStill.
    """
    nothing = "no guest had ended by itself" in output
    return decided(code, output) == ExitCode.NO_DATA and "FAIL" not in output and nothing


def cut_by_hand(code: int, output: str) -> bool:
    """Whether a run ended in order, and says that it was ended by hand before its time."""
    return code == ExitCode.INVALID and any(
        f"{word} by hand" in output for word in ("cut", "ended")
    )


def start_elsewhere(file: Path, folder: Path, target: str, *options: str) -> Any:
    """Plain Locust in a folder of its own: two of them stand for two machines."""
    folder.mkdir(exist_ok=True)
    environment = environment_for(Path(), target, PYTHONPATH=str(ROOT))
    return launch(file, environment, "--headless", *options, folder=folder)
