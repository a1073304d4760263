"""Faults of the machine in real runs: the run ends by itself, clears what it can, and says why."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from locusts import finish, in_session, locustfile, only_run, passed, start
from processes import harness, start_harness

from harness.ledger.reader import read_account, read_leftovers
from harness.preflight.disk import free_bytes
from harness.rundir.layout import write_start

pytestmark = pytest.mark.process

LONG = "class Shape(ArrivalShape):\n    arrivals = steady(per_second=40, over='9h')\n"
STEP_BACK = """
import gc
import gevent
import harness.load.health as clockwatch
from time import time_ns

def step_back():
    gevent.sleep(4)
    gc.unfreeze()
    for watch in gc.get_objects():
        if isinstance(watch, clockwatch.ClockWatch):
            watch._wall = lambda: time_ns() - 90_000_000_000

gevent.spawn(step_back)
"""


def test_the_clock_is_stepped_back(simulator: Any, tmp_path: Path) -> None:
    before = simulator.open_tokens()
    file = locustfile(tmp_path, messages=500, think="200ms", more=STEP_BACK)
    process = start(file, tmp_path, simulator.url, "-u", "4", "-r", "4", "-t", "5m")
    code, output = finish(process)
    assert code == 6, output
    assert "the wall clock was stepped back by 90.0 s" in output
    account = read_account(only_run(tmp_path))
    assert (account.intended, account.cleared) == (4, 4)
    assert simulator.open_tokens() <= before


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 16 megabytes; only root can mount one."""
    folder = tmp_path / "small"
    folder.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=16m,mode=0700", "tmpfs", str(folder)],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        pytest.skip(f"no file system can be mounted here: {done.stderr.strip()}")
    yield folder
    subprocess.run(["umount", str(folder)], check=False, timeout=20)


def fill(filler: Path, *, leaving: int = 0) -> None:
    with filler.open("wb", buffering=0) as hog, contextlib.suppress(OSError):
        while (free_bytes(filler) or 0) > leaving:
            hog.write(bytes(4096))
        if not leaving:  # what others have given back meanwhile
            hog.write(bytes(4096))


def test_a_run_that_would_not_fit_is_refused_before_anything_is_sent(
    simulator: Any, tmp_path: Path, small_disk: Path
) -> None:
    before = simulator.truth()["sessions"]["opened"]
    file = locustfile(tmp_path, more=LONG)
    reports = small_disk / "reports"
    words = ["run", str(file), "--target", simulator.url, "--reports", str(reports)]
    done = harness(*words, within_s=60)
    told = " ".join((done.stdout + done.stderr).split())
    assert done.returncode == 8, told
    assert "Traceback" not in told
    assert f"to {reports}, where 16" in told
    assert "--disk-guard off" in told
    assert not reports.exists()
    code, output = finish(start(file, small_disk, simulator.url))  # plain Locust says the same
    assert (code, "the disk is too full" in output) == (8, True), output
    assert not reports.exists()
    assert simulator.truth()["sessions"]["opened"] == before


def test_a_disk_that_fills_up_ends_the_run_in_time(
    simulator: Any, tmp_path: Path, small_disk: Path
) -> None:
    before = simulator.open_tokens()
    file = locustfile(tmp_path, messages=4, think="200ms")
    words = ["run", str(file), "-u", "4", "-t", "5m", "--reports", str(small_disk / "reports")]
    with start_harness(*words, "--target", simulator.url) as process:
        in_session(small_disk, 4)
        fill(small_disk / "filler", leaving=8_000_000)
        output, _ = process.communicate(timeout=120)
    assert process.returncode == 6, output
    assert "Traceback" not in output
    found = json.loads((only_run(small_disk) / "run.json").read_text())
    assert found["verdict"] == "INVALID"
    assert any("the disk is nearly full" in reason for reason in found["reasons"])
    assert found["how"]["disk"]["total"] < found["how"]["disk"]["free"]
    assert found["complete"]
    assert found["sessions"]["leftover"] == 0
    # Conversations that had begun were finished, each with its four texts.
    delivered = found["operations"]["delivered"]["outcomes"]
    assert delivered == {"ok": 4 * found["sessions"]["opened"]}
    assert (only_run(small_disk) / "report.html").read_text().rstrip().endswith("</html>")
    assert simulator.open_tokens() <= before


@pytest.mark.long
def test_who_does_not_mind_goes_on_to_the_end(
    simulator: Any, tmp_path: Path, small_disk: Path
) -> None:
    file = locustfile(tmp_path, think="200ms")
    fill(small_disk / "filler", leaving=3_000_000)
    words = ("-u", "2", "-t", "3", "--disk-guard", "off")
    code, output = finish(start(file, small_disk, simulator.url, *words))
    assert passed(code, output), output
    found = json.loads((only_run(small_disk) / "run.json").read_text())
    assert found["how"]["disk"] is None


@pytest.mark.long
def test_a_run_writes_no_more_than_was_forecast(simulator: Any, tmp_path: Path) -> None:
    more = "class Shape(ArrivalShape):\n    arrivals = steady(per_second=40, over='8s')\n"
    file = locustfile(tmp_path, messages=4, think="5ms", more=more)
    words = ["run", str(file), "--target", simulator.url, "--reports", str(tmp_path / "reports")]
    harness(*words, within_s=90)
    directory = only_run(tmp_path)
    disk = json.loads((directory / "run.json").read_text())["how"]["disk"]
    sizes = {path.name: path.stat().st_size for path in directory.iterdir()}
    ledger = sum(size for name, size in sizes.items() if name.startswith("ledger-"))
    measured = sum(size for name, size in sizes.items() if "intervals" in name or "hist" in name)
    assert ledger < disk["ledger"] * 1.2 + 20_000  # an empty one has its pages too
    assert disk["measured"] / 6 < measured < disk["measured"] * 1.3 + 50_000
    assert sum(sizes.values()) < disk["total"]


