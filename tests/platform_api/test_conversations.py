"""Conversations are found, told apart, and ended; pages are followed to the last."""

import uuid
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sessions import Guest, Simulated

from harness.errors import NO_ANSWER, PlatformApiError
from harness.platform_api import conversations
from harness.platform_api.client import organisation_limits
from harness.platform_api.conversations import (
    RUN_ATTRIBUTE,
    ConversationState,
    cleared_total,
    conversation_of_message,
    conversations_by_id,
    conversations_of_guests,
    conversations_of_run,
    disconnect,
    observe,
    open_conversations,
    result_or_none,
    state_now,
)
from harness.protocol.requests import journey_id

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
    assert {tagged.guest for tagged in ours.values()} == tags
    seen = {one.id: one for one in open_conversations(api, *SPAN)}
    assert ours.keys() <= seen.keys()
    assert {seen[one].state for one in ours} == {ConversationState.OPEN}
    api.close()


def test_guests_lead_to_their_conversations_ended_or_not(world: Simulated) -> None:
    tokens = [Guest(world, "whose", wait=False).token for _ in range(60)]  # more than one query
    ended = Guest(world, "whose")
    ended.clear()
    api = world.api()
    found = {
        one.journey: one.state
        for one in conversations_of_guests(
            api, [*map(journey_id, [*tokens, ended.token]), "nobody"], *SPAN
        )
    }
    over = journey_id(ended.token)
    assert found.keys() == {*map(journey_id, tokens), over}
    assert found[over] is ConversationState.ENDED
    assert {found[journey_id(token)] for token in tokens} == {ConversationState.OPEN}
    assert list(conversations_of_guests(api, [], *SPAN)) == []
    api.close()


def test_only_a_refusal_is_taken_for_no_answer() -> None:
    def refuse(status: int) -> str:
        raise PlatformApiError(status, "code", "text")

    assert result_or_none(lambda: "found") == "found"
    assert result_or_none(refuse, 403) is None
    with pytest.raises(PlatformApiError):
        result_or_none(refuse, 500)


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
    assert state_now(api, conversation) is ConversationState.OPEN
    disconnect(api, conversation)
    assert state_now(api, conversation) is ConversationState.ENDED
    assert conversation not in {one.id for one in open_conversations(api, *SPAN)}
    assert state_now(api, str(uuid.uuid4())) is ConversationState.UNKNOWN
    api.close()


def test_a_guest_who_has_left_an_agent_in_wrap_up_is_gone(world: Simulated) -> None:
    run_id = str(uuid.uuid4())
    guest = Guest(world, run_id, texts=3)  # the bot hands over to an agent
    api = world.api()
    (conversation,) = conversations_of_run(api, run_id, *SPAN)
    seen = {one.id: one for one in open_conversations(api, *SPAN)}
    assert seen[conversation].agent
    guest.clear()
    assert state_now(api, conversation) is ConversationState.WRAP_UP
    after = {one.id: one for one in open_conversations(api, *SPAN)}
    assert conversation not in after or after[conversation].state is ConversationState.WRAP_UP
    api.close()


def test_counts_without_ids(world: Simulated) -> None:
    api = world.api()
    Guest(world, str(uuid.uuid4()))
    assert observe(api, queues=[], flows=[]) == {}
    counts = observe(api, queues=[world.queue_id], flows=[world.flow_id])
    assert counts.keys() == {"oWaiting", "oInteracting", "oFlow"}
    assert counts["oFlow"] >= 1
    api.close()


def test_a_long_run_is_searched_in_slices_whatever_stands_before_the_names() -> None:
    with Simulated("--knob", "attribute_prefix=context.", "--knob", "search_span_s=4h") as world:
        guest = Guest(world, "the run")
        Guest(world, "another")
        api = world.api()
        week = (NOW - timedelta(days=7), NOW + timedelta(hours=1))
        found = conversations_of_run(api, "the run", *week)
        assert [(one.guest, one.prefix) for one in found.values()] == [(guest.tag, "context.")]
        api.close()


@pytest.mark.parametrize("view", ["analytics", "conversation", "search"])
def test_an_external_guest_is_a_guest(view: str) -> None:
    with Simulated("--knob", f"purpose_in_{view}=external") as world:
        open_one, over = Guest(world, "r"), Guest(world, "r")
        over.clear()
        api = world.api()
        found = {one.guest: key for key, one in conversations_of_run(api, "r", *SPAN).items()}
        assert state_now(api, found[open_one.tag]) is ConversationState.OPEN
        assert state_now(api, found[over.tag]) is ConversationState.ENDED
        seen = {one.id: one for one in conversations_by_id(api, list(found.values()), *SPAN)}
        assert seen[found[open_one.tag]].state is ConversationState.OPEN
        assert seen[found[open_one.tag]].gone is None
        assert seen[found[over.tag]].gone is not None
        assert (seen[found[over.tag]].cleared, cleared_total(api, *SPAN)) == (True, 1)
        api.close()


