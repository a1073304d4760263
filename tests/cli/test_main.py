"""The command line as a whole."""

import os
from importlib import import_module
from pathlib import Path

import pytest
from locusts import locustfile
from synthetic import make_run

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


@pytest.mark.process
@pytest.mark.parametrize(
    "words",
    [
        ["report", "{run}"],
        ["report", "{run}", "--only", "csv"],
        ["gate", "{run}", "--slo", "{slo}", "--write"],
        ["compare", "{run}", "{run}", "--html"],
        [
            "plan",
            "--chats-per-hour",
            "9",
            "--handle-time",
            "5m",
            "--messages",
            "4",
            "--reports",
            "{file}",
        ],
        ["run", "{locustfile}", "--reports", "{file}"],
        ["guest", "--reports", "{file}"],
        ["capacity", "{locustfile}", "--objective", "reply p95 < 1s", "--reports", "{file}"],
        ["calibrate", "--reports", "{file}"],
    ],
)
def test_a_place_that_can_not_be_written_to_is_one_sentence(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    words: list[str],
) -> None:
    run = make_run(tmp_path / "run", length_s=40)
    for name in ("report.html", "intervals.csv", "compare.html", "drift.html"):
        (run / name).mkdir()
    monkeypatch.setattr("harness.rundir.layout.secrets.token_hex", lambda _: "0")
    (run / f".run.json-{os.getpid()}-0").mkdir()
    (tmp_path / "slo.toml").write_text('objectives = ["leftovers == 0"]\n')
    (tmp_path / "file").touch()
    places = {
        "run": run,
        "slo": tmp_path / "slo.toml",
        "file": tmp_path / "file",
        "locustfile": locustfile(tmp_path),
    }
    code = cli.main([word.format(**places) for word in words])
    told = capsys.readouterr().err
    assert code in (2, 8), told
    assert "error: " in told
    assert "Traceback" not in told
