"""The four lists, each with a case of its own; what lags is waited for; wrap-up is no leftover."""

import time
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sessions import Guest, Simulated, ledger_of

from harness.ledger.ledger import Stage
from harness.platform_api.conversations import ConversationState, Seen
from harness.reconcile.audit import Audit, Search, Span, audit

pytestmark = pytest.mark.process

NOW = datetime.now(UTC)
SPAN = Span(NOW - timedelta(hours=1), NOW + timedelta(hours=1), NOW + timedelta(hours=1))


@pytest.fixture(scope="module")
def world() -> Iterator[Simulated]:
    with Simulated("--agents", "9", "--hand-over-after", "2", "--wrapup", "60s") as running:
        yield running


def set_few(monkeypatch: pytest.MonkeyPatch, few: int) -> None:
    """What counts as few sessions: 0 lets a handful be treated as thousands are."""
    monkeypatch.setattr("harness.reconcile.audit.FEW_SESSIONS", few)


def ask(world: Simulated, directory: Path, run_id: str, **more: Any) -> Audit:
    api = more.pop("api", None) or world.api()
    search = Search(api, run_id, SPAN, more.pop("closed", ()))
    found = audit(directory, search, **{"deadline_s": 0.0, **more})
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
    assert (found.clean, found.unknown) == (False, [])
    assert (found.spoke, found.visible, found.all_visible) == (4, 4, True)
    assert unknown.token not in str(found)
    assert (found.cleared_in_ledger, found.cleared) == (3, 2)
    assert found.cleared_by_all is not None
    assert found.cleared_by_all >= 2


def test_nothing_open_is_clean_at_the_first_look(world: Simulated, tmp_path: Path) -> None:
    run_id = str(uuid.uuid4())
    guest = Guest(world, run_id)
    guest.clear()
    ledger_of(tmp_path, (guest, Stage.CLEARED))
    found = ask(world, tmp_path, run_id, deadline_s=60.0)
    assert (found.clean, found.all_visible, found.looks) == (True, True, 1)
    assert found.ends.samples


@pytest.mark.parametrize(
    ("few", "shown", "prefix", "way"),
    [
        (200, "true", "", "message id"),
        (0, "true", "", "attributes"),
        (0, "true", "context.", "attributes"),
        (0, "true", None, "journey id"),
        (0, "false", None, "message id"),
    ],
)
def test_each_road_leads_to_the_conversations(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    few: int,
    shown: str,
    prefix: str | None,
    way: str,
) -> None:
    set_few(monkeypatch, few)
    knobs = ("--knob", f"journey_shown={shown}", "--knob", f"attribute_prefix={prefix or ''}")
    run_id = str(uuid.uuid4())
    with Simulated(*knobs) as world:
        named = run_id if prefix is not None else "attributes that say another run"
        cleared, left, forged = (Guest(world, named) for _ in range(3))
        cleared.clear()
        ledger_of(tmp_path, (cleared, Stage.CLEARED), (left, Stage.LOST), (forged, Stage.CLEARED))
        found = ask(world, tmp_path, run_id)
    assert [one.token for one in found.leftovers] == [f"{left.token[:8]}…"]
    assert [one.token for one in found.cleared_yet_open] == [f"{forged.token[:8]}…"]
    assert found.matched == {way: 3}
    assert (found.visible, found.certain) == (3, True)


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


WORLDS: dict[str, tuple[str, ...]] = {
    "external in analytics": ("--knob", "purpose_in_analytics=external"),
    "external everywhere": (
        *("--knob", "purpose_in_analytics=external", "--knob", "purpose_in_search=external"),
        *("--knob", "purpose_in_conversation=external"),
    ),
    "no direct view": ("--knob", "direct_view=missing"),
    "external and no direct view": (
        *("--knob", "purpose_in_analytics=external", "--knob", "direct_view=missing"),
    ),
    "lagging analytics": ("--knob", "platform_lag_s=3600", "--knob", "search_lag_s=3600"),
    "nothing but messages": (
        *("--knob", "platform_lag_s=3600", "--knob", "search_lag_s=3600"),
        *("--knob", "journey_shown=false"),
    ),
}


@pytest.mark.parametrize("name", WORLDS)
@pytest.mark.parametrize("few", [200, 0])
def test_what_is_open_is_told_in_any_world(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, few: int
) -> None:
    """Against the service's own count, also where the ledger claims that all were cleared."""
    set_few(monkeypatch, few)
    run_id = str(uuid.uuid4())
    with Simulated(*WORLDS[name]) as world:
        left, forged, cleared = (Guest(world, run_id) for _ in range(3))
        cleared.clear()
        ledger_of(tmp_path, (left, Stage.LOST), (forged, Stage.CLEARED), (cleared, Stage.CLEARED))
        found = ask(world, tmp_path, run_id)
        assert world.simulator.truth()["conversations"]["open"] == 2
        assert (len(found.leftovers), len(found.cleared_yet_open)) == (1, 1)
        assert not found.clean
        left.clear()
        forged.clear()
        found = ask(world, tmp_path, run_id)
        assert world.simulator.truth()["conversations"]["open"] == 0
        assert (found.clean, found.certainly_open) == (True, 0)


