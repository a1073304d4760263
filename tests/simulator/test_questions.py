"""The truth of each question: what came, what answered it and when, and what nobody asked for."""

import asyncio
import json
import time

import aiohttp
import pytest
from processes import harness

from harness.simulator.bots import Bot
from harness.simulator.dialogue import read_dialogue, read_distribution
from harness.simulator.settings import LIFELIKE, AgentSettings, BotSettings
from harness.simulator.truth import Questions

FIFTY = read_distribution("50ms", "x")
FAST = BotSettings(time=read_distribution("10ms", "x"))


async def rows(world) -> list[dict]:
    return (await world.get("/sim/questions"))[1]["rows"]


async def heard(guest, count: int) -> list[str]:
    """The next so many texts of the other side."""
    found: list[str] = []
    while len(found) < count:
        body = (await guest.next())["body"]
        if isinstance(body, dict) and body.get("direction") == "Outbound" and "text" in body:
            found.append(body["text"])
    return found


def test_a_question_and_its_answer(play) -> None:
    async def scenario(world):
        guest = await world.ready()
        await guest.presence("Join")
        tracing_id = await guest.say("hello")
        await heard(guest, 2)
        told = await rows(world)
        assert [row["kind"] for row in told] == ["join", "text"]
        join, text = told
        assert (len(join["greetings_ms"]), join["answers_ms"], join["due_ms"]) == (1, [], [])
        assert text["tracing_id"] == tracing_id
        assert text["refused"] is None
        (due,), (answered,) = text["due_ms"], text["answers_ms"]
        assert due >= 49.9
        assert answered >= 0.9 * due  # timers are set a little early, because they come late
        assert guest.token not in json.dumps(told)  # a token is a key
        return await world.truth()

    truth = play(scenario, bot=BotSettings(time=FIFTY))
    assert truth["questions"]["by_kind"] == {"text": 1, "choice": 0, "join": 1}
    assert truth["questions"]["answered"] == truth["questions"]["greeted"] == 1
    assert {name: truth["delays"][name]["count"] for name in ("reply", "turn", "greeting")} == {
        "reply": 1,
        "turn": 1,
        "greeting": 1,
    }


def test_a_bot_that_greets_before_its_first_answer(play) -> None:
    async def scenario(world):
        guest = await world.ready()
        await guest.say("hello")
        said = await heard(guest, 2)
        assert said == ["Welcome. What can I do for you?", "You said: hello"]
        await guest.say("again")
        assert await heard(guest, 1) == ["You said: again"]
        first, second = await rows(world)
        assert len(first["greetings_ms"]) == len(first["answers_ms"]) == 1
        assert first["greetings_ms"][0] < first["answers_ms"][0]
        assert (second["greetings_ms"], len(second["answers_ms"])) == ([], 1)

    play(scenario, bot=BotSettings(time=FIFTY, greets="text"))
    # nor does the answer overtake a greeting that takes its time
    slow = BotSettings(greets="text", greeting_time=FIFTY, time=read_distribution("0", "x"))
    play(scenario, bot=slow)


def test_a_bot_that_greets_at_whichever_comes_first(play) -> None:
    async def scenario(world):
        guest = await world.ready()
        await guest.presence("Join")
        await heard(guest, 1)
        await guest.say("hello")
        assert await heard(guest, 1) == ["You said: hello"]

    play(scenario, bot=BotSettings(greets="either"))


def test_an_answer_of_several_messages_with_gaps(play, tmp_path) -> None:
    async def scenario(world):
        guest = await world.ready()
        await guest.say("hello")
        assert (await heard(guest, 3))[-1] == "You said: hello"
        (row,) = await rows(world)
        first, second, third = row["due_ms"]
        assert [second - first, third - second] == pytest.approx([400, 400], abs=0.01)
        assert len(row["answers_ms"]) == 3
        assert row["answers_ms"] == sorted(row["answers_ms"])
        assert row["answers_ms"][2] - row["answers_ms"][0] > 200  # what is left of a stall
        delays = (await world.truth())["delays"]
        assert delays["turn"]["p50_ms"] > delays["reply"]["p50_ms"]

    gap = read_distribution("400ms", "x")
    play(scenario, bot=BotSettings(messages=(3, 3), gap=gap))

    path = tmp_path / "dialogue.toml"
    path.write_text(
        '[[answer]]\nto = "hello"\nsay = ["a", {text = "b", after = "400ms"}, '
        '{text = "You said: {text}", after = "400ms"}]\n'
    )
    play(scenario, bot=BotSettings(dialogue=read_dialogue(path)))


