"""The roles of a process: the same four methods, and duties that don't take each other along."""

import inspect
import re
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gevent
import pytest
from locust.event import EventHook

import harness.load
from harness.errors import ExitCode
from harness.load.node.master import MasterNode
from harness.load.node.role import Early, LocalNode, Node
from harness.load.node.worker import PAUSED, WorkerNode
from harness.rundir.layout import RunDirectory


class Run:
    """As much of a run as can be paused."""

    def __init__(self) -> None:
        self.told: list[bool] = []

    def pause(self, on: bool) -> None:
        self.told.append(on)


class Runner:
    """As much of a Locust runner as takes messages and ends."""

    def __init__(self) -> None:
        self.listeners: dict[str, Any] = {}
        self.quits = 0
        self.last_heartbeat_timestamp: float | None = None
        self.stats = SimpleNamespace(total=None, entries={}, history=[])

    def register_message(self, name: str, listener: Any, concurrent: bool = False) -> None:
        # The one that brings the master's time is stamped at once.
        assert concurrent or name == "harness_answer"
        self.listeners[name] = listener

    def send_message(self, name: str, data: Any) -> None:
        pass

    def quit(self) -> None:
        self.quits += 1


def environment(run: Run | None = None) -> Any:
    """As much of Locust's environment as a node looks at."""
    options = SimpleNamespace(processes=None)
    events = SimpleNamespace(report_to_master=EventHook(), quit=EventHook())
    return SimpleNamespace(
        harness_run=run,
        web_ui=None,
        parsed_options=options,
        events=events,
        process_exit_code=None,
    )


def test_all_roles_have_the_same_four_methods() -> None:
    for name in ("start", "watch", "drain", "finish"):
        forms = {
            str(inspect.signature(getattr(role, name)))
            for role in (Node, LocalNode, MasterNode, WorkerNode)
        }
        assert forms == {"(self) -> None"}, name


def test_nobody_else_asks_what_a_runner_is() -> None:
    root = Path(harness.load.__path__[0])
    asks = re.compile(r"isinstance\([^)]*Runner|type\([^)]*runner\)|runner\.__class__")
    found = [
        str(path.relative_to(root))
        for path in root.rglob("*.py")
        if asks.search(path.read_text()) and path.parent.name != "node"
    ]
    assert found == []


def test_a_duty_that_fails_takes_no_other_along(caplog: pytest.LogCaptureFixture) -> None:
    runner, done = Runner(), []
    node = LocalNode(environment(), runner)

    def broken() -> Early | None:
        raise OSError(28, "No space left on device")

    def stop_now() -> Early | None:
        return Early(reasons=["enough"], noted={"why": 1}, void=True) if len(done) == 3 else None

    def third() -> None:
        done.append(1)

    node._duties = [("one", broken), ("two", third), ("three", stop_now), ("four", third)]
    node.watch()
    assert len(done) == 2
    node.watch()  # the third stops the run: the fourth has nothing to do any more
    assert len(done) == 3
    gevent.sleep(0)
    node.watch()
    assert (len(done), runner.quits, node.failures) == (3, 1, ["enough"])
    assert node.notes == {"why": 1}
    told = caplog.text
    assert told.count("one failed") == 1
    assert "stopping early: enough" in told


def test_the_run_of_this_process_is_paused_and_resumed_and_stopped(tmp_path: Path) -> None:
    run, runner = Run(), Runner()
    node = LocalNode(environment(run), runner)
    node._duties = [duty for duty in node._duties_of(tmp_path) if duty[0] == "pause and stop"]
    files = RunDirectory(tmp_path)
    node.watch()
    files.pause.touch()
    node.watch()
    files.pause.unlink()
    node.watch()
    assert run.told == [True, False]
    files.stop.touch()
    node.watch()
    gevent.sleep(0)
    assert runner.quits == 1


def test_a_worker_pauses_as_its_master_says() -> None:
    run, runner = Run(), Runner()
    where = environment(run)
    WorkerNode(where, runner)  # type: ignore[arg-type]
    message = SimpleNamespace(data={"paused": True})
    runner.listeners[PAUSED](where, message)
    assert run.told == [True]
    where.harness_run = None
    runner.listeners[PAUSED](where, message)
    assert run.told == [True]


@pytest.mark.parametrize(
    ("silent_s", "behind", "failures", "left", "code"),
    [
        (0.0, False, [], 0, ExitCode.PASS),
        (0.0, False, [], 2, ExitCode.PASS),
        (60.0, False, [], 0, ExitCode.INVALID),
        (60.0, False, [], 2, ExitCode.LEFTOVERS),
        (0.0, True, [], 0, ExitCode.INVALID),
        (0.0, False, ["the disk is full"], 0, ExitCode.INVALID),
        (0.0, False, ["the disk is full"], 1, ExitCode.LEFTOVERS),
    ],
)
def test_a_worker_says_whether_it_has_done_its_part(
    silent_s: float,
    behind: bool,
    failures: list[str],
    left: int,
    code: ExitCode,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    runner = Runner()
    runner.last_heartbeat_timestamp = time.time() - silent_s
    run = SimpleNamespace(
        ledger=SimpleNamespace(open=left, intended=3),
        finish=lambda: None,
        shipper=SimpleNamespace(flush=lambda **_: not behind),
        failures=failures,
        directory=tmp_path / "run",
        name="w",
    )
    where = environment(run)  # type: ignore[arg-type]
    WorkerNode(where, runner).finish()  # type: ignore[arg-type]
    assert where.process_exit_code == code
    where.events.quit.fire(exit_code=code)
    said = capsys.readouterr().err
    assert ("has not done its part" in said) == bool(code)
    assert all(why in said for why in failures)
    assert ("the master did not hear of the end" in said) == bool(silent_s or behind)
    assert ("harness sweep" in said) == (code is ExitCode.LEFTOVERS)


def test_a_worker_takes_what_its_master_says_however_locust_hands_it_over() -> None:
    runner = Runner()
    WorkerNode(environment(), runner)  # type: ignore[arg-type]
    for name, listener in runner.listeners.items():
        form = inspect.signature(listener)
        form.bind("environment", "message")
        assert form.bind(environment=1, msg=2).arguments == {"environment": 1, "msg": 2}, name
