"""What ``harness stop`` says; that it ends a run in order is in ``test_pause.py``."""

from pathlib import Path

import pytest
from synthetic import make_run

from harness.cli.main import main
from harness.errors import ExitCode


def test_a_run_that_has_ended_is_not_stopped(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run_dir = make_run(tmp_path / "r1", length_s=40)
    assert main(["stop", str(run_dir)]) == ExitCode.CONFIG
    assert "the run r1 is not going on" in capsys.readouterr().err
    assert not (run_dir / "stop").exists()
