"""Agents: taking over, places, wrap-up, and leftovers that occupy them."""

from harness.simulator.options import read_limits
from harness.simulator.settings import AgentSettings, BotSettings, Knobs

FAST = BotSettings(hand_over_after=1)


async def handed_over(world):
    guest = await world.ready()
    await guest.say("hello")
    await world.when(lambda: world.service.agents.occupied or world.service.agents.waiting)
    return guest


def test_an_agent_takes_over_types_and_answers(play) -> None:
    async def scenario(world):
        guest = await handed_over(world)
        is_typing = await guest.until(lambda f: "events" in f["body"])
        assert is_typing["body"]["events"][0]["typing"] == {"type": "On", "duration": 5000}
        first = await guest.until(lambda f: f["body"].get("originatingEntity") == "Human")
        assert first["body"]["channel"]["from"]["nickname"] == "Agent 1"
        await guest.say("where is it?")
        answer = await guest.until(
            lambda f: (
                "where is it?" in f["body"].get("text", "") and f["body"]["direction"] == "Outbound"
            )
        )
        assert answer["body"]["originatingEntity"] == "Human"
        delays = (await world.truth())["delays"]
        assert (delays["reply"]["count"], delays["agent_reply"]["count"]) == (1, 2)
        (conversation,) = world.service.conversations.values()
        assert [(p.purpose, p.state.value) for p in conversation.participants] == [
            ("customer", "connected"),
            ("workflow", "disconnected"),
            ("acd", "disconnected"),
            ("agent", "connected"),
        ]

    play(scenario, bot=FAST, agents=AgentSettings(number=1))


def test_the_field_of_the_typing_events_length_is_a_knob(play) -> None:
    async def scenario(world):
        guest = await handed_over(world)
        is_typing = await guest.until(lambda f: "events" in f["body"])
        assert is_typing["body"]["events"][0]["typing"]["durationMs"] == 5000

    knobs = Knobs(typing_field="durationMs")
    play(scenario, bot=FAST, agents=AgentSettings(number=1), knobs=knobs)


def test_leftovers_occupy_places_and_others_wait(play) -> None:
    async def scenario(world):
        leftover = await handed_over(world)
        await leftover.ws.close()
        waiting = await handed_over(world)
        await world.when(lambda: len(world.service.agents.waiting) == 1)
        figures = (await world.truth())["agents"]
        assert figures == {"agents": 1, "places": 1, "occupied": 1, "waiting": 1}
        back = await world.ready(leftover.token)
        await back.clear()
        await waiting.until(lambda f: f["body"].get("originatingEntity") == "Human")

    play(scenario, bot=FAST, agents=AgentSettings(number=1, concurrency=1))


def test_wrap_up_holds_the_place_though_the_guest_is_cleared(play) -> None:
    async def scenario(world):
        guest = await handed_over(world)
        await guest.clear()
        truth = await world.truth()
        assert truth["conversations"]["open"] == 0
        assert truth["agents"]["occupied"] == 1
        (conversation,) = world.service.conversations.values()
        assert conversation.over is None
        world.service.agents.wrapped_up(conversation)
        assert (await world.truth())["agents"]["occupied"] == 0
        assert conversation.over >= conversation.end

    play(scenario, bot=FAST, agents=AgentSettings(number=1, wrapup_s=60.0))


def test_one_who_clears_while_waiting_is_passed_over(play) -> None:
    async def scenario(world):
        first, second, third = [await handed_over(world) for _ in range(3)]
        await world.when(lambda: len(world.service.agents.waiting) == 2)
        await second.clear()
        await first.clear()
        await third.until(lambda f: f["body"].get("originatingEntity") == "Human")
        assert (await world.truth())["agents"]["waiting"] == 0

    play(scenario, bot=FAST, agents=AgentSettings(number=1, concurrency=1))


def test_agents_may_end_it_after_so_many_texts(play) -> None:
    async def scenario(world):
        guest = await handed_over(world)
        frame = await guest.until(lambda f: f["body"].get("events", [{}])[0].get("presence"))
        assert frame["body"]["events"][0]["presence"]["type"] == "Disconnect"
        (conversation,) = world.service.conversations.values()
        assert conversation.customer.disconnect_type == "peer"

    play(
        scenario,
        deployment={"disconnect": "send"},
        bot=FAST,
        agents=AgentSettings(number=1, ends_after=1),
    )


def test_without_a_bot_conversations_go_straight_to_the_queue(play) -> None:
    async def scenario(world):
        guest = await world.ready()
        await guest.presence("Join")
        await guest.until(lambda f: f["body"].get("originatingEntity") == "Human")

    play(scenario, bot=BotSettings(on=False), agents=AgentSettings(number=2))


def test_typing_is_not_shown_more_often_than_documented(play) -> None:
    async def scenario(world):
        guest = await handed_over(world)
        await guest.until(lambda f: f["body"].get("originatingEntity") == "Human")
        for number in range(5):
            await guest.say(str(number))
        heard = "4"
        await guest.until(
            lambda f: (
                f["body"].get("text", "").endswith(heard) and f["body"]["direction"] == "Outbound"
            )
        )
        return sum("events" in frame["body"] for frame in guest.seen if "class" in frame)

    limits = read_limits("off", {"typings_per_conversation_per_minute": "3"})
    found = play(scenario, bot=FAST, agents=AgentSettings(number=1), limits=limits)
    assert found == 3
