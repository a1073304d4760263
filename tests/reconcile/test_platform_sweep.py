"""What the guest's side can't end, the operator's side disconnects; the rest stays listed."""

import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sessions import Guest, Simulated, ledger_of

from harness.ledger.ledger import Stage
from harness.ledger.reader import read_account, read_leftovers
from harness.platform_api.conversations import open_conversations
from harness.reconcile.audit import Search, Span
from harness.reconcile.platform import Disconnect, sweep_by_platform

pytestmark = pytest.mark.process

NOW = datetime.now(UTC)
SPAN = Span(NOW - timedelta(hours=1), NOW + timedelta(hours=1), NOW + timedelta(hours=1))


@pytest.mark.parametrize("shown", ["true", "false"])
def test_conversations_are_disconnected_and_settled(tmp_path: Path, shown: str) -> None:
    run_id = str(uuid.uuid4())
    with Simulated("--knob", f"journey_shown={shown}") as world:
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
        over.clear()
        api = world.api()
        result = sweep_by_platform(list(read_leftovers(tmp_path)), Search(api, run_id, SPAN))
        assert result == {
            Disconnect.DONE: 2,
            Disconnect.OVER_ALREADY: 1,
            Disconnect.NOT_FOUND: 1,
        }
        assert list(open_conversations(api, SPAN.start, SPAN.end)) == []
        assert [left.token for left in read_leftovers(tmp_path)] == [silent.token]
        account = read_account(tmp_path)  # the sessions themselves were not ended by it
        assert (account.settled, account.disconnected, account.leftover) == (0, 3, 1)
        api.close()


def left_open(world: Simulated, directory: Path, run_id: str, number: int = 3) -> None:
    ledger_of(directory, *((Guest(world, run_id), Stage.LOST) for _ in range(number)))


@pytest.mark.parametrize("purpose", ["customer", "external"])
@pytest.mark.parametrize("view", ["shown", "missing"])
def test_it_waits_until_the_disconnect_shows(tmp_path: Path, view: str, purpose: str) -> None:
    run_id = str(uuid.uuid4())
    knobs = ("--knob", "disconnect_lag_s=0.5", "--knob", f"direct_view={view}")
    knobs += ("--knob", f"purpose_in_analytics={purpose}")
    knobs += ("--knob", f"purpose_in_conversation={purpose}")
    with Simulated(*knobs) as world:
        left_open(world, tmp_path, run_id)
        assert world.simulator.truth()["conversations"]["open"] == 3
        result = sweep_by_platform(
            list(read_leftovers(tmp_path)), Search(world.api(), run_id, SPAN)
        )
        assert world.simulator.truth()["conversations"]["open"] == 0
    assert result == {Disconnect.DONE: 3}
    assert list(read_leftovers(tmp_path)) == []


def test_what_does_not_end_in_time_stays_a_leftover(tmp_path: Path) -> None:
    run_id = str(uuid.uuid4())
    with Simulated("--knob", "disconnect_lag_s=60") as world:
        left_open(world, tmp_path, run_id)
        left = list(read_leftovers(tmp_path))
        result = sweep_by_platform(left, Search(world.api(), run_id, SPAN), within_s=0.2)
        assert world.simulator.truth()["conversations"]["open"] == 3
    assert result == {Disconnect.STILL_OPEN: 3}
    assert len(list(read_leftovers(tmp_path))) == 3


def test_an_end_that_does_not_show_is_not_believed(tmp_path: Path) -> None:
    run_id = str(uuid.uuid4())
    knobs = ("--knob", "direct_view=missing", "--knob", "platform_lag_s=3600")
    with Simulated(*knobs) as world:
        left_open(world, tmp_path, run_id)
        left = list(read_leftovers(tmp_path))
        result = sweep_by_platform(left, Search(world.api(), run_id, SPAN), within_s=0.2)
        assert world.simulator.truth()["conversations"]["open"] == 0
    assert result == {Disconnect.NOT_TOLD: 3}
    assert len(list(read_leftovers(tmp_path))) == 3


def test_another_divisions_conversations_are_not_found_and_a_refusal_is_told(
    tmp_path: Path,
) -> None:
    client = '[[client]]\nid = "simulated-client"\nsecret = "simulated-secret"\n'
    profile = tmp_path / "profile.toml"
    for more, said in (
        ('divisions = ["elsewhere"]\n', Disconnect.NOT_FOUND),
        ("", Disconnect.REFUSED),
    ):
        permissions = 'permissions = ["conversation:webmessaging:view"]\n'
        profile.write_text(client + permissions + more)
        run_id, directory = str(uuid.uuid4()), tmp_path / f"run{len(more)}"
        directory.mkdir()
        with Simulated("--profile", str(profile)) as world:
            left_open(world, directory, run_id)
            left = list(read_leftovers(directory))
            result = sweep_by_platform(left, Search(world.api(), run_id, SPAN), within_s=0.2)
            assert world.simulator.truth()["conversations"]["open"] == 3
        assert result.total() == 3
        assert all(what.startswith(said) for what in result)
