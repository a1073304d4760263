"""Intents are durable before anybody goes on, groups never stall the loop, failures are told."""

import sqlite3
import time
from collections.abc import Sequence
from pathlib import Path

import gevent
import pytest

from harness.errors import LedgerError
from harness.ledger.ledger import Insert, Ledger, Stage, Store
from harness.ledger.reader import read_account
from tests.turns import turns


def stored(path: Path) -> list[tuple[str, str, str]]:
    with sqlite3.connect(path) as db:
        found = db.execute("SELECT token, stage, reason FROM sessions ORDER BY id").fetchall()
    db.close()
    return found


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ledger-a.sqlite"


def test_what_is_secured_is_on_disk_for_everyone_to_see(path: Path) -> None:
    ledger = Ledger(Store(path, {}))
    ledger.record_intent("t1")
    entry = ledger.record_intent("t2")
    ledger.flush()
    assert stored(path) == [("t1", "intended", ""), ("t2", "intended", "")]
    ledger.mark(entry, Stage.JOINED)
    ledger.mark(entry, Stage.LOST, "cut")
    ledger.flush()
    assert stored(path)[1] == ("t2", "lost", "cut")
    ledger.close()


def test_many_guests_share_a_commit(path: Path) -> None:
    store = Store(path, {})
    groups = []
    write = store.write

    def counting(inserts: Sequence[Insert], *rest: object) -> None:
        groups.append(len(inserts))
        time.sleep(0.02)
        write(inserts, *rest)  # type: ignore[arg-type]

    store.write = counting  # type: ignore[method-assign]
    ledger = Ledger(store)

    def guest(number: int) -> None:
        ledger.record_intent(f"t{number}")
        ledger.flush()
        assert (f"t{number}", "intended", "") in stored(path)

    with gevent.Timeout(20):
        guests = [gevent.spawn(guest, number) for number in range(40)]
        gevent.joinall(guests, raise_error=True)
    ledger.close()
    assert sum(groups) == 40
    assert len([size for size in groups if size]) < 10


def test_a_session_that_is_over_stays_over_and_the_tally_adds_up(path: Path) -> None:
    ledger = Ledger(Store(path, {}))
    entries = [ledger.record_intent(f"t{number}") for number in range(4)]
    ledger.mark(entries[0], Stage.CLEARED)
    ledger.mark(entries[0], Stage.LOST, "late news")
    ledger.mark(entries[1], Stage.LOST, "cut")
    ledger.mark(entries[2], Stage.NEVER_CONFIGURED, "refused")
    assert (ledger.intended, ledger.open) == (4, 1)
    assert sum(ledger.tally.values()) == 4
    assert ledger.reasons == {"cut": 1}
    assert ledger.balanced
    ledger.mark(entries[1], Stage.CLEARED)
    assert ledger.balanced
    ledger.mark(entries[3], Stage.LOST, "cut")
    ledger.tally[Stage.LOST] += 1  # what must never happen is noticed
    assert not ledger.balanced
    ledger.close()
    assert stored(path)[0] == ("t0", "cleared", "")
    account = read_account(path.parent)
    assert (account.cleared, account.never_configured, account.leftover) == (2, 1, 1)
    assert account.balanced


def test_a_failed_write_reaches_everyone_who_waits_and_everyone_after(path: Path) -> None:
    store = Store(path, {})
    told: list[LedgerError] = []
    ledger = Ledger(store, on_failure=told.append)
    ledger.record_intent("t1")
    ledger.flush()
    store.close()  # the next write finds the file closed
    ledger.record_intent("t2")
    with pytest.raises(LedgerError, match="can't be written"):
        ledger.flush()
    with pytest.raises(LedgerError, match="can't be written"):
        ledger.record_intent("t3")
    assert len(told) == 1


def test_closing_notes_the_orderly_end_and_may_be_repeated(path: Path) -> None:
    ledger = Ledger(Store(path, {"run_id": "r", "worker": "w"}))
    ledger.close()
    ledger.close()
    with sqlite3.connect(path) as db:
        assert int(db.execute("SELECT value FROM meta WHERE key = 'ended_ns'").fetchone()[0]) > 0
    db.close()


def test_whoever_asks_is_told_of_what_has_reached_the_disk(path: Path) -> None:
    told: list[str] = []
    ledger = Ledger(Store(path, {}), on_commit=lambda g: told.extend(row[1] for row in g.inserts))
    ledger.record_intent("t1")
    ledger.flush()
    assert told == ["t1"]
    assert stored(path) == [("t1", "intended", "")]
    ledger.close()


def test_those_who_waited_for_one_commit_do_not_go_on_all_at_once(path: Path) -> None:
    """What each of them does then is much more than a turn of the loop may take for all."""
    store = Store(path, {})
    ledger, gone = Ledger(store), []

    def guest(number: int) -> None:
        ledger.record_intent(f"t{number}")
        ledger.flush()
        gone.append(number)

    with gevent.Timeout(20), turns(lambda: len(gone)) as counted:
        gevent.joinall([gevent.spawn(guest, number) for number in range(1000)], raise_error=True)
    ledger.close()
    assert gone == list(range(1000))
    assert max(counted.portions) <= 100
