"""Dialogues from files: what they say, and what is wrong with them."""

import pytest

from harness.errors import ConfigError
from harness.simulator.dialogue import DEFAULT, read_dialogue, spoken

SCRIPT = """
greeting = "Hello"
fallback = "You said {text}"
[[answer]]
to = "(?i)order"
typing = "300ms"
[[answer.say]]
text = "One moment."
[[answer.say]]
text = "Which?"
quick_replies = ["First", {text = "Second", payload = "2"}]
[[answer]]
to = "card"
say = [{card = {title = "Shoe", actions = [{type = "Postback", text = "Buy", payload = "buy"}]}}]
[[answer]]
to = "carousel"
say = {carousel = [{title = "A", actions = []}, {title = "B", actions = []}]}
[[answer]]
to = "date"
[answer.say.date_picker]
title = "When?"
availableTimes = [{dateTime = "2026-12-01T10:00Z", duration = 900}]
[[answer]]
to = "list"
[[answer.say.list_picker.sections]]
title = "S"
multipleSelection = false
items = [{id = "1", title = "T"}]
[[answer]]
to = "agent"
hand_over = true
[[answer]]
to = "bye"
say = "Bye"
end = true
"""


@pytest.fixture
def script(tmp_path):
    path = tmp_path / "dialogue.toml"
    path.write_text(SCRIPT)
    return read_dialogue(path)


def test_answers_by_pattern(script) -> None:
    order = script.turn("my ORDER please")
    assert order.typing_s == 0.3
    assert order.parts[0] == {"text": "One moment."}
    assert [item["quickReply"]["payload"] for item in order.parts[1]["content"]] == ["First", "2"]
    assert script.turn("an agent").hand_over
    assert script.turn("bye").end
    assert script.turn("else") is script.fallback


@pytest.mark.parametrize(
    ("heard", "kind"),
    [("card", "Card"), ("carousel", "Carousel"), ("date", "DatePicker"), ("list", "ListPicker")],
)
def test_rich_content(script, heard, kind) -> None:
    (part,) = script.turn(heard).parts
    assert part["type"] == "Structured"
    (content,) = part["content"]
    assert content["contentType"] == kind
    assert set(content) == {"contentType", kind[0].lower() + kind[1:]}


def test_the_guests_words_are_filled_in_and_cut(script) -> None:
    assert spoken(script.fallback.parts[0], "hi") == {"text": "You said hi"}
    assert len(spoken(DEFAULT.fallback.parts[0], "x" * 9000)["text"]) == 4000


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("greeting = 3", "greeting"),
        ("tone = 'x'", "tone"),
        ("answer = 3", "answer"),
        ("[[answer]]\nsay = 'x'", "answer 1: to"),
        ("[[answer]]\nto = '('", "answer 1: to"),
        ("[[answer]]\nto = 'x'\nsay = 4", "answer 1: say"),
        ("[[answer]]\nto = 'x'\nend = 1", "answer 1: end"),
        ("[[answer]]\nto = 'x'\ntyping = 'soon'", "answer 1: typing"),
        ("[[answer]]\nto = 'x'\nwhen = 1", "answer 1: 'when'"),
        ("[[answer]]\nto = 'x'\nsay = {card = {title = 'x'}}", "actions is missing"),
        ("[[answer]]\nto = 'x'\nsay = {carousel = []}", "carousel"),
        ("[[answer]]\nto = 'x'\nsay = {video = 'x'}", "video"),
        ("[[answer]]\nto = 'x'\nsay = {quick_replies = [3]}", "quick_replies"),
        ("[[answer]]\nto = 'x'\nsay = {quick_replies = 3}", "quick_replies: expected texts"),
        ("x = ", "not TOML"),
    ],
)
def test_what_is_wrong_is_told_with_its_place(tmp_path, text, complaint) -> None:
    path = tmp_path / "dialogue.toml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=complaint) as caught:
        read_dialogue(path)
    assert str(path) in str(caught.value)


def test_a_missing_file(tmp_path) -> None:
    with pytest.raises(ConfigError, match=r"none\.toml: No such file"):
        read_dialogue(tmp_path / "none.toml")
