"""The end of a run: a verdict and an exit code, whatever fails on the way there."""

import errno
import io
import json
import os
import signal
import sys
import uuid
from dataclasses import replace
from pathlib import Path
from typing import Any

import gevent
import pytest
from processes import Simulator
from sessions import leave_open, settings_for

from harness import finish
from harness.clock import wall_ns
from harness.finish import finish_run
from harness.guest.connection import Connection
from harness.guest.rest import exchange_sign_in
from harness.ledger.ledger import Stage, Store
from harness.measure.recorder import Recorder
from harness.rundir.layout import target_facts, write_start
from harness.streams import open_console

pytestmark = pytest.mark.process


def test_what_a_dead_worker_left_is_swept_and_the_run_is_void(
    simulator: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tokens = leave_open(simulator, 2)
    target = settings_for(simulator).target
    directory = tmp_path / "run"
    directory.mkdir()
    write_start(directory, target=target.url, objectives=[])
    store = Store(directory / "ledger-w.sqlite", {"worker": "w", "host": "", "pid": "0"})
    store.write([(n, token, Stage.JOINED, 1, 1) for n, token in enumerate(tokens, 1)], [], {})
    store.close()
    assert finish_run(directory, target).exit_code == 6
    record = json.loads((directory / "run.json").read_text())
    assert (record["sessions"]["settled"], record["sessions"]["leftover"]) == (2, 0)
    assert not set(tokens) & simulator.open_tokens()
    assert "1 process of the run died: sweeping 2 sessions" in capsys.readouterr().out


def test_who_will_not_wait_for_a_sweep_has_the_verdict_all_the_same(
    simulator: Any, tmp_path: Path
) -> None:
    target = settings_for(simulator).target
    write_start(tmp_path, target=target.url, objectives=[])
    store = Store(tmp_path / "ledger-w.sqlite", {"worker": "w", "host": "", "pid": "0"})
    now = wall_ns()
    store.write([(1, str(uuid.uuid4()), Stage.INTENDED, now, now)], [], {})
    store.close()
    said: list[str] = []

    def say(text: str) -> None:
        said.append(text)
        if text.startswith("waiting"):
            gevent.spawn_later(0.1, os.kill, os.getpid(), signal.SIGINT)

    assert finish_run(tmp_path, target, say=say).exit_code == 4
    assert said[-1] == "sweeping: stopped by hand"
    record = json.loads((tmp_path / "run.json").read_text())
    assert record["sessions"]["leftover"] == 1


@pytest.mark.parametrize("left", ["there", "gone"])
def test_a_dead_workers_signed_in_guests_are_swept_with_the_runs_own_sign_ins(
    tmp_path: Path, left: str, capsys: pytest.CaptureFixture[str]
) -> None:
    running = Simulator("--limits", "off", "--deployment", "authentication=on")
    try:
        settings = settings_for(running)
        jwts = [exchange_sign_in(settings, f"customer {n}", "https://shop") for n in range(8)]
        file = tmp_path / "jwts.txt"
        file.write_text("\n".join(jwts))
        directory = tmp_path / "run"
        directory.mkdir()
        target = settings.target
        write_start(directory, objectives=[], **target_facts(target, file))
        meta = {"worker": "w", "host": "", "pid": "0", "share": "1/3"}
        store = Store(directory / "ledger-w.sqlite", meta)
        for row, jwt in enumerate((jwts[1], jwts[4], jwts[2], ""), start=1):
            token = str(uuid.uuid4())
            line = Connection(replace(settings, sign_in=jwt), token, Recorder())
            line.connect()
            line.configure()
            line.drop()
            store.write([(row, token, Stage.CONFIGURED, 1, 1)], [], {})
        store.close()
        if left == "gone":
            file.unlink()
        finished = finish_run(directory, target)
        finished.show(open_console())
        output = capsys.readouterr().out
        many = 0 if left == "there" else 3
        assert running.truth()["sessions"]["open"] == many
        assert finished.record["sessions"]["leftover"] == many
        assert ("3 belong to signed-in guests" in output) == bool(many)
        assert ("run's sign-ins can't be had" in output) == bool(many)
        assert not any(jwt in output for jwt in jwts)
    finally:
        running.stop()


def test_files_that_can_not_be_read_are_told_with_what_went_wrong_before(
    simulator: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    directory = tmp_path / "run"
    directory.mkdir()
    (directory / "ledger-w.sqlite").write_text("torn")
    (directory / "start.json").write_text("torn")
    finished = finish_run(directory, settings_for(simulator).target, failures=["the disk is full"])
    assert finished.exit_code == 6
    assert finished.record["reasons"][0] == "the disk is full"
    finished.show(open_console())
    assert "the disk is full" in capsys.readouterr().out


def test_the_exit_code_does_not_depend_on_who_can_be_told(
    simulator: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Full(io.StringIO):
        def write(self, _text: str) -> int:
            raise OSError(errno.ENOSPC, "No space left on device")

    target = settings_for(simulator).target
    directory = tmp_path / "run"
    directory.mkdir()
    write_start(directory, target=target.url, objectives=[])
    Store(directory / "ledger-w.sqlite", {"worker": "w", "ended_ns": "9"}).close()
    monkeypatch.setattr(sys, "stdout", Full())
    monkeypatch.setattr(sys, "stderr", Full())
    finished = finish_run(directory, target)
    finished.show(open_console())
    assert json.loads((directory / "run.json").read_text())["exit_code"] == finished.exit_code == 6
    (directory / "run.json").unlink()
    (directory / "run.json").mkdir()  # so that no record can take its place
    store = Store(directory / "ledger-v.sqlite", {"worker": "v", "ended_ns": "9"})
    store.write([(1, "t", Stage.JOINED, 1, 1)], [], {})
    store.close()
    assert finish_run(directory, target).exit_code == 4  # leftovers weigh more than their record
    (directory / "start.json").write_text("torn")
    finished = finish_run(directory, target, failures=["why"])
    finished.show(open_console())
    assert (finished.exit_code, finished.record["verdict"]) == (4, "INVALID")


@pytest.mark.parametrize(
    "step",
    [
        "harness.judge.record.build_record",
        "harness.judge.record.write_record",
        "harness.finish._make_reports",
        "harness.report.terminal.show_summary",
    ],
)
def test_a_mistake_of_ours_costs_neither_verdict_nor_exit_code_nor_the_hint(
    simulator: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    step: str,
) -> None:
    def mistaken(*_: object, **__: object) -> None:
        raise RuntimeError("a mistake")

    directory = tmp_path / "run"
    directory.mkdir()
    target = settings_for(simulator).target
    write_start(directory, target=target.url, objectives=[])
    store = Store(directory / "ledger-v.sqlite", {"worker": "v", "ended_ns": "9"})
    store.write([(1, "t", Stage.JOINED, 1, 1)], [], {})
    store.close()
    monkeypatch.setattr(step, mistaken)
    finished = finish_run(directory, target)
    finished.show(open_console())
    output = capsys.readouterr().out
    assert finished.exit_code == 4
    assert f"harness sweep {directory}" in output
    assert "verdict" in output
    assert "a mistake" in output


def test_the_simulators_own_count_does_not_go_through_a_proxy(
    simulator: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    assert finish.simulator_truth(simulator.admin, None) is not None