def test_an_interval_of_months_is_asked_for_in_parts(world: Simulated) -> None:
    guest = Guest(world, str(uuid.uuid4()))
    api = world.api()
    long = (NOW - timedelta(days=95), NOW + timedelta(hours=1))
    wanted = [journey_id(guest.token)]
    assert [one.journey for one in conversations_of_guests(api, wanted, *long)] == wanted
    api.close()


def test_what_the_service_lists_and_does_not_give_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conversations, "PAGE_SIZE", 2)
    monkeypatch.setattr(conversations, "MOST_RESULTS", 4)
    with Simulated("--knob", "most_results=4") as world:
        for _ in range(7):
            Guest(world, "r")
        api = world.api()
        left_out: list[int] = []
        day = (NOW - timedelta(hours=12), NOW + timedelta(hours=1))
        found = list(open_conversations(api, *day, on_left_out=left_out.append))
        assert (len(found), left_out) == (4, [3])
        api.close()


class Paging:
    """A Platform API that answers with these pages, one after the other, the last for ever."""

    def __init__(self, *pages: dict[str, Any]) -> None:
        self._pages = list(pages)
        self.asked = 0

    def post(self, _path: str, _body: Any) -> Any:
        self.asked += 1
        assert self.asked < 50, "it asks for ever"
        return self._pages.pop(0) if len(self._pages) > 1 else self._pages[0]


def listed(total: int, *ids: str) -> dict[str, Any]:
    return {"totalHits": total, "conversations": [{"conversationId": one} for one in ids]}


@pytest.mark.parametrize(
    ("pages", "count", "missing"),
    [
        ([listed(3, "a", "b"), listed(3, "c")], 3, []),
        ([listed(3, "a", "b"), listed(3)], 2, [1]),  # a page is missing
        ([listed(4, "a", "b"), listed(4, "a", "b")], 2, [2]),  # the same page again and again
        ([listed(4, "a", "b"), listed(2, "b")], 2, []),  # some have ended meanwhile
        ([listed(5)], 0, [5]),
    ],
)
def test_what_is_counted_and_not_listed_is_told(
    pages: list[dict[str, Any]], count: int, missing: list[int]
) -> None:
    left_out: list[int] = []
    api: Any = Paging(*pages)
    assert len(list(open_conversations(api, *SPAN, on_left_out=left_out.append))) == count
    assert left_out == missing


def test_without_its_guest_nobody_knows_how_a_conversation_stands() -> None:
    class Shown:
        def get(self, _path: str) -> Any:
            return {"participants": [{"purpose": "agent", "endTime": "2026-11-28T01:02:03Z"}]}

    api: Any = Shown()
    assert state_now(api, "c") is ConversationState.UNKNOWN


THEN, LATER = "2026-11-28T01:02:03Z", "2026-11-28T01:02:04Z"
NO_ENDS = [True, 5, "soon", [LATER], {"a": LATER}, "2099-01-01T00:00:00Z", "2026-11-28T01:02:02Z"]
"""What may stand where an end belongs, of a thing that began at ``THEN``, and is none."""


class Telling:
    """A Platform API that knows one conversation."""

    def __init__(self, *shown: dict[str, Any]) -> None:
        self._shown = shown

    def get(self, _path: str) -> dict[str, Any]:
        return self._shown[0]

    def post(self, _path: str, _body: Any) -> dict[str, Any]:
        return {"totalHits": len(self._shown), "conversations": list(self._shown)}


def in_analytics(*segments: Any, cleared: Any = None, **more: Any) -> dict[str, Any]:
    session = {"segments": list(segments), "cleared": cleared}
    guest = {"purpose": "customer", "sessions": [session]}
    return {"conversationId": "c", "conversationStart": THEN, "participants": [guest], **more}


def state_of(*shown: dict[str, Any]) -> ConversationState:
    api: Any = Telling(*shown)
    (seen,) = conversations_by_id(api, ["c"], *SPAN)
    return seen.state


@pytest.mark.parametrize("end", NO_ENDS)
def test_only_a_time_that_has_come_is_an_end(end: Any) -> None:
    begun = {"segmentStart": THEN}
    over = {**begun, "segmentEnd": LATER}
    assert state_of(in_analytics(begun, conversationEnd=end)) is ConversationState.OPEN
    assert state_of(in_analytics(over, {**begun, "segmentEnd": end})) is ConversationState.OPEN
    leg = {"id": "c", "participants": [{"purpose": "customer", "startTime": THEN, "endTime": end}]}
    assert state_now(cast(Any, Telling(leg)), "c") is ConversationState.OPEN
    assert state_of(in_analytics(begun, conversationEnd=LATER)) is ConversationState.ENDED
    assert state_of(in_analytics(over)) is ConversationState.WRAP_UP


@pytest.mark.parametrize("cleared", ["false", "true", 1, [0], {}])
def test_only_true_says_that_the_guest_has_cleared(cleared: Any) -> None:
    assert state_of(in_analytics({}, cleared=cleared)) is ConversationState.OPEN
    assert state_of(in_analytics({}, cleared=True)) is ConversationState.WRAP_UP


