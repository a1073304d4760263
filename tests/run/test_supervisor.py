"""Whatever becomes of ``harness run``, its run ends in order: cleared, with a verdict."""

import fcntl
import json
import os
import pty
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
from locusts import ROOT, in_session, locustfile, only_run
from processes import harness, start_harness

from harness.errors import ExitCode
from harness.ledger.reader import read_leftovers

pytestmark = pytest.mark.process
GUESTS = 6


class Supervised:
    """A ``harness run`` that would last for minutes, and what belongs to it."""

    def __init__(self, tmp_path: Path, target: str, *more: str, **options: Any) -> None:
        self.directory = tmp_path
        file = locustfile(tmp_path, messages=5000, think="100ms")
        words = ["run", str(file), "-u", str(GUESTS), "-t", "10m", "--stop-timeout", "1s"]
        words += ["--reports", str(tmp_path / "reports")]
        words += ["--target", target] if target else []
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        self.process = start_harness(*words, *more, **{**quiet, **options})
        self.others: list[psutil.Process] = []

    def __enter__(self) -> "Supervised":
        try:
            in_session(self.directory, GUESTS)
        except BaseException:
            self.process.kill()
            raise
        self.others = psutil.Process(self.process.pid).children(recursive=True)
        return self

    def __exit__(self, *_: object) -> None:
        self.process.wait(90)
        _, alive = psutil.wait_procs(self.others, timeout=60)
        for process in alive:
            process.kill()
        assert not alive, "processes of the run were left behind"

    def child(self, word: str) -> psutil.Process:
        """The process directly below ``harness run`` with this word on its command line."""
        (found,) = [
            child
            for child in psutil.Process(self.process.pid).children()
            if word in child.cmdline()
        ]
        return found

    @property
    def record(self) -> dict[str, Any]:
        """What the run says of itself; waits for it."""
        path = only_run(self.directory) / "run.json"
        deadline = time.monotonic() + 60
        while not path.is_file():
            assert time.monotonic() < deadline, "there is no record"
            time.sleep(0.1)
        found: dict[str, Any] = json.loads(path.read_text())
        return found


def hang_up(run: Supervised) -> None:
    run.process.send_signal(signal.SIGHUP)


def terminate(run: Supervised) -> None:
    run.process.terminate()


def kill_supervisor(run: Supervised) -> None:
    run.process.kill()


def kill_locust(run: Supervised) -> None:
    run.child("harness.load").kill()


def kill_supervisor_then_locust(run: Supervised) -> None:
    locust = run.child("harness.load")
    run.process.kill()
    locust.kill()


def kill_locust_then_supervisor(run: Supervised) -> None:
    run.child("harness.load").kill()
    run.process.kill()


TWO_WORKERS = ("--processes", "2")


@pytest.mark.parametrize(
    ("end", "code", "workers"),
    [
        (hang_up, 6, ()),
        pytest.param(terminate, 6, (), marks=pytest.mark.long),
        (kill_supervisor, -9, ()),
        pytest.param(kill_locust, 6, (), marks=pytest.mark.long),
        (terminate, 6, TWO_WORKERS),
        (kill_supervisor, -9, TWO_WORKERS),
    ],
)
def test_a_run_ends_in_order(
    simulator: Any,
    tmp_path: Path,
    end: Callable[[Supervised], None],
    code: int,
    workers: tuple[str, ...],
) -> None:
    before = simulator.open_tokens()
    with Supervised(tmp_path, simulator.url, *workers) as run:
        end(run)
    assert run.process.returncode == code
    directory = only_run(tmp_path)
    assert run.record["verdict"] == "INVALID", "it was cut short"
    assert simulator.open_tokens() <= before
    assert list(read_leftovers(directory)) == []
    assert (directory / "report.html").is_file()
    if end is kill_supervisor:
        assert "harness run was killed: the run was ended early" in run.record["reasons"]
        assert "by hand" not in str(run.record["reasons"])


@pytest.mark.parametrize(
    "end",
    [
        kill_supervisor_then_locust,
        pytest.param(kill_locust_then_supervisor, marks=pytest.mark.long),
    ],
)
def test_both_killed_is_told_by_the_next_command(
    simulator: Any, tmp_path: Path, end: Callable[[Supervised], None]
) -> None:
    before = simulator.open_tokens()
    with Supervised(tmp_path, simulator.url) as run:
        end(run)
    left = simulator.open_tokens() - before
    assert left
    directory = only_run(tmp_path)
    assert left <= {entry.token for entry in read_leftovers(directory)}
    for words, code in ((["report"], 0), (["sweep", "--rate", "50/s"], 0), (["leftovers"], 0)):
        done = harness(words[0], str(directory), *words[1:], within_s=90)
        assert done.returncode == code, done.stdout + done.stderr
    assert simulator.open_tokens() <= before
    assert run.record["verdict"] == "INVALID"


def test_the_embedded_simulator_outlives_the_drain(tmp_path: Path) -> None:
    with Supervised(tmp_path, "") as run:
        simulator = run.child("simulate")
        run.process.kill()
    record = run.record
    assert record["sessions"]["cleared"] == record["sessions"]["opened"] == GUESTS
    assert record["simulator"]["opened"] == GUESTS, "it could still be asked for its truth"
    assert not simulator.is_running()
    assert (only_run(tmp_path) / "simulator.log").read_text().startswith('{"url"')


