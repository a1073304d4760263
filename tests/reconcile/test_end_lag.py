"""The lag of a conversation's end: planted at the simulator, found by the Platform API."""

import time
import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sessions import Guest, Simulated

from harness.ledger.ledger import Stage
from harness.ledger.reader import Row
from harness.platform_api.conversations import (
    ConversationState,
    Seen,
    conversations_by_id,
    conversations_of_run,
)
from harness.reconcile.audit import end_figures, end_lags

NOW = datetime.now(UTC)
SPAN = {"start": NOW - timedelta(hours=1), "end": NOW + timedelta(hours=1)}


def row(stage: Stage, changed_ns: int) -> Row:
    return (1, "token", stage, "", changed_ns, changed_ns, "m")


@pytest.mark.process
def test_a_planted_lag_is_measured_from_the_proof() -> None:
    with Simulated("--knob", "conversation_end_lag_s=0.7") as world:
        run_id, proofs, stages = str(uuid.uuid4()), {}, {}
        for _ in range(3):
            guest = Guest(world, run_id)
            guest.clear()
            proofs[guest.tag], stages[guest.tag] = time.time_ns(), Stage.CLEARED
        left = Guest(world, run_id)
        proofs[left.tag], stages[left.tag] = time.time_ns(), Stage.LOST
        time.sleep(0.8)
        api = world.api()
        ours = conversations_of_run(api, run_id, SPAN["start"], SPAN["end"])
        rows = {key: row(stages[one.guest], proofs[one.guest]) for key, one in ours.items()}
        shown = conversations_by_id(api, list(ours), SPAN["start"], SPAN["end"])
        found = end_lags(rows, {one.id: one for one in shown})
        api.close()
    assert (found.cleared, len(found.samples), found.before_proof) == (3, 3, 0)
    assert {at for at, _ in found.samples} <= set(proofs.values())
    for _, lag_ns in found.samples:
        assert 0.4 < lag_ns / 1e9 < 5


def seen(number: int, gone: str) -> Seen:
    at = datetime.fromisoformat(gone) if gone else None
    return Seen(id=str(number), state=ConversationState.ENDED, gone=at)


def test_what_ended_before_the_proof_counts_as_no_lag_and_what_is_not_shown_not_at_all() -> None:
    second = 1_000_000_000
    at = int(datetime(2026, 11, 22, 12, tzinfo=UTC).timestamp()) * second
    rows = {str(number): row(Stage.CLEARED, at) for number in range(4)}
    ends = ("2026-11-22T12:00:01.500Z", "2026-11-22T11:59:59.000Z", "")
    shown = {str(number): seen(number, gone) for number, gone in enumerate(ends)}
    found = end_lags(rows, shown)
    assert found.samples == [(at, second * 3 // 2), (at, 0)]
    assert (found.cleared, found.before_proof) == (4, 1)


def test_a_conversation_that_ends_in_the_far_future_is_as_late_as_can_be_counted(
    tmp_path: Path,
) -> None:
    found = end_lags({"0": row(Stage.CLEARED, 1)}, {"0": seen(0, "9999-12-31T23:59:59Z")})
    times = end_figures(tmp_path, found)["conversation_end"]
    assert times["count"] == 1
    assert times["service_ms"]["max"] > 7 * 86_400_000
