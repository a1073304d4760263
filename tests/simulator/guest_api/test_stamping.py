"""With stamps: the same conversation, and an account that tells planted delay from own lateness."""

import asyncio
import sys
import time

import aiohttp
import pytest
from processes import harness

from harness.simulator.dialogue import read_distribution
from harness.simulator.frames import text_frame
from harness.simulator.settings import BotSettings

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the kernel's stamps are Linux's")

TENTH = BotSettings(time=read_distribution("100ms", "x"))


def outbound(frame: dict) -> bool:
    return frame["body"].get("direction") == "Outbound"


def test_a_whole_conversation_and_its_end(play) -> None:
    async def scenario(world):
        guest = await world.ready()
        for number in range(3):
            await guest.say(f"{number} " + "x" * 3000)
            await guest.until(outbound)
        await guest.clear()
        await guest.ws.close()
        await world.when(lambda: not world.service.connections)
        return await world.truth()

    truth = play(scenario, stamps=True, bot=TENTH)
    assert truth["sessions"]["cleared"] == 1
    delays = truth["delays"]
    assert {delays[name]["count"] for name in delays} == {3}
    assert delays["reply.planted"]["p50_ms"] == pytest.approx(100)
    parts = sum(delays[f"reply.{part}"]["mean_ms"] for part in ("planted", "read_late"))
    whole = parts + delays["reply.written_late"]["mean_ms"]
    assert delays["reply"]["mean_ms"] == pytest.approx(whole, abs=0.5)


def test_a_text_that_waited_to_be_read_counts_from_its_arrival(play) -> None:
    async def scenario(world):
        guest = await world.ready()
        await guest.say("first")
        await guest.until(outbound)
        await guest.say("second")
        time.sleep(0.3)  # client and service share this loop: both stand still
        await guest.until(outbound)
        return (await world.truth())["delays"]

    delays = play(scenario, stamps=True, bot=TENTH)
    assert delays["reply.read_late"]["max_ms"] >= 250
    assert delays["reply"]["max_ms"] >= 350
    assert delays["reply.planted"]["max_ms"] == pytest.approx(100)


def test_what_a_stall_held_up_counts_from_its_own_arrival(play) -> None:
    async def scenario(world):
        first, second = await world.ready(), await world.ready()
        world.service.stall.begin(0.6)
        await first.say("at once")
        await asyncio.sleep(0.5)
        await second.say("shortly before the end")
        for guest in (first, second):
            await guest.until(outbound)
        return (await world.truth())["delays"]

    delays = play(scenario, stamps=True, bot=TENTH)
    late = delays["reply.read_late"]
    assert late["count"] == 2
    assert late["max_ms"] >= 500
    assert late["max_ms"] - late["p50_ms"] >= 300


def test_a_peer_that_vanishes_is_noticed(play) -> None:
    async def scenario(world):
        first, second = await world.ready(), await world.ready()
        assert len(world.service.connections) == 2
        transport = first.ws._conn.transport
        transport.abort()
        await second.ws.close()
        await world.when(lambda: not world.service.connections)

    play(scenario, stamps=True)


def test_what_a_slow_reader_leaves_waiting_comes_whole_and_in_order(play) -> None:
    async def scenario(world):
        guest = await world.ready()
        (connection,) = world.service.connections
        texts = [f"{number:05d}" + "y" * 20_000 for number in range(120)]
        for text in texts:
            connection.push(text_frame(text.encode()), text.encode())
        got = [(await guest.ws.receive(timeout=5)) for _ in texts]
        assert [one.data for one in got] == texts
        assert {one.type for one in got} == {aiohttp.WSMsgType.TEXT}

    play(scenario, stamps=True)


@pytest.mark.process
def test_refused_with_tls() -> None:
    done = harness("simulate", "--stamps", "--tls")
    assert done.returncode == 8
    assert "--stamps" in done.stderr
    assert "Traceback" not in done.stderr
