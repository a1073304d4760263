"""The file: private, versioned, and whole whatever happens."""

import os
import resource
import signal
import sqlite3
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from harness.errors import LedgerError
from harness.ledger.ledger import SCHEMA_VERSION, Stage, Store
from harness.ledger.reader import opened, read_contents
from harness.rundir.layout import RunDirectory


def rows(path: Path) -> list[tuple[int, str]]:
    with sqlite3.connect(path) as db:
        found = db.execute("SELECT id, stage FROM sessions ORDER BY id").fetchall()
    db.close()
    return found


def test_all_its_files_are_for_the_owner_only(tmp_path: Path) -> None:
    store = Store(tmp_path / "ledger-a.sqlite", {"run_id": "r"})
    store.write([(1, "token", Stage.INTENDED, 1, 1)], [], {})
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
    assert len(modes) >= 2  # the file and its log
    assert set(modes.values()) == {0o600}
    store.close()


def test_a_commit_is_on_the_disk_itself_when_it_returns(tmp_path: Path) -> None:
    store = Store(tmp_path / "ledger-a.sqlite", {})
    assert store._db.execute("PRAGMA synchronous").fetchone() == (2,)  # FULL
    assert store._db.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    store.close()


def test_inserts_and_updates_of_one_group_land_together(tmp_path: Path) -> None:
    path = tmp_path / "ledger-a.sqlite"
    store = Store(path, {})
    store.write(
        [(1, "t1", Stage.INTENDED, 1, 1), (2, "t2", Stage.INTENDED, 1, 1)],
        [(Stage.CONFIGURED, "", "m1", 2, 1), (Stage.JOINED, "", "", 3, 1)],
        {"heartbeat_ns": "5"},
    )
    store.close()
    assert rows(path) == [(1, "joined"), (2, "intended")]
    with sqlite3.connect(path) as db:
        assert db.execute("SELECT message_id FROM sessions WHERE id = 1").fetchone() == ("m1",)
        assert db.execute("PRAGMA user_version").fetchone() == (SCHEMA_VERSION,)
    db.close()


def test_a_file_that_somebody_reads_is_closed_all_the_same(tmp_path: Path) -> None:
    path = tmp_path / "ledger-a.sqlite"
    store = Store(path, {})
    store.write([(1, "t1", Stage.JOINED, 1, 1)], [], {"ended_ns": "9"})
    with opened(path) as reader:
        assert reader.execute("SELECT count(*) FROM sessions").fetchone() == (1,)
        store.close()
        assert reader.execute("SELECT count(*) FROM sessions").fetchone() == (1,)
    contents = read_contents(path)
    assert (contents.damage, contents.process.ended, len(contents.open)) == ("", True, 1)


def test_a_file_that_exists_is_not_touched(tmp_path: Path) -> None:
    path = tmp_path / "ledger-a.sqlite"
    path.write_bytes(b"precious")
    with pytest.raises(LedgerError, match=r"ledger-a\.sqlite can't be made"):
        Store(path, {})
    assert path.read_bytes() == b"precious"


def test_a_failed_group_leaves_nothing_of_itself(tmp_path: Path) -> None:
    path = tmp_path / "ledger-a.sqlite"
    store = Store(path, {})
    store.write([(1, "t1", Stage.INTENDED, 1, 1)], [], {})
    with pytest.raises(LedgerError, match="can't be written"):
        store.write([(2, "t2", Stage.INTENDED, 1, 1), (1, "again", Stage.INTENDED, 1, 1)], [], {})
    store.write([(3, "t3", Stage.INTENDED, 1, 1)], [], {})
    store.close()
    assert [row for row, _ in rows(path)] == [1, 3]


WRITE_UNTIL_KILLED = """
import sys
import time
from pathlib import Path
from harness.ledger.ledger import Store
store = Store(Path(sys.argv[1]), {})
number = 0
while True:
    number += 1
    store.write([(number, "t", "intended", 1, 1)], [], {})
    print(number, flush=True)
"""


@pytest.mark.process
def test_what_was_acknowledged_survives_kill_9(tmp_path: Path) -> None:
    path = tmp_path / "ledger-a.sqlite"
    with subprocess.Popen(
        [sys.executable, "-c", WRITE_UNTIL_KILLED, str(path)], stdout=subprocess.PIPE
    ) as writer:
        assert writer.stdout is not None
        for _ in range(50):
            acknowledged = int(writer.stdout.readline())
        os.kill(writer.pid, signal.SIGKILL)
        rest = writer.stdout.read().split()
        acknowledged = int(rest[-1]) if rest else acknowledged
    assert len(rows(path)) >= acknowledged


@pytest.mark.process
def test_a_full_disk_is_an_error_and_what_was_written_stays(tmp_path: Path) -> None:
    # A limit on the file size is what a full disk looks like to the one who writes.
    path = tmp_path / "ledger-a.sqlite"

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)

    done = subprocess.run(
        [sys.executable, "-c", WRITE_UNTIL_KILLED, str(path)],
        capture_output=True,
        text=True,
        preexec_fn=limit,
        check=False,
        timeout=60,
    )
    assert "LedgerError" in done.stderr
    assert len(rows(path)) == int(done.stdout.split()[-1]) > 0


MAKING = """
import sys
from itertools import count
from pathlib import Path
from harness.ledger.ledger import Store
print("ready", flush=True)
for number in count():
    Store(Path(sys.argv[1]) / f"ledger-{number}.sqlite", {"worker": str(number)})
"""


@pytest.mark.process
@pytest.mark.parametrize("after_s", [0.01 * step for step in range(1, 13)])
def test_a_process_killed_while_it_makes_a_ledger_leaves_none_that_looks_damaged(
    tmp_path: Path, after_s: float
) -> None:
    """Else a sweep would say for ever that sessions may be hidden there, where there were none."""
    maker = subprocess.Popen(
        [sys.executable, "-c", MAKING, str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    assert maker.stdout is not None
    maker.stdout.readline()
    time.sleep(after_s)
    maker.kill()
    maker.wait(10)
    maker.stdout.close()
    made = [read_contents(path) for path in RunDirectory(tmp_path).ledgers()]
    assert [contents.damage for contents in made if contents.damage] == []
    assert [c.process.worker for c in made] == [c.path.stem.removeprefix("ledger-") for c in made]
