"""Arrivals come when they are due: counts within the statistics, hardly late on a healthy loop.

The slots knock and open no session, so that what is measured is the arrivals' own accuracy. Figures
are written to the directory named by HARNESS_FIGURES, if any.
"""

import json
import os
from math import sqrt
from pathlib import Path
from typing import Any

import pytest
from locusts import finish, only_run, start
from processes import decided

from harness.errors import ExitCode

pytestmark = [pytest.mark.process, pytest.mark.alone, pytest.mark.long]

KNOCK = """
from locust import task
from harness.load import ArrivalShape, GuestUser, poisson, steady
from harness.load.run import Run

class Shape(ArrivalShape):
    arrivals = {schedule}
    slots = {slots}

class Knock(GuestUser):
    @task
    def knock(self):
        Run.of(self.environment).next_arrival()
"""
SECONDS = 6


@pytest.mark.parametrize(
    ("kind", "per_s"),
    [("poisson", 500), ("steady", 50), ("steady", 500), ("poisson", 50)],
)
def test_arrivals_keep_their_time(simulator: Any, tmp_path: Path, kind: str, per_s: int) -> None:
    schedule = f"steady(per_second={per_s}, over='{SECONDS}s')"
    if kind == "poisson":
        schedule = f"poisson({schedule}, seed=4)"
    file = tmp_path / "knock.py"
    file.write_text(KNOCK.format(schedule=schedule, slots=max(20, per_s // 5)))
    code, output = finish(start(file, tmp_path, simulator.url))
    assert decided(code, output) == ExitCode.NO_DATA, output  # there was no session
    record = json.loads((only_run(tmp_path) / "run.json").read_text())
    arrivals, late_ms = record["arrivals"], record["arrival_lateness_ms"]
    figures = {
        "kind": kind, "per_s": per_s, **arrivals,
        "lateness_p50_ms": late_ms["p50"], "lateness_p99_ms": late_ms["p99"],
        "loop_lag_p99_ms": record["generator"]["lag_loop_ms"]["p99"],
    }  # fmt: skip
    if "HARNESS_FIGURES" in os.environ:
        with (Path(os.environ["HARNESS_FIGURES"]) / "arrivals.jsonl").open("a") as out:
            out.write(json.dumps(figures) + "\n")
    expected = per_s * SECONDS
    spread = 1 if kind == "steady" else 4 * sqrt(expected)
    assert abs(arrivals["due"] - expected) <= spread, output
    assert arrivals["started"] + arrivals["dropped"] == arrivals["due"]
    assert arrivals["dropped"] == 0, figures
    # A loop that is late itself, on a busy machine, can't be held to more than its own lag.
    assert late_ms["p99"] < max(20.0, 3 * figures["loop_lag_p99_ms"]), figures
