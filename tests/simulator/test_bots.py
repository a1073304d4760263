"""The queue in front of the bot's workers behaves as queueing theory says."""

from random import Random

import pytest

from harness.simulator.bots import WorkQueue
from harness.simulator.dialogue import read_dialogue, read_distribution
from harness.simulator.settings import BotSettings


def waits(workers: int, service: str, rate_per_s: float, count: int, seed: int) -> list[float]:
    """Time in the system of ``count`` Poisson arrivals."""
    queue = WorkQueue(workers, read_distribution(service, "x"), str(seed))
    source, now, found = Random(seed + 1), 0.0, []
    for _ in range(count):
        now += source.expovariate(rate_per_s)
        found.append(queue.finish(now) - now)
    return found


def erlang_c(servers: int, load: float) -> float:
    """Probability of waiting (Erlang 1917), by the usual recursion over Erlang B."""
    blocked = 1.0
    for n in range(1, servers + 1):
        blocked = load * blocked / (n + load * blocked)
    return blocked / (1 - load / servers * (1 - blocked))


@pytest.mark.slow
@pytest.mark.parametrize(("servers", "rho"), [(1, 0.5), (1, 0.8), (4, 0.7), (10, 0.9)])
def test_mean_time_in_an_mmc_queue(servers: int, rho: float) -> None:
    mean = 0.1
    rate = rho * servers / mean
    wait = erlang_c(servers, rho * servers) * mean / (servers * (1 - rho))
    found = [
        sum(v) / len(v)
        for v in (waits(servers, "exponential:100ms", rate, 60_000, s) for s in range(4))
    ]
    assert sum(found) / 4 == pytest.approx(wait + mean, rel=0.06)


def test_mean_time_in_an_md1_queue() -> None:
    rho, mean = 0.8, 0.05
    found = waits(1, "constant:50ms", rho / mean, 200_000, 3)
    expected = mean + rho * mean / (2 * (1 - rho))  # Pollaczek-Khinchine
    assert sum(found) / len(found) == pytest.approx(expected, rel=0.05)


def test_without_workers_nobody_waits() -> None:
    assert waits(0, "50ms", 1000, 100, 1) == pytest.approx([0.05] * 100)


def test_workers_that_hinder_each_other_slow_down_as_the_scalability_law_says() -> None:
    queue = WorkQueue(4, read_distribution("1s", "x"), "1", contention=0.1, coherency=0.05)
    # the n-th to begin takes 1 + 0.1(n - 1) + 0.05 n(n - 1)
    assert [queue.finish(0.0) for _ in range(4)] == pytest.approx([1.0, 1.2, 1.5, 1.9])
    # the fifth begins when the first is done: three others are busy
    assert queue.finish(0.0) == pytest.approx(1.0 + 1.9)
    # and alone nobody hinders it
    assert queue.finish(10.0) == pytest.approx(11.0)


def test_beyond_its_memory_the_service_answers_slowly_in_proportion(play) -> None:
    async def scenario(world):
        guests = [await world.ready() for _ in range(4)]
        await guests[0].say("hello")
        await guests[0].until(lambda f: f["body"].get("direction") == "Outbound")
        return (await world.truth())["delays"]

    bot = BotSettings(memory_sessions=2, time=read_distribution("100ms", "x"))
    told = play(scenario, bot=bot, stamps=True)
    # four sessions where two fit: twice as long
    assert told["reply.planted"]["p50_ms"] == pytest.approx(200, abs=0.1)
    assert told["reply"]["p50_ms"] > 199


def test_a_bot_that_slows_down_with_time(play) -> None:
    async def scenario(world):
        guest = await world.ready()
        bot = world.service.bot
        bot._began -= 1800  # half an hour ago
        await guest.say("hello")
        await guest.until(lambda f: f["body"].get("direction") == "Outbound")
        return (await world.truth())["delays"]

    settings = BotSettings(slower_per_hour=1.0, time=read_distribution("100ms", "x"))
    told = play(scenario, bot=settings, stamps=True)
    # and by a millisecond more if it takes half a minute to get so far
    assert told["reply.planted"]["p50_ms"] == pytest.approx(150.5, abs=0.6)
    assert told["reply"]["p50_ms"] > 149


def test_workers_are_added_once_answers_have_waited_for_long() -> None:
    queue = WorkQueue(1, read_distribution("1s", "x"), "1", more=2, more_after_s=10)
    # one a second is just what one worker can do: nobody waits, nothing is added
    assert [queue.finish(float(at)) for at in range(30)] == [at + 1.0 for at in range(30)]
    assert queue.workers == 1
    waits = [queue.finish(30 + at / 2) - 30 - at / 2 for at in range(40)]
    assert queue.workers == 3
    assert max(waits) == waits[20] == pytest.approx(11.0)  # half a second more with each
    assert waits[21:26] == pytest.approx([1.0] * 5)


def test_the_truth_says_how_many_workers_there_are(play) -> None:
    async def scenario(world):
        return (await world.truth())["bot_workers"]

    assert play(scenario, bot=BotSettings(workers=3)) == 3


def test_first_come_first_served() -> None:
    queue = WorkQueue(1, read_distribution("1s", "x"), "1")
    assert [queue.finish(0.0) for _ in range(3)] == [1.0, 2.0, 3.0]


def test_answers_wait_for_a_worker_and_the_delay_is_recorded(play) -> None:
    async def scenario(world):
        guests = [await world.ready() for _ in range(4)]
        for guest in guests:
            await guest.say("hello")
        for guest in guests:
            await guest.until(lambda f: f["body"].get("direction") == "Outbound")
        return (await world.truth())["delays"]["reply"]

    one_at_a_time = BotSettings(workers=1, time=read_distribution("100ms", "x"))
    told = play(scenario, bot=one_at_a_time)
    assert told["count"] == 4
    assert told["max_ms"] >= 3.5 * told["p50_ms"] / 2  # 100, 200, 300, 400


def test_a_script_types_hands_over_and_ends(play, tmp_path) -> None:
    path = tmp_path / "dialogue.toml"
    path.write_text(
        'greeting = "Hi"\n[[answer]]\nto = "bye"\n'
        'say = ["Good", "bye"]\ntyping = "40ms"\nend = true\n'
    )

    async def scenario(world):
        guest = await world.ready()
        await guest.presence("Join")
        await guest.until(lambda f: f["body"].get("text") == "Hi")
        await guest.say("anything")
        await guest.next()
        assert await guest.silent()
        await guest.say("bye")
        await guest.next()
        seen = [(await guest.next())["body"] for _ in range(4)]
        assert seen[0]["events"][0]["eventType"] == "Typing"
        assert [body["text"] for body in seen[1:3]] == ["Good", "bye"]
        assert seen[3]["events"][0]["presence"]["type"] == "Disconnect"

    settings = BotSettings(dialogue=read_dialogue(path))
    play(scenario, bot=settings, deployment={"disconnect": "send"})


def test_a_bot_that_forgets_to_answer(play) -> None:
    async def scenario(world):
        guest = await world.ready()
        await guest.say("hello")
        await guest.next()
        assert await guest.silent(0.2)

    play(scenario, faults={"no_reply": 1})
