"""The manual's pages, and the fenced examples in them."""

import re
from dataclasses import dataclass
from pathlib import Path

import harness

ROOT = Path(__file__).parent.parent.parent
DOCS = Path(harness.__file__).parent / "docs"
PAGES = {path.name: path.read_text() for path in sorted(DOCS.glob("*.md"))}
README = (ROOT / "README.md").read_text()
ALL = {"README.md": README, **PAGES}
"""What a user reads: the README and every page of the manual."""

_FENCE = re.compile(
    r"(?:<!-- (?P<note>[^>]*?) -->\n)?^```(?P<language>\w*)\n(?P<text>.*?)^```$",
    re.DOTALL | re.MULTILINE,
)


@dataclass(frozen=True, slots=True)
class Example:
    """A fenced block; ``note`` is the comment above it, such as ``shown: needs a deployment``."""

    page: str
    language: str
    text: str
    note: str


def examples(*languages: str) -> list[Example]:
    """The blocks in one of the languages."""
    return [
        Example(page, match["language"], match["text"], match["note"] or "")
        for page, text in ALL.items()
        for match in _FENCE.finditer(text)
        if match["language"] in languages
    ]
