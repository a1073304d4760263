"""Texts, Join, echo, and the bot's answers."""

import asyncio
import json

import pytest

from harness.simulator.options import read_limits
from harness.simulator.settings import BotSettings


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


def test_no_reply_comes_a_millisecond_early(play) -> None:
    async def scenario(world):
        guest = await world.ready()
        for _ in range(40):
            await guest.say("hello")
            await guest.next(), await guest.next()
        delays = world.service.truth.delays["reply"]
        assert sum(delays.buckets.values()) == 40
        assert min(delays.buckets) >= 49_400

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


@pytest.mark.parametrize("text", [7, ["a"], {"a": 1}, False])
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


def test_the_burst_limit_of_a_session(play) -> None:
    async def scenario(world):
        guest = await world.ready()
        for number in range(7):
            await guest.say(str(number))
        frames = [await guest.next() for _ in range(7)]
        assert [frame["code"] for frame in frames] == [200] * 5 + [429] * 2
        assert frames[-1]["body"]["errorCode"] == 4029
        assert frames[-1]["body"]["retryAfter"] == 1
        assert (await world.truth())["messages"]["texts"] == 5

    play(scenario, limits=read_limits("off", {"messages_per_session_per_second": "5"}))


def test_a_ceiling_of_all_guests_together(play) -> None:
    async def scenario(world):
        guests = [await world.ready() for _ in range(4)]
        for guest in guests:
            await guest.presence("Join")  # no text, and not counted
            await guest.next()
        for guest in guests:
            await guest.say("hello")
        codes = [(await guest.next())["code"] for guest in guests]
        assert codes == [200, 200, 200, 429]

    play(scenario, bot=BotSettings(on=False), limits=read_limits("off", {"texts_per_second": "3"}))


@pytest.mark.parametrize(
    ("text", "code"), [("x" * 4096, 200), ("x" * 4097, 4011), ("é" * 2048, 200), ("é" * 2049, 4011)]
)
def test_the_size_of_a_text_is_in_bytes(play, text, code) -> None:
    async def scenario(world):
        guest = await world.ready()
        await guest.say(text)
        frame = await guest.next()
        assert frame["code"] == code
        if code == 4011:
            assert "is larger than 4096" in frame["body"]

    play(scenario)


@pytest.mark.parametrize("kind", ["Text", "Structured"])
def test_a_quick_reply_is_heard_by_its_payload_whatever_its_type(play, kind) -> None:
    async def scenario(world):
        guest = await world.ready()
        button = {"type": "QuickReply", "text": "Yes", "payload": "yes-please"}
        content = [{"contentType": "ButtonResponse", "buttonResponse": button}]
        await guest.message(type=kind, text="Yes", content=content, metadata={"id": "m-1"})
        echo, answer = await guest.next(), await guest.next()
        assert (echo["body"]["type"], echo["body"]["text"]) == (kind, "Yes")
        assert echo["body"]["content"] == content
        assert echo["body"]["metadata"]["id"] == "m-1"
        assert "yes-please" in answer["body"]["text"]

    play(scenario)


@pytest.mark.parametrize(
    ("message", "code"),
    [
        ({}, 4020),
        ({"type": "Text"}, 4020),
        ({"type": "Dance", "text": "x"}, 400),
        ({"type": ["Text"], "text": "x"}, 400),
        ({"text": "x", "metadata": {"id": 7}}, 400),
        ({"text": "x", "metadata": "id"}, 400),
        ({"text": "x", "content": {"a": 1}}, 400),
        ({"text": "x", "content": ["a"]}, 400),
        ({"text": "x", "content": [{"contentType": "Card"}]}, 400),
        (
            {
                "text": "x",
                "content": [
                    {"contentType": "ButtonResponse", "buttonResponse": {"type": "Postback"}}
                ],
            },
            400,
        ),
    ],
)
def test_messages_that_are_refused_leave_nothing(play, message, code) -> None:
    async def scenario(world):
        guest = await world.ready()
        await guest.message(**message)
        assert (await guest.next())["code"] == code
        assert (await world.truth())["conversations"]["opened"] == 0

    play(scenario)


@pytest.mark.parametrize("message", [None, [], "text", 7])
def test_a_message_that_is_none(play, message) -> None:
    async def scenario(world):
        guest = await world.ready()
        await guest.send(action="onMessage", message=message)
        assert (await guest.next())["code"] == 4020

    play(scenario)


