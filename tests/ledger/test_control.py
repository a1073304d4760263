"""Runs that are going on are told from those that are not, and asked by files."""

from pathlib import Path

import pytest
from synthetic import make_run

from harness.clock import wall_ns
from harness.errors import ConfigError
from harness.ledger.ledger import Ledger, Store
from harness.ledger.reader import meta_of_this_process
from harness.ledger.runs import (
    ask_to_go_on,
    ask_to_pause,
    ask_to_stop,
    is_going_on,
    resolve_going_on,
)
from harness.rundir.layout import RunDirectory


def going_on(run_dir: Path) -> Ledger:
    """A run whose one process is this one."""
    make_run(run_dir, length_s=40)
    (run_dir / "run.json").unlink()
    now = str(wall_ns())
    meta = {
        "run_id": run_dir.name, "worker": "w", "number": "0", **meta_of_this_process(),
        "started_ns": now, "heartbeat_ns": now,
    }  # fmt: skip
    return Ledger(Store(RunDirectory(run_dir).ledger("w"), meta))


def test_a_run_is_asked_by_files_while_it_goes_on(tmp_path: Path) -> None:
    run_dir = tmp_path / "r1"
    ledger = going_on(run_dir)
    assert is_going_on(run_dir)
    assert not ask_to_go_on(run_dir)
    ask_to_pause(run_dir)
    assert RunDirectory(run_dir).pause.exists()
    assert ask_to_go_on(run_dir)
    assert not RunDirectory(run_dir).pause.exists()
    ask_to_stop(run_dir)
    assert RunDirectory(run_dir).stop.exists()
    ledger.close()
    assert not is_going_on(run_dir)
    with pytest.raises(ConfigError, match="the run r1 is not going on"):
        ask_to_pause(run_dir)


def test_the_latest_is_the_newest_that_goes_on(tmp_path: Path) -> None:
    ledger = going_on(tmp_path / "r1")
    make_run(tmp_path / "r2", length_s=40)
    assert resolve_going_on("latest", tmp_path).name == "r1"
    assert resolve_going_on("r2", tmp_path).name == "r2"
    ledger.close()
    with pytest.raises(ConfigError, match="no run is going on"):
        resolve_going_on("latest", tmp_path)
