"""However early a stop comes, it leaves no process behind that nobody knows of."""

import os
import random
import signal
import subprocess
import sys
import threading
import time
import uuid
from pathlib import Path

import psutil
import pytest

from harness.machine import deferred_stops, terminated_as_by_hand

SIMULATOR = """
import sys
from harness.supervise.children import EmbeddedSimulator
print("go", flush=True)
simulator = None
try:
    simulator = EmbeddedSimulator("--deployment-id", sys.argv[1])
    simulator.start()
    raise SystemExit(0)
finally:
    if simulator is not None:
        simulator.stop()
"""
LEVEL = """
import pathlib, sys
from harness.supervise.children import watch_run
print("go", flush=True)
command = [sys.executable, "-c", "import time; time.sleep(60)", sys.argv[1]]
watch_run(command, pathlib.Path(sys.argv[2]), look=lambda _: False)
"""


def test_a_stop_takes_effect_at_the_end_of_the_block() -> None:
    order = []
    with pytest.raises(KeyboardInterrupt), deferred_stops():
        signal.raise_signal(signal.SIGINT)
        order.append("whole")
    assert order == ["whole"]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


@pytest.mark.process
def test_a_new_process_hears_its_own_signals() -> None:
    with deferred_stops():
        process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    process.terminate()
    assert process.wait(30) == -signal.SIGTERM


def test_sigterm_is_ctrl_c_while_a_command_runs_and_no_longer() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(KeyboardInterrupt), terminated_as_by_hand():
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(5)
    assert signal.getsignal(signal.SIGTERM) is before


def test_another_thread_has_no_signals_to_put_off() -> None:
    seen = []

    def work() -> None:
        with deferred_stops(), terminated_as_by_hand():
            seen.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [signal.getsignal(signal.SIGTERM)]


@pytest.mark.process
@pytest.mark.parametrize(
    ("program", "longest_s"), [(SIMULATOR, 1.2), pytest.param(LEVEL, 0.03, marks=pytest.mark.long)]
)
def test_stops_at_many_moments_orphan_nobody(
    tmp_path: Path, program: str, longest_s: float
) -> None:
    rng = random.Random(7)
    for attempt in range(12):
        mark = str(uuid.uuid4())
        process = subprocess.Popen(
            [sys.executable, "-c", program, mark, str(tmp_path / str(attempt))],
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        )  # fmt: skip
        assert process.stdout is not None
        assert process.stdout.readline() == "go\n"
        # Half of them in the first moments, where the other process is being made.
        time.sleep(rng.uniform(0, longest_s if attempt % 2 else 0.02))
        process.send_signal(signal.SIGINT)
        process.wait(60)
        process.stdout.close()
        assert living(mark) == []


def living(mark: str) -> list[int]:
    """Processes that have the mark on their command line, after a moment to go."""
    deadline = time.monotonic() + 5
    while True:
        alive = [
            one.pid
            for one in psutil.process_iter(["cmdline", "status"])
            if mark in (one.info["cmdline"] or []) and one.info["status"] != psutil.STATUS_ZOMBIE
        ]
        if not alive or time.monotonic() > deadline:
            return alive
        time.sleep(0.1)
