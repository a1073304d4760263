"""The session of a request, and custom attributes."""

import pytest

ATTRIBUTES = {"metadata": {"customAttributes": {"name": "Ann"}}}


def test_an_expired_session_answers_4006(play) -> None:
    async def scenario(world):
        guest = await world.ready()
        await world.when(lambda: world.service.truth.whole.sessions_expired == 1)
        await guest.say("anyone?")
        assert (await guest.next())["code"] == 4006
        assert (await guest.configure())["body"]["newSession"] is True

    play(scenario, deployment={"session_duration_s": 0.3})


def test_attributes_count_only_inside_the_message(play) -> None:
    async def scenario(world):
        guest = await world.ready()
        await guest.say("hello", channel=ATTRIBUTES)
        await guest.send(
            action="onMessage",
            message={"type": "Text", "text": "old place"},
            channel={"metadata": {"customAttributes": {"name": "Bob", "more": "x"}}},
        )
        await guest.until(lambda f: f["body"].get("text") == "old place")
        (conversation,) = world.service.conversations.values()
        assert conversation.attributes == {"name": "Ann"}
        assert (await world.truth())["counts"]["misplaced_attributes"] == 1

    play(scenario)


def test_later_values_overwrite_earlier_ones(play) -> None:
    async def scenario(world):
        guest = await world.ready()
        await guest.presence("Join", channel=ATTRIBUTES)
        new = {"metadata": {"customAttributes": {"name": "Bob", "age": "4"}}}
        await guest.say("hello", channel=new)
        await guest.until(lambda f: f["body"].get("text") == "hello")
        (conversation,) = world.service.conversations.values()
        assert conversation.attributes == {"name": "Bob", "age": "4"}

    play(scenario)


@pytest.mark.parametrize(
    ("attributes", "code"),
    [
        ({"a": "x" * 2048}, 4013),
        ({"é" * 1024: "x"}, 4013),
        ({"a": "x" * 2047}, None),
        ({"a": 1}, 400),
        (["a"], 400),
    ],
)
def test_size_and_shape_of_attributes(play, attributes, code) -> None:
    async def scenario(world):
        guest = await world.ready()
        await guest.say("hello", channel={"metadata": {"customAttributes": attributes}})
        frame = await guest.next()
        assert frame["code"] == (code or 200)
        assert (await world.truth())["messages"]["texts"] == (0 if code else 1)

    play(scenario)
