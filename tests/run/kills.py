"""Kill -9 at random moments: what the service has open is always on the ledger's list.

``kill_at_random`` kills single clients; ``kill_families`` kills one process of a whole
``harness run``: the supervisor, Locust or a worker.
"""

import random
import re
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
from cells import ROOT, Twin, sweep
from locusts import environment_for, locustfile
from processes import start_harness

from harness.ledger.reader import read_account, read_leftovers, read_rows
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
from harness.ledger.ledger import Store
from harness.ledger.ledger import Tokens
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


ENDS_WITHIN_S = 90
UUID = re.compile(rb"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")


@dataclass
class FamilyKills:
    """Of runs of which one process was killed."""

    killed: Counter[str] = field(default_factory=Counter)
    """by the killed process's part in its run"""
    open: int = 0
    listed: int = 0
    faults: list[str] = field(default_factory=list)

    @property
    def text(self) -> str:
        parts = ", ".join(f"{count} {part}" for part, count in sorted(self.killed.items()))
        return (
            f"{self.killed.total()} runs with one process killed at a random moment ({parts}): "
            f"{self.open:,} sessions open at the service afterwards, {self.listed:,} on the list, "
            f"{len(self.faults)} faults."
        )


def kill_families(count: int, *, seed: int, at_once: int = 2) -> FamilyKills:
    """Start a run, kill one of its processes, let the others end, compare; ``count`` times."""
    result, draw = FamilyKills(), random.Random(seed)
    trials = [(draw.choice(("", "2")), random.Random(draw.random())) for _ in range(count)]
    twins = [Twin() for _ in range(at_once)]

    def some(number: int) -> None:
        for workers, dice in trials[number::at_once]:
            known = len(result.faults)
            try:
                _kill_in_family(twins[number], workers, dice, result)
            except Exception as error:  # noqa: BLE001 - a trial that breaks is a finding
                result.faults.append(f"{type(error).__name__}: {error}")
            print(result.text, *result.faults[known:], sep="\n", flush=True)

    try:
        with ThreadPoolExecutor(at_once) as pool:
            list(pool.map(some, range(at_once)))
    finally:
        for twin in twins:
            twin.stop()
    return result


def _kill_in_family(twin: Twin, workers: str, dice: random.Random, result: FamilyKills) -> None:
    twin.ask("reset", "POST", {})
    with tempfile.TemporaryDirectory(prefix="families-") as name:
        folder = Path(name)
        words = ["-u", "6", "-r", "6", "-t", "5m", "--stop-timeout", "1s"]
        words += ["--target", twin.url, "--reports", str(folder / "reports")]
        words += ["--processes", workers] if workers else []
        with (folder / "output.log").open("w+") as log:
            run = start_harness(
                "run",
                str(_story(folder)),
                *words,
                env=environment_for(folder, twin.url),
                stdin=subprocess.DEVNULL,
                stdout=log,
                start_new_session=True,
            )
            family = []
            try:
                _await_sessions(twin, run, folder / "output.log")
                time.sleep(dice.uniform(0, 1))
                family = _family(run.pid)
                part = dice.choice([part for part, _ in family])
                dice.choice([one for named, one in family if named == part]).kill()
                result.killed[part] += 1
                time.sleep(dice.uniform(0, 1))
                if part == "worker" and run.poll() is None:  # the others go on
                    run.send_signal(signal.SIGTERM)
                _await_end(run, [one for _, one in family])
                _judge(folder, twin, run.returncode, part, result)
            finally:
                for _, one in family:
                    if one.is_running():
                        one.kill()
                run.kill()
                run.wait(10)


def _story(folder: Path) -> Path:
    return locustfile(folder, messages=500, think="100ms")


def _await_sessions(twin: Twin, run: Any, log: Path) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and run.poll() is None:
        if len(twin.open_tokens()) >= 3:
            return
        time.sleep(0.1)
    raise AssertionError(f"the guests never came: {log.read_text()[-300:]}")


def _family(pid: int) -> list[tuple[str, psutil.Process]]:
    """The processes of a run and what each is for: Locust has forked its workers itself."""
    supervisor = psutil.Process(pid)
    found = [("supervisor", supervisor)]
    for child in supervisor.children():
        if "harness.load" in child.cmdline():
            found.append(("Locust", child))
            found += [("worker", one) for one in child.children()]
    return found


def _await_end(run: Any, family: list[psutil.Process]) -> None:
    deadline = time.monotonic() + ENDS_WITHIN_S
    while time.monotonic() < deadline:
        run.poll()
        if not any(one.is_running() and one.status() != psutil.STATUS_ZOMBIE for one in family):
            return
        time.sleep(0.1)
    raise TimeoutError(f"processes of the run have not ended: {family}")


def _judge(folder: Path, twin: Twin, code: int, part: str, result: FamilyKills) -> None:
    time.sleep(0.1)  # what was still in the socket reaches the service
    (directory,) = [path for path in (folder / "reports").iterdir() if _is_run(path)]
    opened = twin.open_tokens()
    listed = {left.token for left in read_leftovers(directory)}
    result.open += len(opened)
    result.listed += len(listed)
    told = f"{part} killed: "
    if opened - listed:
        result.faults.append(told + f"{len(opened - listed)} open sessions are not listed")
    if not read_account(directory).balanced:
        result.faults.append(told + "the account does not add up")
    if code == 0:
        result.faults.append(told + "exit code 0")
    tokens = {
        row[1].encode() for path in RunDirectory(directory).ledgers() for row in read_rows(path)
    }
    for path in folder.rglob("*"):
        if path.is_file() and not path.name.startswith("ledger-"):
            seen = set(UUID.findall(path.read_bytes())) & tokens
            if seen:
                result.faults.append(told + f"{len(seen)} tokens in {path.name}")
    if listed:
        swept, output = sweep(directory)
        if swept != 0:
            result.faults.append(told + f"sweep: exit code {swept}: {output.strip()[-200:]}")
    if twin.open_tokens():
        result.faults.append(told + f"{len(twin.open_tokens())} still open after the sweep")


def _is_run(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink()
