"""Texts, Join, echo, and the bot's answers."""

import pytest

from harness.simulator.limits import read_limits


def test_a_text_is_echoed_to_every_connection_and_answered(play) -> None:
    async def scenario(world):
        first = await world.ready()
        second = await world.ready(first.token)
        tracing_id = await first.say("hello")
        for guest in (first, second):
            echo, reply = await guest.next(), await guest.next()
            assert echo["tracingId"] == tracing_id
            assert echo["body"]["direction"] == "Inbound"
            assert echo["body"]["text"] == "hello"
            assert "tracingId" not in reply
            assert reply["body"]["direction"] == "Outbound"
            assert reply["body"]["originatingEntity"] == "Bot"
            assert reply["body"]["channel"]["time"] >= echo["body"]["channel"]["time"]
        truth = await world.truth()
        assert truth["conversations"] == {"opened": 1, "ended": 0, "open": 1}
        assert truth["messages"] == {"texts": 1, "replies": 1}
        assert truth["delays"]["reply"]["p50_ms"] >= 49

    play(scenario)


def test_join_starts_the_conversation_and_the_bot_greets(play) -> None:
    async def scenario(world):
        guest = await world.ready()
        tracing_id = await guest.presence("Join")
        echo, greeting = await guest.next(), await guest.next()
        assert echo["tracingId"] == tracing_id
        assert echo["body"]["events"] == [{"eventType": "Presence", "presence": {"type": "Join"}}]
        assert echo["body"]["direction"] == "Inbound"
        assert greeting["body"]["direction"] == "Outbound"

    play(scenario)


def test_before_configure_there_is_no_session(play) -> None:
    async def scenario(world):
        guest = await world.guest()
        for send in (guest.say("hello"), guest.presence("Join"), guest.presence("Clear")):
            await send
            assert (await guest.next())["code"] == 4007

    play(scenario)


def test_another_guests_token_opens_nothing(play) -> None:
    async def scenario(world):
        victim, other = await world.ready(), await world.ready()
        await other.send(
            action="onMessage", token=victim.token, message={"type": "Text", "text": "hello"}
        )
        assert (await other.next())["code"] == 4007
        assert await victim.silent()

    play(scenario)


def test_a_health_check_tells_the_expiry_as_strings_and_opens_no_conversation(play) -> None:
    async def scenario(world):
        guest = await world.ready()
        tracing_id = await guest.send(action="echo", message={"type": "Text", "text": "ping"})
        frame = await guest.next()
        assert (frame["type"], frame["class"]) == ("response", "StructuredMessage")
        assert frame["tracingId"] == tracing_id
        assert frame["body"]["metadata"]["durationSeconds"] == "259200"
        assert frame["body"]["metadata"]["expirationDate"].isdigit()
        assert (await world.truth())["conversations"]["opened"] == 0

    play(scenario)


def test_the_third_health_check_of_a_minute_is_refused(play) -> None:
    async def scenario(world):
        guest = await world.ready()
        codes = []
        for _ in range(3):
            await guest.send(action="echo", message={"type": "Text", "text": "ping"})
            codes.append((await guest.next())["code"])
        assert codes == [200, 200, 429]

    play(scenario, limits=read_limits("documented", {}))


@pytest.mark.parametrize("text", [7, None, ["a"], {"a": 1}])
def test_a_text_that_is_none_is_refused(play, text) -> None:
    async def scenario(world):
        guest = await world.ready()
        await guest.message(type="Text", text=text)
        assert (await guest.next())["code"] == 400

    play(scenario)


def test_the_run_is_read_from_the_custom_attributes(play) -> None:
    async def scenario(world):
        guest = await world.ready()
        await guest.presence("Join", channel={"metadata": {"customAttributes": {"runId": "r-17"}}})
        await guest.next()
        await world.ready()
        status, run = await world.get("/sim/truth?run_id=r-17")
        assert status == 200
        assert run["sessions"]["open"] == 1
        assert run["open_tokens"] == [guest.token]
        await guest.clear()
        assert (await world.get("/sim/truth?run_id=r-17"))[1]["sessions"]["cleared"] == 1

    play(scenario)
