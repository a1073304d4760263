"""The cells of the crash matrix: real runs in real processes, each judged by the service's truth.

A cell holds when

1. what is open at the service is a subset of what the ledger lists;
2. the classes of the account add up;
3. the exit code is one of ours, and not 0 unless all is clear;
4. after ``harness sweep`` the service has nothing open;
5. a second sweep finds nothing to do.
"""

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
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import product
from pathlib import Path
from typing import Any

import psutil

ROOT = Path(__file__).parent.parent.parent
sys.path.insert(0, str(ROOT / "tests"))

from locusts import environment_for, launch, locustfile  # noqa: E402 - found by the path set above

from harness.cli.stages import free_port  # noqa: E402 - as above
from harness.exit_codes import ExitCode  # noqa: E402 - as above
from harness.ledger.leftovers import read_account, read_leftovers  # noqa: E402 - as above

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
}
MODES = ("local", "--processes 2", "master, 2 workers")
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
)
GUESTS = 6
OURS = {ExitCode.PASS, ExitCode.OBJECTIVES, ExitCode.LEFTOVERS, ExitCode.NO_DATA, ExitCode.INVALID}
ENDS_WITHIN_S = 100
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
        return self.mode != "local" or self.ending not in ("kill -9 worker", "kill -9 master")


@dataclass
class Outcome:
    cell: Cell
    broken: list[str] = field(default_factory=list)
    code: int = 0
    intended: int = 0
    left: int = 0
    open: int = 0
    took_s: float = 0.0
    told: str = ""
    when: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))


CELLS = [
    cell
    for fault, mode, ending in product(FAULTS, MODES, ENDINGS)
    if (cell := Cell(fault, mode, ending)).makes_sense
]


class Twin:
    """A simulator for one cell after the other."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "harness", "simulate", "--bot-delay", "5ms", "--limits", "off"],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        ready = json.loads(self.process.stdout.readline())
        self.url = f"{ready['url']}?deploymentId={ready['deployment_id']}"
        self._admin = ready["url"].replace("ws", "http", 1).removesuffix("/v1") + "/sim"

    def ask(self, path: str, method: str = "GET", body: Any = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self._admin}/{path}", data=data, method=method)
        with urllib.request.urlopen(request, timeout=20) as answer:
            return json.load(answer)

    def open_tokens(self) -> set[str]:
        return set(self.ask("truth")["open_tokens"])

    def stop(self) -> None:
        self.process.terminate()
        self.process.communicate(timeout=20)


class Running:
    """The processes of one cell."""

    def __init__(self, cell: Cell, folder: Path, twin: Twin) -> None:
        self.cell = cell
        self.folder = folder
        self.log = (folder / "output.log").open("w+")
        file = locustfile(folder, messages=500, think="150ms")
        self.web = free_port()
        limit = "4s" if cell.ending == "time limit" else "5m"
        words = ["-u", str(GUESTS), "-r", str(GUESTS), "-t", limit, "--stop-timeout", "1"]
        if cell.ending == "web-UI stop":
            words += ["--autostart", "--web-host", "127.0.0.1", "--web-port", self.web]
        else:
            words += ["--headless", "--only-summary"]
        bus = free_port()
        bind = ["--master-bind-host", "127.0.0.1", "--master-bind-port", bus]
        self._environment = environment_for(folder, twin.url)
        self.workers: list[Any] = []
        if cell.mode == "--processes 2":
            words += ["--processes", "2", *bind, "--master-port", bus]
        elif cell.mode != "local":
            words += ["--master", "--expect-workers", "2", *bind]
            self.workers = [self._start(file, "--worker", "--master-port", bus) for _ in range(2)]
        self.main = self._start(file, *words)

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
    def directory(self) -> Path:
        found = [p for p in (self.folder / "reports").iterdir() if not p.is_symlink()]
        return found[0]

    def await_guests(self) -> None:
        """Until most guests are in session: some never get there under some faults."""
        deadline = time.monotonic() + 45
        since: float | None = None
        while time.monotonic() < deadline and self.main.poll() is None:
            occupancy = 0
            for path in self.folder.glob("reports/*/intervals-*.jsonl"):
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
        match ending:
            case "SIGINT":
                main.send_signal(signal.SIGINT)
            case "SIGTERM":
                main.send_signal(signal.SIGTERM)
            case "two SIGINTs":
                main.send_signal(signal.SIGINT)
                time.sleep(0.5)
                main.send_signal(signal.SIGINT)
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
            case "disk full":
                for process in everyone:
                    process.rlimit(psutil.RLIMIT_FSIZE, (1, 1))
        ours = (self.main, *self.workers)
        forked = [p for p in everyone if p.pid not in {process.pid for process in ours}]
        deadline = time.monotonic() + ENDS_WITHIN_S
        while True:
            alive = [process.pid for process in ours if process.poll() is None]
            alive += [p.pid for p in forked if _lives(p)]
            if not alive:
                return int(main.returncode)
            if time.monotonic() > deadline:
                raise TimeoutError(f"{len(alive)} processes had not ended: {alive}")
            time.sleep(0.1)

    def close(self) -> None:
        for process in (self.main, *self.workers):
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait(10)
        self.log.close()


def _lives(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


def sweep(directory: Path) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, "-m", "harness", "sweep", str(directory), "--rate", "100/s"],
        cwd=ROOT, capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
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
            directory = running.directory
            account = read_account(directory)
            listed = {left.token for left in read_leftovers(directory)}
            opened = twin.open_tokens()
            outcome.intended, outcome.left = account.intended, account.leftover
            outcome.open = len(opened)
            if account.intended == 0:
                broken.append("no guest ever came")
            if not opened <= listed:
                broken.append(f"{len(opened - listed)} open sessions are not listed")
            if not account.balanced:
                broken.append("the account does not add up")
            clear = not opened and not account.leftover and not account.workers_lost
            if outcome.code == 0 and not clear:
                broken.append("exit code 0 though not all is clear")
            if not cell.ending.startswith("kill -9") and outcome.code not in OURS:
                broken.append(f"exit code {outcome.code} is none of ours")
            twin.ask("faults", "PUT", {})
            code, told = sweep(directory)
            if code != 0:
                broken.append(f"sweep: exit code {code}: {told.strip()[-200:]}")
            if twin.open_tokens():
                broken.append(f"{len(twin.open_tokens())} still open after the sweep")
            code, told = sweep(directory)
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
