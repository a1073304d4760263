"""Does a capacity search find a planted limit, on the real simulator with real guests?

Twenty seeded services whose limit is known by a closed form (Erlang B) or by a simulation of its
own: several numbers of workers and distributions of service time, workers that hinder each other,
scarce memory, a hard limit answered with 429. ``harness capacity`` searches each from an eighth of
its nominal rate. Two more with scarce memory are searched by occupancy; one adds workers when it is
overloaded, at each level anew. Beside the answer stands what a stair of the same resolution would
have cost: levels a step apart from the same start until the limit, each held for the longest time.

Run it by hand; what has been searched already is not searched again::

    python tests/benchmarks/searches.py --out /tmp/searches --at-once 2

A simulator that wakes late is a slower service than the one that was planted. On a machine with
other work ``--real-time`` (as root, on Linux) lets simulators and guests go before everything else.
"""

import argparse
import contextlib
import heapq
import json
import os
import shlex
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import count
from math import ceil, exp, log, log1p, sqrt
from pathlib import Path
from random import Random

import psutil
from scipy.optimize import brentq

from harness.studies.queueing import erlang_b

TOP = 200.0
"""Replies a second that workers alone could give at the very most."""
QUESTIONS = 4
"""Of each guest, a second apart."""
WARM_S, HOLD_S, LONGEST_S = 6, 8, 128
SCALES_AFTER_S = 12
RESOLUTION = 0.08
DRAWN = 400_000

ONE_QUESTION = """
from locust import task
from harness.load import ArrivalShape, GuestUser, over, poisson, rate, slots_for, steady

class Visits(ArrivalShape):
    arrivals = poisson(steady(per_second=rate("1/s"), over=over("1m")))
    slots = slots_for(rate("1/s"), "4s")

class Visitor(GuestUser):
    @task
    def ask(self):
        with self.guest() as guest:
            guest.say("Are you open on Sunday?")
            guest.await_reply(within="10s")
"""
FOUR_QUESTIONS = f"""
from locust import task
from harness.load import ArrivalShape, GuestUser, over, poisson, rate, slots_for, steady

class Visits(ArrivalShape):
    arrivals = poisson(steady(per_second=rate("1/s"), over=over("1m")))
    slots = slots_for(rate("1/s"), "8s")

class Visitor(GuestUser):
    think_time = "uniform(800ms, 1200ms)"

    @task
    def ask(self):
        with self.guest() as guest:
            for number in range({QUESTIONS}):
                guest.say("Is this question number " + str(number) + "?")
                guest.await_reply(within="10s")
                guest.think()
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A service and an objective. ``knee`` is its limit by ``source``: in guests per second, or at
    once where it is searched by occupancy."""

    name: str
    profile: str
    objective: str
    nominal: float
    """a load near the limit, from which the search's start and ceiling follow"""
    knee: Callable[[], float]
    source: str
    story: str = FOUR_QUESTIONS
    by: str = "rate"
    settle_s: int = 0
    """for as long the service may get used to a load"""


Serve = Callable[[float, int], float]
"""(when a text comes, guests present) → when its answer is ready"""
Service = Callable[[Random], Serve]


def cases() -> Iterator[Case]:
    """Twenty by arrival rate, two by occupancy, one that scales; figures by seeds of their own."""
    for number in range(8):
        workers, within = (3, 4, 6, 8)[number % 4], (4.5, 7.0)
        yield queue(Random(number), workers, "exponential", 1.0, within)
    for number in range(8, 11):
        yield queue(Random(number), (3, 4, 8)[number - 8], "constant", 0.0, (2.0, 3.5))
    for number in range(11, 14):
        yield queue(Random(number), (3, 4, 8)[number - 11], "lognormal", 1.0, (4.0, 6.0))
    for number in range(14, 16):
        yield hindered(Random(number), (6, 10)[number - 14])
    for number in range(16, 18):
        yield forgetful(Random(number))
    for number in range(18, 20):
        yield limited(Random(number), (40, 60)[number - 18])
    for number in range(20, 22):
        yield crowded(Random(number))
    yield scaling(Random(22))


