"""The cells of the crash matrix: real runs in real processes, each judged by the service's truth.

A cell holds when

1. what is open at the service, by its own account alone, is a subset of what the ledger lists;
2. the classes of the account add up;
3. the exit code is one of ours, and not 0 unless all is clear;
4. after ``harness sweep`` the service has nothing open;
5. a second sweep finds nothing to do.

And it must have been able to break: by the service's own count guests came. Whether the fault
struck before the ending is kept beside it.
"""

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import product
from pathlib import Path
from typing import Any

import psutil

ROOT = Path(__file__).parent.parent.parent
sys.path.insert(0, str(ROOT / "tests"))

from commits import COMMIT  # noqa: E402 - found by the path set above, or by pytest's
from locusts import environment_for, launch, locustfile  # noqa: E402 - as above
from processes import Simulator, harness, start_harness  # noqa: E402 - as above

from harness.errors import ExitCode  # noqa: E402 - as above
from harness.ledger.reader import (  # noqa: E402 - as above
    HEARTBEAT_FRESH_S,
    read_account,
    read_leftovers,
)
from harness.supervise.children import free_port  # noqa: E402 - as above

FAULTS: dict[str, dict[str, Any]] = {
    "none": {},
    "ignored Clear": {"ignore_clear": 0.5},
    "lost Clear reply": {"lose_clear_reply": 0.5},
    "429 on Clear": {"limit_clear": 0.5},
    "Clear forbidden": {"forbid_clear": 0.5},
    "cut at configure": {"cut": "0.3,at=configure"},
    "cut before configure": {"cut": "0.3,at=configure,when=before"},
    "cut at text": {"cut": "0.1,at=text"},
    "cut at Clear": {"cut": "0.5,at=clear"},
    "cut before Clear": {"cut": "0.5,at=clear,when=before"},
    "half-open": {"half_open": 0.3},
    "stalled service": {"stall": "0.05,seconds=2"},
    "late ConnectionClosed": {"late_connection_closed": "1,seconds=2"},
    "refused start_new": {"refuse_new": 1},
    "unasked Clear events": {"unasked_clear": 0.2},
    "foreign errors": {"foreign_error": "0.2,code=4006"},
    "error before SessionResponse": {"early_error": "0.3,code=400"},
    "cross-talk of proofs": {"proof_cross_talk": 0.5},
}
ANEW = "refused start_new"
"""The guests of this fault would begin anew when the other side has ended their conversation."""
BY_HAND = "harness guest"
MODES = ("local", "--processes 2", "master, 2 workers", BY_HAND)
RESTARTED = "restarted in place"
"""A worker on a disk of its own is killed and comes back with an empty one, the same host name and
the same pid; later everything is killed."""
ENDINGS = (
    "time limit",
    "SIGINT",
    "SIGTERM",
    "two SIGINTs",
    "web-UI stop",
    "kill -9 worker",
    "kill -9 master",
    "kill -9 all",
    "disk full",
    RESTARTED,
)
GUESTS = 6
OURS = {
    ExitCode.PASS,
    ExitCode.OBJECTIVES,
    ExitCode.LEFTOVERS,
    ExitCode.NO_DATA,
    ExitCode.INVALID,
    ExitCode.INTERRUPTED,
}
BOT = """\
fallback = "{text}"
[[answer]]
to = "bye"
say = ["bye"]
end = true
"""
ANEW_STORY = """\
from locust import constant, task
from harness.load import GuestUser

class Guest(GuestUser):
    think_time = "150ms"

    @task
    def talk(self):
        with self.guest() as guest:
            for text in ("hello", "hello", "bye"):
                guest.say(text)
                guest.await_reply(within="5s")
                guest.think()
            guest.start_new()
"""
SCRIPT = """\
scenarios:
  talk:
{steps}
"""
ENDS_WITHIN_S = 100
KNOWN_AFTER_S = 2.5
"""What a worker opened longer ago is in the master's copy: one is complete to within a second."""
SETTLE_S = 0.4
"""Most guests are in session; so long for the others to come."""


@dataclass(frozen=True)
class Cell:
    fault: str
    mode: str
    ending: str

    @property
    def makes_sense(self) -> bool:
        """One process is master and worker in one: killing it is "all"."""
        if self.ending == RESTARTED:
            return self.mode == "master, 2 workers"
        if self.mode == BY_HAND:  # each is a process of its own, without a web UI
            return self.ending not in ("kill -9 worker", "kill -9 master", "web-UI stop")
        return self.mode != "local" or self.ending not in ("kill -9 worker", "kill -9 master")


