"""Every example of the manual is what it says it is; the short commands run."""

import json
import shlex
import shutil
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from docs.manual import ROOT, Example, examples
from locusts import inspect_each
from processes import harness

from harness.config.target import read_targets
from harness.judge.objective import parse_objectives
from harness.simulator.dialogue import read_dialogue

SLO = 'objectives = ["leftovers == 0"]\n'


def _named(example: Example) -> str:
    return f"{example.page}: {example.text.strip().splitlines()[0][:40]}"


def _is_locustfile(example: Example) -> bool:
    return "GuestUser)" in example.text


@pytest.fixture(scope="module")
def inspected(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """What is in each locustfile, by its text: each in a child of one process."""
    texts = [example.text for example in examples("python") if _is_locustfile(example)]
    files = [tmp_path_factory.mktemp("example") / "example.py" for _ in texts]
    for file, text in zip(files, texts, strict=True):
        file.write_text(text)
    return dict(zip(texts, inspect_each(files), strict=True))


@pytest.mark.process  # Locust patches the process that imports it
@pytest.mark.parametrize("example", examples("python"), ids=_named)
def test_locustfiles_are_good_ones(example: Example, inspected: dict[str, dict[str, Any]]) -> None:
    if not _is_locustfile(example):
        compile(example.text, example.page, "exec")
        return
    found = inspected[example.text]
    assert found.get("error") is None
    assert found["users"]


@pytest.mark.parametrize("example", examples("yaml", "toml", "json"), ids=_named)
def test_files_can_be_read(example: Example, tmp_path: Path) -> None:
    if example.language == "yaml":
        assert yaml.safe_load(example.text)
    elif example.language == "json":
        assert json.loads(example.text)
    else:
        found = tomllib.loads(example.text)
        if "targets" in found:
            file = tmp_path / "targets.toml"
            file.write_text(example.text)
            assert read_targets(file)
        if "answer" in found:
            file = tmp_path / "bot.toml"
            file.write_text(example.text)
            assert read_dialogue(file).answers
        if "objectives" in found:
            assert parse_objectives(example.text, name=example.page)


@pytest.mark.process
@pytest.mark.parametrize(
    "example", [one for one in examples("console") if not one.note and "harness" in one.text],
    ids=_named,
)  # fmt: skip
def test_commands_do_what_the_page_says(example: Example, tmp_path: Path) -> None:
    if example.page == "scripts.md":
        pytest.skip("held by the test of that page")
    shutil.copytree(ROOT / "locustfiles", tmp_path / "locustfiles")
    (tmp_path / "objectives.toml").write_text(SLO)
    for line in example.text.splitlines():
        if not line.startswith("$ harness "):
            continue
        words = shlex.split(line.removeprefix("$ harness "), comments=True)
        done = harness(*words, within_s=120, cwd=tmp_path, stdin=subprocess.DEVNULL)
        assert done.returncode == 0, f"{line}\n{done.stdout}\n{done.stderr}"
