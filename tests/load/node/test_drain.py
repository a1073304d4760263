"""Distributed: all closes are in the result, and a lost worker is never a pass."""

import json
import os
import signal
import time
from pathlib import Path
from typing import Any

import psutil
import pytest
from fakes import FakeServer
from guests import ID
from late import Late, in_order
from locusts import cut_by_hand, finish, in_session, locustfile, only_run, start
from processes import Simulator
from sessions import settings_for

from harness.guest.rest import exchange_sign_in
from harness.ledger.ledger import OPEN_UNANSWERED
from harness.ledger.reader import read_account
from harness.load.node.role import add_failures

pytestmark = pytest.mark.process


def run_two(simulator: Any, directory: Path) -> Any:
    file = locustfile(directory, messages=200, think="200ms")
    process = start(
        file, directory, simulator.url, "-u", "20", "-r", "20", "-t", "5m", "--processes", "2"
    )
    in_session(directory, 20)
    return process


@pytest.mark.parametrize(
    "number", [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.long)]
)
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
    assert cut_by_hand(code, output), output


def test_a_second_ctrl_c_has_all_workers_clear_at_once(simulator: Any, tmp_path: Path) -> None:
    file = locustfile(tmp_path, messages=5000, think="200ms")
    process = start(
        file, tmp_path, simulator.url, "-u", "8", "-r", "8", "-t", "5m", "--processes", "2",
        "--stop-timeout", "600",
    )  # fmt: skip
    in_session(tmp_path, 8)
    os.kill(process.pid, signal.SIGINT)
    time.sleep(2)
    os.kill(process.pid, signal.SIGINT)
    code, output = finish(process)  # their conversations would go on for a quarter of an hour
    account = read_account(only_run(tmp_path))
    assert (account.intended, account.cleared, account.workers_lost) == (8, 8, 0), output
    assert cut_by_hand(code, output), output
    assert "Traceback" not in output


def test_after_sigterm_all_workers_clear_in_the_time_that_is_left(
    simulator: Any, tmp_path: Path
) -> None:
    file = locustfile(tmp_path, messages=5000, think="200ms")
    process = start(
        file, tmp_path, simulator.url, "-u", "8", "-r", "8", "-t", "5m", "--processes", "2",
        "--stop-timeout", "600", HARNESS_TERM_GRACE="15s",
    )  # fmt: skip
    in_session(tmp_path, 8)
    os.kill(process.pid, signal.SIGTERM)
    code, output = finish(process)
    account = read_account(only_run(tmp_path))
    assert (account.intended, account.cleared, account.workers_lost) == (8, 8, 0), output
    assert cut_by_hand(code, output), output


@pytest.mark.long
def test_a_killed_workers_sessions_are_swept_and_it_is_never_a_pass(
    simulator: Any, tmp_path: Path
) -> None:
    before = simulator.open_tokens()
    process = run_two(simulator, tmp_path)
    victim = psutil.Process(process.pid).children()[0]
    victim.kill()
    time.sleep(1)
    os.kill(process.pid, signal.SIGTERM)
    code, output = finish(process, within_s=120)
    assert code == 6, output
    found = json.loads((only_run(tmp_path) / "run.json").read_text())
    assert found["verdict"] == "INVALID"
    assert "1 worker did not end properly" in found["reasons"]
    account = read_account(only_run(tmp_path))
    assert (account.intended, account.leftover, account.workers_lost) == (20, 0, 1)
    assert 0 < account.settled < 20
    assert account.settled + account.cleared == 20
    assert simulator.open_tokens() <= before


@pytest.mark.long
@pytest.mark.parametrize("way", ["a second Ctrl-C", "the end of SIGTERM's grace"])
def test_the_wait_for_what_a_killed_worker_was_opening_ends_with(way: str, tmp_path: Path) -> None:
    numbers = [signal.SIGINT, signal.SIGINT] if "Ctrl-C" in way else [signal.SIGTERM]
    late = Late(in_order(*["silence"] * 4), late_s=lambda: 20.0)
    with FakeServer(late.serve) as server:
        process = start(
            locustfile(tmp_path), tmp_path, f"ws://127.0.0.1:{server.port}/v1?deploymentId={ID}",
            "-u", "4", "-r", "4", "-t", "5m", "--processes", "2", "--stop-timeout", "1",
            HARNESS_TERM_GRACE="15s",
        )  # fmt: skip
        in_session(tmp_path, 4)
        psutil.Process(process.pid).children()[0].kill()
        os.kill(process.pid, numbers.pop())
        said = ""
        while "at the end: waiting" not in said:
            said += (line := process.stdout.readline())
            assert line, said
        began = time.monotonic()
        for number in numbers:
            os.kill(process.pid, number)
        code, output = finish(process)
        waited_s = time.monotonic() - began
    assert waited_s < 30, "it is a minute for those who do not hurry"
    assert code == 4, said + output
    found = json.loads((only_run(tmp_path) / "run.json").read_text())
    assert found["sweep"]["endings"] == {OPEN_UNANSWERED: 2}
    assert found["sessions"]["leftover"] == 4
    assert "Traceback" not in said + output


def test_a_killed_workers_signed_in_guests_are_swept_too(tmp_path: Path) -> None:
    running = Simulator("--limits", "off", "--deployment", "authentication=on")
    try:
        settings = settings_for(running)
        jwts = [exchange_sign_in(settings, f"customer {n}", "https://shop") for n in range(30)]
        (tmp_path / "jwts.txt").write_text("\n".join(jwts))
        file = locustfile(tmp_path, messages=200, think="200ms")
        process = start(
            file, tmp_path, running.url, "-u", "8", "-r", "8", "-t", "5m", "--processes", "2",
            "--sign-ins", str(tmp_path / "jwts.txt"),
        )  # fmt: skip
        in_session(tmp_path, 8)
        psutil.Process(process.pid).children()[0].kill()
        time.sleep(2)
        os.kill(process.pid, signal.SIGTERM)
        code, output = finish(process)
        assert code == 6, output
        assert running.truth()["sessions"]["open"] == 0, output
    finally:
        running.stop()


def test_a_signal_to_the_whole_group_as_from_a_terminal(simulator: Any, tmp_path: Path) -> None:
    process = run_two(simulator, tmp_path)
    os.killpg(process.pid, signal.SIGINT)
    code, output = finish(process)
    account = read_account(only_run(tmp_path))
    assert (account.intended, account.cleared, account.workers_lost) == (20, 20, 0), output
    assert cut_by_hand(code, output), output
    assert "Traceback" not in output


def test_a_torn_line_of_the_failures_makes_room_for_the_whole_sentence(tmp_path: Path) -> None:
    (tmp_path / "failures.txt").write_text("one\nt")
    add_failures(tmp_path, ["the ledger can't be written", "one"])
    assert (tmp_path / "failures.txt").read_text() == "one\nthe ledger can't be written\n"