@dataclass
class Outcome:
    cell: Cell
    broken: list[str] = field(default_factory=list)
    code: int = 0
    intended: int = 0
    left: int = 0
    open: int = 0
    opened: int | None = None
    """Sessions that the service opened in all; None where that was not kept."""
    struck: int | None = None
    """How often the service's fault struck."""
    commit: str = COMMIT
    took_s: float = 0.0
    told: str = ""
    when: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))


CELLS = [
    cell
    for fault, mode, ending in product(FAULTS, MODES, ENDINGS)
    if (cell := Cell(fault, mode, ending)).makes_sense
]


class Twin(Simulator):
    """A simulator for one cell after the other."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="twin-")
        bot = Path(self._folder.name) / "bot.toml"
        bot.write_text(BOT)
        super().__init__(
            "--limits", "off", "--bot", "script", str(bot), "--deployment", "disconnect=read_only"
        )

    def open_tokens(self) -> set[str]:
        return set(self.truth()["open_tokens"])

    def stop(self) -> None:
        super().stop()
        self._folder.cleanup()


def container(disk: Path, place: Path) -> list[str]:
    """What runs a command as process 1 of a container: own pids, host name and disk.

    What it finds and writes in the folder ``place`` is really in ``disk``: the master's own files
    are not there. Only root can make one.
    """
    disk.mkdir(exist_ok=True)
    place.mkdir(exist_ok=True)
    script = 'hostname node && mount --bind "$0" "$1" && shift && exec "$@"'
    return [
        *("unshare", "--pid", "--fork", "--mount", "--mount-proc", "--uts", "--kill-child"),
        *("sh", "-c", script, str(disk), str(place)),
    ]


class LostDisks:
    """Workers that were killed and lost with their disks: what they opened last is in no copy."""

    def __init__(self, twin: Twin) -> None:
        self._twin = twin
        self.too_new: set[str] = set()
        """Tokens of sessions that they opened less than ``KNOWN_AFTER_S`` before their end."""
        self.older = 0
        """Other sessions that they had open at their end: these must be listed."""

    @contextlib.contextmanager
    def losing(self, *disks: Path) -> Iterator[None]:
        """Wait; then the workers with these disks are to be killed at once."""
        known = self._twin.open_tokens()
        time.sleep(KNOWN_AFTER_S)
        yield
        for run in (run for disk in disks for run in disk.glob("2*")):
            theirs = {left.token for left in read_leftovers(run)}
            self.too_new |= theirs - known
            self.older += len(theirs & known)


class Running:
    """The processes of one cell."""

    def __init__(self, cell: Cell, folder: Path, twin: Twin) -> None:
        self.cell = cell
        self.folder = folder
        self.log = (folder / "output.log").open("w+")
        self._environment = environment_for(folder, twin.url)
        self.workers: list[Any] = []
        self.main: Any
        self.lost = LostDisks(twin)
        if cell.mode == BY_HAND:
            self._visit(twin.url)
            return
        file = locustfile(folder, messages=500, think="150ms")
        if cell.fault == ANEW:
            file.write_text(ANEW_STORY)
        self._file = file
        self.web = free_port()
        limit = "4s" if cell.ending == "time limit" else "5m"
        words = ["-u", str(GUESTS), "-r", str(GUESTS), "-t", limit, "--stop-timeout", "1"]
        if cell.ending == "web-UI stop":
            words += ["--autostart", "--web-host", "127.0.0.1", "--web-port", self.web]
        else:
            words += ["--headless", "--only-summary"]
        self.bus = bus = free_port()
        bind = ["--master-bind-host", "127.0.0.1", "--master-bind-port", bus]
        if cell.mode == "--processes 2":
            words += ["--processes", "2", *bind, "--master-port", bus]
        elif cell.mode != "local":
            words += ["--master", "--expect-workers", "2", *bind]
            self.workers = [self._start(file, "--worker", "--master-port", bus)]
            self.workers.append(
                self._contained(1)
                if cell.ending == RESTARTED
                else self._start(file, "--worker", "--master-port", bus)
            )
        self.main = self._start(file, *words)

    def _visit(self, url: str) -> None:
        """Several guests by hand, each with a process of its own."""
        short = self.cell.ending == "time limit"
        steps = ["hello"] * (4 if short else 500)
        script = self.folder / "talk.yaml"
        script.write_text(
            SCRIPT.format(
                steps="\n".join(f"    - say: {text}\n    - waitForReply" for text in steps)
            )
        )
        self.workers = [self._guest(url, script) for _ in range(GUESTS)]
        if self.cell.fault == ANEW:
            for guest in self.workers:
                guest.stdin.write("hello\nbye\n/new\n/new\n")
                guest.stdin.flush()
                if short:
                    guest.stdin.close()
        self.main = self.workers.pop(0)

    def _guest(self, url: str, script: Path) -> Any:
        words = ["--target", url, "--quiet", "--reports", str(self.folder / "reports")]
        if self.cell.fault != ANEW:
            words += ["--script", str(script)]
        return start_harness(
            "guest",
            *words,
            cwd=self.folder,
            stdin=subprocess.PIPE,
            stdout=self.log,
            start_new_session=True,
        )

    def _disk(self, life: int) -> Path:
        return self.folder / f"disk-{life}"

    def _contained(self, life: int) -> Any:
        disk, reports = self._disk(life), self.folder / "reports"
        return launch(
            self._file,
            self._environment,
            *("--worker", "--master-port", self.bus),
            stdout=self.log,
            inside=container(disk, reports),
        )

    def _start(self, file: Path, *words: str) -> Any:
        return launch(file, self._environment, *words, stdout=self.log)

    @property
    def everyone(self) -> list[psutil.Process]:
        found = []
        for process in (self.main, *self.workers):
            if process.poll() is None:
                parent = psutil.Process(process.pid)
                found += [parent, *parent.children(recursive=True)]
        return found

    @property
    def directories(self) -> list[Path]:
        """Of one run, or of each guest by hand whose session was not proved ended."""
        reports = self.folder / "reports"
        if not reports.is_dir():
            return []
        return [path for path in reports.iterdir() if path.is_dir() and not path.is_symlink()]

    def await_guests(self) -> None:
        """Until most guests are in session: some never get there under some faults."""
        deadline = time.monotonic() + 45
        since: float | None = None
        while time.monotonic() < deadline and self.main.poll() is None:
            occupancy = 0
            if self.cell.mode == BY_HAND:
                self.log.flush()
                occupancy = len(list(self.folder.glob("reports/guest-*/ledger-*.sqlite")))
            for path in self.folder.glob("reports/2*/intervals-*.jsonl"):
                lines = path.read_text().splitlines()
                occupancy += json.loads(lines[-1])["sessions"]["occupancy"] if lines else 0
            if occupancy >= 3 and since is None:
                since = time.monotonic()
            if since is not None and time.monotonic() - since > SETTLE_S:
                return
            time.sleep(0.1)

    def end(self, draw: random.Random) -> int:
        """Bring the run to its end as the cell says; the exit code."""
        ending, main = self.cell.ending, self.main
        if ending != "time limit":
            self.await_guests()
            time.sleep(draw.uniform(0, 0.8))
        everyone = self.everyone
        workers = [p for p in everyone if p.pid != main.pid]
        told = (main, *self.workers) if self.cell.mode == BY_HAND else (main,)
        match ending:
            case "SIGINT" | "two SIGINTs":
                for process in told:
                    process.send_signal(signal.SIGINT)
                if ending == "two SIGINTs":
                    time.sleep(0.5)
                    for process in told:
                        process.send_signal(signal.SIGINT)
            case "SIGTERM":
                for process in told:
                    process.send_signal(signal.SIGTERM)
            case "web-UI stop":
                url = f"http://127.0.0.1:{self.web}/stop"
                urllib.request.urlopen(url, urllib.parse.urlencode({}).encode(), timeout=90).close()
                main.send_signal(signal.SIGTERM)
            case "kill -9 worker":
                draw.choice(workers).kill()
                time.sleep(1)
                main.send_signal(signal.SIGTERM)
            case "kill -9 master":
                main.kill()
                time.sleep(1)
                for worker in self.workers:  # others notice by themselves, after a minute
                    worker.send_signal(signal.SIGTERM)
            case "kill -9 all":
                for process in everyone:
                    process.kill()
            case "restarted in place":
                self._restart(draw)
                everyone = self.everyone
                with self.lost.losing(self._disk(2)):
                    for process in everyone:
                        process.kill()
            case "disk full":
                for process in everyone:
                    process.rlimit(psutil.RLIMIT_FSIZE, (1, 1))
                if self.cell.mode == BY_HAND:  # who talks writes nothing until the way out
                    for process in told:
                        process.send_signal(signal.SIGTERM)
        ours = (self.main, *self.workers)
        forked = [p for p in everyone if p.pid not in {process.pid for process in ours}]
        deadline = time.monotonic() + ENDS_WITHIN_S
        while True:
            alive = [process.pid for process in ours if process.poll() is None]
            alive += [p.pid for p in forked if _lives(p)]
            if not alive:
                codes = [process.returncode for process in told]
                return int(next(filter(None, codes), 0))  # one that is not 0 tells for all
            if time.monotonic() > deadline:
                raise TimeoutError(f"{len(alive)} processes had not ended: {alive}")
            time.sleep(0.1)

    def _restart(self, draw: random.Random) -> None:
        with self.lost.losing(self._disk(1)):
            kill_family(self.workers[1])
        self.workers[1] = self._contained(2)
        deadline = time.monotonic() + 30
        while not self._has_come(2):
            if time.monotonic() > deadline:
                raise TimeoutError("the worker has not come back on its own disk")
            time.sleep(0.1)
        time.sleep(draw.uniform(0, 0.8))

    def _has_come(self, life: int) -> bool:
        return any(self._disk(life).glob("2*/ledger-*.sqlite"))

    def close(self) -> None:
        for process in (self.main, *self.workers):
            if process.poll() is None:
                kill_family(process)
        self.log.close()


def kill_family(process: Any) -> None:
    """With all that it has started."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait(10)


