"""The ready locustfiles do what they say, at a height and length that a test can bear."""

import ast
import json
from pathlib import Path
from typing import Any

import pytest
from locusts import ROOT, passed
from processes import Simulator, harness

from harness.errors import ExitCode

pytestmark = pytest.mark.process

READY = ROOT / "locustfiles"
OPEN = ("load", "spike", "reconnect")
MORE = ("step", "soak", "breakpoint")  # of the same kind


def judged(code: int, output: str) -> bool:
    """Whether nothing was missed: these runs are too short for some of their percentiles."""
    return passed(code, output) or code == ExitCode.NO_DATA


def run(tmp_path: Path, name: str, *words: str, simulated: bool = True) -> tuple[int, str, dict]:
    if simulated:
        words += ("--sim-bot-delay", "5ms")
    done = harness(
        "run", f"locustfiles/{name}.py", *words,
        "--reports", str(tmp_path), "--stop-timeout", "1s", within_s=120,
    )  # fmt: skip
    records = list(tmp_path.glob("2*/run.json"))
    record = json.loads(records[0].read_text()) if records else {}
    return done.returncode, done.stdout + done.stderr, record


@pytest.mark.parametrize(
    "name",
    [*OPEN, *(pytest.param(name, marks=pytest.mark.long) for name in MORE)],
)
def test_open_workloads_take_height_length_and_seed(
    simulator: Any, tmp_path: Path, name: str
) -> None:
    # With stays of three hours, so many guests would want ten thousand slots for these seconds. A
    # spike is ten times the rate: a busy machine is late with more.
    words = ("--stay", "30s") if name == "soak" else ()
    words += ("--rate", "4/s", "--over", "4s", "--seed", "5", "--target", simulator.url)
    code, output, record = run(tmp_path, name, *words, simulated=False)
    assert judged(code, output), output
    sessions = record["sessions"]
    assert sessions["opened"] == sessions["cleared"] > 5
    assert record["how"]["seed"] == 5
    guests = record["guests"]
    assert guests["failed"] == 0, output
    assert guests["arrived"] == guests["served"] + guests["cut"] == sessions["opened"]
    assert record["arrivals"]["dropped"] == 0


def test_idle_guests_are_there_and_stay(tmp_path: Path) -> None:
    code, output, record = run(tmp_path, "idle", "-u", "20", "--over", "1s", "-t", "4s")
    assert code in (0, 5), output  # too short for a health check: nothing to judge by is said
    assert record["sessions"]["opened"] == record["sessions"]["cleared"] >= 20


@pytest.mark.long
@pytest.mark.parametrize(
    ("age", "life_s", "silence"),
    [("1s", 600, "500ms"), ("off", 3, "20s")],
    ids=["guest", "service"],
)
def test_a_soak_outlives_connections_and_counts_what_expires(
    tmp_path: Path, age: str, life_s: int, silence: str
) -> None:
    """Hours in seconds: connections end after two seconds, sessions after ``life_s``."""
    limits = ("--limits", "off", "--limit", "connection_age_seconds=2")
    twin = Simulator(*limits, "--deployment", f"session_duration_s={life_s}")
    try:
        code, output, record = run(
            tmp_path, "soak", "--target", twin.url, "--rate", "6/s", "--over", "6s", "--seed", "5",
            "--stay", "5s", "--silence", silence, "--max-connection-age", age, simulated=False,
        )  # fmt: skip
        # Guests whose session the service ends were not served; too few replies decide nothing.
        assert code == ExitCode.OBJECTIVES if age == "off" else judged(code, output), output
        assert twin.truth()["open_tokens"] == []
    finally:
        twin.stop()
    sessions, counts = record["sessions"], record["forensics"]
    assert sessions["leftover"] == 0
    assert record["operations"]["resume"]["outcomes"].keys() == {"ok"}
    if age == "off":
        assert counts["renewed"] == 0
        assert counts["going_away"] > 5
        assert sessions["ended_by_service"] + counts["resumed_anew"] > 0
    else:
        assert counts["renewed"] > 5
        assert sessions["opened"] == sessions["cleared"] > 5


def test_an_option_that_would_change_nothing_is_refused(tmp_path: Path) -> None:
    code, output, _ = run(tmp_path, "smoke", "--rate", "8/s")
    assert code == 8
    assert "--rate: locustfiles/smoke.py does not use it" in output


def test_a_rate_that_makes_no_sense(tmp_path: Path) -> None:
    code, output, _ = run(tmp_path, "load", "--rate", "fast")
    assert (code, "--rate: expected a rate such as" in output) == (8, True)


@pytest.mark.parametrize("path", sorted(READY.glob("*.py")), ids=lambda path: path.stem)
def test_each_says_what_it_is_for_and_imports_nothing_of_the_inside(path: Path) -> None:
    tree = ast.parse(path.read_text())
    told = ast.get_docstring(tree) or ""
    assert path.stem in told.lower().splitlines()[0], "the first line names the kind of test"
    assert "?" in told or path.stem in ("launch", "script", "reconnect")
    froms = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert {m for m in froms if m and m.startswith("harness")} == {"harness.load"}
    imports = [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
    listed = sum((node.end_lineno or 0) - node.lineno + 1 for node in imports)
    # Beside its imports, for which the formatter may take a line a name.
    assert 20 <= len(path.read_text().splitlines()) - listed <= 38
