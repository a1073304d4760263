"""Whatever becomes of a command's output, the command does its work and its exit code stands."""

import json
import os
import pty
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from io import StringIO
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from locusts import ROOT
from rich.console import Console

from harness.ledger.ledger import Stage, Store
from harness.rundir.layout import RunDirectory
from harness.streams import HowFar

pytestmark = pytest.mark.process
WORDS = "naïve ❤ → naïve\n"


@pytest.mark.parametrize("terminal", [False, True])
def test_what_takes_a_while_says_how_far_it_is(
    monkeypatch: pytest.MonkeyPatch, terminal: bool
) -> None:
    monkeypatch.setattr("harness.streams.TELL_AFTER_S", 0.05)
    monkeypatch.setattr("harness.streams.TELL_EVERY_S", 0.05)
    shown = StringIO()

    def wait_for(text: str) -> None:
        for _ in range(200):
            if text in shown.getvalue():
                return
            time.sleep(0.05)
        raise AssertionError(f"{text!r} was never shown: {shown.getvalue()!r}")

    with HowFar(Console(file=shown, force_terminal=terminal), "looking") as how_far:
        wait_for("looking")
        how_far.tell("1 of 2")
        wait_for("1 of 2")
    before = shown.getvalue()
    if not terminal:
        assert before == "looking\n1 of 2\n"  # what has not changed is not said again
    how_far.tell("2 of 2")
    time.sleep(0.2)
    assert shown.getvalue() == before


def test_what_is_done_in_a_moment_says_nothing() -> None:
    shown = StringIO()
    with HowFar(Console(file=shown), "looking") as how_far:
        how_far.tell("1 of 2")
    assert shown.getvalue() == ""


@pytest.fixture
def output(request: pytest.FixtureRequest) -> Iterator[Any]:
    """A standard output of the kind that is asked for."""
    if request.param == "full":
        with Path("/dev/full").open("w") as file:
            yield file
    elif request.param == "none":
        yield None
    else:
        reader, writer = os.pipe()
        if request.param == "closed":
            os.close(reader)
        yield writer
        os.close(writer)
        if request.param != "closed":
            os.close(reader)


def run(*words: str, at: Path, output: Any, typed: str = "", **environment: str) -> tuple[int, str]:
    command = [sys.executable, "-m", "harness", *words]
    if output is None:
        command = ["/bin/sh", "-c", 'exec "$@" >&-', "sh", *command]
    done = subprocess.run(
        command, cwd=at, input=typed.encode(), stdout=output, stderr=subprocess.PIPE,
        timeout=90, check=False, env={**os.environ, **environment},
    )  # fmt: skip
    return done.returncode, done.stderr.decode()


@pytest.mark.parametrize("output", ["full", "closed", "unread", "none"], indirect=True)
def test_clear_leaves_whatever_becomes_of_the_output(
    simulator: Any, tmp_path: Path, output: Any
) -> None:
    before = simulator.open_tokens()
    typed = WORDS + 2000 * f"/{'x' * 300}\n"  # more than a pipe holds
    code, errors = run("guest", "--target", simulator.url, at=tmp_path, output=output, typed=typed)
    assert code == 0, errors
    assert "Traceback" not in errors
    assert simulator.open_tokens() <= before
    assert list((tmp_path / "reports").iterdir()) == []


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "utf-16"])
def test_clear_leaves_in_any_encoding(simulator: Any, tmp_path: Path, encoding: str) -> None:
    before = simulator.open_tokens()
    code, errors = run(
        "guest", "--target", simulator.url,
        at=tmp_path, output=subprocess.DEVNULL, typed=WORDS, PYTHONIOENCODING=encoding,
    )  # fmt: skip
    assert (code, errors) == (0, "")
    assert simulator.open_tokens() <= before


@pytest.mark.parametrize("encoding", ["ascii", pytest.param("cp1252", marks=pytest.mark.long)])
@pytest.mark.parametrize("words", [["--help"], ["plan", "--help"], ["leftovers", "run"]])
def test_commands_print_in_any_encoding(tmp_path: Path, encoding: str, words: list[str]) -> None:
    (tmp_path / "run" / "start.json").parent.mkdir()
    (tmp_path / "run" / "start.json").write_text("{}")
    code, errors = run(*words, at=tmp_path, output=subprocess.DEVNULL, PYTHONIOENCODING=encoding)
    which = "run run: it was begun, and no guest has come\n" if "leftovers" in words else ""
    assert (code, errors) == (0, which)


