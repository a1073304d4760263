"""Only what a dead process has left is swept; the living look after their own."""

import uuid
from pathlib import Path
from typing import Any

import pytest
from sessions import leave_open, settings_for

from harness.clock import wall_ns
from harness.guest.outcomes import Ending
from harness.ledger.ledger import Stage, Store, with_unanswered
from harness.ledger.reader import meta_of_this_process, read_account, read_leftovers
from harness.reconcile.sweep import find_leftovers, find_lost, sweep

pytestmark = pytest.mark.process


def ledger(directory: Path, worker: str, tokens: list[str], **meta: str) -> None:
    store = Store(directory / f"ledger-{worker}.sqlite", {"worker": worker, **meta})
    store.write([(n, token, Stage.JOINED, 1, 1) for n, token in enumerate(tokens, 1)], [], {})
    store.close()


def test_the_sessions_of_a_dead_process_are_ended(simulator: Any, tmp_path: Path) -> None:
    before = simulator.open_tokens()
    dead = leave_open(simulator, 3)
    ledger(tmp_path, "dead", dead, host="", pid="0")
    ledger(tmp_path, "alive", [str(uuid.uuid4())], **meta_of_this_process())
    ledger(tmp_path, "ended", [str(uuid.uuid4())], ended_ns="9")
    workers, leftovers = find_lost(tmp_path)
    assert workers == ["dead"]
    assert {left.token for left in leftovers} == set(dead)
    assert sweep(leftovers, settings_for(simulator)).left == 0
    assert simulator.open_tokens() <= before
    assert [left.worker for left in read_leftovers(tmp_path)] == ["alive", "ended"]
    account = read_account(tmp_path)
    assert (account.settled, account.workers_lost) == (3, 1)
    assert find_lost(tmp_path)[1] == []


def test_one_elsewhere_is_lost_only_when_its_heartbeat_is_old(tmp_path: Path) -> None:
    heard_ns = wall_ns() - 8_500_000_000
    token = str(uuid.uuid4())
    ledger(tmp_path, "far", [token], host="far-away", pid="1", heartbeat_ns=str(heard_ns))
    ledger(tmp_path, "near", [str(uuid.uuid4())], **meta_of_this_process())
    _, leftovers = find_lost(tmp_path)
    assert [left.token for left in leftovers] == [token]
    assert wall_ns() - heard_ns > 10_000_000_000


@pytest.mark.parametrize("lacks", [{"copy_of": "far"}, {"damaged": "a page of it was garbage"}])
def test_a_file_that_may_lack_what_was_asked_last_settles_nothing_too_early(
    lacks: dict[str, str], simulator: Any, tmp_path: Path
) -> None:
    tokens = leave_open(simulator, 1)
    heard_ns = wall_ns() - 11_000_000_000
    ledger(tmp_path, "far", tokens, host="far-away", heartbeat_ns=str(heard_ns), **lacks)
    (left,) = find_leftovers(tmp_path)
    assert left.asked_ns == heard_ns + 10_000_000_000
    assert not left.asked_once
    result = sweep([left], settings_for(simulator), deadline_s=1.0)
    assert result.endings == {Ending.NOT_YET: 1}
    assert not {*tokens} & simulator.open_tokens()
    result = sweep(find_leftovers(tmp_path), settings_for(simulator, late_within_s=0.5))
    assert result.endings == {Ending.GONE: 1}
    assert find_leftovers(tmp_path) == []


def test_a_row_that_a_clock_elsewhere_has_stamped_is_no_older_than_we_heard_of_its_worker(
    tmp_path: Path,
) -> None:
    heard_ns = wall_ns() - 11_000_000_000
    meta = {"run_id": "r", "worker": "far", "host": "far-away", "copy_of": "far"}
    store = Store(tmp_path / "ledger-far.sqlite", meta | {"heartbeat_ns": str(heard_ns)})
    store.write(
        [(1, str(uuid.uuid4()), Stage.INTENDED, 1, 1)],
        [(Stage.LOST, with_unanswered("cut"), "", 1, 1)],  # half a century behind
        {},
    )
    store.close()
    (left,) = find_leftovers(tmp_path)
    assert left.asked_ns == heard_ns + 10_000_000_000
