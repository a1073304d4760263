"""Pages of the manual, as sections of a report that is read offline.

They are written for the terminal and for a browser alike, so they are plain Markdown. In a report
links to other files lead nowhere: only their words are kept.
"""

import re
from importlib.resources import files

from markdown_it import MarkdownIt
from markdown_it.token import Token
from markupsafe import Markup

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
