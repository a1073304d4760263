"""A hundred thousand sessions with two workers: does memory stay flat, is the account right?

    make bench-long ARGS='--sessions 100000 --per-second 300'

Memory is that of all processes of the run, Locust's own growth included: the master's and each
worker's resident set, read once a second. After the warm-up (the first two fifths of the sessions)
a line is laid through it; its slope is the growth per session. Prints the figures and exits with 1
when the growth reaches its limit or a session is not accounted for.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import linear_regression
from typing import Any

import psutil

LIMIT_BYTES = 50
WARM_UP = 0.4
"""By then what is bounded has filled: the ids of the newest messages (cross-talk is told by them),
the ledger's page cache, a minute of Locust's counts."""

GUESTS = """
from locust import task
from harness.load import ArrivalShape, GuestUser, objective, steady

class Shape(ArrivalShape):
    arrivals = steady(per_second={per_second}, over="{over_s:.3f}s")
    slots = {slots}

class Short(GuestUser):
    @task
    def ask(self):
        with self.guest() as guest:
            guest.say("hello")
            guest.await_reply(within="10s")

objective("leftovers == 0", "session_open errors < 0.1%")
"""


class Memory:
    """The resident sets of the processes below one, sampled against the sessions opened so far."""

    def __init__(self) -> None:
        self.points: list[tuple[int, dict[str, int]]] = []

    def sample(self, root: psutil.Process, opened: int) -> None:
        """One more point; processes that are just ending are left out."""
        now: dict[str, int] = {}
        for process in root.children(recursive=True):
            try:
                words = process.cmdline()
                if "harness.load" in words:
                    now[_role(process)] = process.memory_info().rss
                elif "simulate" in words:
                    now["simulator"] = process.memory_info().rss
            except psutil.Error:
                continue
        self.points.append((opened, now))

    def growth(self, role: str, sessions: int, warm_up: float = WARM_UP) -> float:
        """Bytes per session after the warm-up; ``role`` may be the start of several names."""
        series = [
            (opened, sum(size for name, size in sizes.items() if name.startswith(role)))
            for opened, sizes in self.points
            if warm_up * sessions <= opened < sessions
        ]
        slope, _ = linear_regression([at for at, _ in series], [size for _, size in series])
        return slope

    def course_mb(self, role: str, sessions: int) -> list[float]:
        """Megabytes after each tenth of the sessions."""
        found = []
        for tenth in range(1, 10):
            sizes = next(sizes for at, sizes in self.points if at >= sessions * tenth / 10)
            found.append(round(sum(v for k, v in sizes.items() if k.startswith(role)) / 1e6, 1))
        return found

    def last_mb(self, role: str, sessions: int) -> float:
        """Megabytes at the last point at which sessions were still being opened."""
        sizes = [sizes for opened, sizes in self.points if opened < sessions][-1]
        return sum(size for name, size in sizes.items() if name.startswith(role)) / 1e6


def _role(process: psutil.Process) -> str:
    parent = process.parent()
    forked = parent is not None and "harness.load" in parent.cmdline()
    return f"run worker {process.pid}" if forked else "run master"


def opened_so_far(reports: Path) -> int:
    """Sessions opened, by the newest interval of each worker."""
    total = 0
    for path in reports.glob("2*/intervals-*.jsonl"):
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - 4096))
            lines = file.read().splitlines()
        for line in reversed(lines):
            try:
                total += json.loads(line)["sessions"]["opened"]
                break
            except (json.JSONDecodeError, KeyError, TypeError):
                continue
    return total


def run(sessions: int, per_second: float, processes: int) -> tuple[Memory, dict[str, Any], float]:
    """The whole run: memory, record and how long it took."""
    with tempfile.TemporaryDirectory() as folder:
        directory = Path(folder)
        file = directory / "guests.py"
        over_s = sessions / per_second
        # Few, so that a stall of the machine is not answered by a crowd, which also costs memory.
        slots = max(20, int(per_second / 4))
        file.write_text(GUESTS.format(per_second=per_second, over_s=over_s, slots=slots))
        reports, memory, began = directory / "reports", Memory(), time.monotonic()
        with (directory / "output").open("wb") as output, subprocess.Popen(
            [sys.executable, "-m", "harness", "run", str(file), "--processes", str(processes),
             "--sim-bot-delay", "5ms", "--reports", str(reports)],
            stdout=output, stderr=subprocess.STDOUT,
        ) as harness:  # fmt: skip
            root = psutil.Process(harness.pid)
            while harness.poll() is None:
                memory.sample(root, opened_so_far(reports))
                time.sleep(1)
        records = list(reports.glob("2*/run.json"))
        if not records:
            sys.exit((directory / "output").read_text())
        return memory, json.loads(records[0].read_text()), time.monotonic() - began


def main() -> int:
    """Run, print, judge."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sessions", type=int, default=100_000)
    parser.add_argument("--per-second", type=float, default=300)
    parser.add_argument("--processes", type=int, default=2)
    asked = parser.parse_args()
    memory, record, took_s = run(asked.sessions, asked.per_second, asked.processes)
    account, truth = record["sessions"], record["simulator"]
    opened = account["opened"]
    print(f"{opened:,} sessions in {took_s:.0f} s, {asked.processes} workers")
    print(f"  verdict {record['verdict']} {'; '.join(record['reasons'])}")
    print(f"  account {account}")
    print(f"  simulator {truth}")
    print(f"  arrivals {record['arrivals']}, lag p99 {record['generator']['lag_ms']['p99']:.1f} ms")
    for role in ("run master", "run worker", "run", "simulator"):
        growth, size_mb = memory.growth(role, opened), memory.last_mb(role, opened)
        print(f"  {role:12} {size_mb:7.1f} MB at the end, growth {growth:+7.1f} bytes/session")
        print(f"    after each tenth, MB: {memory.course_mb(role, opened)}")
        later = {
            share: round(memory.growth(role, opened, share), 1) for share in (0.1, 0.2, 0.4, 0.6)
        }
        print(f"    growth after other warm-ups: {later}")
    correct = (
        account["balanced"]
        and account["leftover"] == 0
        and account["intended"] == record["arrivals"]["started"]
        and opened == account["cleared"] == truth["opened"] == truth["cleared"]
    )
    flat = memory.growth("run", opened) < LIMIT_BYTES
    print(f"  {'correct account' if correct else 'WRONG ACCOUNT'}, ", end="")
    print("flat memory" if flat else "MEMORY GROWS")
    return 0 if correct and flat else 1


if __name__ == "__main__":
    sys.exit(main())
