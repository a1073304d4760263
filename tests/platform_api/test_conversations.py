"""Conversations are found, told apart, and ended; pages are followed to the last."""

import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from sessions import Guest, Simulated

from harness.errors import PlatformApiError
from harness.platform_api.conversations import (
    Standing,
    conversation_of_message,
    conversations_of_guests,
    conversations_of_run,
    disconnect,
    observe,
    open_conversations,
    standing_now,
    where_allowed,
)

pytestmark = pytest.mark.process

NOW = datetime.now(UTC)
SPAN = (NOW - timedelta(hours=1), NOW + timedelta(hours=1))


@pytest.fixture(scope="module")
def world() -> Iterator[Simulated]:
    with Simulated("--agents", "5", "--hand-over-after", "2", "--wrapup", "30s") as running:
        yield running


def test_all_pages_of_what_is_open(world: Simulated) -> None:
    run_id = str(uuid.uuid4())
    tags = {Guest(world, run_id).tag for _ in range(130)}
    api = world.api()
    ours = conversations_of_run(api, run_id, *SPAN)
    assert set(ours.values()) == tags
    seen = {one.id: one for one in open_conversations(api, *SPAN)}
    assert ours.keys() <= seen.keys()
    assert {seen[one].standing for one in ours} == {Standing.OPEN}
    api.close()


def test_guests_lead_to_their_conversations_ended_or_not(world: Simulated) -> None:
    tokens = [Guest(world, "whose", wait=False).token for _ in range(60)]  # more than one query
    ended = Guest(world, "whose")
    ended.clear()
    api = world.api()
    found = {
        one.journey: one.standing
        for one in conversations_of_guests(api, [*tokens, ended.token, "nobody"], *SPAN)
    }
    assert found.keys() == {*tokens, ended.token}
    assert found[ended.token] is Standing.ENDED
    assert {found[token] for token in tokens} == {Standing.OPEN}
    assert list(conversations_of_guests(api, [], *SPAN)) == []
    api.close()


def test_only_a_refusal_is_taken_for_no_answer() -> None:
    def refuse(status: int) -> str:
        raise PlatformApiError(status, "code", "text")

    assert where_allowed(lambda: "found") == "found"
    assert where_allowed(refuse, 403) is None
    with pytest.raises(PlatformApiError):
        where_allowed(refuse, 500)


def test_a_message_leads_to_its_conversation(world: Simulated) -> None:
    run_id = str(uuid.uuid4())
    guest = Guest(world, run_id)
    api = world.api()
    (conversation,) = conversations_of_run(api, run_id, *SPAN)
    assert conversation_of_message(api, guest.message_id) == conversation
    assert conversation_of_message(api, uuid.uuid4().hex) is None
    api.close()


def test_disconnecting_ends_it(world: Simulated) -> None:
    run_id = str(uuid.uuid4())
    Guest(world, run_id)
    api = world.api()
    (conversation,) = conversations_of_run(api, run_id, *SPAN)
    assert standing_now(api, conversation) is Standing.OPEN
    assert disconnect(api, conversation) is Standing.ENDED
    assert conversation not in {one.id for one in open_conversations(api, *SPAN)}
    assert standing_now(api, str(uuid.uuid4())) is Standing.UNKNOWN
    api.close()


def test_a_guest_who_has_left_an_agent_in_wrap_up_is_gone(world: Simulated) -> None:
    run_id = str(uuid.uuid4())
    guest = Guest(world, run_id, texts=3)  # the bot hands over to an agent
    api = world.api()
    (conversation,) = conversations_of_run(api, run_id, *SPAN)
    seen = {one.id: one for one in open_conversations(api, *SPAN)}
    assert seen[conversation].agent
    guest.clear()
    assert standing_now(api, conversation) is Standing.WRAP_UP
    after = {one.id: one for one in open_conversations(api, *SPAN)}
    assert conversation not in after or after[conversation].standing is Standing.WRAP_UP
    api.close()


def test_counts_without_ids(world: Simulated) -> None:
    api = world.api()
    Guest(world, str(uuid.uuid4()))
    assert observe(api, queues=[], flows=[]) == {}
    counts = observe(api, queues=[world.queue_id], flows=[world.flow_id])
    assert counts.keys() == {"oWaiting", "oInteracting", "oFlow"}
    assert counts["oFlow"] >= 1
    api.close()
