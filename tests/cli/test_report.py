"""``harness report`` makes the page and prints where it is, or says why not."""

from pathlib import Path

import pytest
from synthetic import make_run

from harness.cli.main import main
from harness.errors import ExitCode


def test_the_paths_are_printed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_run(tmp_path / "r1", length_s=40)
    assert main(["report", "latest", "--reports", str(tmp_path)]) == ExitCode.PASS
    made = [Path(line) for line in capsys.readouterr().out.splitlines()]
    names = ["report.html", "summary.md", "junit.xml", "intervals.csv"]
    assert made == [tmp_path / "r1" / name for name in names]
    assert all(path.stat().st_size > 300 for path in made)


def test_only_some_kinds(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run_dir = make_run(tmp_path / "r1", length_s=40)
    assert main(["report", str(run_dir), "--only", "markdown"]) == ExitCode.PASS
    assert capsys.readouterr().out == f"{run_dir / 'summary.md'}\n"
    assert not (run_dir / "report.html").exists()
    assert main(["report", str(run_dir), "--only", "csv,csv"]) == ExitCode.PASS
    assert len(capsys.readouterr().out.splitlines()) == 1
    assert main(["report", str(run_dir), "--only", "pdf"]) == ExitCode.CONFIG
    assert "expected some of html, markdown, junit, csv, got 'pdf'" in capsys.readouterr().err


def test_an_unknown_run_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", "nothing", "--reports", str(tmp_path)]) == ExitCode.CONFIG
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("error: there is no run 'nothing'")
    assert captured.err.count("\n") == 1


def test_reasons_are_for_merges(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run_dir = str(make_run(tmp_path / "r1", length_s=40))
    assert main(["report", run_dir, "--override", "versions=why"]) == ExitCode.USAGE
    assert "--override goes with --merge" in capsys.readouterr().err
    words = ["report", "--merge", run_dir, run_dir, "--override", "target=why"]
    assert main(words) == ExitCode.CONFIG
    assert "--override: expected RULE=REASON with one of versions," in capsys.readouterr().err
