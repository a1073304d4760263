"""Each fault of a frame, seen from the client's side."""

import asyncio

import aiohttp
import pytest


async def texts(world, count: int = 2) -> list[str]:
    """Raw data of what comes after ``count`` texts, until silence."""
    guest = await world.guest()
    for number in range(count):
        await guest.send(action="configureSession", deploymentId=world.deployment, n=number)
    found = []
    while True:
        try:
            got = await guest.ws.receive(timeout=0.7)
        except TimeoutError:
            return found
        assert got.type is aiohttp.WSMsgType.TEXT
        found.append(got.data)


@pytest.fixture
def frames_under(play):
    def under(**faults: object) -> list[str]:
        async def scenario(world):
            world.deployment = next(iter(world.service.deployments))
            return await texts(world)

        return play(scenario, faults=faults)

    return under


def test_without_faults_both_come_in_order(frames_under) -> None:
    first, second = frames_under()
    assert '"newSession":true' in first
    assert '"newSession":false' in second


def test_a_lost_frame(frames_under) -> None:
    (only,) = frames_under(drop_frame="#1")
    assert '"newSession":false' in only


def test_a_doubled_frame(frames_under) -> None:
    first, again, _ = frames_under(duplicate_frame="#1")
    assert first == again


def test_swapped_frames(frames_under) -> None:
    first, second = frames_under(reorder_frame="#1")
    assert '"newSession":false' in first
    assert '"newSession":true' in second


def test_a_held_back_frame_comes_even_if_nothing_follows(frames_under) -> None:
    first, second = frames_under(reorder_frame="#2")
    assert '"newSession":true' in first
    assert '"newSession":false' in second


def test_a_late_frame(frames_under) -> None:
    first, second = frames_under(delay_frame="#1")
    assert '"newSession":false' in first
    assert '"newSession":true' in second


def test_a_frame_without_class(frames_under) -> None:
    first, _ = frames_under(no_class="#1")
    assert '"class"' not in first
    assert '"connectionId"' in first


def test_broken_json(frames_under) -> None:
    import json

    first, _ = frames_under(invalid_json="#1")
    with pytest.raises(ValueError, match=r"(Unterminated|Expecting)"):
        json.loads(first)


def test_an_unknown_class_comes_extra(frames_under) -> None:
    first, second, third = frames_under(unknown_class="#1")
    assert '"class":"HologramEvent"' in first
    assert '"newSession":true' in second
    assert '"newSession":false' in third


def test_wrong_types(frames_under) -> None:
    first, _ = frames_under(wrong_types="#1")
    assert '"code":"200"' in first
    assert '"body":[{' in first
    assert '"tracingId":42' in first


def test_an_oversized_frame_comes_extra(frames_under) -> None:
    first, second, _ = frames_under(oversized_frame="#1")
    assert len(first) > 1_000_000
    assert '"newSession":true' in second


def test_the_plan_tells_how_often_it_struck(play) -> None:
    async def scenario(world):
        world.deployment = next(iter(world.service.deployments))
        await texts(world)
        await asyncio.sleep(0)
        return (await world.truth())["faults"]

    assert play(scenario, faults={"duplicate_frame": 1}) == {"duplicate_frame": 2}
