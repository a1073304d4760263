"""The command line as a whole."""

import os
import signal
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from locusts import locustfile
from processes import ROOT
from synthetic import make_run

from harness.cli import main as cli
from harness.errors import ExitCode


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--version"]) == ExitCode.PASS
    assert capsys.readouterr().out.startswith("harness ")


def test_help_lists_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--help"]) == ExitCode.PASS
    text = capsys.readouterr().out
    assert [name for name in cli.COMMANDS if f"  {name}" not in text] == []


def test_each_command_has_a_module_with_options_and_examples() -> None:
    for name in cli.COMMANDS:
        command = cli.command_of(name)
        assert command.name == name
        assert command.help, name
        assert "example" in command.examples.lower(), name
        without = [one.opts for one in command.params if not getattr(one, "help", "")]
        assert without == [], name


def test_a_command_in_a_help_does_not_run_into_the_next_sentence(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert cli.main(["worker", "--help"]) == ExitCode.PASS
    assert "--bind ADDRESS\n\nCtrl-C lets" in capsys.readouterr().out


def test_options_are_not_abbreviated_and_the_like_is_suggested(
    capsys: pytest.CaptureFixture[str],
) -> None:
    for words, meant in (
        (["leftovers", "--rep", "x"], "--reports"),
        (["run", "--occupanci", "3"], "--occupancy"),
        (["sweap", "latest"], "sweep"),
    ):
        assert cli.main(words) == ExitCode.USAGE
        assert f"did you mean {meant}?" in capsys.readouterr().err
    assert cli.main(["bogus"]) == ExitCode.USAGE
    assert "did you mean" not in capsys.readouterr().err  # guest is not like it


def test_what_is_missing_is_one_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    for words, message in (
        (["gate"], "harness gate: expected RUN"),
        (["gate", "latest"], "harness gate: expected --slo FILE"),
        (["gate", "latest", "--slo", "--json"], "--slo: expected FILE, got --json"),
        (["run", "-u", "many"], "--users: expected a whole number, got 'many'"),
        (["run", "-u"], "-u: expected N, got nothing"),
        (["capacity", "--resolution", "x"], "--resolution: expected a number, got 'x'"),
        (["target", "lost"], "WHAT: 'lost' is not one of 'init', 'list', 'regions'"),
        (["run", "a.py", "b.py"], "got unexpected extra argument (b.py)"),
    ):
        assert cli.main(words) == ExitCode.USAGE
        assert f"error: {message}" in capsys.readouterr().err


def test_what_stands_behind_two_dashes_is_for_locust() -> None:
    parsed = cli.command_of("run").parse("x.py", "-u", "5", "--", "--loglevel", "DEBUG", "more")
    assert parsed.users == 5
    assert parsed.rest == ["--loglevel", "DEBUG", "more"]
    assert cli.command_of("simulate").parse("--bot", "script", "x.toml").bot == "script\nx.toml"


@pytest.mark.process
def test_help_of_one_command_imports_no_other() -> None:
    code = (
        "import sys, time\nfrom harness.cli.main import main\n"
        "main(['--help'])\n"
        "assert not {'gevent', 'locust', 'rich', 'click'} & sys.modules.keys()\n"
        "assert time.process_time() < 0.3\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60, stdout=subprocess.PIPE)


def test_shells_are_answered(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("_HARNESS_COMPLETE", "bash_complete")
    for words, answer in (
        ("harness sw", "plain,sweep"),
        ("harness bogus --dr", ""),
        ("harness help sw", "plain,sweep"),
        ("harness sweep --dr", "plain,--dry-run"),
        ("harness capacity --by occ", "plain,occupancy"),
    ):
        monkeypatch.setenv("COMP_WORDS", words)
        monkeypatch.setenv("COMP_CWORD", str(len(words.split()) - 1))
        cli.main(words.split()[1:])
        assert answer in capsys.readouterr().out


@pytest.mark.parametrize("instruction", ["bash", "source", "tcsh_source", "bash_sources", "1"])
def test_a_wrong_instruction_for_completions_is_told(
    instruction: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("_HARNESS_COMPLETE", instruction)
    assert cli.main([]) == ExitCode.USAGE
    said = capsys.readouterr()
    assert not said.out
    expected = "_HARNESS_COMPLETE: expected bash_source, zsh_source, fish_source"
    assert f"{expected}, got {instruction!r}" in said.err


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
    output = capsys.readouterr().err
    assert code in (2, 8), output
    assert "error: " in output
    assert "Traceback" not in output


@pytest.mark.parametrize(
    "words",
    [
        ["run", "{folder}/load.py", "--note", "\udcff"],
        ["new", "{folder}/\udcff.py"],
        ["plan", "--chats-per-hour", "30", "--handle-time", "8m", "--messages", "2"],
    ],
)
def test_what_is_no_utf_8_is_refused(
    words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    where = [] if words[0] == "new" else ["--reports", str(tmp_path / "\udcff")]
    code = cli.main([*(word.format(folder=tmp_path) for word in words), *where])
    assert code == ExitCode.CONFIG
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: expected names and texts in UTF-8, got ")
    assert not list(tmp_path.glob("*.py")), "an empty file is left"


@pytest.mark.process
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_on_the_way_out_changes_no_exit_code(number: signal.Signals) -> None:
    slow_end = (
        "import atexit, sys, time; from harness.cli.main import main; "
        "atexit.register(time.sleep, 20); atexit.register(print, 'leaving', flush=True); "
        "sys.argv = ['harness', 'docs', 'nothing-of-this-name']; raise SystemExit(main())"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", slow_end],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "leaving\n"
    process.send_signal(number)
    assert process.wait(10) == ExitCode.CONFIG
    process.stdout.close()


@pytest.mark.process
@pytest.mark.parametrize("module", ["harness.errors", "click", "harness.cli.runs"])
def test_ctrl_c_while_the_command_is_imported_is_no_traceback(module: str) -> None:
    interrupted = (
        "import os, runpy, signal, sys\n"
        "class Finder:\n"
        "    def find_spec(self, name, *_):\n"
        f"        if name == {module!r}:\n"
        "            os.kill(os.getpid(), signal.SIGINT)\n"
        "sys.meta_path.insert(0, Finder())\n"
        "sys.argv = ['harness', 'runs']\n"
        "runpy.run_module('harness', run_name='__main__')"
    )
    done = subprocess.run(
        [sys.executable, "-c", interrupted], capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stdout) == (ExitCode.INTERRUPTED, "")
    assert done.stderr == "stopped by hand\n"


def test_the_console_script_is_the_program_that_python_runs_as_a_module() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert project["project"]["scripts"] == {"harness": "harness.__main__:main"}
