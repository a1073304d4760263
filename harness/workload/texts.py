"""What guests say: built-in sets by size and language, and texts from a file.

::

    short     a few words, as most messages of a chat are
    medium    a few sentences
    long      a long complaint, around a thousand characters
    limit     as long as the service takes: 4096 bytes

A file holds one text a line. The sets are data (``texts.toml``) and the same for every process.
"""

import tomllib
from enum import StrEnum
from functools import cache
from pathlib import Path

from harness.errors import ConfigError
from harness.workload.data import read_text

# The service's documented limit (vendor's "Web Messaging" limits page, October 2026).
MAX_TEXT_BYTES = 4096


class Size(StrEnum):
    """How long the texts of a set are."""

    SHORT = "short"
    MEDIUM = "medium"
    LONG = "long"
    LIMIT = "limit"


def texts(size: str = "short", *, language: str = "en", file: str | Path = "") -> tuple[str, ...]:
    """A set of texts: built-in ones of a size and language, or the lines of a file.

    Raises ConfigError for what is not there and for a file that can't be used.
    """
    if file:
        return read_texts(Path(file))
    if size not in list(Size):
        raise ConfigError(f"texts(): size: expected one of {', '.join(Size)}, got {size!r}")
    known = _built_in()
    if language not in known:
        raise ConfigError(
            f"texts(): language: expected one of {', '.join(known)}, got {language!r}"
        )
    sets = known[language]
    if size in (Size.SHORT, Size.MEDIUM):
        return sets[size]
    return _joined(sets["medium"], to_the_limit=size == Size.LIMIT, language=language)


def languages() -> tuple[str, ...]:
    """The languages of the built-in sets."""
    return tuple(_built_in())


def read_texts(file: Path) -> tuple[str, ...]:
    """One text a line; blank lines are skipped. ConfigError names file and line."""
    lines = read_text(file).splitlines()
    for number, line in enumerate(lines, 1):
        size = len(line.strip().encode())
        if size > MAX_TEXT_BYTES:
            raise ConfigError(
                f"{file}, line {number}: {size} bytes; the service takes {MAX_TEXT_BYTES}"
            )
    found = tuple(line.strip() for line in lines if line.strip())
    if not found:
        raise ConfigError(f"{file}: empty; expected texts, one a line")
    return found


@cache
def _built_in() -> dict[str, dict[str, tuple[str, ...]]]:
    data = tomllib.loads(Path(__file__).with_name("texts.toml").read_text(encoding="utf-8"))
    return {
        language: {size: tuple(found) for size, found in sets.items()}
        for language, sets in data.items()
    }


def _joined(parts: tuple[str, ...], *, to_the_limit: bool, language: str) -> tuple[str, ...]:
    """One text that begins with each of the parts and goes on with the others in turn."""
    between = "" if language == "ja" else " "
    found = []
    for first in range(len(parts)):
        whole = between.join(parts[first:] + parts[:first])
        while to_the_limit and len(whole.encode()) < MAX_TEXT_BYTES:
            whole += between + whole
        if to_the_limit:
            kept = whole.encode()[:MAX_TEXT_BYTES].decode(errors="ignore").rstrip()
            whole = kept + "." * (MAX_TEXT_BYTES - len(kept.encode()))
        found.append(whole)
    return tuple(found)