def test_where_nothing_can_be_seen_nothing_is_clean(tmp_path: Path) -> None:
    """Analytics lags and one conversation can't be looked at: it may be open, for all we know."""
    run_id = str(uuid.uuid4())
    knobs = ("--knob", "direct_view=missing", "--knob", "platform_lag_s=3600")
    with Simulated(*knobs) as world:
        guests = [Guest(world, run_id) for _ in range(3)]
        guests[0].clear()
        ledger_of(tmp_path, *((guest, Stage.CLEARED) for guest in guests))
        found = ask(world, tmp_path, run_id)
        assert (found.certainly_open, len(found.unknown)) == (0, 3)
        assert (found.all_visible, found.certain, found.clean) == (True, False, False)


@pytest.mark.parametrize("few", [200, 0])
def test_a_client_that_sees_another_division_finds_nothing_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, few: int
) -> None:
    set_few(monkeypatch, few)
    profile = tmp_path / "profile.toml"
    profile.write_text(
        '[[client]]\nid = "simulated-client"\nsecret = "simulated-secret"\ndivisions = ["home"]\n'
    )
    run_id = str(uuid.uuid4())
    options = ("--profile", str(profile), "--deployment", "division_id=home")
    with Simulated(*options, "--knob", "foreign_every=2") as world:
        seen, hidden, silent = (Guest(world, run_id) for _ in range(3))
        seen.clear()
        silent.clear()
        ledger_of(tmp_path, (seen, Stage.CLEARED), (hidden, Stage.LOST), (silent, Stage.CLEARED))
        found = ask(world, tmp_path, run_id)
        assert (found.spoke, found.visible) == (3, 2)
        assert [one.token for one in found.unknown] == [f"{hidden.token[:8]}…"]
        assert (found.certainly_open, found.clean) == (0, False)


def test_without_proof_analytics_alone_is_not_believed(
    world: Simulated, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It says that the conversation has ended, and the conversation itself is open."""
    run_id = str(uuid.uuid4())
    left = Guest(world, run_id)
    ledger_of(tmp_path, (left, Stage.LOST))
    api = world.api()
    post = api.post

    def ended(path: str, body: Any) -> Any:
        answer = post(path, body)
        for one in answer.get("conversations", []):
            one["conversationEnd"] = one["conversationStart"]
        return answer

    monkeypatch.setattr(api, "post", ended)
    found = ask(world, tmp_path, run_id, api=api)
    assert [one.token for one in found.leftovers] == [f"{left.token[:8]}…"]


def test_a_conversation_of_others_that_is_shown_twice_counts_once(
    tmp_path: Path, world: Simulated, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = [Seen(id="x", state=ConversationState.OPEN)] * 2
    monkeypatch.setattr("harness.reconcile.audit.open_conversations", lambda *_, **__: shown)
    run_id = str(uuid.uuid4())
    ledger_of(tmp_path)
    assert ask(world, tmp_path, run_id).others == 1


def test_each_question_that_is_refused_is_told_and_the_others_asked(tmp_path: Path) -> None:
    profile = tmp_path / "profile.toml"
    profile.write_text(
        '[[client]]\nid = "simulated-client"\nsecret = "simulated-secret"\n'
        'permissions = ["conversation:webmessaging:view"]\n'
    )
    run_id = str(uuid.uuid4())
    with Simulated("--profile", str(profile)) as world:
        left, cleared = Guest(world, run_id), Guest(world, run_id)
        cleared.clear()
        ledger_of(tmp_path, (left, Stage.LOST), (cleared, Stage.CLEARED))
        found = ask(world, tmp_path, run_id)
    assert [one.token for one in found.leftovers] == [f"{left.token[:8]}…"]
    assert found.certain
    assert found.cleared_by_all is None
    assert "conversationDetail:view" in found.refused["open conversations"]
    assert "attributesview" in found.refused["conversations by their attributes"]


def test_of_many_sessions_only_leftovers_are_asked_for_one_by_one_until_the_last_look(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_few(monkeypatch, 0)
    run_id = str(uuid.uuid4())
    with Simulated("--knob", "platform_lag_s=3600") as world:
        guests = [Guest(world, run_id) for _ in range(6)]
        for guest in guests[:5]:
            guest.clear()
        ledger_of(tmp_path, *((one, Stage.CLEARED) for one in guests[:5]), (guests[5], Stage.LOST))
        api = world.api()
        asked: list[str] = []
        get = api.get

        def counting(path: str) -> Any:
            asked.append(path)
            return get(path)

        monkeypatch.setattr(api, "get", counting)
        calls: list[int] = []
        looks: list[tuple[int, int]] = []

        def on_look(found: Audit) -> None:
            looks.append((len(found.leftovers), len(found.unknown)))
            calls.append(len(asked))
            asked.clear()

        options: dict[str, Any] = {"api": api, "deadline_s": 0.3, "on_look": on_look}
        found = ask(world, tmp_path, run_id, **options, sleep=lambda _: time.sleep(0.5))
    assert looks[0] == (1, 5)
    assert looks[-1] == (1, 0)  # at last each was asked for
    assert calls[0] == 1
    assert calls[-1] == 6
    assert found.certainly_open == 1


def test_a_damaged_ledger_may_hide_what_is_open(world: Simulated, tmp_path: Path) -> None:
    run_id = str(uuid.uuid4())
    guest = Guest(world, run_id)
    guest.clear()
    ledger_of(tmp_path, (guest, Stage.CLEARED))
    assert ask(world, tmp_path, run_id).clean
    (tmp_path / "ledger-torn.sqlite").write_bytes(b"no database")
    found = ask(world, tmp_path, run_id)
    assert (found.certainly_open, found.clean, len(found.damaged)) == (0, False, 1)