def scaling(rng: Random) -> Case:
    """Three times as many workers, once answers have had to wait for long enough."""
    case = queue(rng, 12, "exponential", 1.0, (4.5, 7.0))
    few = f"workers = 4\nmore_workers = 8\nmore_after_s = {SCALES_AFTER_S}\n"
    profile = case.profile.replace("workers = 12\n", few)
    return replace(case, name="4 to 12 workers", profile=profile, settle_s=4 * SCALES_AFTER_S)


def queue(
    rng: Random, workers: int, shape: str, variation: float, within: tuple[float, float]
) -> Case:
    """Workers with one queue and service times of a named distribution."""
    service_s = workers / TOP
    limit_ms = round(service_s * rng.uniform(*within) * 1000)
    tail = f",{variation:g}" if shape == "lognormal" else ""

    def service(draws: Random) -> Serve:
        free, sigma = [0.0] * workers, sqrt(log1p(variation**2))

        def serve(now: float, _: int) -> float:
            if shape == "exponential":
                took = draws.expovariate(1.0)
            else:
                took = exp(draws.gauss(0.0, 1.0) * sigma - sigma**2 / 2)
            end = max(now, heapq.heappop(free)) + took * service_s
            heapq.heappush(free, end)
            return end

        return serve

    return Case(
        name=f"{workers} {shape}",
        profile=_bot(workers, f"{shape}:{service_s * 1000:g}ms{tail}"),
        objective=f"reply p95 < {limit_ms}ms",
        nominal=TOP / QUESTIONS,
        knee=lambda: _crossing(service, 95, limit_ms / 1000, TOP / QUESTIONS),
        source="simulation",
    )


def hindered(rng: Random, workers: int) -> Case:
    """Workers with contention and coherency penalties (Universal Scalability Law)."""
    contention, coherency, service_s = 0.02, 0.01, 0.025
    top = workers / service_s / (1 + (workers - 1) * (contention + coherency * workers)) / QUESTIONS
    limit_ms = round(service_s * workers / 4 * rng.uniform(4.0, 6.0) * 1000)

    def service(draws: Random) -> Serve:
        ends: list[float] = []
        last = 0.0

        def serve(now: float, _: int) -> float:
            nonlocal last
            start = max(last, now)
            while ends and ends[0] <= start:
                heapq.heappop(ends)
            if len(ends) == workers:
                start = heapq.heappop(ends)
            last = start
            busy = len(ends) + 1
            slower = 1 + contention * (busy - 1) + coherency * busy * (busy - 1)
            end = start + draws.expovariate(1.0) * service_s * slower
            heapq.heappush(ends, end)
            return end

        return serve

    extra = f"contention = {contention}\ncoherency = {coherency}\n"
    return Case(
        name=f"{workers} hindered",
        profile=_bot(workers, f"exponential:{service_s * 1000:g}ms", extra),
        objective=f"reply p95 < {limit_ms}ms",
        nominal=top,
        knee=lambda: _crossing(service, 95, limit_ms / 1000, top),
        source="simulation",
    )


def forgetful(rng: Random) -> Case:
    """A service that slows down in proportion once more sessions are open than fit in memory."""
    fits = rng.randrange(60, 100)
    answer_s, limit_ms = 0.1, rng.randrange(115, 140)

    def service(_: Random) -> Serve:
        return lambda now, present: now + answer_s * max(1.0, present / fits)

    nominal = fits * limit_ms / 1000 / answer_s / (QUESTIONS * (1 + limit_ms / 1000))
    return Case(
        name=f"memory for {fits}",
        profile=f'[bot]\ntime = "{answer_s * 1000:g}ms"\nmemory_sessions = {fits}\n',
        objective=f"reply p90 < {limit_ms}ms",
        nominal=nominal,
        knee=lambda: _crossing(service, 90, limit_ms / 1000, nominal * 2),
        source="simulation",
    )


def crowded(rng: Random) -> Case:
    """As many guests as there are meet scarce memory: each answer takes as much longer."""
    fits, answer_s = rng.randrange(40, 80), 0.2
    limit_ms = rng.randrange(230, 280)
    knee = fits * limit_ms / 1000 / answer_s
    return Case(
        name=f"memory for {fits}",
        profile=f'[bot]\ntime = "{answer_s * 1000:g}ms"\nmemory_sessions = {fits}\n',
        objective=f"reply p90 < {limit_ms}ms",
        nominal=knee,
        knee=lambda: knee,
        source="proportion",
        by="occupancy",
    )


