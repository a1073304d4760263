"""The summary holds verdict, account and objectives, and no text can break out of it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.report.outputs import code, escaped, markdown
from harness.rundir.schema import RunRecord

HOSTILE = "x | y\n\n# Passed\n<img src=x onerror=alert(1)> @everyone [a](javascript:b) `c` **d**"


def summary(**parts: object) -> str:
    return markdown(RunRecord.model_validate({"schema": 1, "run_id": "r"} | parts))


def test_verdict_and_account_come_first() -> None:
    sessions = {"intended": 3, "cleared": 1, "leftover": 2}
    lines = summary(verdict="FAIL", reasons=["leftovers"], sessions=sessions).splitlines()
    assert lines[0] == "## ❌ Failed: r"
    assert lines[2] == "Leftovers. Of 3 sessions, 2 have no proof of an end."
    assert any(line.endswith("`harness sweep r`") for line in lines)


def test_an_empty_record_says_that_it_knows_nothing() -> None:
    text = summary()
    assert "No verdict" in text
    assert "What became of its sessions is not recorded." in text
    assert " 0" not in text


def test_the_last_line_calls_test_and_target_by_their_names() -> None:
    how = {"target": "ws://127.0.0.1:40469/v1?deploymentId=x", "locustfile": "ready/script.py"}
    assert "<sub>ws://127.0.0.1:40469/v1 · ready/script.py" in summary(how=how)
    named = summary(how={**how, "target_name": "simulator", "name": "shop.yaml"})
    assert "<sub>simulator · shop.yaml" in named


def test_hostile_text_stays_one_line_of_text() -> None:
    text = summary(
        run_id=HOSTILE,
        reasons=[HOSTILE],
        objectives=[{"text": HOSTILE, "verdict": "PASS", "figure": 1, "unit": HOSTILE}],
        operations={HOSTILE: {"count": 1}},
        how={"target": HOSTILE, "locustfile": HOSTILE},
    )
    assert "\n# Passed" not in text
    outside_code = "".join(text.split("`")[::2])
    for forbidden in ("<img", "@everyone", "[a](", "**d**"):
        assert forbidden not in outside_code
    for line in text.splitlines():
        if line.startswith("| ✅"):
            assert line.replace("\\|", "").count("|") == 5


@given(st.text())
def test_escaped_text_holds_no_living_special_letter(text: str) -> None:
    found = escaped(text)
    assert "\n" not in found
    assert "<" not in found
    assert not any(found[0:1] == mark for mark in "-+#=")


@pytest.mark.parametrize(
    ("text", "written"),
    [("52.9 ms", "52.9 ms"), ("12. first", "12\\. first"), ("a_b", "a\\_b"), ("- x", "\\- x")],
)
def test_only_what_means_something_is_escaped(text: str, written: str) -> None:
    assert escaped(text) == written


@pytest.mark.parametrize("text", ["a`b", "``", "a|b", "a\nb"])
def test_a_code_span_can_not_be_left(text: str) -> None:
    found = code(text)
    assert found.count("`") == 2
    assert "\n" not in found