def test_a_disk_that_is_really_full(simulator: Any, tmp_path: Path, small_disk: Path) -> None:
    before = simulator.open_tokens()
    file = locustfile(tmp_path, messages=500, think="200ms")
    process = start(file, small_disk, simulator.url, "-u", "4", "-r", "4", "-t", "5m")
    in_session(small_disk, 4)
    filler = small_disk / "filler"
    fill(filler)
    code, output = finish(process)
    assert code != 0, output
    assert "can't be written" in output
    assert simulator.open_tokens() <= before  # all were cleared all the same
    filler.unlink()
    directory = only_run(small_disk)
    assert read_account(directory).balanced
    assert len(list(read_leftovers(directory))) <= 4


def test_harness_run_on_a_disk_that_is_full_says_why(small_disk: Path, tmp_path: Path) -> None:
    file = locustfile(tmp_path, messages=500, think="200ms")
    words = ["run", str(file), "-u", "4", "-t", "5m", "--reports", str(small_disk / "reports")]
    with start_harness(*words) as process:
        in_session(small_disk, 4)
        fill(small_disk / "filler")
        output, _ = process.communicate(timeout=120)
    assert process.returncode in (4, 6), output
    assert "verdict  INVALID" in output
    # Room for the record may come free when the ledger is closed; the page needs more.
    unwritten = "the run's record can't be written: No space left on device"
    assert unwritten in output or "report   there is none: make it with harness report" in output
    assert "the measurements can't be written: No space left on device" in output, output
    assert "Traceback" not in output
    assert "open 0" in output  # by the simulator's own count: all were cleared all the same


def test_a_file_that_can_not_grow_ends_workers_and_master(simulator: Any, tmp_path: Path) -> None:
    before = simulator.open_tokens()
    file = locustfile(tmp_path, messages=500, think="200ms")
    process = start(
        file, tmp_path, simulator.url, "-u", "6", "-r", "6", "-t", "5m", "--processes", "2"
    )
    in_session(tmp_path, 6)
    for worker in psutil.Process(process.pid).children():
        worker.rlimit(psutil.RLIMIT_FSIZE, (1, 1))
    code, output = finish(process, within_s=120)
    assert code != 0, output
    found = json.loads((only_run(tmp_path) / "run.json").read_text())
    assert found["verdict"] == "INVALID"
    assert any("can't be written" in reason for reason in found["reasons"]), found["reasons"]
    assert simulator.open_tokens() <= before


def test_a_damaged_ledger_of_a_killed_run_is_swept_by_derived_tokens(
    simulator: Any, tmp_path: Path
) -> None:
    before = simulator.open_tokens()
    file = locustfile(tmp_path, messages=500, think="200ms")
    process = start(file, tmp_path, simulator.url, "-u", "5", "-r", "5", "-t", "5m")
    in_session(tmp_path, 5)
    os.kill(process.pid, signal.SIGKILL)
    finish(process)
    directory = only_run(tmp_path)
    for path in directory.glob("ledger-*"):
        path.write_bytes(b"")  # the disk has lost it
    assert len(simulator.open_tokens() - before) == 5
    words = ("sweep", str(directory), "--rate", "100/s")
    plain = harness(*words, within_s=90)
    assert plain.returncode == 4, plain.stdout + plain.stderr
    assert "--derive" in plain.stdout
    done = harness(*words, "--derive", "--late-within", "2s", within_s=90)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "5 were alive" in done.stdout
    assert simulator.open_tokens() <= before


def test_a_read_only_disk_is_read_and_not_swept(small_disk: Path) -> None:
    directory = small_disk / "run"
    directory.mkdir()
    write_start(directory, target=f"ws://127.0.0.1:9/v1?deploymentId={uuid.uuid4()}")
    make = (
        "import os, sys\n"
        "from pathlib import Path\n"
        "from harness.ledger.ledger import Stage, Store\n"
        "store = Store(Path(sys.argv[1]) / 'ledger-w.sqlite', {'worker': 'w'})\n"
        "store.write([(n, f'token-{n}', Stage.JOINED, 1, 1) for n in range(1, 8)], [], {})\n"
        "os._exit(9)\n"  # its write-ahead log stays beside it, as after a crash
    )
    subprocess.run([sys.executable, "-c", make, str(directory)], check=False, timeout=60)
    assert (directory / "ledger-w.sqlite-wal").exists()
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True, timeout=20)
    assert len(list(read_leftovers(directory))) == 7
    for words, code, text in (
        (["leftovers", str(directory)], 4, "7 left over"),
        (["sweep", str(directory), "--dry-run"], 4, "would end 7 sessions"),
        (["sweep", str(directory)], 8, "the end of a session could not be noted"),
        (
            ["run", str(locustfile(small_disk.parent)), "--reports", str(small_disk / "r")],
            8,
            "written",
        ),
    ):
        done = harness(*words, within_s=60)
        told = done.stdout + done.stderr
        assert (done.returncode, text in told, "Traceback" in told) == (code, True, False), told