def test_a_guest_who_speaks_between_two_messages_of_an_answer(play) -> None:
    async def scenario(world):
        guest = await world.ready()
        await guest.say("one")
        await heard(guest, 1)
        await guest.say("two")
        await heard(guest, 3)
        assert [len(row["answers_ms"]) for row in await rows(world)] == [2, 2]

    play(scenario, bot=BotSettings(messages=(2, 2), gap=read_distribution("200ms", "x")))


def test_refused_and_unanswered_questions(play) -> None:
    async def scenario(world):
        guest = await world.ready()
        await guest.say("refused")
        await guest.say("hello")
        await guest.say("silence")
        await heard(guest, 1)
        refused, answered, silent = await rows(world)
        assert (refused["refused"], refused["answers_ms"]) == (5000, [])
        assert (answered["refused"], len(answered["answers_ms"])) == (None, 1)
        assert (silent["refused"], silent["answers_ms"], silent["due_ms"]) == (None, [], [])
        figures = (await world.truth())["questions"]
        assert (figures["refused"], figures["answered"], figures["held"]) == (1, 1, 3)

    play(scenario, faults={"fail": "#1,at=text", "no_reply": "#2"})


def test_an_answer_for_a_guest_who_has_left(play) -> None:
    async def scenario(world):
        guest = await world.ready()
        await guest.say("hello")
        await guest.clear()
        await asyncio.sleep(0.1)
        (row,) = await rows(world)
        assert (row["answers_ms"], row["unheard"], len(row["due_ms"])) == ([], 1, 1)

    play(scenario, bot=BotSettings(time=FIFTY))


def test_a_late_answer(play) -> None:
    async def scenario(world):
        guest = await world.ready()
        await guest.say("first")
        await guest.say("second")
        assert await heard(guest, 2) == ["You said: second", "You said: first"]
        first, second = await rows(world)
        assert first["answers_ms"][0] > 1000
        assert len(second["answers_ms"]) == 1

    play(scenario, bot=FAST, faults={"late_answer": "#1,seconds=1"})


def test_a_message_that_comes_twice_is_one_answer(play) -> None:
    async def scenario(world):
        guest = await world.ready()
        await guest.say("hello")
        assert await heard(guest, 2) == ["You said: hello"] * 2
        (row,) = await rows(world)
        assert len(row["answers_ms"]) == 1

    play(scenario, faults={"duplicate_reply": 1})


def test_an_answer_that_a_fault_loses_is_none(play) -> None:
    async def scenario(world):
        guest = await world.ready()
        await guest.say("hello")
        await asyncio.sleep(0.1)
        (row,) = await rows(world)
        assert (row["answers_ms"], row["unheard"]) == ([], 1)

    play(scenario, bot=FAST, faults={"drop_frame": "#3"})  # session, echo, answer


def test_an_agent_who_interrupts(play) -> None:
    async def scenario(world):
        guest = await world.ready()
        await guest.say("hello")
        assert await heard(guest, 2) == ["Is there anything else?", "You said: hello"]
        asked, unasked = await rows(world)
        assert len(asked["answers_ms"]) == 1
        assert (unasked["unasked"], unasked["guest"]) == ("agent", asked["guest"])
        assert (await world.truth())["questions"]["unasked"] == 1

    play(scenario, bot=BotSettings(time=FIFTY), faults={"interruption": "1,seconds=0.01"})


def test_a_flow_that_falls_silent_says_nothing_more(play) -> None:
    async def scenario(world):
        guest = await world.ready()
        await guest.say("one")
        await guest.say("two")
        assert await guest.silent(0.2) is False  # the echo
        await guest.next()
        assert await guest.silent(0.2)
        first, second = await rows(world)
        assert (first["answers_ms"], first["unheard"]) == ([], 1)  # it was under way
        assert (second["answers_ms"], second["due_ms"]) == ([], [])
        assert (await world.call("PUT", "/sim/faults", json={}))[0] == 200
        await guest.say("three")
        assert await heard(guest, 1) == ["You said: three"]

    play(scenario, bot=BotSettings(time=FIFTY), faults={"silence": "#2"})


def test_a_fault_that_begins_later(play) -> None:
    async def scenario(world):
        guest = await world.ready()
        await guest.say("one")
        assert await heard(guest, 1) == ["You said: one"]
        await asyncio.sleep(1)
        await guest.say("two")
        await guest.next()
        assert await guest.silent(0.1)

    play(scenario, bot=FAST, faults={"no_reply": "1,from=1s"})


def test_a_stall_stands_in_the_row(play) -> None:
    async def scenario(world):
        guest = await world.ready()
        await guest.say("one")
        await guest.say("two")  # begins the stall; it and the answer to the first wait for its end
        await heard(guest, 2)
        told = await rows(world)
        assert all(row["answers_ms"][0] > 250 for row in told)

    play(scenario, bot=BotSettings(time=FIFTY), faults={"stall": "#2,at=text,seconds=0.3"})


