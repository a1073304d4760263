"""Pause, go on and stop, asked by files in the run's directory (``harness pause`` and ``stop``).

Whoever leads the run looks once a second and passes it on, so that it reaches workers on other
machines too.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from locust.runners import MasterRunner, WorkerRunner

from harness.load.run import Run
from harness.rundir.layout import RunDirectory

PAUSED = "harness_paused"


class Asked:
    """What the files ask for; ``run`` gives this process's own run, if it has one."""

    def __init__(self, runner: Any, run: Callable[[], Run | None]) -> None:
        self._runner = runner
        self._run = run
        self._paused = False

    def look(self, directory: Path) -> bool:
        """Pass on whether the run is paused; whether it is asked to stop."""
        paused = RunDirectory(directory).pause.exists()
        if isinstance(self._runner, MasterRunner):
            # Again and again while it lasts: a worker may come in meanwhile.
            if paused or self._paused:
                self._runner.send_message(PAUSED, {"paused": paused})
        elif (run := self._run()) is not None:
            run.pause(paused)
        self._paused = paused
        return RunDirectory(directory).stop.exists()


def register_paused(runner: WorkerRunner) -> None:
    """The worker's side."""

    # Locust calls concurrent listeners by position: environment first, then the message.
    def on_paused(environment: Any, msg: Any) -> None:
        run: Run | None = getattr(environment, "harness_run", None)
        if run is not None:
            run.pause(bool(msg.data["paused"]))

    runner.register_message(PAUSED, on_paused, concurrent=True)
