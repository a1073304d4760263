"""Pages of the manual as sections of a report."""

import re
from pathlib import Path

from harness.judge.accounts import ENDS
from harness.measure.model import Outcome
from harness.report.html.page import MEASURING, anchor, page, section

TEMPLATE = Path(__file__).parents[3] / "harness/report/html/templates/report.html"


def test_a_page_is_a_section_whose_headings_can_be_linked_to() -> None:
    title, html = section(MEASURING)
    assert title == "How a run is measured and judged"
    headings = re.findall(r"^## (.+)$", page(MEASURING), re.M)
    assert headings
    for heading in headings:
        assert f'<h3 id="{anchor(MEASURING, heading)}">{heading}</h3>' in html
    assert "<table>" in html


def test_a_section_leads_nowhere_outside_the_page() -> None:
    _, html = section(MEASURING)
    assert "The last table" in html
    assert "href" not in html
    assert "<script" not in html


def test_each_link_of_a_report_into_the_manual_has_its_place_there() -> None:
    _, html = section(MEASURING)
    links = re.findall(r'href="#(measuring-[^"]+)"', TEMPLATE.read_text())
    assert len(set(links)) >= 7
    assert set(links) <= set(re.findall(r'id="([^"]+)"', html))


def test_the_page_names_every_outcome_of_a_question() -> None:
    text = page(MEASURING)
    for name in (*ENDS, "failed"):
        assert f"| {name.replace('_', ' ')} |" in text
    assert Outcome.UNANSWERED.value in text
