"""configureSession and closeSession."""

import pytest

from harness.simulator.settings import Knobs

DEPLOYMENT = "11111111-2222-4333-8444-555555555555"


def test_new_then_resumed(play) -> None:
    async def scenario(world):
        guest = await world.guest()
        first = await guest.configure()
        assert first["type"] == "response"
        assert first["body"]["connected"] is True
        assert first["body"]["newSession"] is True
        assert first["body"]["readOnly"] is False
        assert first["body"]["maxCustomDataBytes"] == 2048
        assert first["body"]["durationSeconds"] == 259200
        await guest.ws.close()
        again = await world.guest(guest.token)
        assert (await again.configure())["body"]["newSession"] is False
        truth = await world.truth()
        assert truth["sessions"]["opened"] == 1
        assert truth["open_tokens"] == [guest.token]

    play(scenario)


def test_start_new_orphans_the_old_conversation(play) -> None:
    async def scenario(world):
        guest = await world.ready()
        await guest.say("hello")
        await guest.next()
        assert (await guest.configure(startNew=True))["body"]["newSession"] is True
        truth = await world.truth()
        assert truth["sessions"] == {
            "opened": 2,
            "cleared": 0,
            "expired": 0,
            "replaced": 1,
            "open": 1,
        }
        assert truth["conversations"]["open"] == 1
        (replaced,) = world.service.past[guest.token]
        assert replaced.connections == []  # it keeps nothing alive

    play(scenario)


def test_the_fourth_connection_retires_the_oldest(play) -> None:
    async def scenario(world):
        first = await world.ready()
        others = [await world.ready(first.token) for _ in range(3)]
        frame = await first.next()
        assert (frame["class"], frame["type"], frame["body"]) == (
            "ConnectionClosedEvent",
            "message",
            {},
        )
        await others[0].say("still here")
        for other in others:
            assert (await other.until("StructuredMessage"))["body"]["text"] == "still here"
        assert await first.silent()

    play(scenario)


@pytest.mark.parametrize(
    ("request_fields", "code"),
    [
        ({"token": None}, 4020),
        ({"deploymentId": None}, 4020),
        ({"deploymentId": "another"}, 400),
        ({"deploymentId": 7}, 400),
        ({"token": 7}, 400),
        ({"token": ""}, 400),
        ({"token": "x" * 2049}, 400),
    ],
)
def test_a_bad_configure_is_refused(play, request_fields, code) -> None:
    async def scenario(world):
        guest = await world.guest()
        fields = {"deploymentId": next(iter(world.service.deployments)), **request_fields}
        tracing_id = await guest.send(action="configureSession", **fields)
        frame = await guest.next()
        assert (frame["class"], frame["code"]) == ("string", code)
        assert frame["tracingId"] == tracing_id
        assert (await world.truth())["sessions"]["opened"] == 0

    play(scenario)


def test_close_session_for_all(play) -> None:
    async def scenario(world):
        first = await world.ready()
        second = await world.ready(first.token)
        await first.send(action="closeSession", closeAllConnections=True)
        assert (await first.next())["body"]["connected"] is False
        assert (await second.next())["class"] == "ConnectionClosedEvent"
        await first.say("anyone?")
        assert (await first.next())["code"] == 4007
        assert (await world.truth())["open_tokens"] == [first.token]

    play(scenario)


def test_close_session_needs_its_parameter_and_a_session(play) -> None:
    async def scenario(world):
        guest = await world.guest()
        await guest.send(action="closeSession", closeAllConnections=True)
        assert (await guest.next())["code"] == 4007
        await guest.configure()
        await guest.send(action="closeSession")
        assert (await guest.next())["code"] == 4020

    play(scenario)


@pytest.mark.parametrize(
    ("knobs", "body", "code"),
    [
        ({}, {}, None),
        ({"closed_connection_code": 1000}, {}, 1000),
        ({"closed_connection_code": 1001}, {}, 1001),
    ],
)
def test_whether_the_server_closes_a_retired_connection_is_a_knob(play, knobs, body, code) -> None:
    async def scenario(world):
        first = await world.ready()
        for _ in range(3):
            await world.ready(first.token)
        assert (await first.next())["body"] == body
        if code is None:
            assert await first.silent(0.2)
        else:
            assert await first.closed() == code

    play(scenario, knobs=Knobs(**knobs))


def test_the_attributes_limit_may_be_missing_for_a_new_session(play) -> None:
    async def scenario(world):
        guest = await world.guest()
        assert "maxCustomDataBytes" not in (await guest.configure())["body"]
        assert "maxCustomDataBytes" in (await guest.configure())["body"]

    play(scenario, knobs=Knobs(max_custom_data_bytes_absent=True))


def test_no_more_sessions_than_the_bound(play, capsys) -> None:
    async def scenario(world):
        guest = await world.ready()
        other = await world.guest()
        await other.send(action="configureSession", deploymentId=DEPLOYMENT)
        assert (await other.next())["code"] == 503
        assert (await guest.configure())["body"]["newSession"] is False
        await guest.clear()
        assert (await other.configure())["body"]["newSession"] is True

    play(scenario, knobs=Knobs(max_sessions=1))
    assert "max_sessions" in capsys.readouterr().err


@pytest.mark.parametrize(("ends", "still_open"), [(True, 0), (False, 1)])
def test_whether_expiry_ends_the_conversation_is_a_knob(play, ends, still_open) -> None:
    async def scenario(world):
        guest = await world.ready()
        await guest.say("hello")
        await world.when(lambda: world.service.truth.whole.sessions_expired == 1)
        return (await world.truth())["conversations"]["open"]

    found = play(
        scenario,
        deployment={"session_duration_s": 0.2},
        knobs=Knobs(expiry_ends_conversation=ends),
    )
    assert found == still_open
