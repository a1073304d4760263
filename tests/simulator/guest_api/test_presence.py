"""Join, typing, and presences nobody sends."""

import pytest


def test_typing_is_silent_or_refused(play) -> None:
    async def scenario(world):
        guest = await world.ready()
        await guest.message(
            type="Event", events=[{"eventType": "Typing", "typing": {"type": "On"}}]
        )
        if await guest.silent(0.1):
            return None
        return guest.seen[-1]

    assert play(scenario) is None
    assert "Turn on the Feature Toggle" in str(play(scenario, deployment={"typing": False}))


@pytest.mark.parametrize("kind", ["Disconnect", "SignIn", "Authenticate"])
def test_other_presences_are_echoed_and_do_nothing(play, kind) -> None:
    async def scenario(world):
        guest = await world.ready()
        await guest.presence(kind)
        assert (await guest.next())["body"]["events"][0]["presence"]["type"] == kind
        truth = await world.truth()
        assert (truth["sessions"]["open"], truth["conversations"]["opened"]) == (1, 0)

    play(scenario)


@pytest.mark.parametrize(
    "message",
    [
        {"type": "Event"},
        {"type": "Event", "events": []},
        {"type": "Event", "events": {}},
        {"type": "Event", "events": ["x"]},
        {"type": "Event", "events": [{"eventType": "Presence", "presence": {"type": "Dance"}}]},
        {"type": "Event", "events": [{"eventType": "Presence", "presence": 7}]},
        {"type": "Event", "events": [{"eventType": "Typing", "typing": {"type": "Off"}}]},
    ],
)
def test_events_that_make_no_sense(play, message) -> None:
    async def scenario(world):
        guest = await world.ready()
        await guest.message(**message)
        assert (await guest.next())["code"] == 400

    play(scenario)


def test_join_is_refused_in_a_read_only_session(play) -> None:
    async def scenario(world):
        guest = await world.ready()
        await guest.presence("Join")
        await guest.until("StructuredMessage")
        await world.call("POST", f"/sim/sessions/{guest.token}/disconnect")
        await guest.presence("Join")
        assert (await guest.until(lambda f: f["code"] != 200))["code"] == 409

    play(scenario, deployment={"disconnect": "read_only"})