def test_a_health_check_tells_that_the_session_has_expired(play) -> None:
    async def scenario(world):
        guest = await world.ready()
        await world.when(lambda: world.service.truth.whole.sessions_expired == 1)
        await guest.send(action="echo", message={"type": "Text", "text": "ping"})
        frame = await guest.next()
        assert (frame["class"], frame["code"], frame["body"]) == ("SessionExpiredEvent", 200, {})

    play(scenario, deployment={"session_duration_s": 0.2})


def test_activity_pushes_the_expiry_forward(play) -> None:
    async def scenario(world):
        guest = await world.ready()
        for _ in range(4):
            await asyncio.sleep(0.4)
            await guest.say("still here")
            assert await guest.until(lambda f: f["body"].get("direction") == "Inbound")
        assert (await world.truth())["sessions"]["open"] == 1

    play(scenario, deployment={"session_duration_s": 1.3})


def test_a_receipt_is_taken_without_a_word(play) -> None:
    async def scenario(world):
        guest = await world.ready()
        await guest.message(type="Receipt", id="x", status="Read")
        assert await guest.silent()

    play(scenario)


T, D = "t-1", "11111111-2222-4333-8444-555555555555"
JOURNEY = {
    "customer": {"id": T, "idType": "cookie"},
    "customerSession": {"id": "", "type": "web"},
    "triggeringAction": {"id": "a", "actionMap": {"id": "m", "version": 1}},
}
PLACE = {"metadata": {"customAttributes": {"runId": "r-1"}}}
BUTTON = {"type": "QuickReply", "text": "Yes", "payload": "yes"}
ANSWER = [{"contentType": "ButtonResponse", "buttonResponse": BUTTON}]
CLIENTS = {
    "vendor's mobile SDK": [
        {
            "action": "configureSession",
            "deploymentId": D,
            "startNew": False,
            "journeyContext": JOURNEY,
            "tracingId": "1",
        },
        {
            "action": "onMessage",
            "tracingId": "2",
            "message": {
                "type": "Text",
                "text": "hello",
                "metadata": {"id": "x"},
                "channel": PLACE,
                "content": [],
            },
        },
        {"action": "echo", "tracingId": "3", "message": {"text": "ping", "type": "Text"}},
        {"action": "onMessage", "message": {"text": "Yes", "type": "Text", "content": ANSWER}},
    ],
    "vendor's Java SDK": [
        {"action": "configureSession", "deploymentId": D, "tracingId": None, "resumeToken": None},
        {
            "action": "onMessage",
            "time": "2026-11-22T12:00:00Z",
            "message": {"type": "Text", "text": "hello"},
            "channel": PLACE,
        },
        {
            "action": "onMessage",
            "message": {"type": "Structured", "text": "Yes", "content": ANSWER},
        },
    ],
    "functional testers": [
        {"action": "configureSession", "deploymentId": D},
        {
            "action": "onMessage",
            "message": {"type": "Text", "text": "hello"},
            "channel": {**PLACE, "from": {}},
        },
    ],
    "captured Messenger": [
        {
            "action": "configureSession",
            "deploymentId": D,
            "startNew": True,
            "mode": 0,
            "journeyContext": {**JOURNEY, "triggeringAction": None},
        },
        {"action": "onMessage", "message": {"type": "Text", "text": "hello", "events": None}},
    ],
    "browser widget": [
        {"action": "configureSession", "deploymentId": D, "someday": {"maybe": [1]}},
        {"action": "onMessage", "message": {"text": "hello", "type": "Text", "unknown": True}},
        {"action": "echo", "token": None, "message": {"type": "Text", "text": "ping"}},
    ],
}


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize("indent", [None, 4])
def test_the_requests_of_known_clients_are_understood(play, client, indent) -> None:
    async def scenario(world):
        guest = await world.guest(T)
        for request in CLIENTS[client]:
            whole = {"token": T, **request}
            if whole["token"] is None:
                del whole["token"]
            await guest.ws.send_str(json.dumps(whole, indent=indent))
            assert (await guest.next())["code"] == 200
        truth = await world.truth()
        assert truth["messages"]["texts"] >= 1
        assert not [name for name in truth["counts"] if name.startswith("error")]

    play(scenario, bot=BotSettings(on=False))
