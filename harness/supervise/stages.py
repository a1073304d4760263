"""Locust as a process: its port, Ctrl-C in three stages, and what outlives its main process."""

import contextlib
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import psutil

from harness.ledger.runs import sweep_command
from harness.processes import IN_ORDER, heeded


def free_port() -> str:
    """A TCP port of the loopback interface that nobody has now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return str(probe.getsockname()[1])


def end_group(group: int, *, within_s: float, say: Callable[[str], None]) -> bool:
    """See that no process of Locust's is left: workers that outlive their master clear and go.

    Whether there were any.
    """
    if not _group_lives(group):
        return False
    say("Locust's main process is gone: its workers clear what they have open")
    deadline = time.monotonic() + within_s
    with contextlib.suppress(ProcessLookupError):
        os.killpg(group, signal.SIGTERM)
        while _group_lives(group) and time.monotonic() < deadline:
            time.sleep(0.1)
        os.killpg(group, signal.SIGKILL)
    return True


def _group_lives(group: int) -> bool:
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, ProcessLookupError):
            if os.getpgid(process.pid) == group and process.status() != psutil.STATUS_ZOMBIE:
                return True
    return False


STAGES = ("finish", "clear at once", "leave")


class Stages:
    """Ctrl-C, SIGTERM or a terminal that has gone, in three stages: finish, clear at once, leave.

    Entered before Locust is started, so that no signal can end us and leave it behind; what came
    too early is handed on by :meth:`begin`.
    """

    def __init__(self, run_dir: Path, say: Callable[[str], None]) -> None:
        self._locust: subprocess.Popen[bytes] | None = None
        self._run_dir = run_dir
        self._say = say
        self._before: dict[int, Any] = {}
        self._first = signal.SIGTERM
        self.asked = 0

    def __enter__(self) -> "Stages":
        for number in heeded():
            self._before[number] = signal.signal(number, self._on_signal)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def begin(self, locust: "subprocess.Popen[bytes]") -> None:
        """Locust has been started: from now on it is told."""
        self._locust = locust
        for stage in range(1, self.asked + 1):
            self._tell(locust, stage)

    def end(self) -> None:
        """End the run in order, unless that is being done."""
        if not self.asked:
            self._ask(signal.SIGTERM)

    def _on_signal(self, number: int, _: FrameType | None) -> None:
        if number == signal.SIGHUP and self.asked:
            return  # a terminal that goes away may say so twice: nobody has asked once more
        self._ask(number)

    def _ask(self, number: int) -> None:
        if not self.asked:
            # By hand, conversations have all their time; who sends SIGTERM kills before long.
            self._first = IN_ORDER if number == signal.SIGINT else signal.SIGTERM
        self.asked += 1
        if self._locust is not None:
            self._tell(self._locust, self.asked)

    def _tell(self, locust: "subprocess.Popen[bytes]", stage: int) -> None:
        """Act first, speak second."""
        if stage == 1:
            locust.send_signal(self._first)
            self._say("stopping: no new guests, conversations may finish (again to clear at once)")
        elif stage == 2:
            locust.send_signal(signal.SIGUSR1)
            self._say("clearing at once (a third time leaves sessions behind)")
        else:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(locust.pid, signal.SIGKILL)
            self._say(f"left. End what remains with: {sweep_command(self._run_dir)}")
