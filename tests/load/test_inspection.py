"""What is in a locustfile, or why it can't be used, in one sentence with file and line."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from locusts import ROOT, inspect_each

pytestmark = pytest.mark.process


def inspect(path: Path, **asked: str) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-m", "harness.load", str(path)],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
        env={**os.environ, **asked},
    )
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_the_launch_file_is_understood() -> None:
    found = inspect(ROOT / "locustfiles" / "launch.py")
    assert found["users"] == ["Shopper"]
    assert found["arrivals"]["count"] > 1000
    assert "leftovers == 0" in found["objectives"]


def test_a_schedule_that_draws_nobody_is_told_and_not_refused(tmp_path: Path) -> None:
    text = (ROOT / "locustfiles" / "load.py").read_text()
    (tmp_path / "rare.py").write_text(text)
    found = inspect(tmp_path / "rare.py", HARNESS_RATE="1/h", HARNESS_OVER="1s")
    assert found["arrivals"]["count"] == 0
    assert found["arrivals"]["warning"].startswith("no guest will come: ")


def test_an_occupancy_sets_the_schedule_aside() -> None:
    found = inspect(ROOT / "locustfiles" / "load.py", HARNESS_OCCUPANCY="12")
    assert found["arrivals"] is None
    assert "HARNESS_OCCUPANCY" in found["used_variables"]
    wrong = inspect(ROOT / "locustfiles" / "load.py", HARNESS_OCCUPANCY="many")
    assert "HARNESS_OCCUPANCY: expected a number of guests at once" in wrong["error"]


def test_too_few_rows_are_told_of_the_file_of_data_and_not_of_ours(tmp_path: Path) -> None:
    (tmp_path / "o.csv").write_text("order\n1\n")
    (tmp_path / "s.yaml").write_text(
        'feeder: {file: o.csv, mode: unique}\nscenarios:\n  a:\n    - say: "{{order}}"\n'
    )
    path = str(tmp_path / "s.yaml")
    found = inspect(ROOT / "locustfiles" / "script.py", HARNESS_SCRIPT=path, HARNESS_OVER="10m")
    assert found["error"].startswith(f"{tmp_path / 'o.csv'}: "), found


WRONG = [
    ("\nimport nothing_like_it\n", "bad.py:2: ModuleNotFoundError"),
    ("def broken(:\n", "bad.py:1: "),
    ("x = 1\n", "no class inherits from GuestUser"),
    ("x = 1\0\n", "bad.py: source code string cannot contain null bytes; save the file as UTF-8"),
    (
        "from harness.load import GuestUser, objective\n\nobjective('rply p95 < 5s')\n",
        "bad.py:3: objective",
    ),
    (
        "from harness.load import *\nclass S(ArrivalShape):\n"
        "    arrivals = ramp(per_minute=(5, -1), over='1m')\n",
        "bad.py:3: ramp()",
    ),
    (
        "from harness.load import *\nclass G(GuestUser): pass\nclass S(ArrivalShape): pass\n",
        "S.arrivals: expected a schedule",
    ),
    (
        "from harness.load import *\nclass G(GuestUser): pass\n"
        "class A(ArrivalShape):\n    arrivals = steady(per_minute=5, over='1m')\n"
        "class B(A): pass\n",
        "bad.py: there are 2 shapes (A, B), a run has one",
    ),
]


@pytest.fixture(scope="module")
def wrong(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """What is said of each wrong file, by its text."""
    files = [tmp_path_factory.mktemp("wrong") / "bad.py" for _ in WRONG]
    for file, (text, _) in zip(files, WRONG, strict=True):
        file.write_text(text)
    found = inspect_each(files)
    return {text: one for (text, _), one in zip(WRONG, found, strict=True)}


@pytest.mark.parametrize(("text", "why"), WRONG)
def test_what_is_wrong_with_a_file_is_one_sentence(
    text: str, why: str, wrong: dict[str, dict[str, Any]]
) -> None:
    assert why in wrong[text]["error"]
    assert "\n" not in wrong[text]["error"]
