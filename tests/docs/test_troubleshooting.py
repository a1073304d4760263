"""Each message that the manual explains is one that the code can say."""

import ast
import re

import pytest
from docs.manual import PAGES
from source import modules

PAGE = PAGES["troubleshooting.md"]
MESSAGES = re.findall(r"^\| `(.+?)` \|", PAGE, re.MULTILINE)


@pytest.fixture(scope="module")
def said() -> list[str]:
    """Every text in the package; a value in it is one odd character."""
    texts = []
    for nodes in modules().values():
        for node in nodes:
            if isinstance(node, ast.JoinedStr):
                parts = (v.value if isinstance(v, ast.Constant) else "\0" for v in node.values)
                texts.append("".join(map(str, parts)))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                texts.append(node.value)
    return texts


def test_there_are_enough() -> None:
    assert len(set(MESSAGES)) >= 30


@pytest.mark.slow
@pytest.mark.parametrize("message", MESSAGES)
def test_the_code_says_it(message: str, said: list[str]) -> None:
    pieces = [re.escape(piece) for piece in message.strip("…").split("…")]
    pattern = re.compile(".*".join(pieces), re.DOTALL)
    assert any(pattern.search(text) for text in said)
