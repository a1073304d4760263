"""A search in real processes finds a planted knee's side, is resumable, and refuses nonsense."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from locusts import ROOT

from harness.cli.main import main
from harness.exit_codes import ExitCode

GUESTS = """
from locust import task
from harness.load import ArrivalShape, GuestUser, over, rate, steady

class Level(ArrivalShape):
    arrivals = steady(per_second=rate("1/s"), over=over("10s"))
    slots = 200

class Guest(GuestUser):
    @task
    def ask(self):
        with self.guest() as guest:
            guest.say("hello")
            guest.await_reply(within="10s")
"""


def search(directory: Path, *words: str) -> Any:
    return subprocess.run(
        [sys.executable, "-m", "harness", "capacity", *words],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=170,
    )


@pytest.mark.process
def test_a_service_of_one_worker_is_over_where_it_must_be(tmp_path: Path) -> None:
    file = tmp_path / "level.py"
    file.write_text(GUESTS)
    profile = tmp_path / "twin.toml"
    # One worker that takes 100 ms: ten replies a second, whatever comes.
    profile.write_text('[bot]\ntime = "100ms"\nworkers = 1\n')
    out = tmp_path / "reports"
    done = search(
        tmp_path, str(file), "--objective", "reply p50 < 400ms", "--start", "6/s", "--highest",
        "24/s", "--hold", "9s", "--longest", "25s", "--warm-up", "1s", "--max-levels", "2",
        "--sim-profile", str(profile), "--out", str(out), "--json",
    )  # fmt: skip
    found = json.loads(done.stdout) if done.stdout else {}
    assert found, done.stderr
    levels = {level["rate_per_s"]: level["judged"] for level in found["levels"]}
    assert levels.keys() == {6, 12}
    assert levels[6] == "under"
    # Twelve a second is more than ten: in so short a time a growing queue is at least no success.
    assert levels[12] in ("over", "close", "inconclusive")
    assert (Path(found["directory"]) / "capacity.html").is_file()
    # A finished search has nothing more to do when it is resumed.
    again = search(tmp_path, "--resume", found["directory"], "--json")
    assert json.loads(again.stdout)["levels"] == found["levels"]


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["--start", "fast"], "--start: expected a rate"),
        (["--start", "10/s", "--highest", "1/s"], "lowest <= start <= highest"),
        (["--objective", "rply p95 < 1s"], "nothing is called 'rply'"),
        (["--hold", "0s"], "--hold: expected one second or more"),
        (["--resolution", "2"], "resolution between 0 and 1"),
        (["no-such-file.py"], "there is no locustfile"),
        (["--resume", "nowhere"], "not a search that can go on"),
    ],
)
def test_nonsense_is_refused(
    words: list[str], why: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["capacity", *words, "--out", str(tmp_path / "r")]) == ExitCode.CONFIG
    assert why in capsys.readouterr().err
    assert not (tmp_path / "r").exists()
