"""The CI examples of the manual: valid by the schemas of those who read them, and complete."""

import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from docs.manual import Example, examples

from harness.cli.main import command_of
from harness.supervise.parameters import check_numbers

pytestmark = pytest.mark.process

CI = [one for one in examples("yaml", "groovy") if one.page == "ci.md"]
SCHEMAS = {
    "GitHub Actions": ("--builtin-schema", "vendor.github-workflows"),
    "GitLab": ("--builtin-schema", "vendor.gitlab-ci", "--data-transform", "gitlab-ci"),
}


def _of(system: str) -> Example:
    mark = {"GitHub Actions": "runs-on:", "GitLab": "after_script:", "Jenkins": "pipeline {"}
    (found,) = [one for one in CI if mark[system] in one.text]
    return found


def _refused(system: str, text: str, folder: Path) -> str:
    """What the schema says against it; empty where it says nothing."""
    file = folder / "ci.yml"
    file.write_text(text)
    command = [sys.executable, "-m", "check_jsonschema", *SCHEMAS[system], str(file)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    return done.stdout + done.stderr if done.returncode else ""


@pytest.mark.parametrize("system", SCHEMAS)
def test_it_is_valid_by_its_schema_which_would_find_a_mistake(system: str, tmp_path: Path) -> None:
    text = _of(system).text
    assert _refused(system, text, tmp_path) == ""
    bad = text.replace("runs-on:", "run-on:").replace("when: always", "when: now")
    assert _refused(system, bad, tmp_path) != ""


def test_the_pipeline_of_jenkins_has_the_blocks_of_a_declarative_one() -> None:
    """There is no schema of it, but its sections and their order of nesting are few."""
    text = re.sub(r"'[^']*'", "''", _of("Jenkins").text)
    open_blocks: list[str] = []
    places = []
    for name, sign in re.findall(r"(\w+)?(?:\(''\))?\s*([{}])", text):
        if sign == "{":
            open_blocks.append(name)
            places.append("/".join(open_blocks))
        else:
            open_blocks.pop()
    assert open_blocks == []
    assert places == [
        "pipeline", "pipeline/agent", "pipeline/agent/docker", "pipeline/stages",
        "pipeline/stages/stage", "pipeline/stages/stage/steps", "pipeline/post",
        "pipeline/post/always",
    ]  # fmt: skip


def _steps(system: str) -> tuple[list[str], list[str], str]:
    """Commands that run, commands that run also after a failure, and what is kept."""
    text = _of(system).text
    if system == "Jenkins":
        work, _, always = text.partition("post {")
        commands = [re.findall(r"sh '([^']*)'", part) for part in (work, always)]
        return commands[0], commands[1], always
    whole: dict[str, Any] = yaml.safe_load(text)
    if system == "GitLab":
        job = whole["smoke"]
        assert job["artifacts"]["when"] == "always"
        return job["script"], job["after_script"], yaml.safe_dump(job["artifacts"])
    steps = whole["jobs"]["smoke"]["steps"]
    commands = [
        [one["run"] for one in steps if "run" in one and (one.get("if") == "always()") is after]
        for after in (False, True)
    ]
    kept = [one for one in steps if "upload-artifact" in one.get("uses", "")]
    assert all(one["if"] == "always()" for one in kept)
    return commands[0], commands[1], yaml.safe_dump(kept)


@pytest.mark.parametrize("system", [*SCHEMAS, "Jenkins"])
def test_it_installs_runs_is_judged_and_always_sweeps_and_keeps(system: str) -> None:
    work, after, kept = _steps(system)
    assert any("--require-hashes" in one for one in work)
    harness = [shlex.split(one)[1:] for one in (*work, *after) if one.startswith("harness ")]
    for name, *words in harness:
        asked = command_of(name).parse(*words)
        if name == "run":
            check_numbers(asked)
            assert asked.slo == "objectives.toml"
    assert {name for name, *_ in harness} == {"run", "sweep"}
    assert not any(one.startswith("harness sweep") for one in work)
    assert any(one.startswith("harness sweep") for one in after)
    for file in ("report.html", "junit.xml", "run.json"):
        assert f"reports/2*/{file}" in kept
    assert "ledger" not in kept
    assert "reports/latest" not in kept
