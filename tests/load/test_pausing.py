"""What the files ask for is passed on to this process's run, or to all workers."""

from pathlib import Path
from typing import Any

from harness.load.pausing import PAUSED, Asked, register_paused
from harness.rundir.layout import RunDirectory


class Run:
    """As much of a run as can be paused."""

    def __init__(self) -> None:
        self.said: list[bool] = []

    def pause(self, on: bool) -> None:
        self.said.append(on)


class Runner:
    """As much of a Locust runner as takes and sends messages."""

    def __init__(self) -> None:
        self.listeners: dict[str, Any] = {}

    def register_message(self, name: str, listener: Any, concurrent: bool = False) -> None:
        assert concurrent
        self.listeners[name] = listener


def test_the_run_of_this_process_is_paused_and_resumed(tmp_path: Path) -> None:
    run = Run()
    asked = Asked(Runner(), lambda: run)  # type: ignore[arg-type,return-value]
    assert not asked.look(tmp_path)
    RunDirectory(tmp_path).pause.touch()
    assert not asked.look(tmp_path)
    RunDirectory(tmp_path).pause.unlink()
    RunDirectory(tmp_path).stop.touch()
    assert asked.look(tmp_path)
    assert run.said == [False, True, False]


def test_a_worker_does_as_its_master_says() -> None:
    runner, run = Runner(), Run()
    register_paused(runner)  # type: ignore[arg-type]
    environment = type("Environment", (), {"harness_run": run})
    message = type("Message", (), {"data": {"paused": True}})
    runner.listeners[PAUSED](environment, message)
    assert run.said == [True]
    runner.listeners[PAUSED](type("Environment", (), {"harness_run": None}), message)
