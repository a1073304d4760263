"""Ending by the other side, threading, and another's message."""

from harness.simulator.settings import Knobs


async def talking(world):
    guest = await world.ready()
    await guest.say("hello")
    await guest.until(lambda f: f["body"].get("direction") == "Outbound")
    return guest


async def end(world, guest) -> None:
    assert (await world.call("POST", f"/sim/sessions/{guest.token}/disconnect"))[0] == 200


def only_conversations(world) -> list[str]:
    return [conversation.id for conversation in world.service.conversations.values()]


def test_off_tells_the_guest_nothing(play) -> None:
    async def scenario(world):
        guest = await talking(world)
        await end(world, guest)
        assert await guest.silent()
        assert (await world.truth())["conversations"]["open"] == 0

    play(scenario)


def test_send_tells_and_the_next_message_continues_the_same_conversation(play) -> None:
    async def scenario(world):
        guest = await talking(world)
        await end(world, guest)
        body = (await guest.next())["body"]
        assert body["events"][0]["presence"]["type"] == "Disconnect"
        assert (body["direction"], body["metadata"]["readOnly"]) == ("Outbound", "false")
        await guest.say("one more thing")
        await guest.until(lambda f: f["body"].get("text") == "one more thing")
        truth = await world.truth()
        assert truth["conversations"] == {"opened": 1, "ended": 0, "open": 1}
        assert truth["counts"]["conversations_reopened"] == 1

    play(scenario, deployment={"disconnect": "send"})


def test_after_the_threading_time_a_new_conversation_starts(play) -> None:
    async def scenario(world):
        guest = await talking(world)
        await end(world, guest)
        await guest.say("anew")
        await guest.until(lambda f: f["body"].get("text") == "anew")
        assert len(set(only_conversations(world))) == 2

    play(scenario, knobs=Knobs(threading_s=0.0))


def test_read_only_until_a_new_session_is_started(play) -> None:
    async def scenario(world):
        guest = await talking(world)
        await end(world, guest)
        assert (await guest.next())["body"]["metadata"]["readOnly"] == "true"
        await guest.say("still there?")
        assert (await guest.next())["code"] == 409
        resumed = await guest.configure()
        assert (resumed["body"]["newSession"], resumed["body"]["readOnly"]) == (False, True)
        await guest.send(action="closeSession", closeAllConnections=True)
        closed = (await guest.next())["body"]
        assert (closed["connected"], closed["readOnly"]) == (False, True)
        anew = await guest.configure(startNew=True)
        assert (anew["body"]["newSession"], anew["body"]["readOnly"]) == (True, False)
        await guest.say("hello again")
        assert (await guest.next())["code"] == 200

    play(scenario, deployment={"disconnect": "read_only"})


def test_a_read_only_session_can_be_cleared(play) -> None:
    async def scenario(world):
        guest = await talking(world)
        await end(world, guest)
        await guest.clear()
        assert (await world.truth())["sessions"]["cleared"] == 1

    play(scenario, deployment={"disconnect": "read_only"})


def test_another_sessions_message_is_delivered_here_too(play) -> None:
    async def scenario(world):
        victim = await world.ready()
        guest = await world.ready()
        await guest.say("a secret")
        frame = await victim.next()
        assert "a secret" in frame["body"]["text"]
        assert frame["body"]["direction"] == "Outbound"

    play(scenario, faults={"cross_talk": 1})