def shown(*words: str, at: Path, **environment: str) -> str:
    """What a command prints; there is no letter in it that is not of ASCII."""
    done = subprocess.run(
        [sys.executable, "-m", "harness", *words], cwd=at, capture_output=True,
        timeout=90, check=False, env={**os.environ, "COLUMNS": "80", **environment},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout.decode("ascii")


def test_signs_become_plain_ones_where_the_output_has_none(tmp_path: Path) -> None:
    pages = [
        shown("docs", topic, at=tmp_path, PYTHONIOENCODING="ascii")
        for topic in ("architecture", "machines", "files")
    ]
    assert "->" in pages[0]
    assert "..." in pages[2]
    assert not any(re.search(r"\\[uUx][0-9a-f]{2}", page) for page in pages), "a sign is a number"
    searched = shown("docs", "--search", "interval files", at=tmp_path, PYTHONIOENCODING="ascii")
    assert "-> interval files" in searched


def test_json_says_the_same_in_every_encoding(tmp_path: Path) -> None:
    told = {"name": "Müller → “Käse” … 😀"}
    code = "import sys; from harness.streams import *; outlast_readers(); "
    code += "print_json_text(sys.argv[1]); print_json('x'); print(sys.argv[1])"
    done = subprocess.run(
        [sys.executable, "-c", code, json.dumps(told, ensure_ascii=False)],
        cwd=ROOT, capture_output=True, timeout=60, check=True,
        env={**os.environ, "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "1"},
    )  # fmt: skip
    exact, line = done.stdout.decode("ascii").splitlines()
    assert json.loads(exact) == told
    inside = json.loads(json.loads(line)["message"])
    assert inside == {"name": "Müller -> 'Käse' ... 😀"}


def test_files_are_utf_8_in_every_locale(tmp_path: Path) -> None:
    text = "# Zürich → Genève\n[targets.staging]\n"
    url = "wss://webmessaging.euc1.pure.cloud/v1?deploymentId=12345678-90ab-cdef-1234-567890abcdef"
    text += f'url = "{url}"\napproval = "Müller"\n'
    (tmp_path / "targets.toml").write_text(text, encoding="utf-8")
    ascii_only = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    listed = shown("target", "list", at=tmp_path, **ascii_only)
    assert "M\\u00fcller" in listed


@pytest.mark.parametrize("output", ["full", "closed", "none"], indirect=True)
def test_the_exit_code_does_not_depend_on_who_reads(tmp_path: Path, output: Any) -> None:
    code, errors = run("leftovers", "no-such-run", at=tmp_path, output=output)
    assert code == 8
    code, errors = run("--help", at=tmp_path, output=output)
    assert code == 0
    assert "Traceback" not in errors


def test_an_output_that_is_lost_is_told(tmp_path: Path) -> None:
    with Path("/dev/full").open("w") as full:
        assert run("--help", at=tmp_path, output=full) == (
            0, "warning: standard output can't be written: No space left on device\n"
        )  # fmt: skip


@pytest.fixture
def left(tmp_path: Path) -> Path:
    """A run directory with many sessions that nobody has ended."""
    directory = tmp_path / "a-run"
    directory.mkdir()
    store = Store(RunDirectory(directory).ledger("w-1"), {"worker": "w-1"})
    rows = [(n, f"{n:032x}", str(Stage.JOINED), 1, 1) for n in range(3000)]
    store.write(rows, [], {})
    store.close()
    return directory


def shell(command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", "-c", command],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


BEHIND = ("| true", "| head -1", ">&-", "> /dev/full", "2>&- | head -1", "<&- >&- 2>&-")
QUICK = (("", "| true"), ("", "> /dev/full"), ("", "<&- >&- 2>&-"), ("--json", "| head -1"))


@pytest.mark.parametrize(
    ("how", "behind"),
    [
        pytest.param(*pair, marks=[] if pair in QUICK else pytest.mark.long)
        for pair in product(("--csv", "--json", ""), BEHIND)
    ],
)
def test_leftovers_keep_their_exit_code(left: Path, behind: str, how: str) -> None:
    command = (
        f"{sys.executable} -m harness leftovers {left} {how} {behind}; exit ${{PIPESTATUS[0]}}"
    )
    done = shell(command)
    assert done.returncode == 4, done.stderr
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr


def test_a_closed_terminal_leaves_the_exit_code(left: Path) -> None:
    leader, follower = pty.openpty()
    os.close(leader)
    try:
        done = subprocess.run(
            [sys.executable, "-m", "harness", "leftovers", str(left)],
            cwd=ROOT,
            stdout=follower,
            stderr=subprocess.PIPE,
            text=True,
            timeout=60,
            check=False,
        )
    finally:
        os.close(follower)
    assert done.returncode == 4
    assert done.stderr.splitlines() == [  # which run it took, and nothing of the terminal
        "run a-run: it was killed: its processes are gone, without a record of its end",
        "run a-run: its record was made now, from the files that it had written",
    ]


def test_a_console_outlives_its_stream_in_silence() -> None:
    words = "import gc, io, sys; from harness.streams import open_console; "
    words += "sys.stdout = io.StringIO(); console = open_console(); sys.stdout.close(); "
    words += "del console; gc.collect()"
    # What a finalizer raises is told by Python 3.13 and newer, and by every Python's -X dev.
    command = [sys.executable, "-X", "dev", "-W", "ignore", "-c", words]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, timeout=60, check=True)
    assert done.stderr == b""
