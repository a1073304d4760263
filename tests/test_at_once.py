"""Tests run in several processes are reported as if one had run them."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from processes import ROOT

pytestmark = pytest.mark.process

PLANTED = """
import os, signal, time
from pathlib import Path
import pytest

RAN = Path(__file__).parent / "ran"

@pytest.fixture(autouse=True)
def noted(request):
    with RAN.open("a") as file:
        file.write(f"{os.getpid()} {request.node.name}\\n")

@pytest.mark.parametrize("number", range(20))
def test_many(number): pass

def test_wrong(): assert not "what was seen"

def test_leaves(): os._exit(0)

def test_is_killed(): os.kill(os.getpid(), signal.SIGKILL)

@pytest.fixture
def broken():
    yield
    raise ValueError("it can not be ended")

def test_ends_badly(broken): pass
"""
SHARING = """
import pytest

@pytest.fixture(scope="module")
def shared(): return []

@pytest.mark.parametrize("number", range(4))
def test_share(shared, number):
    shared.append(number)
    assert len(shared) == number + 1
"""
WAITING = """
import time
import pytest

@pytest.mark.parametrize("number", range(6))
def test_wait(number, tmp_path):
    try:
        (tmp_path / "began").touch()
        time.sleep(60)
    finally:
        (tmp_path / "ended").touch()
"""


def start(folder: Path, *words: str) -> Any:
    own = ["-c", os.devnull, "--rootdir", str(folder), "--basetemp", str(folder / "made")]
    command = [sys.executable, "-m", "pytest", "-p", "tests.at_once", "--at-once", "3", *own]
    return subprocess.Popen(
        [*command, "-p", "no:cacheprovider", *words, str(folder)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def test_each_runs_once_and_what_a_process_dies_of_is_told(tmp_path: Path) -> None:
    (tmp_path / "test_planted.py").write_text(PLANTED)
    (tmp_path / "test_sharing.py").write_text(SHARING)
    process = start(tmp_path, "-rA")
    output, _ = process.communicate(timeout=60)
    assert process.returncode == pytest.ExitCode.TESTS_FAILED, output
    assert re.search(r"\b3 failed, 25 passed, 1 error\b", output), output
    for name, why in (
        ("wrong", "AssertionError"),
        ("leaves", "the process that ran it ended with code 0"),
        ("is_killed", "the process that ran it ended with code -9"),
    ):
        assert re.search(rf"^FAILED \S+::test_{name}\b", output, re.MULTILINE), output
        assert why in output
    assert "ValueError: it can not be ended" in output
    ran = [line.split() for line in (tmp_path / "ran").read_text().splitlines()]
    assert len(ran) == len({name for _, name in ran}) == 24
    assert len({pid for pid, _ in ran}) > 2


def test_no_more_are_begun_after_so_many_failures(tmp_path: Path) -> None:
    (tmp_path / "test_planted.py").write_text("def test_first(): assert 0\n" + PLANTED)
    process = start(tmp_path, "-x", "-k", "first or many")
    output, _ = process.communicate(timeout=60)
    assert process.returncode == pytest.ExitCode.TESTS_FAILED, output
    assert "stopping after 1 failures" in output
    assert "21" not in output.splitlines()[-1], output


def test_an_interrupt_ends_them_all_in_order(tmp_path: Path) -> None:
    (tmp_path / "test_waiting.py").write_text(WAITING)
    process = start(tmp_path)
    made = tmp_path / "made"
    deadline = time.monotonic() + 60
    while len([*made.rglob("began")]) < 3:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGINT)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == pytest.ExitCode.INTERRUPTED, output
    assert len([*made.rglob("ended")]) == 3
    with pytest.raises(ProcessLookupError):
        os.killpg(process.pid, 0)
