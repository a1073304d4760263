"""The report of a run as one HTML file that needs nothing from outside.

Everything that came from elsewhere (the service, a foreign run directory) is escaped by the
template engine, and the page's own security policy lets no script run but the three that are
written here, known by their hashes, so that a slip in escaping could still not run anything.

A page that answers one question: the answer first, figures, then tables. In the report's style.

Needs nothing from outside and no script; everything is escaped.

Pages of the manual, as sections of a report that is read offline.

They are written for the terminal and for a browser alike, so they are plain Markdown. In a report
links to other files lead nowhere: only their words are kept.
"""

import base64
import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path

from bokeh.embed import components
from bokeh.resources import Resources
from jinja2 import Environment, PackageLoader, StrictUndefined
from markdown_it import MarkdownIt
from markdown_it.token import Token
from markupsafe import Markup

from harness import __version__
from harness.errors import ConfigError
from harness.judge.series import Series
from harness.measure.model import OPERATIONS, ordered
from harness.report import figures, story
from harness.report import tables as aftermath
from harness.report import tables as oddities
from harness.report.consistency import disagreements
from harness.report.html.panels import NOTHING, Panel, make_panels
from harness.report.tables import limit_rows
from harness.rundir.layout import write_atomically
from harness.rundir.schema import RunRecord

MEASURING = "measuring"


def page(topic: str) -> str:
    """The Markdown of a page."""
    return files("harness").joinpath(f"docs/{topic}.md").read_text(encoding="utf-8")


def section(topic: str) -> tuple[str, Markup]:
    """The title of a page and its HTML: headings one level down, each with an id to link to."""
    parser = MarkdownIt("commonmark", {"html": False}).enable("table")
    tokens = parser.parse(page(topic))
    title = tokens[1].content
    body = tokens[3:]  # without the title
    for number, token in enumerate(body):
        if token.type == "heading_open":
            token.tag = _down(token.tag)
            token.attrSet("id", anchor(topic, body[number + 1].content))
        elif token.type == "heading_close":
            token.tag = _down(token.tag)
        elif token.children:
            token.children = [part for part in token.children if not _is_link(part)]
    html = parser.renderer.render(body, parser.options, {})
    return title, Markup(html)  # our own text, and the parser lets no HTML through


def anchor(topic: str, heading: str) -> str:
    """The id of a heading."""
    words = re.findall(r"[a-z0-9]+", heading.lower())
    return "-".join([topic, *words])


def _down(tag: str) -> str:
    return f"h{min(int(tag[1:]) + 1, 6)}"


def _is_link(token: Token) -> bool:
    return token.type in ("link_open", "link_close")


TIMES = ("p50", "p90", "p95", "p99", "p99_9", "max", "mean")


@dataclass(frozen=True, slots=True, kw_only=True)
class Script:
    """A script of the page and its hash for the security policy."""

    text: Markup
    sha256: str


def render(record: RunRecord, series: Series | None) -> str:
    """The page as text."""
    panels = make_panels(record, series) if series else NOTHING
    environment = template_environment()
    scripts, divs = chart_scripts(list(panels), environment)
    manual_title, manual = section(MEASURING)
    return environment.get_template("report.html").render(
        record=record,
        closed=story.is_closed(record),
        series=series,
        story=story,
        oddities=oddities,
        aftermath=aftermath,
        limits=limit_rows(record, series),
        in_order=ordered(record.operations),
        figures=figures,
        operations=OPERATIONS,
        time_names=TIMES,
        panels=panels,
        notices=[*story.notices(record), *disagreements(record, series)],
        scripts=scripts,
        divs=divs,
        manual_title=manual_title,
        manual=manual,
        version=__version__,
    )


def template_environment() -> Environment:
    """The template engine: everything is escaped, and an unknown name is an error."""
    environment = Environment(
        loader=PackageLoader("harness.report.html"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "count": figures.count_text,
        "ms": figures.ms_text,
        "percent": figures.percent_text,
        "clock": figures.clock_text,
        "moment": figures.moment_text,
        "length": figures.length_text,
    }
    return environment


def chart_scripts(
    panels: list[Panel], environment: Environment
) -> tuple[list[Script], dict[str, Markup]]:
    """The page's scripts, and by chart key the element that will hold the chart."""
    own = environment.get_template("report.js").render()
    if not panels:
        return [_script(own)], {}
    code, divs = components({panel.key: panel.plot.figure for panel in panels}, wrap_script=False)
    library = Resources(mode="inline", components=["bokeh"]).render_js()
    inner = library[library.index(">") + 1 : library.index("</script>")]
    inner += 'Bokeh.set_log_level("error");'
    scripts = [_script(inner), _script(code), _script(own)]
    return scripts, {key: Markup(div) for key, div in divs.items()}


def _script(text: str) -> Script:
    if "</script" in text.lower() or "<!--" in text:
        raise AssertionError("a script that would end itself")  # no text from outside gets here
    digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
    return Script(text=Markup(text), sha256=digest)


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
    try:
        return write_atomically(path, html)
    except OSError as error:
        raise ConfigError(f"{path} can't be written: {error.strerror or error}") from error
