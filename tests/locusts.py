"""Runs plain Locust in a process of its own, as a user does."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent

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


def start(file: Path, directory: Path, target: str, *options: str, **env: str) -> Any:
    """Start Locust; its output is piped."""
    return subprocess.Popen(
        [sys.executable, "-m", "locust", "-f", str(file), "--headless", "--only-summary", *options],
        cwd=ROOT,
        env={
            **os.environ,
            "HARNESS_TARGET": target,
            "HARNESS_REPORTS": str(directory / "reports"),
            **env,
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def finish(process: Any, *, within_s: float = 60) -> tuple[int, str]:
    """Exit code and output."""
    output, _ = process.communicate(timeout=within_s)
    return process.returncode, output


def only_run(directory: Path) -> Path:
    """The directory of the one run that was made."""
    (found,) = [path for path in (directory / "reports").iterdir() if not path.is_symlink()]
    return found
