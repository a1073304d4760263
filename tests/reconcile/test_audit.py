"""The four lists, each with a case of its own; what lags is waited for; wrap-up is no leftover."""

import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sessions import Guest, Simulated, ledger_of

from harness.ledger.store import Stage
from harness.platform_api.client import PlatformApi
from harness.reconcile.audit import Audit, audit

pytestmark = pytest.mark.process

NOW = datetime.now(UTC)
SPAN = {"start": NOW - timedelta(hours=1), "end": NOW + timedelta(hours=1)}


@pytest.fixture(scope="module")
def world() -> Iterator[Simulated]:
    with Simulated("--agents", "9", "--hand-over-after", "2", "--wrapup", "60s") as running:
        yield running


def ask(world: Simulated, directory: Path, run_id: str, **more: Any) -> Audit:
    api = more.pop("api", None) or world.api()
    options: dict[str, Any] = {"deadline_s": 0.0, **SPAN, **more}
    found = audit(directory, run_id, api, **options)
    api.close()
    return found


def test_each_conversation_is_on_its_own_list(world: Simulated, tmp_path: Path) -> None:
    run_id = str(uuid.uuid4())
    cleared, left, forged, unknown = (Guest(world, run_id) for _ in range(4))
    wrapping = Guest(world, run_id, texts=3)
    Guest(world, "another run")
    cleared.clear()
    wrapping.clear()
    ledger_of(
        tmp_path,
        (cleared, Stage.CLEARED),
        (left, Stage.LOST),
        (forged, Stage.CLEARED),  # the ledger is wrong about this one
        (wrapping, Stage.CLEARED),
    )
    found = ask(world, tmp_path, run_id)
    assert [one.token for one in found.leftovers] == [f"{left.token[:8]}…"]
    assert [one.token for one in found.cleared_yet_open] == [f"{forged.token[:8]}…"]
    assert len(found.not_in_ledger) == 1
    assert found.not_in_ledger[0].token == ""
    assert found.others >= 1
    assert found.wrap_up == 1
    assert not found.clean
    assert (found.spoke, found.visible, found.all_visible) == (4, 5, True)
    assert unknown.token not in str(found)


def test_nothing_open_is_clean_at_the_first_look(world: Simulated, tmp_path: Path) -> None:
    run_id = str(uuid.uuid4())
    guest = Guest(world, run_id)
    guest.clear()
    ledger_of(tmp_path, (guest, Stage.CLEARED))
    found = ask(world, tmp_path, run_id, deadline_s=60.0)
    assert (found.clean, found.all_visible, found.looks) == (True, True, 1)


def test_without_attributes_journey_ids_lead_to_conversations(
    world: Simulated, tmp_path: Path
) -> None:
    cleared, left, forged = (Guest(world, "attributes that say another run") for _ in range(3))
    cleared.clear()
    ledger_of(tmp_path, (cleared, Stage.CLEARED), (left, Stage.LOST), (forged, Stage.CLEARED))
    found = ask(world, tmp_path, str(uuid.uuid4()))
    assert [one.token for one in found.leftovers] == [f"{left.token[:8]}…"]
    assert [one.token for one in found.cleared_yet_open] == [f"{forged.token[:8]}…"]
    assert found.matched == {"journey id": 2}
    assert (found.visible, found.all_visible) == (3, True)


def test_without_either_messages_lead_to_conversations(tmp_path: Path) -> None:
    with Simulated("--knob", "journey_shown=false") as world:
        guest = Guest(world, "attributes that say another run")
        ledger_of(tmp_path, (guest, Stage.LOST))
        found = ask(world, tmp_path, str(uuid.uuid4()))
    assert [one.token for one in found.leftovers] == [f"{guest.token[:8]}…"]
    assert found.matched == {"message id": 1}
    assert found.visible is None
    assert not found.all_visible  # not all could be seen: never taken for an all-clear


def test_attributes_may_be_shown_under_longer_names(tmp_path: Path) -> None:
    with Simulated("--knob", "attribute_prefix=context.") as world:
        run_id = str(uuid.uuid4())
        ledger_of(tmp_path, (Guest(world, run_id), Stage.LOST))
        assert ask(world, tmp_path, run_id).matched == {"journey id": 1}
        assert ask(world, tmp_path, run_id, prefix="context.").matched == {"attributes": 1}


def test_it_asks_again_until_the_end_shows(world: Simulated, tmp_path: Path) -> None:
    run_id = str(uuid.uuid4())
    guest = Guest(world, run_id)
    ledger_of(tmp_path, (guest, Stage.CLEARED))
    looks: list[bool] = []

    def on_look(found: Audit) -> None:
        looks.append(found.clean)
        if len(looks) == 2:
            guest.clear()  # what has been cleared shows late

    found = ask(world, tmp_path, run_id, deadline_s=60.0, on_look=on_look, sleep=lambda _: None)
    assert looks == [False, False, True]
    assert (found.looks, found.clean) == (3, True)


def test_a_sluggish_analytics_does_not_hide_what_is_open(tmp_path: Path) -> None:
    with Simulated("--knob", "platform_lag_s=3600") as world:
        run_id = str(uuid.uuid4())
        guest = Guest(world, run_id)
        ledger_of(tmp_path, (guest, Stage.LOST))
        api: PlatformApi = world.api()
        assert len(ask(world, tmp_path, run_id, api=api).leftovers) == 1
