"""What is refused before anything is sent, each in one sentence and with its own exit code."""

import json
from pathlib import Path
from typing import Any

import pytest
from locusts import finish, locustfile, only_run, start, undecided

pytestmark = pytest.mark.process

ID = "12345678-90ab-cdef-1234-567890abcdef"


@pytest.mark.parametrize(
    ("target", "code", "why"),
    [
        ("", 8, "harness simulate"),
        ("ws://127.0.0.1:1/v1?deploymentId=abc", 8, "not a UUID"),
        (f"wss://webmessaging.example/v1?deploymentId={ID}", 7, "not on this machine"),
    ],
)
def test_bad_targets(tmp_path: Path, target: str, code: int, why: str) -> None:
    found, output = finish(start(locustfile(tmp_path), tmp_path, target, "-t", "1"))
    assert found == code, output
    assert why in output
    assert "Traceback" not in output


@pytest.mark.long
def test_two_shapes_are_one_too_many(simulator: Any, tmp_path: Path) -> None:
    two = "class {}(ArrivalShape):\n    arrivals = steady(per_minute=60, over='5s')\n"
    file = locustfile(tmp_path, more=two.format("One") + two.format("Two"))
    code, output = finish(start(file, tmp_path, simulator.url, "-t", "1"))
    assert code == 8, output
    assert "there are 2 shapes (One, Two), a run has one" in output


def test_a_bad_script_is_one_sentence_in_plain_locust_as_well(tmp_path: Path) -> None:
    (tmp_path / "s.yaml").write_text("scenarios:\n  A:\n    - waitForReplyMatching: '('\n")
    file = tmp_path / "scripted.py"
    file.write_text(
        "from harness.load import ScriptUser\nclass S(ScriptUser):\n    script='s.yaml'\n"
    )
    code, output = finish(start(file, tmp_path, "", "-t", "1"))
    assert code == 8, output
    assert "s.yaml, line 3, waitForReplyMatching: not a regular expression" in output
    assert "Traceback" not in output


def test_a_limit_that_would_break_is_told_before_the_run(simulator: Any, tmp_path: Path) -> None:
    (tmp_path / "s.yaml").write_text(
        "scenarios:\n  Storm:\n    - repeat: 70\n      steps: [{say: a}, {think: 1ms}]\n"
    )
    file = tmp_path / "scripted.py"
    file.write_text(
        "from harness.load import ScriptUser\nclass S(ScriptUser):\n    script='s.yaml'\n"
    )
    code, output = finish(start(file, tmp_path, simulator.url, "-t", "2"))
    told = "would break a limit: s.yaml: Storm: 72 requests in a minute"
    assert told in output
    kept, *_ = json.loads((only_run(tmp_path) / "run.json").read_text())["how"]["foreseen"]
    assert kept.startswith(told)
    assert undecided(code, output), output


def test_a_schedule_that_brings_nobody_is_told_before_the_run(
    simulator: Any, tmp_path: Path
) -> None:
    file = locustfile(tmp_path, more=NOBODY)
    process = start(file, tmp_path, simulator.url, HARNESS_SEED="3")
    code, output = finish(process)
    assert "no guest will come: Poisson (seed 3)" in output
    (kept,) = json.loads((only_run(tmp_path) / "run.json").read_text())["how"]["foreseen"]
    assert kept.startswith("no guest will come")
    assert undecided(code, output), output


NOBODY = """
from harness.load import poisson
class Shape(ArrivalShape):
    arrivals = poisson(steady(per_minute=1, over="1s"))
"""


@pytest.mark.long
def test_a_shape_that_makes_no_sense(simulator: Any, tmp_path: Path) -> None:
    file = locustfile(tmp_path, more="class Shape(ArrivalShape):\n    slots = 3\n")
    code, output = finish(start(file, tmp_path, simulator.url))
    assert code == 8, output
    assert "Shape.arrivals: expected a schedule" in output
