"""A page that answers one question: everything is escaped, bars are drawn, nothing from outside."""

from pathlib import Path

import pytest

from harness.errors import ConfigError
from harness.report.html.page import (
    Answer,
    Column,
    Key,
    Section,
    render_answer,
    write_answer,
)

ANSWER = Answer(
    title="A <title>",
    kicker="Plan",
    about="a & b",
    tone="fail",
    headline="It does <not> hold",
    why="Because.",
    notices=["<i>watch out</i>"],
    keys=[Key(figure="12", name="agents", note="each <b>", bad=True)],
    sections=[
        Section(
            heading="Rows",
            lede="As they are.",
            columns=[Column("what"), Column("bar"), Column("how many", number=True)],
            rows=[("<x>", {"tone": "good", "width": 40}, "7")],
        ),
        Section(heading="To copy", code="harness run <file>"),
    ],
    foot="The end.",
)


def test_everything_is_there_and_escaped() -> None:
    html = render_answer(ANSWER)
    for text in (
        "<title>A &lt;title&gt;</title>", "<h1>It does &lt;not&gt; hold</h1>", "a &amp; b",
        "&lt;i&gt;watch out", "each &lt;b&gt;", "&lt;x&gt;", 'class="level good" style="width:40%"',
        "<code>harness run &lt;file&gt;</code>", 'class="key bad"', 'class="verdict fail"',
    ):  # fmt: skip
        assert text in html
    assert "http://" not in html
    assert "<script" not in html


def test_it_is_written_in_one_step_or_refused(tmp_path: Path) -> None:
    path = write_answer(tmp_path / "page.html", ANSWER)
    assert path.read_text() == render_answer(ANSWER)
    assert list(tmp_path.iterdir()) == [path]
    with pytest.raises(ConfigError, match="can't be written"):
        write_answer(tmp_path / "no" / "page.html", ANSWER)
