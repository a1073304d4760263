"""The file of targets: written once, readable as written, listed."""

from pathlib import Path

import pytest

from harness.cli.main import main
from harness.config.target import REGIONS, read_targets


def test_what_init_writes_can_be_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "targets.toml"
    assert main(["target", "init", "--targets", str(file)]) == 0
    (terms,) = read_targets(file).values()
    assert (terms.name, terms.guarded, terms.approval) == ("staging", True, "")
    assert main(["target", "init", "--targets", str(file)]) == 8
    assert "is there already" in capsys.readouterr().err


def test_the_commented_lines_are_true_keys(tmp_path: Path) -> None:
    file = tmp_path / "targets.toml"
    main(["target", "init", "--targets", str(file)])
    lines = file.read_text().splitlines()
    uncommented = [
        line[2:] if line.startswith("# ") and (" = " in line or line[2:3] == "[") else line
        for line in lines
    ]
    file.write_text("\n".join(uncommented))
    assert set(read_targets(file)) == {"staging", "rehearsal"}


def test_lists(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "targets.toml"
    main(["target", "init", "--targets", str(file)])
    assert main(["target", "list", "--targets", str(file)]) == 0
    assert "staging" in capsys.readouterr().out
    assert main(["target", "regions"]) == 0
    shown = capsys.readouterr().out
    assert all(region in shown for region in REGIONS)
