"""How true are the figures? Reply times as the simulator planted them, as we report them, and as
Locust's own statistics show them, at two levels of generator load and with a stalling generator.

    make bench-accuracy

Prints one table per case. The simulator's column is what it really added to each reply, queueing
in its own event loop included; what lies between the two columns is the network and our error.
"""

import json
import os
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

QUANTILES = {"p50": 50.0, "p90": 90.0, "p99": 99.0, "p99_9": 99.9, "max": 100.0}
# p50 to p99 within 1 % or 0.5 ms, p99.9 and max within 2 % or 2 ms of the simulator's record.
BOUNDS = {"p50": (0.01, 0.5), "p90": (0.01, 0.5), "p99": (0.01, 0.5)}
FAR_BOUND = (0.02, 2.0)

GUESTS = """
import time
import gevent
from locust import constant, events, task
from harness.load import GuestUser

class Asker(GuestUser):
    think_time = {think!r}

    @task
    def ask(self):
        with self.guest() as guest:
            for _ in range(10_000):
                guest.say("how late?")
                guest.await_reply(within="30s")
                guest.think()

def stall():
    while True:
        gevent.sleep(0.8)
        end = time.monotonic() + 0.2
        while time.monotonic() < end:   # blocks the event loop
            pass

if {stall}:
    @events.test_start.add_listener
    def begin(**_):
        gevent.spawn(stall)
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One way to plant delays and to load the generator."""

    name: str
    delay: str
    users: int
    think: str
    faults: tuple[str, ...] = ()
    stall: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What each side says about reply times (milliseconds by quantile)."""

    planted: dict[str, float]
    ours: dict[str, float]
    locusts: dict[str, float]
    delivered_p50_ms: float
    """the way there and back without any planted delay: network and both event loops"""
    count: int
    cpu: float
    lag_p99_ms: float
    verdict: str

    def within(self, quantile: str) -> bool:
        """Whether our figure lies within its bound of the planted one."""
        share, floor_ms = BOUNDS.get(quantile, FAR_BOUND)
        planted = self.planted[quantile]
        return abs(self.ours[quantile] - planted) <= max(planted * share, floor_ms)


CASES = (
    Case(name="constant 50 ms, light", delay="50ms", users=40, think="200ms"),
    Case(name="constant 50 ms, heavy", delay="50ms", users=400, think="1ms"),
    Case(name="exponential 80 ms, light", delay="exponential:80ms", users=60, think="150ms"),
    Case(name="heavy tail, light", delay="lognormal:60ms,2", users=60, think="150ms"),
    Case(name="heavy tail, heavy", delay="lognormal:60ms,2", users=400, think="1ms"),
    Case(
        name="constant 50 ms, generator stalls 200 ms a second",
        delay="50ms",
        users=40,
        think="200ms",
        stall=True,
    ),
)


def run_case(case: Case, *, seconds: int = 20) -> Result:
    """Start a simulator, run the guests, and bring the three accounts together."""
    with tempfile.TemporaryDirectory() as folder:
        directory = Path(folder)
        file = directory / "guests.py"
        file.write_text(GUESTS.format(think=case.think, stall=case.stall))
        faults = [word for fault in case.faults for word in ("--fault", fault)]
        with subprocess.Popen(
            [sys.executable, "-m", "harness", "simulate", "--limits", "off",
             "--bot-delay", case.delay, "--seed", "1", *faults],
            stdout=subprocess.PIPE,
        ) as simulator:  # fmt: skip
            assert simulator.stdout is not None
            ready = json.loads(simulator.stdout.readline())
            stats = directory / "locust.json"
            subprocess.run(
                [sys.executable, "-m", "harness", "run", str(file), "-t", f"{seconds}s",
                 "-u", str(case.users), "--stop-timeout", "0s", "--out", str(directory / "out"),
                 "--target", f"{ready['url']}?deploymentId={ready['deployment_id']}",
                 "--", "--json-file", str(stats)],
                stdout=subprocess.DEVNULL,
                check=False,
                env={**os.environ, "HARNESS_PACE": "off"},
            )  # fmt: skip
            admin = ready["url"].replace("ws", "http", 1).removesuffix("/v1")
            with urllib.request.urlopen(f"{admin}/sim/truth", timeout=10) as answer:
                truth = json.load(answer)
            simulator.terminate()
        run = directory / "out" / "latest"
        record = json.loads((run / "run.json").read_text())
        entry = record["operations"]["reply"]
        cpus = [
            json.loads(line)["process"]["cpu"]
            for path in run.glob("intervals-*.jsonl")
            for line in path.read_text().splitlines()[2:-2]
        ]
        return Result(
            planted=_of_buckets(truth["delays"]["reply"]["buckets_ms"]),
            ours={name: entry["service_ms"][name] for name in QUANTILES},
            locusts=_of_locust(json.loads(_last(directory).read_text())),
            delivered_p50_ms=record["operations"]["delivered"]["service_ms"]["p50"],
            count=entry["count"],
            cpu=sum(cpus) / len(cpus),
            lag_p99_ms=record["generator"]["lag_ms"]["p99"],
            verdict=record["verdict"],
        )


def _last(directory: Path) -> Path:
    """Locust adds an ending of its own to the name that it was given."""
    return max(directory.glob("locust*.json"), key=lambda path: path.stat().st_mtime)


def _of_buckets(buckets: dict[str, int]) -> dict[str, float]:
    return _quantiles(sorted((float(value), count) for value, count in buckets.items()))


def _of_locust(stats: Sequence[dict[str, Any]]) -> dict[str, float]:
    (entry,) = [entry for entry in stats if entry["name"] == "reply"]
    times = entry["response_times"]
    return _quantiles(sorted((float(value), count) for value, count in times.items()))


def _quantiles(pairs: list[tuple[float, int]]) -> dict[str, float]:
    total = sum(count for _, count in pairs)
    found = {}
    for name, quantile in QUANTILES.items():
        rank, seen = max(1.0, quantile / 100 * total), 0
        for value, count in pairs:
            seen += count
            if seen >= rank:
                found[name] = value
                break
    return found


def main() -> None:
    """Run all cases and print a table for each."""
    console = Console(width=110)
    for case in CASES:
        result = run_case(case)
        table = Table(title=case.name, title_justify="left", box=None, padding=(0, 3, 0, 0))
        for column in ("reply, ms", "planted", "ours", "off by", "within bound", "Locust's own"):
            table.add_column(column, justify="left" if column.startswith("reply") else "right")
        for name in QUANTILES:
            planted, ours = result.planted[name], result.ours[name]
            table.add_row(
                name,
                f"{planted:.1f}",
                f"{ours:.1f}",
                f"{(ours - planted) / planted:+.2%}",
                "yes" if result.within(name) else "NO",
                f"{result.locusts[name]:.0f}",
            )
        console.print(table)
        console.print(
            f"{result.count:,} replies; the way there and back alone (delivered p50) "
            f"{result.delivered_p50_ms:.2f} ms; generator CPU {result.cpu:.0%}, "
            f"lag p99 {result.lag_p99_ms:.1f} ms, verdict {result.verdict}\n"
        )


if __name__ == "__main__":
    main()
