"""Run directories as a run leaves them, written through the same writer, from a seeded story."""

import math
import random
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import orjson
from made_once import made_once

from harness.clock import utc_iso
from harness.measure.model import Outcome, Sample
from harness.measure.recorder import LAG_LOOP, Recorder, corrected_tag, service_tag
from harness.measure.snapshot import IntervalWriter, read_measurements

START_S = 1_795_000_000
TYPICAL_MS = {
    "connect": 38.0,
    "session_open": 72.0,
    "join": 95.0,
    "delivered": 110.0,
    "reply": 900.0,
    "clear": 60.0,
}
TIMES = {"p50": 50, "p90": 90, "p95": 95, "p99": 99, "p99_9": 99.9, "max": 100}


def make_run(
    directory: Path,
    *,
    seed: int = 1,
    length_s: int = 120,
    per_s: float = 2.0,
    workers: int = 2,
    slowdown: float = 1.0,
    leave: int = 0,
    trouble: bool = False,
    **record: Any,
) -> Path:
    """Write a whole run directory; ``record`` overrides keys of run.json.

    trouble: a slow spell with errors and late arrivals from 55 % to 65 % of the run.
    leave: so many sessions end without a proof.
    """
    _tell(
        directory,
        start_s=START_S,
        seed=seed,
        length_s=length_s,
        per_s=per_s,
        workers=workers,
        slowdown=slowdown,
        leave=leave,
        trouble=trouble,
    )
    own = {"run_id": directory.name}
    start = orjson.loads((directory / "start.json").read_bytes()) | own
    (directory / "start.json").write_bytes(orjson.dumps(start))
    whole = orjson.loads((directory / "run.json").read_bytes()) | own | {"how": start} | record
    (directory / "run.json").write_bytes(orjson.dumps(whole, option=orjson.OPT_INDENT_2))
    return directory


@made_once
def _tell(
    directory: Path,
    *,
    start_s: int,
    seed: int,
    length_s: int,
    per_s: float,
    workers: int,
    slowdown: float,
    leave: int,
    trouble: bool,
) -> None:
    totals: Counter[str] = Counter()
    for worker in range(workers):
        dice = random.Random(f"{seed}/{worker}")
        story = _Story(dice, start_s, length_s, per_s / workers, slowdown, trouble)
        story.tell(directory, f"w{worker}", leave if worker == 0 else 0, totals)
    start = {
        "run_id": "",
        "started": utc_iso(start_s * 10**9),
        "target": "ws://127.0.0.1:8080/v1?deploymentId=d0000000-0000-4000-8000-000000000001",
        "deployment_id": "d0000000-0000-4000-8000-000000000001",
        "origin": None,
        "locustfile": "locustfiles/launch.py",
        "arrivals": f"{per_s * 60:g} guests/min",
        "options": {"run_time_s": length_s, "processes": workers, "users": 60},
        "versions": {"harness": "0.1.0", "locust": "2.46.2", "python": "3.11.7"},
        "seed": seed,
        "host": "load-1 (Linux 6.1, 2 cores)",
    }
    (directory / "start.json").write_bytes(orjson.dumps(start))
    record = _record(directory, start, totals, start_s, length_s)
    (directory / "run.json").write_bytes(orjson.dumps(record))


