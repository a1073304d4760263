"""Words of our own that nobody else knows stay out of what users read."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from docs.manual import ALL

import harness
from harness.cli.main import COMMANDS, main

PACKAGE = Path(harness.__file__).parent
WORDS = (
    "usher", "muster", "conduct", "foresight", "upkeep", "oddities", "standings", "aftermath",
    "doze", "doors?", "undisturbed", "mistakes", "what has no", "a page of it",
    "as_asked", "irregular", "all the same", "whoever.s", "beside it wins", "it is not minded",
)  # fmt: skip
"""Instead: dispatcher, worker handshake, guest options, limit checks, health, counters, objective
intervals, sweep section, wait, shielded, errors; and sentences that say who does what."""


def texts() -> Iterator[tuple[str, str]]:
    """All that users read, with its name."""
    yield from ALL.items()
    for template in sorted(PACKAGE.glob("**/templates/*.html")):
        yield template.name, template.read_text()


def private(text: str) -> list[str]:
    """The words of ours that are in it."""
    return [word for word in WORDS if re.search(rf"\b{word}\b", text, re.IGNORECASE)]


@pytest.mark.parametrize(("name", "text"), list(texts()), ids=lambda value: value[:30])
def test_pages_use_words_of_the_field(name: str, text: str) -> None:
    assert private(text) == [], name


@pytest.mark.parametrize("name", COMMANDS)
def test_help_uses_words_of_the_field(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    main([name, "--help"])
    told = capsys.readouterr().out
    assert f"harness {name}" in told
    assert private(told) == []


def test_a_private_word_is_found() -> None:
    assert private("the usher at the door") == ["usher", "doors?"]
