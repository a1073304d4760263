"""Every example of the manual's page on scripts does what it says."""

import json
import re
import shlex
import subprocess
from pathlib import Path

import pytest
from hars import came, configured, har, left, said, socket
from processes import start_harness

import harness
from harness.cli.main import main
from harness.errors import ExitCode
from harness.workload.script.file import read_script
from harness.workload.script.model import StepKind

PAGE = (Path(harness.__file__).parent / "docs" / "scripts.md").read_text()
SCRIPTS = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
COMMANDS = re.findall(r"^\$ harness (.*)$", PAGE, re.MULTILINE)


def laid_out(folder: Path) -> None:
    """The files that the page's examples name."""
    (folder / "orders.csv").write_text("order\n4711\n4712\n")
    (folder / "shop.yaml").write_text(SCRIPTS[0])
    answer = "You said: Where is order 4711-22?"
    chat = [*configured(1), said(2, "Where is order 4711-22?"), came(3, answer), *left(9)]
    (folder / "chat.har").write_text(json.dumps(har(socket(chat))))


@pytest.mark.parametrize("number", range(len(SCRIPTS)))
def test_every_script_is_one_and_passes(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    laid_out(tmp_path)
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "example.yaml"
    file.write_text(SCRIPTS[number])
    assert read_script(file).script.scenarios
    assert main(["script", "check", "example.yaml"]) == ExitCode.PASS


def test_every_command_does_what_the_page_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    laid_out(tmp_path)
    monkeypatch.chdir(tmp_path)
    offline = [words for words in map(shlex.split, COMMANDS) if words[0] != "guest"]
    assert len(offline) == len(COMMANDS) - 1
    for words in offline:
        assert main(words) == ExitCode.PASS, words
    assert "all 5 frames understood" in capsys.readouterr().out


@pytest.mark.process
def test_every_script_is_played_to_its_end(tmp_path: Path) -> None:
    laid_out(tmp_path)
    (command,) = [words for words in map(shlex.split, COMMANDS) if words[0] == "guest"]
    running = []
    for number, text in enumerate(SCRIPTS):
        folder = tmp_path / str(number)
        folder.mkdir()
        laid_out(folder)
        (folder / "shop.yaml").write_text(text)
        running.append(start_harness(*command, cwd=folder, stdin=subprocess.DEVNULL))
    for process in running:
        output, _ = process.communicate(timeout=90)
        assert process.returncode == 0, output


def test_every_step_is_explained() -> None:
    for kind in StepKind:
        assert re.search(rf"\| .*`{kind}", PAGE), kind
