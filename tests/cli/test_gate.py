"""``harness gate``: verdict and exit code of other objectives; nothing changes unless asked."""

import json
from pathlib import Path

import pytest
from synthetic import make_run

from harness.cli.main import main


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
    assert "over" in shown
    assert (run_dir / "run.json").read_bytes() == before


def test_json_and_write(run_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = slo(tmp_path, "reply p95 < 1m", "reply errors < 50%")
    words = ["gate", "r1", "--reports", str(run_dir.parent), "--slo", file]
    assert main([*words, "--json", "--write"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert [entry["verdict"] for entry in told["objectives"]] == ["PASS", "PASS"]
    record = json.loads((run_dir / "run.json").read_text())
    assert [entry["text"] for entry in record["objectives"]] == [
        "reply p95 < 1m", "reply errors < 50%",
    ]  # fmt: skip


def test_an_unknown_name_is_refused_with_its_place(
    run_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["gate", str(run_dir), "--slo", slo(tmp_path, "answer p95 < 5s")]) == 8
    told = capsys.readouterr().err
    assert "slo.toml, line 1" in told
    assert "operations:" in told
