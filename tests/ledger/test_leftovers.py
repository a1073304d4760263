"""Reading the ledgers of a run: complete, exact, and harmless."""

import hashlib
import os
import platform
import sqlite3
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from harness.clock import wall_ns
from harness.ledger.ledger import OPEN_UNANSWERED, Stage, Store, claim_number
from harness.ledger.reader import (
    IN_USE,
    KILLED,
    UNFINISHED,
    WORKER_LOST,
    read_account,
    read_leftovers,
    read_process,
    settle,
)
from harness.rundir.layout import RunDirectory


def make(
    directory: Path,
    worker: str,
    stages: list[tuple[Stage, str]],
    *,
    ended: bool,
    heard_ns: int = 1,
    pid: int = 0,
) -> Path:
    path = directory / f"ledger-{worker}.sqlite"
    store = Store(
        path,
        {
            "run_id": "r",
            "worker": worker,
            "heartbeat_ns": str(heard_ns),
            "host": platform.node(),
            "pid": str(pid or os.getpid()),
        },
    )
    for number, (stage, reason) in enumerate(stages, start=1):
        store.write(
            [(number, f"token-{worker}-{number}", Stage.INTENDED, 1, 1)],
            [(stage, reason, "", 2, number)],
            {},
        )
    if ended:
        store.write((), (), {"ended_ns": "9"})
    store.close()
    return path


def test_every_session_stands_in_exactly_one_class(tmp_path: Path) -> None:
    make(tmp_path, "a", [(stage, "") for stage in Stage], ended=True)
    make(tmp_path, "b", [(Stage.JOINED, ""), (Stage.LOST, "cut")], ended=False)
    account = read_account(tmp_path)
    assert account.balanced
    assert account.intended == len(Stage) + 2
    assert account.leftover == 7
    assert account.reasons == {UNFINISHED: 4, KILLED: 1, "lost": 1, "cut": 1}
    assert (account.workers, account.workers_lost) == (2, 1)
    assert len(list(read_leftovers(tmp_path))) == account.leftover


def test_sessions_of_a_process_at_work_are_in_use(tmp_path: Path) -> None:
    reconnecting = (Stage.JOINED, OPEN_UNANSWERED)
    stages = [(Stage.JOINED, ""), reconnecting, (Stage.INTENDED, ""), (Stage.LOST, "cut")]
    path = make(tmp_path, "a", stages, ended=False, heard_ns=wall_ns())
    assert read_process(path).alive
    left = list(read_leftovers(tmp_path))
    assert [one.reason for one in left] == [IN_USE, IN_USE, IN_USE, "cut"]
    assert [one.asked_ns > 0 for one in left] == [False, True, True, False]
    assert not any(one.asked_once for one in left)
    assert read_account(tmp_path).workers_lost == 0


@pytest.mark.process
def test_a_process_that_is_not_there_any_more_is_lost_at_once(tmp_path: Path) -> None:
    with subprocess.Popen(["true"]) as gone:
        pass
    make(tmp_path, "a", [(Stage.JOINED, "")], ended=False, heard_ns=wall_ns(), pid=gone.pid)
    assert [left.reason for left in read_leftovers(tmp_path)] == [KILLED]
    assert read_account(tmp_path).workers_lost == 1


def test_settling_takes_it_off_the_list(tmp_path: Path) -> None:
    make(tmp_path, "a", [(Stage.LOST, "cut"), (Stage.LOST, "cut")], ended=True)
    first, second = read_leftovers(tmp_path)
    settle(first, "cleared by sweep")
    assert [left.token for left in read_leftovers(tmp_path)] == [second.token]
    assert read_account(tmp_path).settled == 1
    assert first.short_token == "token-a-…"


def test_reading_changes_nothing(tmp_path: Path) -> None:
    path = make(tmp_path, "a", [(Stage.LOST, "cut")], ended=True)
    before = hashlib.sha256(path.read_bytes()).digest()
    read_account(tmp_path)
    list(read_leftovers(tmp_path))
    assert hashlib.sha256(path.read_bytes()).digest() == before
    assert {entry.name for entry in tmp_path.iterdir()} == {path.name}


@pytest.mark.parametrize("content", [b"", b"not a database at all, but text" * 100])
def test_a_damaged_file_is_told_by_name_and_hides_no_other(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "ledger-a.sqlite").write_bytes(content)
    make(tmp_path, "b", [(Stage.LOST, "cut"), (Stage.CLEARED, "")], ended=True)
    account = read_account(tmp_path)
    assert (account.intended, account.cleared, account.leftover) == (2, 1, 1)
    assert account.balanced
    (damage,) = account.damaged
    assert "ledger-a.sqlite" in damage
    assert [left.token for left in read_leftovers(tmp_path)] == ["token-b-1"]


def test_another_machines_process_that_is_not_heard_of_is_a_lost_worker(tmp_path: Path) -> None:
    path = make(tmp_path, "a", [(Stage.JOINED, "")], ended=False)
    with sqlite3.connect(path) as db:
        db.execute("UPDATE meta SET value = 'elsewhere' WHERE key = 'host'")
    db.close()
    assert [left.reason for left in read_leftovers(tmp_path)] == [WORKER_LOST]


def test_an_age_is_never_negative(tmp_path: Path) -> None:
    make(tmp_path, "a", [(Stage.LOST, "cut")], ended=True)
    (left,) = read_leftovers(tmp_path)
    assert replace(left, intended_ns=wall_ns() + 10**12).age_s == 0
    assert left.age_s > 0


def test_a_ledger_that_is_gone_may_hide_what_its_worker_counted(tmp_path: Path) -> None:
    files = RunDirectory(tmp_path)
    for name in ("counted", "elsewhere", "killed at once", "whole"):
        claim_number(tmp_path, name)
    for name, intended in (("counted", 2), ("killed at once", 0), ("whole", 1), ("remote", 3)):
        line = f'{{"sessions": {{"intended": {intended}}}}}\n'
        files.intervals(name).write_text(line + "{torn")
    make(tmp_path, "whole", [(Stage.CLEARED, "")], ended=True)
    account = read_account(tmp_path)
    (why,) = account.damaged
    assert f"{files.ledger('counted')} is gone" in why
    assert account.may_hide
    assert account.balanced
