"""One name for the folder of runs, in every command that has to do with runs."""

from pathlib import Path

import pytest

from harness.cli.main import COMMANDS, command_of

WITHOUT = {"target", "simulate", "script", "conform", "new", "docs", "deploy"}
NEEDED = {
    "plan": ["--handle-time", "5m", "--messages", "4"],
    "gate": ["latest", "--slo", "x.toml"],
    "preflight": ["--target", "x"],
    **{name: [] for name in ("run", "runs", "leftovers", "guest", "calibrate", "capacity")},
}


@pytest.mark.parametrize("name", sorted(COMMANDS.keys() - WITHOUT))
def test_every_command_that_has_to_do_with_runs_takes_it(name: str) -> None:
    words = NEEDED.get(name, ["latest"])
    command = command_of(name)
    assert command.parse(*words).reports == Path("reports")
    assert command.parse(*words, "--reports", "elsewhere").reports == Path("elsewhere")
    assert [one.opts for one in command.params if {"--out", "--reports-dir"} & set(one.opts)] == []
