"""Distributed: all closes are in the result, and a lost worker is never a pass."""

import json
import os
import signal
import time
from pathlib import Path
from typing import Any

import psutil
import pytest
from locusts import finish, locustfile, only_run, start

from harness.ledger.leftovers import read_account, read_leftovers

pytestmark = pytest.mark.process


def workers_in_session(directory: Path, at_least: int) -> None:
    deadline = time.monotonic() + 40
    while time.monotonic() < deadline:
        occupancy = 0
        for path in (directory / "reports").glob("*/intervals-*.jsonl"):
            lines = path.read_text().splitlines()
            occupancy += json.loads(lines[-1])["sessions"]["occupancy"] if lines else 0
        if occupancy >= at_least:
            return
        time.sleep(0.1)
    raise AssertionError("the guests never came")


def run_two(simulator: Any, directory: Path) -> Any:
    file = locustfile(directory, messages=200, think="200ms")
    process = start(
        file, directory, simulator.url, "-u", "20", "-r", "20", "-t", "5m", "--processes", "2"
    )
    workers_in_session(directory, 20)
    return process


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_all_closes_of_all_workers_are_in_the_result(
    simulator: Any, tmp_path: Path, number: signal.Signals
) -> None:
    process = run_two(simulator, tmp_path)
    os.kill(process.pid, number)
    code, output = finish(process)
    account = read_account(only_run(tmp_path))
    assert (account.workers, account.workers_lost) == (2, 0), output
    assert (account.intended, account.cleared) == (20, 20)
    found = json.loads((only_run(tmp_path) / "run.json").read_text())
    assert found["operations"]["clear"]["outcomes"] == {"ok": 20}
    assert code == 0, output


def test_a_killed_worker_is_leftovers_and_never_a_pass(simulator: Any, tmp_path: Path) -> None:
    before = set(simulator.truth()["open_tokens"])
    process = run_two(simulator, tmp_path)
    victim = psutil.Process(process.pid).children()[0]
    victim.kill()
    time.sleep(1)
    os.kill(process.pid, signal.SIGTERM)
    code, output = finish(process, within_s=120)
    assert code == 4, output
    found = json.loads((only_run(tmp_path) / "run.json").read_text())
    assert found["verdict"] == "INVALID"
    still_open = set(simulator.truth()["open_tokens"]) - before
    listed = {left.token for left in read_leftovers(only_run(tmp_path))}
    assert 0 < len(still_open) < 20
    assert still_open <= listed
