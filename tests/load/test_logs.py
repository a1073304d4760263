"""Lines of ours name run and node; none holds a token, at whatever level."""

import json
import logging
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from locusts import ROOT, environment_for, finish, launch, locustfile, only_run

from harness.errors import ExitCode
from harness.ledger.reader import read_process, read_rows
from harness.load.logs import RunContext
from harness.rundir.layout import RunDirectory
from harness.streams import json_line
from harness.supervise.children import free_port

TOKEN = "0b7a51a4-5f6e-4b5a-9d3a-0123456789ab"


def record(name: str, text: str, *args: Any, error: BaseException | None = None) -> Any:
    info = None if error is None else (type(error), error, error.__traceback__)
    return logging.LogRecord(name, logging.INFO, "file.py", 1, text, args, info)


def test_run_and_node_stand_before_each_line_of_ours_once() -> None:
    context = RunContext(lambda: "run 1, worker a")
    line = record("harness.load", "clearing %s sessions", 3)
    for _ in range(2):  # two handlers
        assert context.filter(line)
    assert line.getMessage() == "run 1, worker a: clearing 3 sessions"
    others = record("locust.runners", "Ramping to %s users", 3)
    assert context.filter(others)
    assert others.getMessage() == "Ramping to 3 users"


@pytest.mark.parametrize("name", ["harness.guest", "locust.user", "websockets.client"])
def test_a_token_is_shortened_wherever_it_stands(name: str) -> None:
    context = RunContext(lambda: "run 1")
    error = ValueError(f"no session {TOKEN}")
    line = record(name, "guest %s said %s", TOKEN, f'{{"token":"{TOKEN}"}}', error=error)
    context.filter(line)
    whole = logging.Formatter("%(message)s").format(line)
    assert TOKEN not in whole
    assert "0b7a51a4…" in whole
    assert "ValueError: no session 0b7a51a4…" in whole


SECRET = "SflKxwRJSMeKKF2QT4fwpMeJf36POk6yJVadQssw5c"
SECRETS = (
    f"Bearer {SECRET}",
    f"Authorization: Basic {SECRET}=",
    f"jwt eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.{SECRET}",
    f"http://me:{SECRET}@127.0.0.1:3128",
    TOKEN,
)


@pytest.mark.parametrize("secret", SECRETS)
def test_no_login_and_no_token_is_logged(secret: str) -> None:
    context = RunContext(lambda: "run 1")
    line = record("websockets.client", "> %s", secret, error=ValueError(secret))
    line.stack_info = f"Stack (most recent call last):\n  {secret}"
    context.filter(line)
    whole = logging.Formatter("%(message)s").format(line)
    handed_on = record("harness.load", "as text")
    handed_on.exc_text = f"ValueError: {secret}"
    context.filter(handed_on)
    whole += logging.Formatter("%(message)s").format(handed_on)
    as_json = json_line(
        at_ns=1, level="INFO", logger="harness.print", names=("", ""), message=secret
    )
    for text in (whole, as_json):
        assert SECRET not in text
        assert TOKEN not in text
    assert whole.count("…") >= 4
    assert "Stack (most recent call last):\n  " in whole


@pytest.mark.process
def test_a_run_on_two_workers_tells_what_it_decides_and_no_token(
    simulator: Any, tmp_path: Path
) -> None:
    file = locustfile(tmp_path, more=BROKEN)
    process = launch(
        file, environment_for(tmp_path, simulator.url), "--headless", "--only-summary",
        "--processes", "2", "-u", "4", "-r", "4", "-t", "8", "--loglevel", "DEBUG",
    )  # fmt: skip
    _, output = finish(process)
    directory = only_run(tmp_path)
    ours = [line for line in output.splitlines() if "/harness.load: " in line]
    told = re.compile(rf"\[\d{{4}}-[\d :,-]+\] \S+/[A-Z]+/harness\.load: run {directory.name}, ")
    assert [line for line in ours if not told.match(line) and "no run" not in line] == []
    for word in ("master: begun", "master: waiting for every worker", "no new guests", "ended; 0"):
        assert any(word in line for line in ours), (word, output)
    nodes = {match[1] for line in ours if (match := re.search(r", worker (\S+):", line))}
    ledgers = RunDirectory(directory).ledgers()
    assert nodes == {read_process(path).worker for path in ledgers}
    assert any("a story broke off in" in line for line in ours), output
    assert "the story quotes" in output
    tokens = {row[1] for path in ledgers for row in read_rows(path)}
    assert len(tokens) > 4
    assert all(re.fullmatch(r"[0-9a-f-]{36}", token) for token in tokens)
    assert [token for token in tokens if token in output] == []


