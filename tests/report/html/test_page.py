"""One builder for all pages: everything escaped, everything shown, nothing from outside."""

import base64
import hashlib
import re
from pathlib import Path

import pytest
from markupsafe import Markup

from harness.errors import ConfigError
from harness.report.html.charts import Chart, Key, Tick
from harness.report.html.page import (
    Code,
    Column,
    Facts,
    Figure,
    Figures,
    Folded,
    Heading,
    Items,
    Page,
    Section,
    Table,
    Text,
    Tile,
    level,
    moment,
    pill,
    render,
    small,
    write_page,
)
from harness.report.story import Row

CHART = Chart(
    shapes=Markup('<path class="grid" d="M0 0h1"/>'),
    across=[Tick(0.0, "start"), Tick(0.5, "<half>")],
    up=[Tick(1.0, "2 <s>")],
    legend=[Key(text="<p50>", colour="red")],
    readings='p50|<1>|"2"',
)
PAGE = Page(
    title="A <title>",
    kicker="Plan",
    about="a & b",
    tone="fail",
    headline="It does <not> hold",
    why="Because.",
    running='x"; } body { display: none',
    meta=[moment("2026-01-01T00:00:00Z", "<noon>")],
    notices=["<i>watch out</i>"],
    tiles=[Tile(figure="12", name="agents", note="each <b>", bad=True)],
    sections=[
        Section(
            heading="Rows",
            key="rows",
            short="Rows",
            lede="As they are.",
            blocks=[
                Table(
                    label="<rows>",
                    columns=[Column("what"), Column("bar"), Column("how many", number=True)],
                    rows=[("<x>", level(0.4, "good"), "7")],
                    cards=True,
                    last=("all", "", "7"),
                ),
                Facts([Row("<fact>", pill("<met>", "pass"), "<note>")]),
                Folded(
                    "<more>",
                    [
                        Heading("<h>"),
                        Text("<text>" + small("<small>"), "aside"),
                        Items(["<item>"]),
                    ],
                ),
                Code("harness run <file>"),
            ],
        ),
    ],
    foot="The end.",
)


def drawn() -> Page:
    one = Figure(
        key="k", title="<title>", about="<about>", chart=CHART, head=["<a>"], rows=[["<b>"]]
    )
    blocks = [Folded("s", [Figures(figures=[one], zoom=True)])]
    return Page(
        title="t", kicker="k", about="a", tone="pass", headline="h", why="w",
        sections=[Section(heading="Charts", blocks=blocks)],
    )  # fmt: skip


def test_everything_is_there_and_escaped() -> None:
    html = render(PAGE)
    for text in (
        "<title>A &lt;title&gt;</title>", "<h1>It does &lt;not&gt; hold</h1>", "a &amp; b",
        "&lt;i&gt;watch out", "each &lt;b&gt;", "&lt;x&gt;",
        'class="level good" style="width:40.0%"',
        "<code>harness run &lt;file&gt;</code>", 'class="key bad"', 'class="verdict fail"',
        "&lt;rows&gt;", "&lt;fact&gt;", "&lt;met&gt;", "&lt;note&gt;", "&lt;more&gt;", "&lt;h&gt;",
        "&lt;item&gt;", "&lt;noon&gt;", '<a href="#rows">Rows</a>', "The end.",
        "&lt;text&gt; <small>&lt;small&gt;",
    ):  # fmt: skip
        assert text in html
    assert "http://" not in html
    assert html.startswith("<!doctype html>")


def test_a_page_without_anything_to_move_has_no_script() -> None:
    html = render(Page(title="t", kicker="k", about="a", tone="pass", headline="h", why="w"))
    assert "<script" not in html
    assert "script-src" not in html


def test_the_running_text_can_not_leave_the_style_sheet() -> None:
    html = render(PAGE)
    [content] = re.findall(r'@bottom-left \{ content: "([^"]*)"', html)
    assert not set(content) & set('";{}<')


def test_a_chart_has_words_labels_a_table_and_a_script_of_its_own() -> None:
    html = render(drawn())
    for text in (
        "&lt;title&gt;", "&lt;about&gt;", "&lt;half&gt;", "2 &lt;s&gt;", "&lt;p50&gt;",
        "&lt;a&gt;", "&lt;b&gt;", "p50|&lt;1&gt;|&#34;2&#34;", 'role="toolbar"',
    ):  # fmt: skip
        assert text in html
    [script] = re.findall(r"<script>(.*?)</script>", html, re.S)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in html
    assert "default-src 'none'" in html


def test_it_is_written_in_one_step_or_refused(tmp_path: Path) -> None:
    path = write_page(tmp_path / "page.html", PAGE)
    assert path.read_text() == render(PAGE)
    assert list(tmp_path.iterdir()) == [path]
    with pytest.raises(ConfigError, match="can't be written"):
        write_page(tmp_path / "no" / "page.html", PAGE)
