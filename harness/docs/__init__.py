"""The manual: topics in Markdown, by name."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from harness.errors import ConfigError

FOLDER = Path(__file__).parent


@dataclass(frozen=True, slots=True)
class Hit:
    """A line of the manual in which a word was found."""

    topic: str
    heading: str
    line: str


def topics() -> dict[str, str]:
    """Topic → its title."""
    paths = sorted(FOLDER.glob("*.md"))
    return {path.stem: path.read_text().partition("\n")[0].lstrip("# ") for path in paths}


def page(topic: str) -> str:
    """The text of a topic. Raises ConfigError naming those that there are."""
    if topic not in topics():
        raise ConfigError(f"there is no topic {topic!r}; there are: {', '.join(topics())}")
    return (FOLDER / f"{topic}.md").read_text()


def search(word: str) -> Iterator[Hit]:
    """Each line that has ``word`` in it, whatever its case, with the heading above it."""
    for topic in topics():
        heading = ""
        code = False
        for line in page(topic).splitlines():
            code ^= line.startswith("```")
            if line.startswith("#") and not code:
                heading = line.lstrip("# ")
            if word.lower() in line.lower():
                yield Hit(topic, heading, line.strip())
