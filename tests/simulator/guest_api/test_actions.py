"""Dispatch: what is let through, what is malformed, and faults at each step."""

import asyncio

import pytest

from harness.simulator.options import read_limits
from harness.simulator.settings import Knobs


@pytest.mark.parametrize(
    "data",
    [
        "",
        "nonsense",
        "[]",
        "42",
        '"text"',
        "{}",
        '{"action":"fly"}',
        '{"action":["echo"]}',
        "[" * 5000,
    ],
)
def test_what_cannot_be_routed_gets_the_gateways_answer(play, data) -> None:
    async def scenario(world):
        guest = await world.guest()
        await guest.ws.send_str(data)
        answer = await guest.next()
        assert answer["message"] == "Forbidden"
        assert "class" not in answer
        await guest.configure()

    play(scenario)


def test_the_services_own_form_is_a_knob(play) -> None:
    async def scenario(world):
        guest = await world.guest()
        await guest.ws.send_str("nonsense")
        assert (await guest.next())["code"] == 400

    play(scenario, knobs=Knobs(malformed_reply="error"))


def test_silence_may_be_the_answer_too(play) -> None:
    async def scenario(world):
        guest = await world.guest()
        await guest.ws.send_str("nonsense")
        assert await guest.silent()
        assert (await world.truth())["counts"]["malformed"] == 1

    play(scenario, knobs=Knobs(malformed_reply="silence"))


def test_invalid_utf_8_closes_with_1007(play) -> None:
    async def scenario(world):
        guest = await world.guest()
        await guest.ws.send_frame(b'{"action":"\xff\xfe"}', 1)
        assert await guest.closed() == 1007

    play(scenario)


def test_a_missing_token_is_fine_once_configured(play) -> None:
    async def scenario(world):
        guest = await world.ready()
        await guest.ws.send_json({"action": "echo", "message": {"type": "Text", "text": "ping"}})
        assert (await guest.next())["body"]["text"] == "ping"

    play(scenario)


def test_the_61st_request_of_a_minute_is_refused(play) -> None:
    async def scenario(world):
        guest = await world.ready()
        codes = []
        for _ in range(5):
            await guest.send(action="echo", message={})
            codes.append((await guest.next())["code"])
        assert codes == [200, 200, 200, 429, 429]
        assert 50 < guest.seen[-1]["body"]["retryAfter"] <= 60

    play(scenario, limits=read_limits("off", {"requests_per_connection_per_minute": "4"}))


@pytest.mark.parametrize("when", ["before", "after", "answered"])
def test_a_cut_before_after_and_with_the_answer(play, when) -> None:
    async def scenario(world):
        guest = await world.ready()
        await guest.presence("Clear")
        seen = []
        while (got := await guest.ws.receive(timeout=5)).type == 1:
            seen.append(got.json()["class"])
        truth = await world.truth()
        (told,) = (await world.get(f"/sim/sessions/{guest.token}"))[1]["sessions"]
        assert "cut (fault)" in [event["what"] for event in told["events"]]
        return truth["sessions"]["cleared"], "SessionClearedEvent" in seen

    outcome = play(scenario, faults={"cut": f"1,at=clear,when={when}"})
    assert outcome == {"before": (0, False), "after": (1, False), "answered": (1, True)}[when]


def test_half_open_accepts_and_never_answers(play) -> None:
    async def scenario(world):
        guest = await world.guest()
        await guest.send(action="configureSession", deploymentId="x")
        assert await guest.silent(0.2)
        assert (await world.truth())["sessions"]["opened"] == 0

    play(scenario, faults={"half_open": "1,at=configure"})


def test_a_forced_1001_in_mid_conversation_can_be_resumed(play) -> None:
    async def scenario(world):
        guest = await world.ready()
        await guest.say("hello")
        assert await guest.closed() == 1001
        world.service.faults.replace({})
        again = await world.guest(guest.token)
        assert (await again.configure())["body"]["newSession"] is False

    play(scenario, faults={"go_away": 1})


def test_a_stall_holds_everybody_up_and_is_recorded(play) -> None:
    async def scenario(world):
        first, second = await world.ready(), await world.ready()
        world.service.faults.replace({"stall": "#1,seconds=300ms"})
        await first.say("hello")
        await second.say("hello")
        assert await second.silent(0.1)
        began = asyncio.get_running_loop().time()
        assert (await world.token())[0] == 200  # the Platform API stands still as well
        assert (await world.truth())["delays"]["stall"]["count"] >= 3
        assert asyncio.get_running_loop().time() > began
        assert (await first.next())["body"]["text"] == "hello"
        assert (await second.next())["body"]["text"] == "hello"
        return (await world.truth())["delays"]["stall"]

    stall = play(scenario)
    assert stall["count"] >= 1
    assert stall["max_ms"] > 200


def test_a_request_limit_fault_answers_429(play) -> None:
    async def scenario(world):
        guest = await world.ready()
        await guest.say("hello")
        frame = await guest.next()
        assert (frame["code"], frame["body"]["retryAfter"]) == (429, 3)

    play(scenario, faults={"limit_any": "1,seconds=3"})


@pytest.mark.parametrize("code", [400, 401, 404, 408, 5000])
def test_any_error_code_can_be_had_as_a_fault(play, code) -> None:
    async def scenario(world):
        guest = await world.ready()
        await guest.say("hello")
        assert (await guest.next())["code"] == code
        await guest.say("hello")
        assert (await guest.next())["code"] == 200

    play(scenario, faults={"fail": f"#1,code={code}"})


def test_the_undocumented_action_is_refused(play) -> None:
    async def scenario(world):
        guest = await world.ready()
        await guest.send(action="disconnectCustomer")
        assert (await guest.next())["code"] == 400

    play(scenario)


def test_errors_may_come_as_the_schemas_class(play) -> None:
    async def scenario(world):
        guest = await world.guest()
        await guest.say("hello")
        frame = await guest.next()
        assert (frame["class"], frame["code"], frame["body"]["errorCode"]) == ("Error", 4007, 4007)

    play(scenario, knobs=Knobs(error_class="Error"))
