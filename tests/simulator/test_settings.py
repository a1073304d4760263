"""Documented defaults, and that FIDELITY.md tells of everything that there is."""

import re
from dataclasses import fields
from pathlib import Path

import pytest

import harness.simulator
from harness.report.html.page import manual_page
from harness.simulator.faults import FAULTS, STEPS
from harness.simulator.guest_api.upgrade import HANDLERS
from harness.simulator.settings import DOCUMENTED, DeploymentSettings, Knobs, Limits

DOCUMENT = (Path(harness.simulator.__file__).parent / "FIDELITY.md").read_text()


def table(heading: str, document: str = DOCUMENT) -> dict[str, list[str]]:
    """First column → the other cells, of the table under a heading."""
    section = document.split(f"\n## {heading}")[1].split("\n## ")[0]
    rows = [line.strip("|").split("|") for line in section.splitlines() if line.startswith("|")]
    found = {}
    for first, *rest in rows[2:]:
        for name in re.findall(r"`([^`]+)`", first) or [first.strip()]:
            found[name] = [cell.strip() for cell in rest]
    return found


def default(cells: list[str]) -> str:
    return cells[0].strip("`")


def test_documented_defaults() -> None:
    deployment = DeploymentSettings(id="d")
    assert deployment.session_duration_s == 72 * 3600
    assert deployment.disconnect == "off"
    assert Knobs().threading_s == 72 * 3600


def test_every_knob_is_told_with_its_default() -> None:
    told = {name: default(cells) for name, cells in table("Knobs").items()}
    assert told == {item.name: str(getattr(Knobs(), item.name)) for item in fields(Knobs)}


def test_every_limit_is_told_with_its_value() -> None:
    told = {name: default(cells) for name, cells in table("Limits").items()}
    assert told == {item.name: str(getattr(DOCUMENTED, item.name)) for item in fields(Limits)}


def test_every_deployment_setting_is_told_with_its_default() -> None:
    told = table("Deployment settings")
    settings = DeploymentSettings(id="d")
    assert set(told) == {item.name for item in fields(DeploymentSettings)}
    for name, cells in told.items():
        if cells[0].startswith("`"):
            assert default(cells) == str(getattr(settings, name)), name


def test_the_manual_says_of_every_fault_what_it_does() -> None:
    told = {name: cells[0] for name, cells in table("Faults", manual_page("simulator")).items()}
    assert told == {name: kind.does for name, kind in FAULTS.items()}


def test_every_step_of_a_fault_is_told() -> None:
    for step in STEPS:
        assert f"`{step}`" in DOCUMENT, step


def test_every_action_is_told() -> None:
    assert set(table("Actions")) == set(HANDLERS)


def test_every_error_that_has_a_golden_frame_is_told() -> None:
    frames = Path(__file__).parents[1] / "golden" / "frames"
    codes = set()
    for path in frames.glob("*.json"):
        codes |= set(re.findall(r'"(?:code|errorCode)": (\d+)', path.read_text()))
    assert codes - {"200"} <= set(table("Errors"))


@pytest.mark.parametrize("kind", ["knob", "limit", "fault"])
def test_nothing_is_told_that_does_not_exist(kind: str) -> None:
    names = {
        "knob": {item.name for item in fields(Knobs)} | {"threading"},
        "limit": {item.name for item in fields(Limits)},
        "fault": set(FAULTS),
    }[kind]
    for named in re.findall(rf"\b{kind} `(\w+)[`=]", DOCUMENT):
        assert named in names, named


def test_every_protocol_element_has_a_state_and_what_is_left_out_a_reason() -> None:
    elements = table("Protocol elements")
    assert len(elements) > 50
    for name, (here, _source, remark) in elements.items():
        assert re.match(r"simulated|knob|limit|fault|not simulated|ignored|accepted|read", here), (
            name
        )
        if here.startswith("not simulated"):
            assert remark, name
