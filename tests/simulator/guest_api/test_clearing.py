"""Presence Clear: the sequence, what refuses it, and what can go wrong with it."""

import pytest

from harness.simulator.settings import Knobs


def classes(frames) -> list[str]:
    return [frame["class"] for frame in frames]


def test_the_sequence_on_every_connection(play) -> None:
    async def scenario(world):
        first = await world.ready()
        second = await world.ready(first.token)
        await first.say("hello")
        await first.next()
        tracing_id = await first.presence("Clear")
        for guest in (first, second):
            guest.seen.clear()
            await guest.until("ConnectionClosedEvent")
            ended = [f for f in guest.seen if f["body"].get("direction") != "Outbound"][-3:]
            assert classes(ended) == [
                "StructuredMessage",
                "SessionClearedEvent",
                "ConnectionClosedEvent",
            ]
            assert ended[0]["tracingId"] == tracing_id
            assert ended[0]["body"]["events"][0]["presence"]["type"] == "Clear"
            assert ended[1]["body"] == {}
        truth = await world.truth()
        assert truth["sessions"]["cleared"] == 1
        assert truth["conversations"] == {"opened": 1, "ended": 1, "open": 0}
        assert truth["open_tokens"] == []

    play(scenario)


def test_the_same_token_then_starts_anew(play) -> None:
    async def scenario(world):
        guest = await world.ready()
        await guest.say("hello")
        await guest.clear()
        await guest.say("hello?")
        assert (await guest.until(lambda f: f["code"] != 200))["code"] == 4007
        assert (await guest.configure())["body"]["newSession"] is True
        await guest.say("hello!")
        await guest.next()
        truth = await world.truth()
        assert truth["sessions"]["opened"] == 2
        assert truth["conversations"]["opened"] == 2

    play(scenario)


def test_a_session_without_a_conversation_can_be_cleared(play) -> None:
    async def scenario(world):
        guest = await world.ready()
        await guest.clear()
        assert (await world.truth())["sessions"]["cleared"] == 1

    play(scenario)


def test_with_the_setting_off_it_is_refused_and_all_stays_open(play) -> None:
    async def scenario(world):
        guest = await world.ready()
        tracing_id = await guest.presence("Clear")
        frame = await guest.next()
        assert (frame["type"], frame["class"], frame["code"]) == ("response", "string", 403)
        assert frame["body"] == "Presence events Conversation Clear are not supported"
        assert frame["tracingId"] == tracing_id
        assert (await world.truth())["open_tokens"] == [guest.token]

    play(scenario, deployment={"conversation_clear": False})


@pytest.mark.parametrize(
    ("fault", "code", "cleared"),
    [
        ("forbid_clear", 403, 0),
        ("limit_clear", 429, 0),
        ("ignore_clear", None, 0),
        ("lose_clear_reply", None, 1),
    ],
)
def test_faults_of_clear(play, fault, code, cleared) -> None:
    async def scenario(world):
        guest = await world.ready()
        await guest.presence("Clear")
        if code is None:
            assert await guest.silent()
        else:
            assert (await guest.next())["code"] == code
        truth = await world.truth()
        assert truth["sessions"]["cleared"] == cleared
        assert truth["open_tokens"] == ([] if cleared else [guest.token])
        assert truth["faults"] == {fault: 1}

    play(scenario, faults={fault: 1})


def test_the_last_event_may_be_missing_or_late(play) -> None:
    async def scenario(world):
        guest = await world.ready()
        await guest.presence("Clear")
        await guest.until("SessionClearedEvent")
        missing = await guest.silent(0.15)
        world.service.faults.replace({"late_connection_closed": "1,seconds=600ms"})
        await guest.configure()
        await guest.presence("Clear")
        asked = world.service.now()
        await guest.until("SessionClearedEvent")
        await guest.until("ConnectionClosedEvent")
        assert world.service.now() - asked > 0.5
        return missing

    assert play(scenario, faults={"no_connection_closed": 1})


def test_a_delayed_clear_is_carried_out_later_and_recorded(play) -> None:
    async def scenario(world):
        guest = await world.ready()
        await guest.presence("Clear")
        asked = world.service.now()
        await guest.until("SessionClearedEvent")
        assert world.service.now() - asked > 0.5
        truth = await world.truth()
        assert truth["sessions"]["open"] == 0
        assert truth["delays"]["clear"]["p50_ms"] == 600

    play(scenario, faults={"delay_clear": "1,seconds=600ms"})


def test_order_envelope_and_close_are_knobs(play) -> None:
    async def scenario(world):
        guest = await world.ready()
        found = await guest.clear()
        assert classes(found) == [
            "SessionClearedEvent",
            "StructuredMessage",
            "ConnectionClosedEvent",
        ]
        assert found[1]["type"] == "response"
        assert await guest.closed() == 1001

    knobs = Knobs(
        clear_order="cleared,echo,closed",
        clear_echo_type="response",
        close_after_clear=1001,
        close_after_clear_s=0.01,
    )
    play(scenario, knobs=knobs)


def test_the_conversation_may_end_later_than_the_session(play) -> None:
    async def scenario(world):
        guest = await world.ready()
        await guest.say("hello")
        await guest.next()
        (conversation,) = world.service.conversations.values()
        await guest.clear()
        cleared = world.service.now()
        await world.when(lambda: not conversation.open)
        assert conversation.end - cleared > 0.4

    play(scenario, knobs=Knobs(conversation_end_lag_s=0.6))


def test_an_answer_under_way_may_come_after_the_clear(play) -> None:
    async def scenario(world):
        guest = await world.ready()
        await guest.clear()
        late = await guest.next()
        assert late["body"]["direction"] == "Outbound"

    play(scenario, faults={"late_reply": 1})
