"""A damaged file is replaced by what can be read of it, kept whole, and not forgotten."""

import os
from pathlib import Path

from harness.ledger.ledger import Stage, Store
from harness.ledger.reader import opened, read_account, read_leftovers, set_aside, settle


def damaged(directory: Path) -> Path:
    path = directory / "ledger-w.sqlite"
    store = Store(path, {"worker": "w", "run_id": "r"})
    store.write([(n, f"token-{n:06}", Stage.JOINED, 1, 1) for n in range(1, 2001)], [], {})
    store.close()
    data = bytearray(path.read_bytes())
    middle = len(data) // 2 // 4096 * 4096
    data[middle : middle + 4096] = os.urandom(4096)
    path.write_bytes(data)
    return path


def test_what_can_be_read_can_be_settled_and_the_damage_is_remembered(tmp_path: Path) -> None:
    path = damaged(tmp_path)
    before = path.read_bytes()
    read = read_account(tmp_path)
    kept = set_aside(path)
    assert kept is not None
    assert kept.read_bytes() == before
    after = read_account(tmp_path)
    assert (after.intended, after.leftover) == (read.intended, read.leftover)
    assert 1800 < after.leftover < 2000
    assert len(after.damaged) == 1
    settle(next(iter(read_leftovers(tmp_path))), "sweep: cleared")
    assert read_account(tmp_path).settled == 1
    assert set_aside(path) is None  # once is enough
    assert path.stat().st_mode & 0o077 == 0


def test_once_its_tokens_were_tried_the_file_hides_nothing(tmp_path: Path) -> None:
    path = damaged(tmp_path)
    set_aside(path)
    with opened(path, writable=True) as db:
        db.execute("INSERT INTO meta VALUES ('derived', '1')")
    assert read_account(tmp_path).damaged == []


def test_a_whole_file_stays_where_it_is(tmp_path: Path) -> None:
    Store(tmp_path / "ledger-w.sqlite", {"worker": "w", "ended_ns": "9"}).close()
    assert set_aside(tmp_path / "ledger-w.sqlite") is None
    assert [path.name for path in tmp_path.iterdir()] == ["ledger-w.sqlite"]


def test_a_file_of_nothing_but_garbage(tmp_path: Path) -> None:
    path = tmp_path / "ledger-w.sqlite"
    path.write_bytes(b"garbage " * 1000)
    kept = set_aside(path)
    assert kept is not None
    account = read_account(tmp_path)
    assert (account.intended, len(account.damaged)) == (0, 1)
