"""A page that answers one question: the answer first, figures, then tables. In the report's style.

Needs nothing from outside and no script; everything is escaped.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from harness import __version__
from harness.errors import ConfigError
from harness.report.html.page import template_environment

Cell = str | Mapping[str, object]
"""A text, or a bar: ``{"tone": "good", "width": per cent}``."""


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table; numbers stand at the right."""

    name: str
    number: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """A figure that stands out, what it is, and a note below."""

    figure: str
    name: str
    note: str = ""
    bad: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """A heading with a table, or something to copy."""

    heading: str
    lede: str = ""
    columns: Sequence[Column] = ()
    rows: Sequence[Sequence[Cell]] = ()
    code: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """The page. ``tone`` is pass, fail, invalid or no_data."""

    title: str
    kicker: str
    about: str
    tone: str
    headline: str
    why: str
    notices: Sequence[str] = field(default=())
    keys: Sequence[Key] = field(default=())
    sections: Sequence[Section] = field(default=())
    foot: str = ""


def render_answer(answer: Answer) -> str:
    """The page's HTML."""
    template = template_environment().get_template("answer.html")
    return template.render(answer=answer, version=__version__)


def write_answer(path: Path, answer: Answer) -> Path:
    """Write the page in one step. Raises ConfigError when that is not possible."""
    return write_page(path, render_answer(answer))


def write_page(path: Path, html: str) -> Path:
    """Write a page in one step. Raises ConfigError when that is not possible."""
    part = path.with_name(f"{path.name}.part")
    try:
        part.write_text(html, encoding="utf-8")
        return part.replace(path)
    except OSError as error:
        raise ConfigError(f"{path} can't be written: {error.strerror or error}") from error
