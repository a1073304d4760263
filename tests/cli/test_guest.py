"""``harness guest`` as a user runs it: what goes to and fro is shown, no secret is."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.process


def guest(
    directory: Path, *words: str, typed: str = "", target: str = ""
) -> "subprocess.CompletedProcess[str]":
    at = ["--target", target] if target else []
    return subprocess.run(
        [sys.executable, "-m", "harness", "guest", *at, *words],
        input=typed,
        capture_output=True,
        text=True,
        timeout=60,
        cwd=directory,
        check=False,
    )


def test_by_hand(simulator: Any, tmp_path: Path) -> None:
    typed = "hello\n/typing\n/history\n/choose nothing\n/drop\nback\n/what\n/quit\n"
    done = guest(tmp_path, typed=typed, target=simulator.url)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert all(re.match(r" *\d+\.\d{3} s ", line) for line in lines)
    assert any("→" in line and "configureSession" in line for line in lines)
    assert any("←" in line and "SessionClearedEvent" in line for line in lines)
    assert "Outbound You said: hello" in done.stdout
    assert "the newest message offers nothing" in done.stdout
    assert "known: /join" in done.stdout
    tokens = set(re.findall(r'"token":"([^"]+)"', done.stdout))
    assert len(tokens) == 1
    assert len(tokens.pop()) == 9  # eight characters and an ellipsis
    assert set(re.findall(r'"jwt":"([^"]+)"', done.stdout)) == {"…"}


def test_from_a_script_at_the_embedded_simulator(tmp_path: Path) -> None:
    (tmp_path / "s.yaml").write_text(
        "scenarios:\n  good:\n    - say: hi\n    - waitForReplyContaining: hi\n"
        "  bad:\n    - say: hi\n    - waitForReplyContaining: no\n      within: 200ms\n"
    )
    good = guest(tmp_path, "--script", "s.yaml", "--scenario", "good", "--quiet")
    assert (good.returncode, good.stdout.count("\n")) == (0, 2), good.stderr
    bad = guest(tmp_path, "--script", "s.yaml", "--scenario", "bad")
    assert bad.returncode == 3
    assert "no reply within 0.2 s" in bad.stderr
    wrong = guest(tmp_path, "--script", "s.yaml", "--scenario", "ugly")
    assert wrong.returncode == 8
    assert "it has: good, bad" in wrong.stderr


def test_a_session_that_may_be_open_is_told(simulator: Any, tmp_path: Path) -> None:
    simulator.faults(forbid_clear=1)
    done = guest(tmp_path, typed="hi\n", target=simulator.url)
    assert done.returncode == 4
    assert "harness sweep reports/guest-" in done.stderr
