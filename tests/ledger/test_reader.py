"""One file, whatever its state: what can be read is read, what can't is said, nothing changes."""

import hashlib
import os
import platform
import signal
import sqlite3
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from harness.clock import wall_ns
from harness.errors import LedgerError
from harness.ledger.ledger import Stage, Store
from harness.ledger.reader import (
    Process,
    birth_of,
    meta_of_this_process,
    opened,
    read_contents,
    read_process,
    read_rows,
    salvage,
)

MANY = 3000


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A file of many pages, ended in order; every third session is left."""
    path = tmp_path / "ledger-w.sqlite"
    store = Store(path, {"run_id": "r", "worker": "w", **meta_of_this_process()})
    store.write([(n, f"token-{n:06}", Stage.INTENDED, 1, 1) for n in range(1, MANY + 1)], [], {})
    store.write([], [(Stage.CLEARED, "", f"m{n}", 2, n) for n in range(1, MANY + 1) if n % 3], {})
    store.write([], [], {"ended_ns": "9"})
    store.close()
    return path


def fingerprint(folder: Path) -> dict[str, bytes]:
    return {
        path.name: hashlib.sha256(path.read_bytes()).digest()
        for path in folder.iterdir()
        if not path.name.endswith("-shm")  # the index of the log: SQLite's own scratch
    }


def test_a_whole_file(path: Path) -> None:
    found = read_contents(path)
    assert found.damage == ""
    assert found.counts == {(Stage.INTENDED, ""): MANY // 3, (Stage.CLEARED, ""): MANY * 2 // 3}
    assert [row[0] for row in found.open] == list(range(3, MANY + 1, 3))
    assert found.open[0] == (3, "token-000003", "intended", "", 1, 1, "")
    assert len(read_rows(path)) == MANY


def test_a_page_of_garbage_costs_its_page_and_nothing_else(path: Path) -> None:
    data = bytearray(path.read_bytes())
    middle = len(data) // 2 // 4096 * 4096
    data[middle : middle + 4096] = os.urandom(4096)
    path.write_bytes(data)
    before = fingerprint(path.parent)
    found = read_contents(path)
    assert "ledger-w.sqlite" in found.damage
    rows = {row[0]: row[1] for row in read_rows(path)}
    assert MANY - 200 < len(rows) < MANY
    assert {1, MANY} <= rows.keys()
    assert all(token == f"token-{number:06}" for number, token in rows.items())
    assert sum(found.counts.values()) == len(rows)
    assert found.process.worker == "w"
    assert fingerprint(path.parent) == before


@pytest.mark.parametrize("share", [0.3, 0.6, 0.95])
def test_a_truncated_file_gives_its_beginning(path: Path, share: float) -> None:
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    before = fingerprint(path.parent)
    found = read_contents(path)
    assert found.damage != ""
    assert 0 < len(read_rows(path)) < MANY
    assert fingerprint(path.parent) == before


@pytest.mark.parametrize("content", [b"", b"SQLite format 3\x00", b"a text" * 1000])
def test_no_database_at_all(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    found = read_contents(path)
    assert found.damage != ""
    assert (found.counts, found.open) == ({}, [])
    assert found.process.worker == "w"  # its name says so
    assert not found.process.ended
    assert salvage(path) == ({}, [])
    assert path.read_bytes() == content
    with pytest.raises(LedgerError, match=r"ledger-w\.sqlite"), opened(path):
        pass


def test_another_schema_version_is_told_with_both_numbers(path: Path) -> None:
    with sqlite3.connect(path) as db:
        db.execute("PRAGMA user_version = 7")
    db.close()
    found = read_contents(path)
    assert "has schema version 7, this harness reads version 1" in found.damage
    assert len(found.open) == MANY // 3  # what can be read is not hidden


WRITE_UNTIL_KILLED = """
import sys
from pathlib import Path
from harness.ledger.reader import meta_of_this_process
from harness.ledger.ledger import Store
store = Store(Path(sys.argv[1]), {"worker": "w", **meta_of_this_process()})
for number in range(1, 100_000):
    store.write([(number, "t", "intended", 1, 1)], [], {})
    print(number, flush=True)
"""


@pytest.mark.process
@pytest.mark.parametrize("index_too", [True, False])
def test_a_crashed_process_leaves_a_log_that_is_read_and_not_touched(
    tmp_path: Path, index_too: bool
) -> None:
    path = tmp_path / "ledger-w.sqlite"
    with subprocess.Popen(
        [sys.executable, "-c", WRITE_UNTIL_KILLED, str(path)], stdout=subprocess.PIPE
    ) as writer:
        assert writer.stdout is not None
        for _ in range(30):
            writer.stdout.readline()
        assert read_process(path).alive
        os.kill(writer.pid, signal.SIGKILL)
        rest = writer.stdout.read().split()
    if not index_too:  # as in a copy of the run directory
        (tmp_path / "ledger-w.sqlite-shm").unlink()
    before = fingerprint(tmp_path)
    assert "ledger-w.sqlite-wal" in before
    found = read_contents(path)
    assert found.damage == ""
    assert len(found.open) >= (int(rest[-1]) if rest else 30)
    assert not found.process.alive
    assert fingerprint(tmp_path) == before


def process(**changes: object) -> Process:
    values: dict[str, object] = {
        "worker": "w",
        "ended": False,
        "heartbeat_ns": wall_ns(),
        "host": platform.node(),
        "pid": os.getpid(),
        "birth": birth_of(os.getpid()),
    }
    return Process(**{**values, **changes})  # type: ignore[arg-type]


def test_whether_a_process_is_alive_does_not_hang_on_the_clock() -> None:
    assert process().alive
    assert process(heartbeat_ns=1).alive  # the clock was stepped on
    assert process(heartbeat_ns=wall_ns() + 10**15).alive  # or back
    assert not process(birth="1").alive  # another process has its number now
    assert not process(ended=True).alive


def test_of_another_machine_the_heartbeat_is_all_there_is() -> None:
    assert process(host="elsewhere").alive
    assert not process(host="elsewhere", heartbeat_ns=1).alive
    assert not process(host="elsewhere", heartbeat_ns=wall_ns() + 10**12).alive


@pytest.mark.process
def test_a_process_that_is_gone_has_no_birth() -> None:
    with subprocess.Popen(["true"]) as gone:
        pass
    assert birth_of(gone.pid) == ""
    assert birth_of(os.getpid()) != ""


def test_a_process_of_another_place_with_the_same_host_and_pid_is_not_this_one() -> None:
    ours = meta_of_this_process()
    about = {"worker": "w", "ended": False, "pid": int(ours["pid"])}
    here = Process(
        **about, heartbeat_ns=1, host=ours["host"], birth=ours["birth"], place=ours["place"]
    )
    assert (here.here, here.alive) == (True, True)  # whatever the heartbeat says
    other = replace(here, place="another machine/pid:[1]")
    assert (other.here, other.alive) == (False, False)
    assert replace(other, heartbeat_ns=wall_ns()).alive
    assert not replace(here, host="another").here