def test_a_session_without_segments_has_not_ended() -> None:
    one = in_analytics({"segmentEnd": LATER})
    one["participants"][0]["sessions"].append({"segments": []})
    assert state_of(one) is ConversationState.OPEN


def test_what_is_shown_both_as_ended_and_as_open_is_open() -> None:
    ended, still = in_analytics(conversationEnd=LATER), in_analytics()
    assert state_of(ended, still) is ConversationState.OPEN
    assert state_of(still, ended) is ConversationState.OPEN


def test_conversations_that_were_not_asked_for_are_not_taken() -> None:
    api: Any = Telling(in_analytics(), {**in_analytics(), "conversationId": "another's"})
    assert [one.id for one in conversations_by_id(api, ["c"], *SPAN)] == ["c"]


def test_the_view_of_another_conversation_says_nothing_of_this_one() -> None:
    leg = {"purpose": "customer", "state": "disconnected"}
    other: Any = Telling({"id": "another's", "participants": [leg]})
    assert state_now(other, "c") is ConversationState.UNKNOWN
    assert state_now(cast(Any, Telling({"id": "C", "participants": [leg]})), "c").over


def test_a_leg_with_an_end_that_is_still_connected_has_not_ended() -> None:
    leg = {"purpose": "customer", "state": "connected", "endTime": LATER}
    api: Any = Telling({"id": "c", "participants": [leg]})
    assert state_now(api, "c") is ConversationState.OPEN


@pytest.mark.parametrize("answer", [{"jobId": "j"}, {"error": "internal", "message": "oops"}])
def test_an_answer_about_something_else_is_no_empty_list(answer: dict[str, Any]) -> None:
    api: Any = Paging(answer)
    for ask in (
        lambda: list(open_conversations(api, *SPAN)),
        lambda: conversations_of_run(api, "r", *SPAN),
        lambda: observe(api, queues=["q"], flows=[]),
        lambda: cleared_total(api, *SPAN),
    ):
        with pytest.raises(PlatformApiError, match=NO_ANSWER) as caught:
            ask()
        assert caught.value.refused


def found_by(cursor: str, *ids: str) -> dict[str, Any]:
    data = [{"participantAttributes": {RUN_ATTRIBUTE: "r"}}]
    rows = [{"conversationId": one, "participantData": data} for one in ids]
    return {"results": rows, "cursor": cursor}


@pytest.mark.parametrize(
    ("pages", "count", "ends"),
    [
        ([found_by("x", "a"), found_by("y"), found_by("", "b")], 2, True),
        ([found_by("x", "a"), found_by("x")], 1, True),
        ([found_by("x", "a"), found_by("x", "b")], 2, False),
        ([found_by("x", "a"), found_by("y", "b"), found_by("x", "a")], 2, False),
    ],
)
def test_a_list_without_an_end_is_left_and_told(
    pages: list[dict[str, Any]], count: int, ends: bool
) -> None:
    told: list[str] = []
    api: Any = Paging(*pages)
    found = conversations_of_run(api, "r", *SPAN, on_no_end=lambda: told.append("no end"))
    assert (len(found), told) == (count, [] if ends else ["no end"])


def test_calls_in_the_same_queue_are_not_counted() -> None:
    with Simulated("--knob", "other_media=40") as world:
        Guest(world, "r")
        api = world.api()
        assert observe(api, queues=[], flows=[world.flow_id]) == {"oFlow": 1}
        api.close()


NAMES = ["conversations", "totalHits", "conversationId", "participants", "purpose", "sessions"]
NAMES += ["segments", "segmentEnd", "cleared", "journeyCustomerId", "results", "cursor", "data"]
NAMES += ["participantData", "participantAttributes", "runId", "state", "metric", "stats", "count"]
answers = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 300_000) | st.sampled_from(["r", "customer", "x"]),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=5)
    ),
    max_leaves=20,
)


class Saying:
    """A Platform API that says the same to everything, for so many times."""

    def __init__(self, answer: Any) -> None:
        self._answer, self._left = answer, 30

    def get(self, _path: str) -> Any:
        return self.post(_path, {})

    def post(self, _path: str, _body: Any) -> Any:
        self._left -= 1
        if not self._left:
            raise PlatformApiError(500, "enough")
        if not isinstance(self._answer, dict):
            raise PlatformApiError(200, NO_ANSWER)
        return self._answer


@given(answers)
def test_whatever_the_service_says_nothing_but_its_own_error_is_raised(answer: Any) -> None:
    for ask in (
        lambda api: list(open_conversations(api, *SPAN)),
        lambda api: list(conversations_of_guests(api, ["x"], *SPAN)),
        lambda api: list(conversations_by_id(api, ["x"], *SPAN)),
        lambda api: conversations_of_run(api, "r", *SPAN),
        lambda api: conversation_of_message(api, "m/../x"),
        lambda api: state_now(api, "x"),
        lambda api: observe(api, queues=["x"], flows=["y"]),
        lambda api: cleared_total(api, *SPAN),
        organisation_limits,
    ):
        with suppress(PlatformApiError):
            ask(Saying(answer))
