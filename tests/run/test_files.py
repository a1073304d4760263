"""The files of a run: tokens stand in ledgers and nowhere else, and nobody else may write them."""

import os
import re
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import agreed
import pytest
from locusts import ROOT, only_run

from harness.ledger.reader import read_rows
from harness.rundir.layout import RunDirectory

pytestmark = pytest.mark.process

STORY = """
from locust import task
from harness.load import GuestUser

class Guest(GuestUser):
    think_time = "50ms"

    @task
    def talk(self):
        with self.guest() as guest:
            guest.say("hello")
            guest.await_reply(within="5s")
            guest.upload("a.png", data=b"x")
            guest.history()
            guest.drop()
            guest.say("again")
            guest.think()
"""


def names_in(run: Path) -> list[str]:
    """The run's files, each kind once: processes have names of their own."""
    name = re.compile(r"(?<=-)(?!\d{4}\.)[^/]*?(?=(\.[a-z]+)*$)")
    return sorted({name.sub("*", str(path.relative_to(run))) for path in run.rglob("*")})


@pytest.mark.parametrize(
    ("more", "names"),
    [([], "run_files.txt"), (["--processes", "2"], "run_files_of_workers.txt")],
)
def test_tokens_stand_only_in_ledgers_and_files_are_private(
    simulator: Any, tmp_path: Path, more: list[str], names: str
) -> None:
    file = tmp_path / "guests.py"
    file.write_text(STORY)
    simulator.faults(ignore_clear=0.3, fail="#7", cut="#11")
    try:
        done = subprocess.run(
            [sys.executable, "-m", "harness", "run", str(file), "--target", simulator.url,
             "--users", "6", "--run-time", "5s", "--stop-timeout", "3s", *more],
            cwd=tmp_path, capture_output=True, text=True, timeout=150, check=False,
            env={**os.environ, "PYTHONPATH": str(ROOT)}, umask=0o000,
        )  # fmt: skip
    finally:
        simulator.faults()
    run = only_run(tmp_path)
    agreed.hold(names, "".join(f"{name}\n" for name in names_in(run)))
    ledgers = RunDirectory(run).ledgers()
    tokens = {row[1] for ledger in ledgers for row in read_rows(ledger)}
    assert len(tokens) > 5, done.stdout
    assert any(token in path.read_bytes().decode("latin-1") for path in ledgers for token in tokens)
    said = done.stdout + done.stderr
    assert not [token for token in tokens if token in said]
    for path in run.rglob("*"):
        mode = stat.S_IMODE(path.stat().st_mode)
        private = path.name.startswith(("ledger-", "tokens"))
        assert mode & ~(0o600 if private else 0o750 if path.is_dir() else 0o640) == 0, path
        if not path.is_dir() and not private:
            text = path.read_bytes().decode("latin-1")
            found = [token for token in tokens if token in text]
            assert not found, f"{path.name} holds {len(found)} tokens"
