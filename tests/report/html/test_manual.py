"""Pages of the manual as sections of a report."""

import re

from harness.judge.record import ENDS
from harness.measure.model import Outcome
from harness.report.html.page import MEASURING, anchor, manual_page, manual_section
from harness.report.html.run_page import run_page
from harness.rundir.schema import RunRecord


def test_a_page_is_a_section_whose_headings_can_be_linked_to() -> None:
    title, html = manual_section(MEASURING)
    assert title == "How a run is measured and judged"
    headings = re.findall(r"^## (.+)$", manual_page(MEASURING), re.M)
    assert headings
    for heading in headings:
        assert f'<h3 id="{anchor(MEASURING, heading)}">{heading}</h3>' in html
    assert "<table>" in html


def test_a_section_leads_nowhere_outside_the_page() -> None:
    _, html = manual_section(MEASURING)
    assert "the last table" in html
    assert "href" not in html
    assert "<script" not in html


def test_each_link_of_a_report_into_the_manual_has_its_place_there() -> None:
    _, html = manual_section(MEASURING)
    record = RunRecord.model_validate(
        {"schema": 1, "run_id": "r", "operations": {"reply": {"count": 1}}}
    )
    links = re.findall(r'href="#(measuring-[^"]+)"', run_page(record, None))
    assert len(set(links)) >= 7
    assert set(links) <= set(re.findall(r'id="([^"]+)"', html))


def test_the_page_names_every_outcome_of_a_question() -> None:
    text = manual_page(MEASURING)
    for name in (*ENDS, "failed"):
        assert f"| {name.replace('_', ' ')} |" in text
    assert Outcome.UNANSWERED.value in text
