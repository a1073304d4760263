"""YAML keeps its lines and its texts as written, and nothing in it can do harm."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import ConfigError
from harness.workload.script.file import load_lined


def test_lines_of_keys_items_and_what_is_around_them() -> None:
    found = load_lined("a: 1\nb:\n  - say: hi\n    within: 20s\n  - clear\n", name="x")
    assert found.value == {"a": "1", "b": [{"say": "hi", "within": "20s"}, "clear"]}
    assert found.place("b", 0, "within") == "x, line 4"
    assert found.place("b", 1) == "x, line 5"
    assert found.place("b", 0, "say", "deeper") == "x, line 3"
    assert found.place("nothing") == "x, line 1"


def test_texts_stay_as_they_were_written() -> None:
    found = load_lined("[yes, 007, 12:30, 1.50, 2026-01-01, '~', ~, null, '']", name="x")
    assert found.value == ["yes", "007", "12:30", "1.50", "2026-01-01", "~", None, None, ""]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "x: empty"),
        ("# only a comment\n", "x: empty"),
        ("a: 1\na: 2\n", "x, line 2: key 'a' is there twice"),
        ("a:\n  - [\n", "x, line 3: not YAML"),
        ("\tb: 1\n", "x, line 1: not YAML"),
        ("a: !!python/object:os.system x", "x, line 1: .*tags are not allowed"),
        ("? [1]\n: 2\n", "x, line 1: expected a plain key"),
        ("a: &a [*a]\n", "x: nested too deeply"),
        ("a: \x00", "x: not YAML"),
        ("[" * 5000, "x: nested too deeply"),
        ("{a: " * 101, "x: nested too deeply"),
        ("a: 1\n---\nb: 2\n", "x, line 2: not YAML"),
        ('a:\n  "\\ud83d": b', "x, line 2: half a character"),
        ('a:\n  - "b \\ude00"', "x, line 2: half a character"),
        ("x" * 1_000_001, "x: longer than 1,000,000 characters"),
    ],
)
def test_what_cannot_be_meant_is_refused_with_its_line(text: str, reason: str) -> None:
    with pytest.raises(ConfigError, match=reason):
        load_lined(text, name="x")


def test_a_hundred_brackets_are_read() -> None:
    found = load_lined("[" * 100 + "]" * 100, name="x").value
    for _ in range(99):
        (found,) = found
    assert found == []


def test_an_emoji_in_two_halves_is_one() -> None:
    found = load_lined('"\\ud83d\\ude00": "a \\ud83d\\ude00 \\U0001f600"', name="x").value
    assert found == {"\U0001f600": "a \U0001f600 \U0001f600"}


def test_a_short_file_cannot_grow_huge() -> None:
    levels = "\n".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 9))
    with pytest.raises(ConfigError, match="more than 100,000 values"):
        load_lined("a0: &a0 x\n" + levels, name="x")


@given(st.text(max_size=200))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        load_lined(text, name="x")
    except ConfigError:
        return