def limited(rng: Random, texts: int) -> Case:
    """A sliding window that lets so many texts a second through: lost as in M/D/c/c (Erlang B)."""
    share = rng.choice((0.01, 0.02, 0.03))
    return Case(
        name=f"429 above {texts}/s",
        profile=f'[bot]\ntime = "20ms"\n[limits]\nbase = "off"\ntexts_per_second = {texts}\n',
        objective=f"delivered rate_limited < {share:.0%}",
        nominal=float(texts),
        knee=lambda: float(brentq(lambda rate: erlang_b(rate, texts) - share, 1, texts * 2)),
        source="Erlang B",
        story=ONE_QUESTION,
    )


def _bot(workers: int, time: str, extra: str = "") -> str:
    return f'[bot]\ntime = "{time}"\nworkers = {workers}\n{extra}'


def replies(serve: Serve, draws: Random, rate: float) -> Iterator[float]:
    """Times to the replies, with guests who come at random and ask with a second in between."""
    order = count()
    events = [(draws.expovariate(1.0) / rate, next(order), 0)]
    present = 0
    while True:
        now, _, step = heapq.heappop(events)
        if step == 0:  # a guest comes, and so will another
            present += 1
            heapq.heappush(events, (now + draws.expovariate(1.0) / rate, next(order), 0))
        if step == QUESTIONS:
            present -= 1
            continue
        ready = serve(now, present)
        heapq.heappush(events, (ready + draws.uniform(0.8, 1.2), next(order), step + 1))
        yield ready - now


def _crossing(service: Service, percent: float, limit_s: float, top: float) -> float:
    """The rate at which the percentile meets the limit; the same draws at every rate."""
    low, high = log(top / 4), log(top)
    for _ in range(9):
        middle = (low + high) / 2
        drawn = replies(service(Random(2)), Random(1), exp(middle))
        above = sum(next(drawn) > limit_s for _ in range(DRAWN))
        if above > DRAWN * (1 - percent / 100):
            high = middle
        else:
            low = middle
    return exp((low + high) / 2)


def search(number: int, case: Case, out: Path, behind: list[str]) -> dict:
    """Search one, or read what an earlier search found."""
    folder = out / f"case-{number:02}"
    kept = folder / "found.json"
    if kept.is_file():
        return json.loads(kept.read_text())
    folder.mkdir(parents=True, exist_ok=True)
    knee = case.knee()
    start, highest = case.nominal / 8, case.nominal * 4
    texts = [f"{start:.4f}/s", f"{highest:.4f}/s"]
    if case.by == "occupancy":
        texts = [f"{start:.0f}", f"{highest:.0f}"]
    (folder / "story.py").write_text(case.story)
    (folder / "twin.toml").write_text(f"seed = {number}\n{case.profile}")
    begun = sorted(folder.glob("capacity-*/search.json"))
    if begun:
        words = ["--resume", str(begun[-1].parent)]
    else:
        words = [
            str(folder / "story.py"), "--sim-profile", str(folder / "twin.toml"),
            "--objective", case.objective, "--by", case.by, "--start", texts[0],
            "--highest", texts[1], "--hold", f"{HOLD_S}s",
            "--longest", f"{LONGEST_S}s", "--warm-up", f"{WARM_S}s", "--seed", str(number * 1000),
            "--resolution", str(RESOLUTION), "--reports", str(folder),
        ]  # fmt: skip
        words += ["--settle", f"{case.settle_s}s"] if case.settle_s else []
    done = subprocess.run(
        [*behind, sys.executable, "-m", "harness", "capacity", *words, "--json"],
        capture_output=True,
        text=True,
        check=False,
    )
    if not done.stdout:
        return {"name": case.name, "failed": done.stderr.strip()[-200:]}
    found = json.loads(done.stdout)
    scale = 60 if case.by == "rate" else 1
    step = RESOLUTION * knee
    stair = (ceil((knee - start) / step) + 1) * (WARM_S + LONGEST_S) / 60
    row = {
        "name": case.name,
        "objective": case.objective,
        "source": case.source,
        "unit": "/s" if case.by == "rate" else " at once",
        "knee": knee,
        "found": found["found"],
        "low": found["low"] / scale,
        "high": (found["high"] or 0) / scale,
        "centre": (found["centre"] or 0) / scale,
        "levels": len(found["levels"]),
        "minutes": found["minutes"],
        "stair_minutes": stair,
    }
    kept.write_text(json.dumps(row, indent=1))
    return row