def objects(text: str) -> list[dict[str, str]]:
    """Each line of a text, which has to be an object with the keys of a log's line."""
    found = [json.loads(line) for line in text.splitlines()]
    keys = {"time", "level", "logger", "run", "node", "message"}
    assert [one for one in found if set(one) != keys] == []
    assert all(type(text) is str for one in found for text in one.values())
    return found


@pytest.mark.process
def test_each_line_of_a_run_is_an_object_where_that_is_asked_for(
    simulator: Any, tmp_path: Path
) -> None:
    file = locustfile(tmp_path, more=f"{BROKEN}\nprint('two\\nlines of {TOKEN}')\n")
    words = ("--target", simulator.url, "--processes", "2", "-u", "4", "-t", "8s")
    json_by_variable = {**os.environ, "PYTHONPATH": str(ROOT), "HARNESS_LOG_FORMAT": "json"}
    done = subprocess.run(
        [sys.executable, "-m", "harness", "run", str(file), *words, "--", "--loglevel", "DEBUG"],
        cwd=tmp_path, env=json_by_variable, stdin=subprocess.DEVNULL,
        capture_output=True, text=True, timeout=100, check=False,
    )  # fmt: skip
    files = RunDirectory(only_run(tmp_path))
    run = files.path.name
    shown = objects(done.stdout) + objects(done.stderr)
    assert any(one["message"].startswith("verdict") and one["run"] == run for one in shown), done
    text = files.locust_log.read_text()
    logged = objects(text)
    by_logger = {one["logger"] for one in logged}
    assert {"harness.load", "harness.print", "locust.main"} <= by_logger
    begun = [one for one in logged if one["message"].startswith("begun: ")]
    assert {one["run"] for one in begun} == {run}
    nodes = {one["node"] for one in logged if one["node"].startswith("worker ")}
    ledgers = files.ledgers()
    assert {f"worker {read_process(path).worker}" for path in ledgers} <= nodes
    assert "lines of 0b7a51a4…" in {one["message"] for one in logged}
    tokens = {row[1] for path in ledgers for row in read_rows(path)}
    assert len(tokens) > 4
    assert [token for token in tokens if token in text + done.stdout + done.stderr] == []


@pytest.mark.process
def test_why_a_locustfile_can_not_be_imported_is_told_in_words(tmp_path: Path) -> None:
    file = tmp_path / "guests.py"
    file.write_text("raise SystemExit('not today')\n")
    done = subprocess.run(
        [sys.executable, "-m", "harness", "run", str(file)], cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT), "HARNESS_LOG_FORMAT": "json"},
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    (error,) = objects(done.stderr)
    assert error["message"] == f"error: {file} can't be imported: not today"


@pytest.mark.long
@pytest.mark.process
def test_a_refusal_is_told_as_well_where_lines_are_objects(tmp_path: Path) -> None:
    file = locustfile(tmp_path)
    done = subprocess.run(
        [sys.executable, "-m", "harness", "run", str(file), "--master", "--expect-workers", "1",
         "--master-port", free_port(), "--workers-within", "2s", "--log-format", "json"],
        cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)}, stdin=subprocess.DEVNULL,
        capture_output=True, text=True, timeout=100, check=False,
    )  # fmt: skip
    assert done.returncode == ExitCode.CONFIG
    (error,) = objects(done.stderr)
    assert error["level"] == "ERROR"
    assert error["message"] == "error: only 0 of 1 workers came within 2s"
    assert any(one["message"].endswith("0 of 1") for one in objects(done.stdout))


BROKEN = """
            self.stories = getattr(self, "stories", 0) + 1
            if self.stories % 3 == 0:
                raise ValueError(f"the story quotes {guest.connection.token}")
            guest.choose("what nobody has offered")
"""
