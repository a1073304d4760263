"""The one builder of pages: verdict and tiles first, then sections of tables, charts and facts.

A page is a value (:class:`Page`), and one template shows it. It is one file that needs nothing from
outside. Everything that came from elsewhere (the service, a foreign run directory) is escaped by
the template engine, and the page's own security policy lets no script run but ours, known by its
hash: a slip in escaping could still not run anything.
"""

import base64
import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import ClassVar

from jinja2 import Environment, PackageLoader, StrictUndefined
from markdown_it import MarkdownIt
from markupsafe import Markup

from harness import __version__
from harness.report.html.charts import Chart
from harness.report.story import Row
from harness.rundir.layout import write_atomically, writing

Cell = str | Markup
"""A text, which is escaped; or markup from one of the functions below."""


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table. Numbers stand at the right; what is ``wide`` no phone shows."""

    name: str
    number: bool = False
    wide: bool = False
    name_class: str = ""


def texts(*names: str) -> list[Column]:
    """Columns of words."""
    return [Column(name) for name in names]


def numbers(*names: str) -> list[Column]:
    """Columns of figures."""
    return [Column(name, number=True) for name in names]


@dataclass(frozen=True, slots=True)
class Table:
    """Rows under columns; the first cell of a row is its name.

    ``cards``: on a phone each row is a block of its own. ``marks`` holds a class for each row.
    """

    kind: ClassVar[str] = "table"
    label: str
    columns: Sequence[Column]
    rows: Sequence[Sequence[Cell]]
    name: str = ""
    cards: bool = False
    marks: Sequence[str] = ()
    last: Sequence[Cell] = ()


@dataclass(frozen=True, slots=True)
class Facts:
    """Figures under each other."""

    kind: ClassVar[str] = "facts"
    rows: Sequence[Row]


@dataclass(frozen=True, slots=True)
class Text:
    """A paragraph; ``look`` is lede, aside, todo, none or footnote (or manual: paragraphs)."""

    kind: ClassVar[str] = "text"
    text: Cell
    look: str = ""


@dataclass(frozen=True, slots=True)
class Items:
    """A list of sentences."""

    kind: ClassVar[str] = "items"
    items: Sequence[Cell]


@dataclass(frozen=True, slots=True)
class Code:
    """Something to copy. Commands ``wraps``: none of them is to be cut off."""

    kind: ClassVar[str] = "code"
    text: str
    wraps: bool = False


@dataclass(frozen=True, slots=True)
class Heading:
    """A heading within a section."""

    kind: ClassVar[str] = "heading"
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """A chart with its words. ``rows`` repeat it as a table."""

    key: str
    title: str
    chart: Chart
    about: str = ""
    says: str = ""
    """more for a screen reader than the title"""
    pill: Cell = ""
    head: Sequence[str] = ()
    rows: Sequence[Sequence[str]] = field(default=())


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """Charts beside each other where there is room; ``zoom``: with buttons for their time axis."""

    kind: ClassVar[str] = "figures"
    figures: Sequence[Figure]
    zoom: bool = False
    single: bool = False


@dataclass(frozen=True, slots=True)
class Folded:
    """Blocks that are collapsed until the reader opens them."""

    kind: ClassVar[str] = "folded"
    summary: str
    blocks: "Sequence[Block]"


Block = Table | Facts | Text | Items | Code | Heading | Figures | Folded


@dataclass(frozen=True, slots=True)
class Section:
    """A heading and what stands below; ``key`` is what links lead to."""

    heading: str
    blocks: Sequence[Block] = ()
    lede: Cell = ""
    key: str = ""
    short: str = ""
    """its name in the page's table of contents; none where it is empty"""


@dataclass(frozen=True, slots=True)
class Tile:
    """A figure that stands out, what it is, and a note below."""

    figure: str
    name: str
    note: str = ""
    bad: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """The page. ``tone`` is pass, fail, invalid or no_data; ``running`` stands on each sheet."""

    title: str
    kicker: str
    about: Cell
    tone: str
    headline: str
    why: Cell
    icon: bool = False
    running: str = ""
    meta: Sequence[Cell] = ()
    notices: Sequence[Cell] = ()
    tiles: Sequence[Tile] = ()
    sections: Sequence[Section] = ()
    foot: Cell = ""


def pill(text: str, tone: str, *, icon: bool = False) -> Markup:
    """A word of judgement in its colour."""
    drawn = Markup(icon_of(tone)) if icon else ""
    return Markup('<span class="pill {}">{}{}</span>').format(tone, drawn, text)