def _lives(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


def sweep(directory: Path, *more: str) -> tuple[int, str]:
    # The simulator carries out what it has read, at once.
    words = ["sweep", str(directory), "--rate", "100/s", "--late-within", "2s", *more]
    done = harness(*words, within_s=120)
    return done.returncode, done.stdout + done.stderr


def try_cell(cell: Cell, twin: Twin, *, seed: int) -> Outcome:
    """Run one cell and judge it."""
    outcome, broken = Outcome(cell), []
    started = time.monotonic()
    draw = random.Random(f"{seed}:{cell}")
    with tempfile.TemporaryDirectory(prefix="matrix-") as folder:
        twin.ask("faults", "PUT", {})
        twin.ask("reset", "POST", {})
        twin.ask("faults", "PUT", FAULTS[cell.fault])
        running = Running(cell, Path(folder), twin)
        try:
            outcome.code = running.end(draw)
            time.sleep(0.1)  # what was still in a socket reaches the service
            directories = running.directories
            accounts = [read_account(directory) for directory in directories]
            listed = {left.token for place in directories for left in read_leftovers(place)}
            truth = twin.truth()
            opened = set(truth["open_tokens"])
            outcome.opened = truth["sessions"]["opened"]
            outcome.struck = sum(truth["faults"].values())
            outcome.intended = sum(account.intended for account in accounts)
            outcome.left = sum(account.leftover for account in accounts)
            outcome.open = len(opened)
            if not outcome.opened and not outcome.struck:
                broken.append("no guest ever came")
            if unlisted := opened - listed - running.lost.too_new:
                broken.append(f"{len(unlisted)} open sessions are not listed")
            if not all(account.balanced for account in accounts):
                broken.append("the account does not add up")
            lost = sum(account.workers_lost for account in accounts)
            clear = not opened and not outcome.left and not lost
            if outcome.code == 0 and not clear:
                broken.append("exit code 0 though not all is clear")
            # Who had come to the end already when the second signal came is ended by it: of
            # several guests by hand that may be one, while another has told of its leftover.
            late = cell.ending == "two SIGINTs" and outcome.code == -signal.SIGINT
            left = late and (clear or cell.mode == BY_HAND)
            killed = cell.ending.startswith("kill -9") or cell.ending == RESTARTED
            if not killed and not left and outcome.code not in OURS:
                broken.append(f"exit code {outcome.code} is none of ours")
            twin.ask("faults", "PUT", {})
            if cell.ending == RESTARTED:
                time.sleep(HEARTBEAT_FRESH_S + 1)  # until then a node elsewhere may be alive
                # What a worker elsewhere opened in its last second is not in the master's copy.
                if not read_account(directories[0]).cut_off:
                    broken.append("that a lost worker may hide sessions is not told")
                elif sweep(directories[0])[0] == 0:
                    broken.append("sweep: exit code 0 though a lost worker may hide sessions")
            again = []
            for directory in directories:
                more = ["--derive"] if cell.ending == RESTARTED else []
                code, told = sweep(directory, *more)
                if code != 0:
                    broken.append(f"sweep: exit code {code}: {told.strip()[-200:]}")
                again.append(sweep(directory))
            if twin.open_tokens():
                broken.append(f"{len(twin.open_tokens())} still open after the sweep")
            for code, told in again:
                if code != 0 or "nothing to do" not in told:
                    broken.append(f"second sweep: exit code {code}: {told.strip()[-200:]}")
        except Exception as error:  # noqa: BLE001 - a cell that breaks is a finding, not the end
            broken.append(f"{type(error).__name__}: {error}")
        finally:
            running.close()
        if broken:
            outcome.told = (Path(folder) / "output.log").read_text()[-3000:]
    outcome.broken = broken
    outcome.took_s = time.monotonic() - started
    return outcome
