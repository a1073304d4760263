"""Nothing but PASS passes in CI, and the XML holds for any text."""

from xml.etree import ElementTree as ET

import pytest
from examples import at_most
from hypothesis import given
from hypothesis import strategies as st

from harness.report.outputs import junit
from harness.rundir.schema import RunRecord


def suite(**parts: object) -> ET.Element:
    record = RunRecord.model_validate({"schema": 1, "run_id": "r"} | parts)
    return ET.fromstring(junit(record))


def objective(verdict: str, **more: object) -> dict:
    return {"text": "reply p95 < 5s", "verdict": verdict} | more


def test_one_case_per_objective_and_one_for_the_whole() -> None:
    found = suite(verdict="PASS", objectives=[objective("PASS"), objective("PASS")])
    assert [case.get("name") for case in found.iter("testcase")] == [
        "reply p95 < 5s", "reply p95 < 5s", "the run as a whole",
    ]  # fmt: skip
    assert (found.get("tests"), found.get("failures"), found.get("errors")) == ("3", "0", "0")


@pytest.mark.parametrize(
    ("verdict", "kind"),
    [("FAIL", "failure"), ("NO_DATA", "error"), ("INVALID", "error"), (None, "error")],
)
def test_whatever_is_not_a_pass_does_not_pass(verdict: str | None, kind: str) -> None:
    found = suite(verdict=verdict)
    assert found.get(f"{kind}s") == "1"
    assert found.find(f"testcase/{kind}") is not None


def test_a_missed_objective_tells_figure_limit_and_margin() -> None:
    missed = objective("FAIL", figure=6500, limit=5000, unit="ms", margin=-0.3)
    [failure] = suite(verdict="FAIL", objectives=[missed]).findall("testcase/failure")[:1]
    assert failure.get("message") == (
        "reply p95 < 5s: measured 6.50 s, limit 5.00 s, 30.0 % beyond the limit"
    )
    [error] = suite(verdict="FAIL", objectives=[objective("NO_DATA")]).findall("testcase/error")
    assert error.get("message") == "reply p95 < 5s: nothing was measured"


@at_most(60)
@given(st.text(st.characters(codec="utf-8")))
def test_any_text_makes_xml_that_reads_back(text: str) -> None:
    found = suite(run_id=text, verdict="FAIL", reasons=[text], objectives=[objective("PASS")])
    assert len(found.findall("testcase")) == 2
