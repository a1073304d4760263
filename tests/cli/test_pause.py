"""A run that is going on is looked at, paused, resumed and stopped from another terminal."""

import json
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from locusts import cut_by_hand
from processes import harness, start_harness

from harness.cli.main import main
from harness.errors import ExitCode

OPEN = """
from locust import task
from harness.load import ArrivalShape, GuestUser, objective, steady

class Coming(ArrivalShape):
    arrivals = steady(per_second=8, over="5m")
    slots = 60

class Guest(GuestUser):
    think_time = "1s"  # so that there is always somebody in session

    @task
    def ask(self):
        with self.guest() as guest:
            guest.say("hello")
            guest.await_reply(within="20s")
            guest.think()

objective("reply errors < 1%")
"""
CLOSED = """
from locust import task
from harness.load import GuestUser, objective

class Guest(GuestUser):
    think_time = "200ms"

    @task
    def ask(self):
        with self.guest() as guest:
            guest.say("hello")
            guest.await_reply(within="20s")
            guest.think()

objective("reply errors < 1%")
"""


def until(what: Callable[[], bool], within_s: float = 60) -> None:
    end = time.monotonic() + within_s
    while not what():
        assert time.monotonic() < end, "it never came to that"
        time.sleep(0.2)


def started(reports: Path) -> int:
    """Guests that have come so far, over all processes."""
    rows = [
        json.loads(line)
        for path in reports.glob("2*/intervals-*.jsonl")
        for line in path.read_text().splitlines(keepends=True)
        if line.endswith("\n")
    ]
    return sum(row["arrivals"]["started"] for row in rows)


@pytest.mark.process
@pytest.mark.timeout(240)
@pytest.mark.parametrize(
    ("story", "more"),
    [
        pytest.param(OPEN, [], marks=pytest.mark.long),
        (OPEN, ["--processes", "2"]),
        pytest.param(CLOSED, ["-u", "3"], marks=pytest.mark.long),
    ],
    ids=["open", "open, two workers", "closed"],
)
def test_look_pause_resume_stop(tmp_path: Path, story: str, more: list[str]) -> None:
    file, reports = tmp_path / "story.py", tmp_path / "reports"
    file.write_text(story)
    run = start_harness("run", str(file), "-t", "5m", "--reports", str(reports), *more)
    there = ("--reports", str(reports))
    try:
        until(lambda: started(reports) > 5)
        looked = harness("report", "--live", "latest", *there)
        assert looked.returncode == 0, looked.stderr
        assert "in session now" in looked.stdout
        (page,) = reports.glob("2*/live.html")
        assert "So far: " in page.read_text(), looked.stdout
        assert harness("pause", "latest", *there).returncode == 0
        time.sleep(4)  # it is heard of within a second or two, and told in the next interval
        before = started(reports)
        time.sleep(3)
        assert started(reports) == before
        assert harness("pause", "latest", "--resume", *there).returncode == 0
        until(lambda: started(reports) > before + 5)
        assert harness("stop", "latest", *there).returncode == 0
        out, _ = run.communicate(timeout=100)
    finally:
        run.terminate()
        run.wait(60)
    assert cut_by_hand(run.returncode, out), out
    (path,) = reports.glob("2*/run.json")
    record = json.loads(path.read_text())
    assert record["sessions"]["leftover"] == 0
    assert record["how"]["stopped_by_hand"] is True
    if story is OPEN:
        arrivals = record["arrivals"]
        assert arrivals["paused"] >= 20  # eight a second for four seconds and more
        assert arrivals["dropped"] <= 2  # at the very end, on a busy machine
        assert arrivals["due"] == sum(arrivals[kind] for kind in ("started", "paused", "dropped"))
    # what has ended can't be asked for anything
    for words in (["pause"], ["stop"], ["report", "--live"]):
        late = harness(*words, path.parent.name, *there)
        assert (late.returncode, "is not going on" in late.stderr) == (ExitCode.CONFIG, True)


@pytest.mark.parametrize(
    "words", [["pause"], ["pause", "--resume"], ["stop"], ["report", "--live"]]
)
def test_without_a_run_there_is_nothing_to_ask(
    words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*words, "latest", "--reports", str(tmp_path)]) == ExitCode.CONFIG
    assert "no run is going on" in capsys.readouterr().err
    (tmp_path / "empty").mkdir()
    assert main([*words, str(tmp_path / "empty")]) == ExitCode.CONFIG
    assert "not a run directory" in capsys.readouterr().err
