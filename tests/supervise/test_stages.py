"""What outlives Locust's main process is asked to end, and ended. (The stages: test_run.)"""

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from harness.processes import IN_ORDER
from harness.supervise.stages import STAGES, Stages, end_group, free_port

pytestmark = pytest.mark.process

CHILD = """
import os, signal, sys, time
if os.fork():
    os._exit(0)
signal.signal(signal.SIGTERM, {handler})
print(os.getpid(), flush=True)
time.sleep(60)
"""


@pytest.mark.parametrize("handler", ["lambda *_: sys.exit(0)", "signal.SIG_IGN"])
def test_orphans_are_ended_also_those_that_will_not(handler: str) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", CHILD.format(handler=handler)],
        stdout=subprocess.PIPE,
        start_new_session=True,
    )
    assert process.stdout is not None
    orphan = psutil.Process(int(process.stdout.readline()))
    process.wait(10)
    process.stdout.close()
    said: list[str] = []
    end_group(process.pid, within_s=2, say=said.append)
    assert len(said) == 1
    psutil.wait_procs([orphan], timeout=10)
    assert not orphan.is_running() or orphan.status() == psutil.STATUS_ZOMBIE
    end_group(process.pid, within_s=2, say=said.append)
    assert len(said) == 1  # nobody is left: nothing to say


def test_a_signal_before_locust_is_started_reaches_it_then() -> None:
    said: list[str] = []
    with Stages(Path("run"), said.append) as stages:
        os.kill(os.getpid(), signal.SIGINT)
        assert stages.asked == 1
        locust = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
        assert said == []
        stages.begin(locust)
        assert locust.wait(20) == -IN_ORDER
    assert len(said) == 1


def test_who_sends_sigterm_has_less_time_and_a_terminal_hangs_up_once() -> None:
    said: list[str] = []
    with Stages(Path("run"), said.append) as stages:
        locust = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
        stages.begin(locust)
        os.kill(os.getpid(), signal.SIGHUP)
        os.kill(os.getpid(), signal.SIGHUP)
        assert locust.wait(20) == -signal.SIGTERM
        assert stages.asked == 1
    assert len(said) == 1


def test_there_are_three_stages() -> None:
    assert len(STAGES) == 3


def test_ports_are_free_and_not_the_same_again() -> None:
    assert len({free_port() for _ in range(20)}) > 10
