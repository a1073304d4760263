"""A recorded deployment played again: its greetings, numbers of messages and delays, masked."""

import json
from collections import Counter
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hars import came, configured, got, har, left, said, sent, socket

from harness.cli.simulate import COMMAND, settings_of
from harness.errors import ConfigError
from harness.simulator.bots import WorkQueue
from harness.simulator.dialogue import Distribution, Rehearsal, read_rehearsal

JOIN = {"type": "Event", "events": [{"eventType": "Presence", "presence": {"type": "Join"}}]}
CARD = {"contentType": "Card", "card": {"title": "For Ada Lovelace", "actions": []}}
CHAT = [
    *configured(1),
    sent(2, message=JOIN),
    came(2.5, "Welcome"),
    said(10, "I am Ada Lovelace"),
    came(11, "Hello Ada Lovelace"),
    came(13, "What can I do?", content=[CARD]),
    said(20, "Where is order 4711-22?"),
    came(24, "On its way, {text}."),
    said(30, "Thanks"),
    said(31, "where is  ORDER 9-8888?"),
    came(31.5, "Here."),
    *left(40),
]


def read(folder: Path, *sockets: list[Any]) -> Rehearsal:
    file = folder / "chat.har"
    file.write_text(json.dumps(har(*[socket(list(messages)) for messages in sockets])))
    return read_rehearsal(file)


def test_answers_are_drawn_whole_from_those_to_the_same_text(tmp_path: Path) -> None:
    drawn = read(tmp_path, CHAT).begin(Random(1))
    greeting = drawn.greeting
    assert greeting is not None
    assert (greeting.parts, greeting.first_s) == (({"text": "Welcome"},), 0.5)
    found = Counter()
    for _ in range(400):
        turn = drawn.turn("Where is order 12345?")
        assert turn is not None
        found[turn.parts[0]["text"], turn.first_s] += 1
    assert set(found) == {("On its way, { text}.", 4.0), ("Here.", 0.5)}
    assert min(found.values()) > 150
    first = drawn.turn("i am  Bob Miller")
    assert first is not None
    assert (first.first_s, first.after) == (1.0, (None, 2.0))
    assert first.parts[0] == {"text": "Hello <secret>"}
    assert first.parts[1]["content"] == [
        {"contentType": "Card", "card": {"title": "For <secret>", "actions": []}}
    ]
    others = [drawn.turn("What?") for _ in range(200)]
    assert {turn.first_s for turn in others if turn is not None} == {1.0, 4.0, 0.5}


def test_the_same_seed_draws_the_same(tmp_path: Path) -> None:
    recorded = read(tmp_path, CHAT)
    one, two = recorded.begin(Random(7)), recorded.begin(Random(7))
    assert [one.turn("x") for _ in range(20)] == [two.turn("x") for _ in range(20)]


def test_the_end_by_the_other_side_is_played_too(tmp_path: Path) -> None:
    presence = {"eventType": "Presence", "presence": {"type": "Disconnect"}}
    body = {"type": "Event", "direction": "Outbound", "id": "d", "events": [presence]}
    frames = [*configured(1), said(2, "Bye"), came(3, "Bye"), got(4, "StructuredMessage", body)]
    turn = read(tmp_path, frames).begin(Random(1)).turn("bye")
    assert turn is not None
    assert turn.end


def test_a_recording_without_an_answer_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"chat\.har: nothing was answered in it"):
        read(tmp_path, [*configured(1), said(2, "Hello?")])
    both = ["--from", str(tmp_path / "chat.har"), "--bot", "off"]
    with pytest.raises(ConfigError, match="--from and --bot do not go together"):
        settings_of(COMMAND.parse(*both))
    with pytest.raises(ConfigError, match=r"none\.har: No such file"):
        settings_of(COMMAND.parse("--from", str(tmp_path / "none.har")))


def test_recorded_work_waits_for_a_worker_like_any_other() -> None:
    queue = WorkQueue(1, Distribution("constant", 9.0, 0.0), "s")
    assert queue.finish(10.0, work_s=2.0) == 12.0
    assert queue.finish(10.0, work_s=3.0) == 15.0
    assert WorkQueue(0, Distribution("constant", 9.0, 0.0), "s").finish(10.0, work_s=2.0) == 12.0
