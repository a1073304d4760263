"""How a conversation looks from the platform's side as things happen to it."""

from datetime import UTC, datetime, timedelta

import pytest

from harness.simulator.settings import AgentSettings, BotSettings, Knobs


def today() -> str:
    now = datetime.now(UTC)
    return f"{(now - timedelta(hours=1)).isoformat()}/{(now + timedelta(hours=1)).isoformat()}"


async def talking(world):
    guest = await world.ready()
    await guest.say("hello", channel={"metadata": {"customAttributes": {"runId": "r-1"}}})
    echo = await guest.next()
    _, told = await world.api("GET", f"/conversations/messages/{echo['body']['id']}/details")
    return guest, told["conversationId"]


def states(view) -> dict[str, str]:
    return {leg["purpose"]: leg["state"] for leg in view["participants"]}


def test_from_open_to_cleared(play) -> None:
    async def scenario(world):
        guest, conversation = await talking(world)
        _, view = await world.api("GET", f"/conversations/messages/{conversation}")
        assert states(view) == {"customer": "connected", "workflow": "connected"}
        assert view["participants"][0]["attributes"] == {"runId": "r-1"}
        assert "endTime" not in view
        await guest.clear()
        _, view = await world.api("GET", f"/conversations/messages/{conversation}")
        assert states(view) == {"customer": "disconnected", "workflow": "disconnected"}
        _, whole = await world.api("GET", f"/conversations/{conversation}")
        assert whole["endTime"] >= whole["startTime"]
        assert {one["messages"][0]["state"] for one in whole["participants"]} == {"disconnected"}

    play(scenario)


def test_a_cleared_conversation_in_wrap_up_has_no_end_yet(play) -> None:
    async def scenario(world):
        guest, conversation = await talking(world)
        await world.when(lambda: world.service.agents.occupied)
        await guest.clear()
        _, view = await world.api("GET", f"/conversations/messages/{conversation}")
        assert states(view)["customer"] == "disconnected"
        assert states(view)["agent"] == "connected"
        assert "endTime" not in view
        _, found = await world.api(
            "POST",
            "/analytics/conversations/details/query",
            json={"interval": today()},
        )
        (one,) = found["conversations"]
        assert "conversationEnd" not in one
        customer = next(leg for leg in one["participants"] if leg["purpose"] == "customer")
        assert customer["sessions"][0]["cleared"] is True
        assert customer["sessions"][0]["segments"][0]["disconnectType"] == "client"

    play(
        scenario,
        bot=BotSettings(hand_over_after=1),
        agents=AgentSettings(number=1, wrapup_s=30.0),
    )


@pytest.mark.parametrize("external", ["analytics", "conversation", "search"])
def test_the_guest_may_be_called_external_in_one_view_and_not_in_another(play, external) -> None:
    async def scenario(world):
        _, conversation = await talking(world)
        _, one = await world.api("GET", f"/conversations/messages/{conversation}")
        query = {"interval": today()}
        _, listed = await world.api("POST", "/analytics/conversations/details/query", json=query)
        now = datetime.now(UTC)
        span = {
            "type": "DATE_RANGE",
            "fields": ["startTime"],
            "startValue": (now - timedelta(hours=1)).isoformat(),
            "endValue": (now + timedelta(hours=1)).isoformat(),
        }
        search = "/conversations/participants/attributes/search"
        _, found = await world.api("POST", search, json={"query": [span]})
        purposes = {
            "conversation": one["participants"][0]["purpose"],
            "analytics": listed["conversations"][0]["participants"][0]["purpose"],
            "search": found["results"][0]["participantData"][0]["participantPurpose"],
        }
        assert [name for name, purpose in purposes.items() if purpose == "external"] == [external]
        assert one["participants"][0]["attributes"] == {"runId": "r-1"}

    play(scenario, knobs=Knobs(**{f"purpose_in_{external}": "external"}))


def test_old_views_had_times_at_the_top(play) -> None:
    async def scenario(world):
        guest, conversation = await talking(world)
        await guest.clear()
        _, view = await world.api("GET", f"/conversations/messages/{conversation}")
        assert view["endTime"] >= view["startTime"]

    play(scenario, knobs=Knobs(direct_times=True))