def level(share: float, tone: str) -> Markup:
    """A bar as long as its share (0 to 1)."""
    width = f"{min(max(share, 0.0), 1.0) * 100:.1f}"
    return Markup('<i class="level {}" style="width:{}%" aria-hidden="true"></i>').format(
        tone, width
    )


def small(text: str) -> Markup:
    """A remark behind a figure."""
    return Markup(" <small>{}</small>").format(text) if text else Markup("")


def moment(iso: str, text: str) -> Markup:
    """A moment in UTC; the page's script adds the reader's own time."""
    return Markup('<time datetime="{}">{}</time>').format(iso, text)


def icon_of(tone: str) -> str:
    """The drawing beside a verdict."""
    path = {
        "pass": "M5 12.5l4.5 4.5L19 7.5",
        "fail": "M7 7l10 10M17 7L7 17",
        "invalid": "M12 6v7.5M12 17.4v.2",
    }.get(tone, "M7 12h10")
    return (
        '<svg class="icon" viewBox="0 0 24 24" aria-hidden="true" focusable="false">'
        f'<path d="{path}"/></svg>'
    )


def render(page: Page) -> str:
    """The page's HTML."""
    kinds = {block.kind for part in page.sections for block in _all(part.blocks)}
    script = _asset("page.js") if kinds & {"figures", "folded"} or page.meta else ""
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    html = (
        _environment()
        .get_template("page.html")
        .render(
            page=page,
            contents=[part for part in page.sections if part.short],
            style=Markup(style_sheet()),
            script=Markup(script),
            sha256=digest,
            icon=Markup(icon_of(page.tone)) if page.icon else "",
            running=_css_text(page.running or page.title),
            version=__version__,
        )
    )
    return html.lstrip()


def style_sheet() -> str:
    """The style of every page, also of the one that the web UI shows during a run."""
    return _asset("page.css")


def draw_figures(figures: Sequence[Figure]) -> str:
    """The HTML of charts alone, for a page that shows them again and again."""
    figure = _environment().get_template("blocks.html").module.figure  # type: ignore[attr-defined]
    return "".join(figure(one) for one in figures)


def write_page(path: Path, page: Page) -> Path:
    """Write a page in one step. Raises ConfigError when that is not possible."""
    with writing(path):
        return write_atomically(path, render(page))


def _all(blocks: Sequence[Block]) -> list[Block]:
    flat: list[Block] = []
    for block in blocks:
        flat += [block, *(_all(block.blocks) if isinstance(block, Folded) else ())]
    return flat


@cache
def _asset(name: str) -> str:
    return files("harness.report.html").joinpath("templates", name).read_text(encoding="utf-8")


@cache
def _environment() -> Environment:
    """The template engine: everything is escaped, and an unknown name is an error."""
    return Environment(
        loader=PackageLoader("harness.report.html"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _css_text(text: str) -> Markup:
    """A text in a style sheet: all but letters, digits and blanks as numbers."""
    return Markup(re.sub(r"[^\w .-]", lambda match: f"\\{ord(match[0]):x} ", text, flags=re.A))


MEASURING = "measuring"
LINK = ("link_open", "link_close")


def manual_page(topic: str) -> str:
    """The Markdown of a page of the manual."""
    return files("harness").joinpath(f"docs/{topic}.md").read_text(encoding="utf-8")


def manual_section(topic: str) -> tuple[str, Markup]:
    """The title of a page of the manual and its HTML, for a report that is read offline.

    Headings go one level down, each with an id to link to. Links to other files would lead nowhere:
    only their words are kept.
    """
    parser = MarkdownIt("commonmark", {"html": False}).enable("table")
    tokens = parser.parse(manual_page(topic))
    title = tokens[1].content
    body = tokens[3:]  # without the title
    for number, token in enumerate(body):
        if token.type in ("heading_open", "heading_close"):
            token.tag = f"h{min(int(token.tag[1:]) + 1, 6)}"
        if token.type == "heading_open":
            token.attrSet("id", anchor(topic, body[number + 1].content))
        elif token.children:
            token.children = [part for part in token.children if part.type not in LINK]
    html = parser.renderer.render(body, parser.options, {})
    return title, Markup(html)  # our own text, and the parser lets no HTML through


def anchor(topic: str, heading: str) -> str:
    """The id of a heading."""
    words = re.findall(r"[a-z0-9]+", heading.lower())
    return "-".join([topic, *words])
