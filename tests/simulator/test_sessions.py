"""configureSession and closeSession."""

import pytest


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
