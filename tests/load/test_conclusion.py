"""A run that nobody supervises ends with its record; what dead processes left is swept first."""

import errno
import io
import json
import sys
from pathlib import Path
from typing import Any

import pytest
from sessions import leave_open, settings_for

from harness.ledger.store import Stage, Store
from harness.load.conclusion import conclude
from harness.report.opening import write_start

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
    assert conclude(directory, target, []) == 6
    record = json.loads((directory / "run.json").read_text())
    assert (record["sessions"]["settled"], record["sessions"]["leftover"]) == (2, 0)
    assert not set(tokens) & set(simulator.truth()["open_tokens"])
    assert "sweeping 2 sessions of 1 lost workers" in capsys.readouterr().out


def test_files_that_can_not_be_read_are_told_with_what_went_wrong_before(
    simulator: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    directory = tmp_path / "run"
    directory.mkdir()
    (directory / "ledger-w.sqlite").write_text("torn")
    (directory / "intervals-w.jsonl").write_text("{torn\n{torn\n")
    assert conclude(directory, settings_for(simulator).target, ["the disk is full"]) == 6
    assert "error: the disk is full" in capsys.readouterr().err


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
    code = conclude(directory, target, [])
    assert json.loads((directory / "run.json").read_text())["exit_code"] == code == 6
    (directory / "run.json").unlink()
    (directory / "run.json").mkdir()  # so that no record can take its place
    store = Store(directory / "ledger-v.sqlite", {"worker": "v", "ended_ns": "9"})
    store.write([(1, "t", Stage.JOINED, 1, 1)], [], {})
    store.close()
    assert conclude(directory, target, []) == 4  # leftovers weigh more than their record
    (directory / "start.json").write_text("torn")
    assert conclude(directory, target, ["why"]) == 6
