"""Observations, limits, and the threading timeline."""

import pytest

from harness.simulator.settings import AgentSettings, BotSettings, Knobs


async def observe(world, what: str, dimension: str, **more) -> dict[str, int]:
    predicates = [
        {"dimension": dimension, "value": "queue-1" if what == "queues" else "flow-1"},
        {"dimension": "mediaType", "value": "message"},
    ]
    body = {"filter": {"type": "and", "predicates": predicates}, **more}
    status, answer = await world.api("POST", f"/analytics/{what}/observations/query", json=body)
    assert status == 200
    return {
        item["metric"]: item["stats"]["count"]
        for result in answer["results"]
        for item in result["data"]
    }


def test_flow_queue_and_agent_are_counted(play) -> None:
    async def scenario(world):
        bot_only = await world.ready()
        await bot_only.presence("Join")
        for _ in range(3):
            guest = await world.ready()
            await guest.say("hello")
        await world.when(lambda: len(world.service.agents.waiting) == 2)
        assert await observe(world, "queues", "queueId") == {"oWaiting": 2, "oInteracting": 1}
        assert await observe(world, "queues", "queueId", metrics=["oWaiting"]) == {"oWaiting": 2}
        assert await observe(world, "flows", "flowId") == {"oFlow": 1}

    play(
        scenario,
        bot=BotSettings(hand_over_after=1),
        agents=AgentSettings(number=1, concurrency=1),
    )


def test_other_media_are_counted_where_no_filter_asks_for_messages(play) -> None:
    async def scenario(world):
        await (await world.ready()).presence("Join")
        path = "/analytics/flows/observations/query"
        queue = {"dimension": "flowId", "value": "flow-1"}
        media = {"type": "and", "predicates": [{"dimension": "mediaType", "value": "message"}]}
        groups = {"type": "or", "predicates": [queue]}
        counts = []
        for clauses in ([groups], [groups, media]):
            body = {"filter": {"type": "and", "clauses": clauses}}
            _, answer = await world.api("POST", path, json=body)
            counts.append([one["data"][0]["stats"]["count"] for one in answer["results"]])
        assert counts == [[1, 7], [1]]

    play(scenario, knobs=Knobs(other_media=7))


@pytest.mark.parametrize("body", [b"x", b"[]", b'{"metrics":3}'])
def test_observations_that_make_no_sense(play, body) -> None:
    async def scenario(world):
        path = "/analytics/queues/observations/query"
        assert (await world.api("POST", path, data=body))[0] == 400

    play(scenario)


def test_the_limits_of_the_organisation(play) -> None:
    async def scenario(world):
        path = "/organizations/limits/namespaces"
        status, answer = await world.api("GET", f"{path}/web.messaging")
        assert status == 200
        values = {item["key"]: item["value"] for item in answer["entities"]}
        assert values["session.connections.max"] == 3
        assert (await world.api("GET", f"{path}/web.messaging/defaults"))[0] == 200
        status, answer = await world.api("GET", f"{path}/nothing")
        assert (status, answer["code"]) == (400, "invalid.value")

    play(scenario)


def test_the_threading_timeline_can_be_read_and_set(play) -> None:
    async def scenario(world):
        path = "/conversations/messaging/threadingtimeline"
        _, answer = await world.api("GET", path)
        assert answer["timelines"][0]["minutes"] == 4320
        lines = {"timelines": [{"type": "webmessaging", "minutes": 0}]}
        assert (await world.api("PUT", path, json=lines))[0] == 200
        assert world.service.threading_s == 0
        for bad in ({}, {"timelines": []}, {"timelines": [{"minutes": 4321}]}, []):
            assert (await world.api("PUT", path, json=bad))[0] == 400

    play(scenario)
