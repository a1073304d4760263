"""Three stages of Ctrl-C under plain Locust; a worker does not outlive its master for long."""

import signal
import time
from pathlib import Path
from typing import Any

import psutil
import pytest
from locusts import cut_by_hand, finish, in_session, locustfile, only_run, start

from harness.ledger.reader import read_account, read_leftovers

pytestmark = pytest.mark.process


def test_a_second_ctrl_c_clears_at_once(simulator: Any, tmp_path: Path) -> None:
    file = locustfile(tmp_path, messages=500, think="300ms")
    process = start(
        file, tmp_path, simulator.url, "-u", "6", "-r", "6", "-t", "5m", "--stop-timeout", "300"
    )
    in_session(tmp_path, 6)
    process.send_signal(signal.SIGINT)
    time.sleep(1)
    assert process.poll() is None
    process.send_signal(signal.SIGINT)
    code, output = finish(process)
    assert cut_by_hand(code, output), output
    account = read_account(only_run(tmp_path))
    assert (account.intended, account.cleared) == (6, 6)


def test_a_third_ctrl_c_leaves_and_says_how_to_sweep(simulator: Any, tmp_path: Path) -> None:
    file = locustfile(tmp_path, messages=500, think="300ms")
    process = start(
        file, tmp_path, simulator.url, "-u", "4", "-r", "4", "-t", "5m", "--stop-timeout", "300"
    )
    in_session(tmp_path, 4)
    before = simulator.open_tokens()
    simulator.faults(ignore_clear=1)  # so that the second stage takes its time
    for _ in range(3):
        process.send_signal(signal.SIGINT)
        time.sleep(0.7)
    code, output = finish(process)
    assert code == 130, output
    assert f"harness sweep {only_run(tmp_path)}" in output
    listed = {left.token for left in read_leftovers(only_run(tmp_path))}
    assert len(listed & before) == 4


def test_workers_end_in_order_when_their_master_is_killed(simulator: Any, tmp_path: Path) -> None:
    file = locustfile(tmp_path, messages=500, think="200ms")
    process = start(
        file, tmp_path, simulator.url, "-u", "8", "-r", "8", "-t", "5m", "--processes", "2"
    )
    in_session(tmp_path, 8)
    workers = psutil.Process(process.pid).children()
    process.kill()
    gone, alive = psutil.wait_procs(workers, timeout=30)  # Locust's own limit is 60 s
    process.communicate()
    assert (len(gone), alive) == (2, [])
    account = read_account(only_run(tmp_path))
    assert (account.intended, account.cleared, account.workers_lost) == (8, 8, 0)