def test_an_answer_is_never_dated_later_than_it_could_be_read(play) -> None:
    async def scenario(world):
        written, readable_s = world.service.fan_out, []

        def write_and_lose_the_processor(session, frame):
            arrived = written(session, frame)
            readable_s.append(time.monotonic())
            time.sleep(0.2)
            return arrived

        guest = await world.ready()
        world.service.fan_out = write_and_lose_the_processor
        await guest.say("one")
        await heard(guest, 1)
        world.service.fan_out = written
        (question,) = world.service.truth.questions._rows
        (dated_s,) = question.answers
        assert question.came_s + dated_s <= readable_s[-1]  # the echo came before

    play(scenario, bot=FAST)


def test_an_agent_answers_what_called_them(play) -> None:
    async def scenario(world):
        guest = await world.ready()
        await guest.say("hello")
        assert await heard(guest, 1) == ["Agent 1 is here."]
        await guest.say("order")
        assert await heard(guest, 1) == ["Agent 1: order"]
        assert [len(row["answers_ms"]) for row in await rows(world)] == [1, 1]

    play(scenario, bot=BotSettings(on=False), agents=AgentSettings(number=1))


def test_an_agent_who_comes_in_after_the_bots_answer_was_not_asked(play) -> None:
    async def scenario(world):
        guest = await world.ready()
        await guest.say("hello")
        await heard(guest, 2)
        asked, unasked = await rows(world)
        assert len(asked["answers_ms"]) == 1
        assert unasked["unasked"] == "agent"

    play(scenario, bot=BotSettings(hand_over_after=1), agents=AgentSettings(number=1))


def test_old_rows_give_way_and_are_written_down() -> None:
    written: list[dict] = []
    questions = Questions(2, written.append)
    for number in range(5):
        questions.add("text", str(number), came=0.0, came_s=0.0, guest=1)
    assert [row["tracing_id"] for row in questions.rows()] == ["3", "4"]
    assert [row["tracing_id"] for row in written] == ["0", "1", "2"]
    questions.end()
    assert len(written) == questions.figures()["asked"] == questions.figures()["forgotten"] == 5


def test_rows_of_one_run(play) -> None:
    async def scenario(world):
        for run in ("a", "b"):
            guest = await world.ready()
            attributes = {"metadata": {"customAttributes": {"runId": run}}}
            await guest.say("hello", channel=attributes)
            await heard(guest, 1)
        found = (await world.get("/sim/questions?run_id=b"))[1]["rows"]
        assert [row["run_id"] for row in found] == ["b"]

    play(scenario)


@pytest.mark.process
def test_the_file_has_every_row_and_a_seed_repeats_what_is_due(simulate, tmp_path) -> None:
    async def talk(ready: dict) -> None:
        async with aiohttp.ClientSession() as http:
            url = f"{ready['url']}?deploymentId={ready['deployment_id']}"
            async with http.ws_connect(url) as ws:
                head = {"token": "t" * 36, "tracingId": "1"}
                configure = {"action": "configureSession", "deploymentId": ready["deployment_id"]}
                await ws.send_json(head | configure)
                await ws.receive()
                for text in ("one", "two", "three"):
                    message = {"type": "Text", "text": text}
                    await ws.send_json(head | {"action": "onMessage", "message": message})
                    await ws.receive()

    found = []
    for number in range(2):
        path = tmp_path / f"{number}.jsonl"
        options = ("--bot", "lifelike", "--seed", "7", "--limits", "off", "--questions", str(path))
        process, ready = simulate(*options)
        asyncio.run(talk(ready))
        process.terminate()
        assert process.wait(10) == 0
        lines = [json.loads(line) for line in path.read_text().splitlines()]
        assert len(lines) == 3
        found.append([len(row["due_ms"]) for row in lines])
    assert found[0] == found[1]


def test_a_lifelike_bot_greets_and_answers_in_bubbles(service_with) -> None:
    bot = Bot(service_with())
    assert (bot._settings.messages, LIFELIKE.messages, LIFELIKE.greets) == (
        (1, 1),
        (1, 3),
        "either",
    )


@pytest.mark.process
def test_a_file_that_cannot_be_written_is_told(tmp_path) -> None:
    words = ["simulate", "--questions", str(tmp_path / "none" / "rows.jsonl")]
    done = harness(*words)
    assert done.returncode == 8
    assert "can't be written" in done.stderr
    assert "Traceback" not in done.stderr
