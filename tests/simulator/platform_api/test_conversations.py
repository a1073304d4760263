"""Conversations by message id, and ending them from outside."""

import pytest

from harness.simulator.settings import AgentSettings, ApiClient, BotSettings, Knobs

GONE = "00000000-0000-4000-8000-000000000000"


async def talking(world, token: str | None = None):
    guest = await world.ready(token)
    await guest.say("hello")
    echo = (await guest.next())["body"]
    return guest, echo


async def conversation_id(world, message_id: str) -> tuple[int, str | None]:
    status, answer = await world.api("GET", f"/conversations/messages/{message_id}/details")
    return status, answer.get("conversationId")


@pytest.mark.parametrize(
    ("form", "hex_status", "uuid_status"),
    [("any", 200, 200), ("hex", 200, 404), ("uuid", 404, 200)],
)
def test_which_id_leads_to_the_conversation_is_a_knob(play, form, hex_status, uuid_status) -> None:
    async def scenario(world):
        guest, echo = await talking(world)
        assert (await conversation_id(world, echo["id"]))[0] == hex_status
        assert (await conversation_id(world, echo["channel"]["messageId"]))[0] == uuid_status
        reply = (await guest.next())["body"]
        assert (await conversation_id(world, reply["id"]))[0] == hex_status

    play(scenario, knobs=Knobs(message_id_form=form))


@pytest.mark.parametrize("wanted", [GONE, "x", "0" * 32])
def test_ids_that_were_never_given(play, wanted) -> None:
    async def scenario(world):
        assert (await conversation_id(world, wanted))[0] == 404
        for method, path in (
            ("GET", f"/conversations/{wanted}"),
            ("GET", f"/conversations/messages/{wanted}"),
            ("PATCH", f"/conversations/messages/{wanted}"),
            ("PATCH", f"/conversations/messages/{wanted}/participants/x"),
            ("POST", f"/conversations/{wanted}/disconnect"),
        ):
            status, answer = await world.api(method, path)
            missing = "conversation.error.conversation.not.found"
            assert (status, answer["code"]) == (404, missing)

    play(scenario)


def test_after_a_clear_the_same_token_has_another_conversation(play) -> None:
    async def scenario(world):
        guest, echo = await talking(world)
        first = await conversation_id(world, echo["id"])
        await guest.clear()
        _, echo = await talking(world, guest.token)
        assert (await conversation_id(world, echo["id"]))[1] != first[1]

    play(scenario)


@pytest.mark.parametrize("how", ["patch", "participant", "disconnect"])
def test_ending_a_conversation_from_outside(play, how) -> None:
    async def scenario(world):
        guest, echo = await talking(world)
        _, conversation = await conversation_id(world, echo["id"])
        state = {"state": "disconnected"}
        base = f"/conversations/messages/{conversation}"
        if how == "patch":
            status, _ = await world.api("PATCH", base, json=state)
        elif how == "participant":
            _, view = await world.api("GET", base)
            customer = view["participants"][0]["id"]
            status, _ = await world.api("PATCH", f"{base}/participants/{customer}", json=state)
        else:
            status, _ = await world.api("POST", f"/conversations/{conversation}/disconnect")
        assert status in (200, 202)
        frame = await guest.until(lambda f: "events" in f["body"])
        assert frame["body"]["events"][0]["presence"]["type"] == "Disconnect"
        truth = await world.truth()
        assert truth["conversations"]["open"] == 0
        assert truth["sessions"]["open"] == 1

    play(scenario, deployment={"disconnect": "send"})


def test_it_ends_one_whose_session_is_gone(play) -> None:
    async def scenario(world):
        guest, echo = await talking(world)
        _, conversation = await conversation_id(world, echo["id"])
        await guest.configure(startNew=True)
        assert (await world.truth())["conversations"]["open"] == 1
        state = {"state": "disconnected"}
        await world.api("PATCH", f"/conversations/messages/{conversation}", json=state)
        assert (await world.truth())["conversations"]["open"] == 0

    play(scenario)


@pytest.mark.parametrize("body", [{}, {"state": "connected"}, [], "x"])
def test_only_disconnected_can_be_asked_for(play, body) -> None:
    async def scenario(world):
        _, echo = await talking(world)
        _, conversation = await conversation_id(world, echo["id"])
        path = f"/conversations/messages/{conversation}"
        assert (await world.api("PATCH", path, json=body))[0] == 400
        assert (await world.truth())["conversations"]["open"] == 1

    play(scenario)


def test_an_agent_in_wrap_up_can_be_released(play) -> None:
    async def scenario(world):
        guest, echo = await talking(world)
        _, conversation = await conversation_id(world, echo["id"])
        await world.when(lambda: world.service.agents.occupied)
        await guest.clear()
        base = f"/conversations/messages/{conversation}"
        _, view = await world.api("GET", base)
        agent = next(leg["id"] for leg in view["participants"] if leg["purpose"] == "agent")
        state = {"state": "disconnected"}
        assert (await world.api("PATCH", f"{base}/participants/{agent}", json=state))[0] == 202
        assert (await world.truth())["agents"]["occupied"] == 0
        whole = f"/conversations/{conversation}"
        assert (await world.api("GET", whole))[1]["endTime"]

    play(
        scenario, bot=BotSettings(hand_over_after=1), agents=AgentSettings(number=1, wrapup_s=60.0)
    )


def test_the_end_may_follow_the_patch_later(play) -> None:
    async def scenario(world):
        _, echo = await talking(world)
        _, conversation = await conversation_id(world, echo["id"])
        path = f"/conversations/messages/{conversation}"
        assert (await world.api("PATCH", path, json={"state": "disconnected"}))[0] == 200
        assert (await world.truth())["conversations"]["open"] == 1
        await world.when(lambda: world.service.truth.whole.conversations_ended == 1)

    play(scenario, knobs=Knobs(disconnect_lag_s=0.2))


def test_the_direct_view_may_be_missing_and_a_patch_work(play) -> None:
    async def scenario(world):
        _, echo = await talking(world)
        _, conversation = await conversation_id(world, echo["id"])
        for path in (f"/conversations/messages/{conversation}", f"/conversations/{conversation}"):
            assert (await world.api("GET", path))[0] == 404
        path = f"/conversations/messages/{conversation}"
        assert (await world.api("PATCH", path, json={"state": "disconnected"}))[0] == 200

    play(scenario, knobs=Knobs(direct_view="missing"))


@pytest.mark.parametrize(("divisions", "seen"), [(("home",), True), (("elsewhere",), False)])
def test_another_division_is_as_if_it_were_not(play, divisions, seen) -> None:
    async def scenario(world):
        _, echo = await talking(world)
        (one,) = world.service.conversations.values()
        assert ((await conversation_id(world, echo["id"]))[0] == 200) is seen
        for method in ("GET", "PATCH"):
            path = f"/conversations/messages/{one.id}"
            status, _ = await world.api(method, path, json={"state": "disconnected"})
            assert status == (200 if seen else 404)

    client = ApiClient(divisions=frozenset(divisions))
    play(scenario, deployment={"division_id": "home"}, clients=(client,))
