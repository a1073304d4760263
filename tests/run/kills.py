"""Kill -9 at random moments: what the service has open is always on the ledger's list."""

import random
import subprocess
import sys
import tempfile
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from cells import ROOT, Twin

from harness.ledger.reader import read_account, read_leftovers
from harness.rundir.layout import RunDirectory

CLIENT = """
import sys
from pathlib import Path
import gevent
from harness.config.target import parse_target
from harness.guest.outcomes import STORY_ENDS
from harness.guest.session import GuestSession
from harness.guest.settings import GuestSettings
from harness.ledger.ledger import Ledger
from harness.ledger.store import Store
from harness.ledger.tokens import Tokens
from harness.measure.recorder import Recorder

directory, target, run_id = Path(sys.argv[1]), parse_target(sys.argv[2]), sys.argv[3]
settings = GuestSettings(target=target, custom_attributes={"runId": run_id})
ledger = Ledger(Store(directory / "ledger-k.sqlite", {"worker": "k", "run_id": run_id}))
tokens, recorder = Tokens.of(directory, "k"), Recorder()

def slot():
    while True:
        try:
            with GuestSession(settings, tokens.next(), ledger=ledger, recorder=recorder) as guest:
                for _ in range(3):
                    guest.say("hello")
                    guest.await_reply(within=5)
        except STORY_ENDS:
            pass

print("ready", flush=True)
gevent.joinall([gevent.spawn(slot) for _ in range(8)], raise_error=True)
"""


@dataclass
class Kills:
    kills: int = 0
    sessions: int = 0
    open: int = 0
    listed: int = 0
    lost: int = 0
    """sessions that were open at the service and not on the list: there must be none"""
    unbalanced: int = 0

    @property
    def text(self) -> str:
        return (
            f"{self.kills} kills -9 at random moments: {self.sessions:,} sessions intended, "
            f"{self.open:,} open at the service, {self.listed:,} on the list, {self.lost} lost."
        )


def kill_at_random(count: int, *, seed: int, at_once: int = 2) -> Kills:
    """Start a client, kill it somewhere in its first second of work, compare; ``count`` times."""
    result, draw = Kills(), random.Random(seed)
    moments = [draw.uniform(0, 0.8) for _ in range(count)]
    twins = [Twin() for _ in range(at_once)]

    def some(number: int) -> None:
        for moment in moments[number::at_once]:
            _kill_one(twins[number], moment, result)

    try:
        with ThreadPoolExecutor(at_once) as pool:
            list(pool.map(some, range(at_once)))
    finally:
        for twin in twins:
            twin.stop()
    return result


def _kill_one(twin: Twin, after_s: float, result: Kills) -> None:
    run_id = str(uuid.uuid4())
    before = twin.open_tokens()
    with tempfile.TemporaryDirectory(prefix="kills-") as folder:
        with subprocess.Popen(
            [sys.executable, "-c", CLIENT, folder, twin.url, run_id],
            cwd=ROOT,
            stdout=subprocess.PIPE,
        ) as client:
            assert client.stdout is not None
            assert client.stdout.readline() == b"ready\n"
            time.sleep(after_s)
            client.kill()
        time.sleep(0.1)  # what was still in the socket reaches the service
        opened = twin.open_tokens() - before
        directory = Path(folder)
        assert len(RunDirectory(directory).ledgers()) == 1
        account = read_account(directory)
        listed = {left.token for left in read_leftovers(directory)}
        result.kills += 1
        result.sessions += account.intended
        result.open += len(opened)
        result.listed += len(listed)
        result.lost += len(opened - listed)
        result.unbalanced += not account.balanced
