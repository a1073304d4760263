"""Words of our own that nobody else knows stay out of what users read."""

import ast
import re
from collections.abc import Iterable, Iterator

import pytest
from docs.manual import ALL, ROOT
from source import HARNESS, modules

from harness.cli.main import COMMANDS, main
from harness.config.run_config import SETTINGS
from harness.docs import TABLES, page

WORDS = (
    "usher", "muster", "conduct", "foresight", "upkeep", "oddities", "standings", "aftermath",
    "doze", "doors?", "undisturbed", "mistakes", "what has no", "a page of it",
    "as_asked", "irregular", "all the same", "whoever.s", "beside it wins", "it is not minded",
    "never mind", "so old", "told no", "makes it again", "that it opened", "send it to somebody",
    "to be minded", "nobody is due", "never configured",
)  # fmt: skip
"""Instead: dispatcher, worker handshake, guest options, limit checks, health, counters, objective
intervals, sweep section, wait, shielded, errors, unusual events, never came to be; and sentences
that say who does what."""
SPEAKING = sorted({name.partition("/")[0] for name in modules()})
"""Packages and modules; users read sentences of all: in the terminal, on pages, in refusals."""
QUOTED = re.compile(r"`[^`]*`|\"[^\"]*\"")
"""What a change was called before, in the list of changes."""


def sentences(nodes: Iterable[ast.AST]) -> Iterator[str]:
    """Each text of more than one word in a module; no docstrings."""
    silent: set[int] = set()
    for node in nodes:
        if isinstance(node, ast.Expr):
            silent.add(id(node.value))
        elif isinstance(node, ast.JoinedStr):
            silent |= {id(part) for part in node.values}
    for node in nodes:
        if id(node) in silent:
            continue
        if isinstance(node, ast.JoinedStr):
            parts = (part.value if isinstance(part, ast.Constant) else "…" for part in node.values)
            yield "".join(map(str, parts))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield from [node.value] * (" " in node.value)


def texts() -> Iterator[tuple[str, str]]:
    """All that users read, with its name."""
    yield from ALL.items()
    yield "CHANGELOG.md", QUOTED.sub("", (ROOT / "CHANGELOG.md").read_text())
    for topic in TABLES:
        yield topic, page(topic)
    for template in sorted(HARNESS.glob("**/templates/*.html")):
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


@pytest.mark.parametrize("package", SPEAKING)
def test_sentences_use_words_of_the_field(package: str) -> None:
    chosen = {name: nodes for name, nodes in modules().items() if name.partition("/")[0] == package}
    found = [
        (name, words, text)
        for name, nodes in chosen.items()
        for text in sentences(nodes)
        if (words := private(text))
    ]
    assert chosen
    assert found == []


def test_options_of_plain_locust_use_words_of_the_field() -> None:
    told = {setting.variable: setting.help for setting in SETTINGS.values()}
    assert {name: words for name, text in told.items() if (words := private(text))} == {}


def test_a_private_word_is_found() -> None:
    assert private("the usher at the door") == ["usher", "doors?"]
