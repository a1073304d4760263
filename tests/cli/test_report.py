"""``harness report`` makes the page and prints where it is, or says why not."""

from pathlib import Path

import pytest
from synthetic import make_run

from harness.cli.main import main
from harness.exit_codes import ExitCode


def test_the_path_of_the_page_is_printed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make_run(tmp_path / "r1", length_s=40)
    assert main(["report", "latest", "--reports-dir", str(tmp_path)]) == ExitCode.PASS
    page = Path(capsys.readouterr().out.strip())
    assert page == tmp_path / "r1" / "report.html"
    assert page.stat().st_size > 100_000


def test_an_unknown_run_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", "nothing", "--reports-dir", str(tmp_path)]) == ExitCode.CONFIG
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("error: there is no run 'nothing'")
    assert captured.err.count("\n") == 1
