"""The manual: topics in Markdown, by name, and the tables that long checks have measured."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from harness.errors import ConfigError

FOLDER = Path(__file__).parent
TOPICS = (
    "first-run", "locustfiles", "scripts", "schedules", "targets", "report", "measuring",
    "objectives", "leftovers", "studies", "machines", "metrics", "ci", "files", "simulator",
    "commands", "troubleshooting", "architecture", "contributing",
)  # fmt: skip
"""The pages of the manual, in the order in which they are read."""
TABLES: Mapping[str, Path] = MappingProxyType(
    {
        "fidelity": FOLDER.parent / "simulator" / "FIDELITY.md",
        "accuracy": FOLDER.parent / "measure" / "ACCURACY.md",
        "validity-matrix": FOLDER.parent / "measure" / "VALIDITY_MATRIX.md",
        "crash-matrix": FOLDER.parent / "ledger" / "CRASH_MATRIX.md",
        "evidence": FOLDER.parent / "studies" / "EVIDENCE.md",
    }
)
"""What the figures and promises rest on: each stands beside the code that it is about."""


@dataclass(frozen=True, slots=True)
class Hit:
    """A line of the manual in which a word was found."""

    topic: str
    heading: str
    line: str


def topics() -> dict[str, str]:
    """Topic → its title: the pages, then the tables."""
    names = (*TOPICS, *TABLES)
    return {name: page(name).partition("\n")[0].lstrip("# ") for name in names}


def page(topic: str) -> str:
    """The text of a topic. Raises ConfigError naming those that there are."""
    if topic not in TOPICS and topic not in TABLES:
        known = ", ".join((*TOPICS, *TABLES))
        raise ConfigError(f"there is no topic {topic!r}; there are: {known}")
    return TABLES.get(topic, FOLDER / f"{topic}.md").read_text(encoding="utf-8")


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
