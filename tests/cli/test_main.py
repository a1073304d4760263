"""The command line as a whole."""

from importlib import import_module

import pytest

from harness.cli import main as cli
from harness.exit_codes import ExitCode


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--version"]) == ExitCode.PASS
    assert capsys.readouterr().out.startswith("harness ")


def test_help_lists_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--help"]) == ExitCode.PASS
    text = capsys.readouterr().out
    assert [name for name in cli.COMMANDS if f"  {name}" not in text] == []


def test_each_command_has_a_module_with_options_and_examples() -> None:
    import argparse

    for name in cli.COMMANDS:
        module = import_module(f"harness.cli.{name.replace('-', '_')}")
        parser = argparse.ArgumentParser(prog=f"harness {name}")
        module.configure(parser)
        assert parser.description, name
        assert "example" in (parser.epilog or "").lower(), name
        assert callable(module.run), name


def test_a_negative_value_is_answered_by_its_option(capsys: pytest.CaptureFixture[str]) -> None:
    for words in (["capacity", "--hold", "-5s"], ["calibrate", "--rise", "-.5s"]):
        assert cli.main(words) == ExitCode.CONFIG
        assert f"{words[1]}: expected a duration" in capsys.readouterr().err


def test_an_unknown_command_is_told_with_the_known_ones(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert cli.main(["fly"]) == ExitCode.USAGE
    assert "there is no command 'fly'" in capsys.readouterr().err
