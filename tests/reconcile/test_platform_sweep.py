"""What the guest's side can't end, the operator's side disconnects; the rest stays listed."""

import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sessions import Guest, Simulated, ledger_of

from harness.ledger.leftovers import read_account, read_leftovers
from harness.ledger.store import Stage
from harness.platform_api.conversations import open_conversations
from harness.reconcile.platform_sweep import sweep_by_platform

pytestmark = pytest.mark.process

NOW = datetime.now(UTC)
SPAN = {"start": NOW - timedelta(hours=1), "end": NOW + timedelta(hours=1)}


@pytest.mark.parametrize("shown", ["true", "false"])
def test_conversations_are_disconnected_and_settled(tmp_path: Path, shown: str) -> None:
    run_id = str(uuid.uuid4())
    with Simulated("--fault", "forbid_clear=1", "--knob", f"journey_shown={shown}") as world:
        tagged = Guest(world, run_id)
        untagged = Guest(world, "another name")  # found by its journey id, or by its message
        silent = Guest(world, run_id, texts=0, wait=False)
        over = Guest(world, run_id)
        ledger_of(
            tmp_path,
            (tagged, Stage.LOST),
            (untagged, Stage.LOST),
            (silent, Stage.CONFIGURED),
            (over, Stage.LOST),
        )
        world.simulator.faults()
        over.clear()
        api = world.api()
        result = sweep_by_platform(list(read_leftovers(tmp_path)), api, run_id, **SPAN)
        assert (result.disconnected, result.over_already, result.not_found) == (2, 1, 1)
        assert result.settled == 3
        assert list(open_conversations(api, SPAN["start"], SPAN["end"])) == []
        assert [left.token for left in read_leftovers(tmp_path)] == [silent.token]
        assert read_account(tmp_path).settled == 3
        api.close()
