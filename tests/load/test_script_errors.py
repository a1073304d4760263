"""Errors of stories are counted by kind and place; a run that tests nothing is ended."""

import subprocess
import sys
from pathlib import Path

import pytest

import harness
from harness.errors import ExitCode
from harness.load.health import ELSEWHERE, HOPELESS_FROM, PLACES_COUNTED, ScriptErrors

STORY = """
from locust import task
from harness.load import GuestUser

class Visitor(GuestUser):
    @task
    def ask(self):
        with self.guest() as guest:
            guest.say("hello")
            guest.await_reply(within="10s")
            guest.await_repl()
"""


def raised(source: str, file: str = "/somewhere/story.py") -> Exception:
    try:
        exec(compile(source, file, "exec"), {})
    except Exception as error:  # noqa: BLE001 - whatever it is
        return error
    raise AssertionError("nothing was raised")


def test_each_place_is_told_once_and_not_too_many() -> None:
    mistakes = ScriptErrors()
    counted = mistakes.count_of(raised("import json\njson.loads('not json: a secret')"))
    assert "JSONDecodeError in story.py, line 2" in counted
    assert "secret" not in counted
    assert mistakes.count_of(raised("import json\njson.loads('something else')")) == counted
    others = [
        mistakes.count_of(raised("\n" * line + "1/0")) for line in range(3, 3 + PLACES_COUNTED)
    ]
    assert others.count(ELSEWHERE) == 1
    assert len(set(others)) == PLACES_COUNTED


def test_an_error_that_is_heard_of_twice_counts_once() -> None:
    error, mistakes = raised("1/0"), ScriptErrors()
    assert mistakes.count_of(error)
    assert mistakes.count_of(error) == ""


def test_a_file_that_is_named_like_the_harness_is_the_users_own() -> None:
    beside = str(Path(harness.__file__).parent) + "_guests.py"
    told = ScriptErrors().count_of(raised("import json\n\njson.loads('')", beside))
    assert "harness_guests.py, line 3" in told


def test_a_run_is_hopeless_when_most_stories_end_so() -> None:
    mistakes = ScriptErrors()
    for _ in range(HOPELESS_FROM - 1):
        mistakes.count_of(raised("1/0"))
    assert not mistakes.hopeless(HOPELESS_FROM - 1)
    mistakes.count_of(raised("1/0"))
    assert mistakes.hopeless(HOPELESS_FROM)
    assert not mistakes.hopeless(HOPELESS_FROM * 2)


@pytest.mark.process
def test_a_story_with_a_typing_error_never_passes(tmp_path: Path) -> None:
    file = tmp_path / "visitors.py"
    file.write_text(STORY)
    done = subprocess.run(
        [sys.executable, "-m", "harness", "run", str(file), "-u", "2", "-t", "60s",
         "--sim-bot-delay", "5ms", "--reports", str(tmp_path / "reports")],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == ExitCode.INVALID, done.stdout + done.stderr
    told = " ".join(done.stdout.split())
    assert "AttributeError in visitors.py, line 11" in told
    assert "most stories ended by errors of their own" in told
    assert "left over 0" in told
