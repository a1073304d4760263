"""One name for the folder of runs, in every command that has to do with runs."""

import argparse
from importlib import import_module
from pathlib import Path

import pytest

from harness.cli.main import COMMANDS
from harness.cli.which_run import add_reports

WITHOUT = {"target", "simulate", "script", "conform"}


def test_the_folder_is_a_path_and_reports_unless_it_is_given() -> None:
    parser = argparse.ArgumentParser()
    add_reports(parser)
    assert parser.parse_args([]).reports == Path("reports")
    assert parser.parse_args(["--reports", "elsewhere"]).reports == Path("elsewhere")


@pytest.mark.parametrize("name", sorted(COMMANDS.keys() - WITHOUT))
def test_every_command_that_has_to_do_with_runs_takes_it(name: str) -> None:
    parser = argparse.ArgumentParser()
    import_module(f"harness.cli.{name}").configure(parser)
    folders = [action for action in parser._actions if "--reports" in action.option_strings]
    assert [action.type for action in folders] == [Path]
    assert "--reports DIR" in parser.format_help()
    assert "--out" not in parser.format_help()
    assert "--reports-dir" not in parser.format_help()
