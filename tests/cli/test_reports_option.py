"""One name for the folder of runs, in every command that has to do with runs."""

from pathlib import Path

import pytest

from harness.cli.main import COMMANDS, command_of
from harness.errors import ConfigError

WITHOUT = {"target", "simulate", "script", "conform", "new", "docs", "deploy"}
NEEDED = {
    "plan": ["--handle-time", "5m", "--messages", "4"],
    "gate": ["latest", "--slo", "x.toml"],
    "preflight": ["--target", "x"],
    **{name: [] for name in ("run", "runs", "leftovers", "guest", "calibrate", "capacity")},
}


@pytest.mark.parametrize("name", sorted(COMMANDS.keys() - WITHOUT))
def test_every_command_that_has_to_do_with_runs_takes_it(name: str, tmp_path: Path) -> None:
    words = NEEDED.get(name, ["latest"])
    command = command_of(name)
    assert command.parse(*words).reports == Path("reports")
    assert command.parse(*words, "--reports", "elsewhere").reports == Path("elsewhere")
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="--reports: expected a folder, got the file "):
        command.parse(*words, "--reports", str(tmp_path / "file"))
    assert [one.opts for one in command.params if {"--out", "--reports-dir"} & set(one.opts)] == []
