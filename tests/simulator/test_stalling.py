"""A stall: held work is done afterwards, in order, and its wait recorded."""

import asyncio

from harness.simulator.service import Stall
from harness.simulator.truth import Truth


def test_held_work_comes_in_order_and_is_recorded() -> None:
    truth, done = Truth(), []

    async def scenario() -> None:
        stall = Stall(asyncio.get_running_loop(), lambda: truth)
        await stall.wait()  # nothing to wait for
        stall.begin(0.1)
        stall.begin(60)  # it is on already
        for number in range(5):
            stall.defer(done.append, number)
        waiting = [asyncio.create_task(stall.wait()) for _ in range(2)]
        waiting[0].cancel()
        assert done == []
        await waiting[1]
        assert not stall.on

    asyncio.run(scenario())
    assert done == [0, 1, 2, 3, 4]
    assert truth.delays["stall"].figures()["count"] == 6
    assert truth.delays["stall"].percentile(0.5) >= 90


def test_work_that_stalls_again_is_held_again() -> None:
    done = []

    async def scenario() -> None:
        stall = Stall(asyncio.get_running_loop(), Truth)

        def work(name: str) -> None:
            if stall.on:
                stall.defer(work, name)
                return
            done.append(name)
            if name == "first":
                stall.begin(0.05)

        stall.begin(0.05)
        stall.defer(work, "first")
        stall.defer(work, "second")
        await stall.wait()
        assert done == ["first"]
        await stall.wait()
        assert done == ["first", "second"]

    asyncio.run(scenario())
