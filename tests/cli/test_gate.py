"""``harness gate``: verdict and exit code of other objectives; nothing changes unless asked."""

import json
from pathlib import Path
from typing import Any

import pytest
from synthetic import make_run

from harness.cli.main import main
from harness.judge.reading import VERDICT_STAYS


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    return make_run(tmp_path / "runs" / "r1", length_s=30)


def slo(tmp_path: Path, *objectives: str) -> str:
    file = tmp_path / "slo.toml"
    file.write_text(f"objectives = {json.dumps(objectives)}\n")
    return str(file)


def test_it_says_figure_and_margin(
    run_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = (run_dir / "run.json").read_bytes()
    assert main(["gate", str(run_dir), "--slo", slo(tmp_path, "reply p95 < 1ms")]) == 3
    shown = capsys.readouterr().out
    assert "FAIL" in shown
    assert "1,596 times the limit" in shown
    assert (run_dir / "run.json").read_bytes() == before


def test_json_and_write(run_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = slo(tmp_path, "reply p95 < 1m", "reply errors < 50%")
    words = ["gate", "r1", "--reports", str(run_dir.parent), "--slo", file]
    assert main([*words, "--json", "--write"]) == 0
    output = json.loads(capsys.readouterr().out)
    assert [entry["verdict"] for entry in output["objectives"]] == ["PASS", "PASS"]
    record = json.loads((run_dir / "run.json").read_text())
    assert [entry["text"] for entry in record["objectives"]] == [
        "reply p95 < 1m", "reply errors < 50%",
    ]  # fmt: skip
    for name in ("junit.xml", "summary.md", "report.html"):
        assert "reply errors" in (run_dir / name).read_text(), name


def test_an_unknown_name_is_refused_with_its_place(
    run_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["gate", str(run_dir), "--slo", slo(tmp_path, "answer p95 < 5s")]) == 8
    output = capsys.readouterr().err
    assert "slo.toml, line 1" in output
    assert "operations:" in output


def changed(run_dir: Path, **more: Any) -> None:
    path = run_dir / "run.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | more))


@pytest.mark.slow
def test_a_run_is_judged_as_it_left_things(
    run_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sessions = json.loads((run_dir / "run.json").read_text())["sessions"]
    left = {**sessions, "leftover": 3, "cleared": sessions["cleared"] - 3}
    words = ["gate", str(run_dir), "--slo", slo(tmp_path, "leftovers == 0"), "--write"]
    swept = {**left, "leftover": 0, "settled": 3}
    sweep = {"settled": 3, "verdict": VERDICT_STAYS}
    changed(run_dir, sessions=swept, sweep=sweep, sessions_at_end=left)
    for _ in range(2):
        assert main(words) == 4
        shown = " ".join(capsys.readouterr().out.split())
        assert "leftovers == 0 was 3" in shown
        assert "with 3 leftovers" in shown
        assert "after a later sweep or audit 0 remain" in shown


@pytest.mark.parametrize(
    ("more", "code", "why"),
    [
        ({"how": {"aborted": ["reply p95 < 1ms was 5s"]}}, 3, "stopped early: reply p95 < 1ms"),
        ({"invalid_because": ["the simulator has 3 open sessions"]}, 6, "the simulator has 3"),
        ({"invalid_because": None, "verdict": "INVALID", "reasons": ["lag"]}, 6, "lag"),
        ({"invalid_because": None, "verdict": "INVALID", "reasons": []}, 6, "and not why"),
    ],
    ids=["abort", "disagreement", "an INVALID run", "an INVALID run without a reason"],
)
def test_what_ended_or_voided_the_run_is_not_forgotten(
    run_dir: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    more: dict[str, Any],
    code: int,
    why: str,
) -> None:
    changed(run_dir, **more)
    words = ["gate", str(run_dir), "--slo", slo(tmp_path, "reply p95 < 1m"), "--write"]
    for _ in range(2):
        assert main(words) == code
        assert why in capsys.readouterr().out


@pytest.mark.parametrize(
    ("more", "why"),
    [
        ({"schema": 999}, "newer harness"),
        ({"schema": None}, "not the record of a run"),
        ({"operations": {"reply": {"service_ms": {"mean": "x"}}}}, "operations.reply"),
        ({"sessions": {"leftover": "none"}}, "sessions"),
    ],
)
def test_a_record_that_was_edited_or_is_anothers_is_refused_by_its_key(
    run_dir: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    more: dict[str, Any],
    why: str,
) -> None:
    changed(run_dir, **more)
    assert main(["gate", str(run_dir), "--slo", slo(tmp_path, "reply p95 < 1m")]) == 8
    assert why in capsys.readouterr().err
