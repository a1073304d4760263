"""The schema takes what the reader takes and refuses what it refuses, wherever both can see it."""

from typing import Any

import jsonschema
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from script_texts import parse_script

from harness.errors import ConfigError
from harness.workload.script.model import StepKind, script_schema

VALIDATOR = jsonschema.Draft202012Validator(script_schema())

EVERYTHING = """\
config: {deploymentId: x, region: y}
feeder: {file: orders.csv, mode: unique}
within: 15s
attributes: {tier: 1}
scenarios:
  Foreign:
    - say: yes
    - waitForReplyContaining: 007
      within: 20
    - waitForReplyMatching: ^Hi$
    - say: Bye
      expectReply: false
  Ours:
    weight: 2.5
    attributes: {a: b}
    steps:
      - join: true
        attributes: {a: c}
      - think: uniform(1s, 2s)
      - repeat: 2
        steps: [{typing: 2s}, {choose: Yes}, {attach: a.pdf}]
      - drop
      - reconnect:
      - idle: 5m
      - clear: true
"""


def test_it_is_a_schema_and_takes_every_form() -> None:
    jsonschema.Draft202012Validator.check_schema(script_schema())
    written = yaml.safe_load(EVERYTHING)
    assert [error.message for error in VALIDATOR.iter_errors(written)] == []
    parse_script(EVERYTHING, name="s")


def scenario(step: Any) -> dict[str, Any]:
    return {"scenarios": {"A": [step]}}


@pytest.mark.parametrize(
    "wrong",
    [
        {},
        {"scenarios": {}},
        {"scenarios": {"A": []}},
        {"scenarios": {"A": {"weight": 1}}},
        {"scenarios": {"A": {"weight": 0, "steps": ["join"]}}},
        {"scenarios": {"A": ["join"]}, "goals": 1},
        {"scenarios": {"A": ["join"]}, "feeder": {"mode": "unique"}},
        scenario("fly"),
        scenario({"sya": "hi"}),
        scenario({"say": "a", "clear": True}),
        scenario({"say": "a", "within": "2s"}),
        scenario({"think": "1s", "attributes": {"a": "b"}}),
        scenario({"think": "1s", "expectReply": False}),
        scenario({"say": "a", "expectReply": "perhaps"}),
        scenario({"repeat": 3}),
        scenario({"repeat": 0, "steps": ["join"]}),
        scenario({"repeat": 2, "steps": []}),
        scenario({"steps": ["join"]}),
        {"scenarios": {"A": ["join"]}, "texts": {"no name": {"size": "short"}}},
        {"scenarios": {"A": ["join"]}, "texts": {"t": {"size": "short", "file": "a.txt"}}},
        {"scenarios": {"A": ["join"]}, "texts": {"t": {"size": "short", "language": "tlh"}}},
    ],
)
def test_both_refuse_what_cannot_be_meant(wrong: dict[str, Any]) -> None:
    assert not VALIDATOR.is_valid(wrong)
    with pytest.raises(ConfigError):
        parse_script(yaml.safe_dump(wrong), name="s")


steps = st.one_of(
    st.sampled_from([*map(str, StepKind), "fly"]),
    st.dictionaries(
        st.sampled_from([*map(str, StepKind), "within", "attributes", "expectReply", "steps", "x"]),
        st.sampled_from(["1s", "hello", 3, True, None, {"a": "b"}, ["join"], ["fly"]]),
        min_size=1,
        max_size=3,
    ),
)


@given(steps)
def test_whatever_the_reader_takes_the_schema_takes(step: Any) -> None:
    document = scenario(step)
    try:
        parse_script(yaml.safe_dump(document), name="s")
    except ConfigError:
        return
    assert VALIDATOR.is_valid(document), [e.message for e in VALIDATOR.iter_errors(document)]