class _Story:
    """One process's guests: each opens, joins, speaks three times, and clears."""

    def __init__(
        self,
        dice: random.Random,
        start_s: int,
        length_s: int,
        per_s: float,
        slowdown: float,
        trouble: bool,
    ) -> None:
        self.dice = dice
        self.start_s = start_s
        self.length_s = length_s
        self.per_s = per_s
        self.slowdown = slowdown
        self.trouble = trouble
        self.at: dict[int, list[tuple[str, Any]]] = defaultdict(list)

    def tell(self, directory: Path, worker: str, leave: int, totals: Counter[str]) -> None:
        time_s = 0.0
        while (time_s := time_s + self.dice.expovariate(self._rate(time_s))) < self.length_s - 20:
            self._guest(time_s, stays=leave > 0)
            leave -= 1
        writer = IntervalWriter(directory, worker, started_ns=self.start_s * 10**9)
        running: Counter[str] = Counter(intended=0, opened=0, cleared=0, leftover=0, occupancy=0)
        for second in range(self.length_s):
            recorder, arrivals = Recorder(), Counter(due=0, started=0, late=0, dropped=0)
            for kind, what in self.at.get(second, ()):
                if kind == "sample":
                    recorder.add(what)
                elif kind == "arrival":
                    arrivals[what] += 1
                elif kind == "count":
                    recorder.count(what)
                else:
                    running.update(what)
            for _ in range(50):
                recorder.add_duration(LAG_LOOP, int(self.dice.expovariate(1 / 120_000)))
            totals.update({f"arrivals.{name}": count for name, count in arrivals.items()})
            writer.write(
                recorder.take(),
                ended_ns=(self.start_s + second + 1) * 10**9,
                length_s=1.0,
                state={
                    "phase": "running" if second < self.length_s - 20 else "finishing",
                    "sessions": running,
                    "arrivals": arrivals,
                    "process": {
                        "cpu": round(0.2 + running["occupancy"] / 300, 3),
                        "rss_mb": round(88 + second / 60, 1),
                        "fds": 20 + running["occupancy"],
                    },
                },
            )
        writer.close()
        totals.update({name: running[name] for name in ("intended", "opened", "cleared")})
        totals["leftover"] += running["leftover"]

    def _rate(self, time_s: float) -> float:
        return self.per_s * (0.25 + 0.75 * min(1.0, time_s / (self.length_s * 0.4)))

    def _slow(self, time_s: float) -> bool:
        return self.trouble and 0.55 < time_s / self.length_s < 0.65

    def _guest(self, time_s: float, *, stays: bool) -> None:
        late = self._slow(time_s) and self.dice.random() < 0.3
        self._note(time_s, "arrival", "due")
        if self._slow(time_s) and self.dice.random() < 0.08:
            self._note(time_s, "arrival", "dropped")
            return
        self._note(time_s, "arrival", "started")
        if late:
            self._note(time_s, "arrival", "late")
        self._note(time_s, "running", {"intended": 1, "opened": 1, "occupancy": 1})
        for operation in ("connect", "session_open", "join"):
            time_s = self._do(operation, time_s, late_s=0.4 * late)
        for _ in range(3):
            self._do("delivered", time_s)
            time_s = self._do("reply", time_s) + self.dice.lognormvariate(0.6, 0.4)
        if stays:
            self._note(time_s, "running", {"leftover": 1, "occupancy": -1})
            return
        time_s = self._do("clear", time_s)
        self._note(time_s, "running", {"cleared": 1, "occupancy": -1})

    def _do(self, operation: str, time_s: float, late_s: float = 0.0) -> float:
        slow = 2.6 if self._slow(time_s) else 1.0
        took_s = TYPICAL_MS[operation] / 1e3 * slow * self.slowdown
        took_s *= self.dice.lognormvariate(0, 0.35)
        sent = int(time_s * 1e9)
        outcome = Outcome.OK
        if slow > 1 and self.dice.random() < 0.05:
            outcome = Outcome.TIMEOUT if operation == "reply" else Outcome.SERVICE_ERROR
            if operation == "reply":
                took_s = 8.0
            self._note(time_s, "count", "unmatched_echo")
        arrived = sent + int(took_s * 1e9)
        seen = arrived + int(self.dice.expovariate(1 / 200_000))
        sample = Sample(operation, sent - int(late_s * 1e9), sent, arrived, seen, outcome)
        self._note(arrived / 1e9, "sample", sample)
        return arrived / 1e9

    def _note(self, time_s: float, kind: str, what: Any) -> None:
        self.at[min(math.floor(time_s), self.length_s - 1)].append((kind, what))


def _record(
    directory: Path, start: dict[str, Any], totals: Counter[str], start_s: int, length_s: int
) -> dict[str, Any]:
    measured = read_measurements(directory)

    def times(tag: str) -> dict[str, float | None]:
        histogram = measured.histograms.get(tag)
        if histogram is None:
            return dict.fromkeys((*TIMES, "mean"))
        values_ms = histogram.percentiles_ms(list(TIMES.values()))
        return dict(zip(TIMES, values_ms, strict=True)) | {"mean": histogram.mean_ms}

    reply_p95 = measured.histograms[service_tag("reply")].percentile_ms(95)
    met = reply_p95 is not None and reply_p95 < 2000
    leftover = totals["leftover"]
    verdict = "PASS" if met and not leftover else "FAIL"
    opened, cleared = totals["opened"], totals["cleared"]
    return {
        "schema": 1,
        "run_id": "",
        "verdict": verdict,
        "exit_code": 0 if verdict == "PASS" else 4 if leftover else 3,
        "reasons": [],
        "complete": True,
        "started": utc_iso(start_s * 10**9),
        "ended": utc_iso((start_s + length_s) * 10**9),
        "duration_s": float(length_s),
        "sessions": {
            "intended": totals["intended"],
            "opened": opened,
            "cleared": cleared,
            "ended_by_service": 0,
            "never_configured": 0,
            "settled": 0,
            "leftover": leftover,
            "leftover_reasons": {"cut": leftover} if leftover else {},
        },
        "funnel": {
            "intended": totals["intended"],
            "connected": opened,
            "configured": opened,
            "joined": opened,
            "replied": opened - 1,
            "cleared": cleared,
        },
        "operations": {
            name: {
                "count": sum(outcomes.values()),
                "outcomes": outcomes,
                "service_ms": times(service_tag(name)),
                "corrected_ms": times(corrected_tag(name)),
            }
            for name, outcomes in measured.outcomes.items()
        },
        "arrivals": {
            name: totals[f"arrivals.{name}"] for name in ("due", "started", "late", "dropped")
        },
        "generator": {
            "late_share": 0.001,
            "stood_still_s": 0.12,
            "lag_arrival_ms": times("lag.arrival"),
            "lag_loop_ms": times("lag.loop"),
            "workers": len(measured.workers),
            "workers_lost": 0,
            "cpu_max": 0.41,
            "rss_mb_max": 97.5,
            "arrival_stamps": "kernel",
        },
        "forensics": measured.counts,
        "objectives": [
            {
                "text": "reply p95 < 2s",
                "verdict": "PASS" if met else "FAIL",
                "figure": reply_p95,
                "limit": 2000.0,
                "unit": "ms",
                "margin": None if reply_p95 is None else 1 - reply_p95 / 2000,
            },
            {
                "text": "leftovers == 0",
                "verdict": "FAIL" if leftover else "PASS",
                "figure": float(leftover),
                "limit": 0.0,
                "unit": "count",
                "margin": None,
            },
        ],
        "how": start,
        "sweep": None,
        "audit": None,
    }