def test_a_terminal_that_closes_ends_the_run_in_order(simulator: Any, tmp_path: Path) -> None:
    before = simulator.open_tokens()
    leader, follower = pty.openpty()
    run = Supervised(
        tmp_path, simulator.url, stdin=follower, stdout=follower, stderr=follower,
        start_new_session=True, preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
    )  # fmt: skip
    os.close(follower)
    os.set_blocking(leader, False)
    with run:
        seen = b""
        while b"in session" not in seen:
            try:
                seen += os.read(leader, 65_536)
            except BlockingIOError:
                time.sleep(0.1)
        os.close(leader)
    assert run.process.returncode == 6, "it was cut short, and says so"
    assert "ended by hand" in str(run.record["reasons"])
    assert run.record["how"]["stopped_by_hand"] is True
    assert simulator.open_tokens() <= before


@pytest.mark.long
def test_a_reader_who_leaves_ends_only_the_display(simulator: Any, tmp_path: Path) -> None:
    before = simulator.open_tokens()
    reader, writer = os.pipe()
    with Supervised(tmp_path, simulator.url, stdout=writer, stderr=writer) as run:
        os.close(writer)
        os.close(reader)
        time.sleep(7)  # more than one line later
        assert run.process.poll() is None
        assert len(simulator.open_tokens() - before) == GUESTS, "the run goes on"
        run.process.terminate()
    assert run.process.returncode == 6, "it was cut short, and says so"
    assert "ended by hand" in str(run.record["reasons"])
    assert simulator.open_tokens() <= before


@pytest.mark.parametrize("instead", [pytest.param("a file", marks=pytest.mark.long), "nothing"])
def test_a_run_whose_folder_is_moved_away_is_told_and_never_called_a_mistake_in_its_options(
    simulator: Any, tmp_path: Path, instead: str
) -> None:
    before = simulator.open_tokens()
    with (
        (tmp_path / "told").open("wb") as told,
        Supervised(tmp_path, simulator.url, stdout=told, stderr=told) as run,
    ):
        reports = tmp_path / "reports"
        directory = only_run(tmp_path)
        reports.rename(tmp_path / "moved")
        if instead == "a file":
            reports.write_text("")
        run.process.send_signal(signal.SIGINT)
        code = run.process.wait(90)
    said = (tmp_path / "told").read_text()
    assert code in (ExitCode.INVALID, ExitCode.LEFTOVERS)
    assert f"Its ledgers were {directory}/ledger-*.sqlite" in said
    assert f"harness sweep {directory}" in said
    assert "nothing was sent" not in said
    listed = {left.token for left in read_leftovers(tmp_path / "moved" / directory.name)}
    assert simulator.open_tokens() - before <= listed


def test_sigterm_clears_before_whoever_sent_it_kills(simulator: Any, tmp_path: Path) -> None:
    before = simulator.open_tokens()
    more = ("--stop-timeout", "5m", "--term-grace", "4s")
    with Supervised(tmp_path, simulator.url, *more) as run:
        run.process.terminate()
        began = time.monotonic()
        while simulator.open_tokens() - before:
            assert time.monotonic() - began < 60, "it waits for the conversations"
            time.sleep(0.1)
    assert run.record["sessions"]["cleared"] == GUESTS


SEARCH = """
import pathlib, sys
from harness.supervise.children import watch_run
watch_run(sys.argv[2:], pathlib.Path(sys.argv[1]), look=lambda _: False)
"""


def test_a_search_that_is_killed_ends_its_level_in_order(simulator: Any, tmp_path: Path) -> None:
    before = simulator.open_tokens()
    file = locustfile(tmp_path, messages=5000, think="100ms")
    reports = tmp_path / "reports"
    level = [sys.executable, "-m", "harness", "run", str(file), "-u", str(GUESTS), "-t", "10m"]
    level += ["--stop-timeout", "1s", "--reports", str(reports), "--target", simulator.url]
    search = subprocess.Popen([sys.executable, "-c", SEARCH, str(reports), *level], cwd=ROOT)
    in_session(tmp_path, GUESTS)
    below = psutil.Process(search.pid).children(recursive=True)
    search.kill()
    search.wait(30)
    _, alive = psutil.wait_procs(below, timeout=60)
    assert not alive
    (directory,) = {path.resolve() for path in reports.iterdir() if (path / "run.json").is_file()}
    assert simulator.open_tokens() <= before
    assert list(read_leftovers(directory)) == []


NO_FILES = """
import resource
import gevent
from locust import events

def take():
    gevent.sleep(4)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
    gevent.sleep(3.5)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))

@events.test_start.add_listener
def _(**_):
    gevent.spawn(take)
"""


def test_no_descriptors_for_three_seconds_end_no_duty(simulator: Any, tmp_path: Path) -> None:
    before = simulator.open_tokens()
    file = locustfile(tmp_path, messages=5000, think="200ms", more=NO_FILES)
    done = harness(
        "run", str(file), "-u", "4", "-t", "14s", "--stop-timeout", "1s",
        "--reports", str(tmp_path / "reports"), "--target", simulator.url, within_s=120,
    )  # fmt: skip
    directory = only_run(tmp_path)
    (path,) = directory.glob("intervals-*.jsonl")
    lengths = [json.loads(line)["s"] for line in path.read_text().splitlines()]
    assert len(lengths) >= 12, done.stdout
    assert max(lengths) < 5
    assert (
        "once a second: the look at this process's needs failed"
        in (directory / "locust.log").read_text()
    )
    record = json.loads((directory / "run.json").read_text())
    assert "gap" not in str(record["reasons"])
    assert simulator.open_tokens() <= before