def show(number: int, row: dict) -> tuple[bool, bool]:
    """One line; whether the limit is inside, and whether the centre is within 5 %."""
    if "failed" in row:
        print(f"{number:>2}  {row['name']:<16} failed: {row['failed']}", flush=True)
        return False, False
    inside = row["low"] <= row["knee"] <= row["high"]
    off = row["centre"] / row["knee"] - 1
    print(
        f"{number:>2}  {row['name']:<16} {row['objective']:<30} {row['source']:<10} "
        f"{row['knee']:>6.2f}{row.get('unit', '/s')}  {row['low']:>6.2f} to {row['high']:>6.2f}  "
        f"{'inside ' if inside else 'OUTSIDE'} centre {off:+6.1%}  {row['levels']:>2} levels "
        f"{row['minutes']:>5.1f} min = {row['minutes'] / row['stair_minutes']:.0%} of a stair",
        flush=True,
    )
    return inside, abs(off) <= 0.05


def go_first(pid: int) -> None:
    """Give simulators and load processes below ``pid`` real-time priority, until the process ends.

    Not before they are three seconds old: as they start they would hold up all others.
    """
    seen: set[int] = set()
    while True:
        for process in psutil.Process(pid).children(recursive=True):
            with contextlib.suppress(psutil.Error, ProcessLookupError):
                if process.pid in seen or time.time() - process.create_time() < 3:
                    continue
                words = process.cmdline()
                priority = 6 if "simulate" in words else 5 if "harness.load" in words else None
                if priority is not None:
                    os.sched_setscheduler(process.pid, os.SCHED_FIFO, os.sched_param(priority))
                seen.add(process.pid)
        time.sleep(0.5)


def main() -> int:
    """Search all that are asked for; 0 when the targets are met."""
    parser = argparse.ArgumentParser(description="Capacity searches for planted limits.")
    parser.add_argument("--out", type=Path, required=True, help="folder of the searches")
    parser.add_argument("--at-once", type=int, default=2, metavar="N")
    parser.add_argument("--only", default="", help="numbers of cases, as 3,7,12")
    parser.add_argument("--behind", default="", help="a command to put before each search's")
    parser.add_argument("--truth", action="store_true", help="only print the planted limits")
    parser.add_argument(
        "--real-time", action="store_true", help="give simulators and guests real-time priority"
    )
    options = parser.parse_args()
    if options.real_time:
        try:
            os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
            os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
        except (AttributeError, PermissionError):
            parser.error("--real-time needs root on Linux")
        threading.Thread(target=go_first, args=(os.getpid(),), daemon=True).start()
    wanted = [int(text) for text in options.only.split(",") if text]
    chosen = [(n, case) for n, case in enumerate(cases()) if not wanted or n in wanted]
    if options.truth:
        for number, case in chosen:
            print(
                f"{number:>2}  {case.name:<16} {case.objective:<30} {case.knee():.3f} ({case.by})"
            )
        return 0
    os.environ.pop("HARNESS_ARRIVALS", None)
    inside = near = 0
    spent = stair = 0.0
    with ThreadPoolExecutor(options.at_once) as pool:
        behind = shlex.split(options.behind)
        pending = [(n, pool.submit(search, n, case, options.out, behind)) for n, case in chosen]
        for number, future in pending:
            row = future.result()
            lies, close = show(number, row)
            inside, near = inside + lies, near + close
            spent += row.get("minutes", 0.0)
            stair += row.get("stair_minutes", 0.0)
    share = spent / stair if stair else 1.0
    many = len(chosen)
    print(f"inside the interval {inside} of {many}, centre within 5 % {near} of {many}")
    print(f"minutes of load {spent:.0f}, of stairs {stair:.0f}: {share:.0%}")
    return 0 if min(inside, near) >= 0.9 * many and share <= 0.4 else 1


if __name__ == "__main__":
    sys.exit(main())
