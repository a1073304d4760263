"""What outlives Locust's main process is asked to end, and ended. (The stages: test_run.)"""

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from harness.errors import ConfigError
from harness.machine import IN_ORDER
from harness.supervise.children import (
    STAGES,
    LocustProcess,
    Stages,
    end_group,
    free_port,
    inspect_locustfile,
    watch_run,
)

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
    messages: list[str] = []
    end_group(process.pid, within_s=2, say=messages.append)
    assert len(messages) == 1
    psutil.wait_procs([orphan], timeout=10)
    assert not orphan.is_running() or orphan.status() == psutil.STATUS_ZOMBIE
    end_group(process.pid, within_s=2, say=messages.append)
    assert len(messages) == 1  # nobody is left: nothing to say


def test_a_signal_before_locust_is_started_reaches_it_then() -> None:
    messages: list[str] = []
    with Stages(Path("run"), messages.append) as stages:
        os.kill(os.getpid(), signal.SIGINT)
        assert stages.stops == 1
        locust = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
        assert messages == []
        stages.begin(locust)
        assert locust.wait(20) == -IN_ORDER
    assert len(messages) == 1


def test_who_sends_sigterm_has_less_time_and_a_terminal_hangs_up_once() -> None:
    messages: list[str] = []
    with Stages(Path("run"), messages.append) as stages:
        locust = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
        stages.begin(locust)
        os.kill(os.getpid(), signal.SIGHUP)
        os.kill(os.getpid(), signal.SIGHUP)
        assert locust.wait(20) == -signal.SIGTERM
        assert stages.stops == 1
    assert len(messages) == 1


def test_there_are_three_stages() -> None:
    assert len(STAGES) == 3


def test_ports_are_free_and_not_the_same_again() -> None:
    assert len({free_port() for _ in range(20)}) > 10


LOCUSTFILE = """
import os, sys
from locust import events, task
from harness.load import GuestUser, objective

print("a locustfile may print")
objective("leftovers == 0")
with open(os.environ["SEEN"], "a") as seen:
    print(os.getpid(), __name__, file=seen)

class Guest(GuestUser):
    @task
    def story(self): ...
"""


def test_nothing_of_the_look_is_left_in_the_process_that_runs_the_file(tmp_path: Path) -> None:
    file, seen, log = tmp_path / "file.py", tmp_path / "seen", tmp_path / "log"
    file.write_text(LOCUSTFILE)
    config = tmp_path / "config.json"
    config.write_text("{}")
    with LocustProcess(str(file), {}, {"SEEN": str(seen)}) as locust:
        assert locust.plan()["objectives"] == ["leftovers == 0"]
        process = locust.begin(["-f", str(file), "--list"], config=config, log=log)
        assert process.wait(30) == 0
    looked, ran = (line.split()[0] for line in seen.read_text().splitlines())
    assert looked != ran
    assert int(ran) == process.pid
    assert "a locustfile may print" in log.read_text()
    assert "Guest" in log.read_text()


@pytest.mark.parametrize(
    ("text", "why"),
    [
        pytest.param("raise SystemExit('not today')", "not today", marks=pytest.mark.long),
        pytest.param("input()", r"bad\.py:1: EOFError", marks=pytest.mark.long),
        ("import os; os.kill(os.getpid(), 9)", r"bad\.py can't be imported: .* by SIGKILL"),
        (
            "import os, time; os.kill(os.getppid(), 9); time.sleep(20)",
            r"bad\.py can't be imported: .* by SIGKILL",
        ),
        ("import os; os._exit(0)", r"bad\.py can't be imported: .* without a word"),
        pytest.param("print('{}'); x = (", r"bad\.py:1", marks=pytest.mark.long),
    ],
)
def test_a_file_that_ends_its_process_is_refused(tmp_path: Path, text: str, why: str) -> None:
    (tmp_path / "bad.py").write_text(text)
    with pytest.raises(ConfigError, match=why):
        inspect_locustfile(str(tmp_path / "bad.py"), {})


def test_it_ends_with_the_block_or_with_who_started_it(tmp_path: Path) -> None:
    file, seen = tmp_path / "file.py", tmp_path / "seen"
    file.write_text(LOCUSTFILE)
    with LocustProcess(str(file), {}, {"SEEN": str(seen)}) as locust:
        locust.plan()
        process = psutil.Process(locust._process.pid)
    assert not process.is_running()
    program = (
        "import os, sys\n"
        "from harness.supervise.children import LocustProcess\n"
        "locust = LocustProcess(sys.argv[1], {}, {'SEEN': sys.argv[2]})\n"
        "locust.plan()\n"
        "print(locust._process.pid, flush=True)\n"
        "os.kill(os.getpid(), 9)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(file), str(seen)],
        stdout=subprocess.PIPE, text=True, check=False, timeout=60,
    )  # fmt: skip
    with contextlib.suppress(psutil.NoSuchProcess):
        psutil.Process(int(done.stdout)).wait(20)


def test_an_interrupt_never_strikes_while_a_process_is_asked_whether_it_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    poll, order = subprocess.Popen.poll, []

    def interrupted(process: "subprocess.Popen[bytes]") -> int | None:
        first = not order
        order.append("begun")
        if first:
            signal.raise_signal(signal.SIGINT)
        order.append("whole")
        return poll(process)

    monkeypatch.setattr(subprocess.Popen, "poll", interrupted)
    with pytest.raises(KeyboardInterrupt):
        watch_run([sys.executable, "-c", "import time; time.sleep(60)"], tmp_path, look=bool)
    assert order[:2] == ["begun", "whole"]
