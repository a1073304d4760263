"""Simulated services for the decisions of a capacity search: no network, a second or so a search.

Each is a queue whose speed changes as planted, so the limit is known at every moment. A search
looks at it with the code that decides in a real one: how long a level is held, what it shows, which
level comes next, what the answer is. Time is the search's own: warm-up, level, drain.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from math import exp, log
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.signal import lfilter
from scipy.stats import norm, poisson

from harness.measure.statistics import BLOCKS, Blocks, estimate_share
from harness.studies.capacity.holding import (
    LEVEL_CONFIDENCE,
    Change,
    Holding,
    Judged,
    Shown,
    Shows,
    judge_level,
    look,
    scatter,
    show_errors,
    show_figure,
)
from harness.studies.capacity.models import Reading
from harness.studies.capacity.search import (
    Answer,
    AnswerKind,
    SearchPlan,
    TriedLevel,
    answer,
    is_again,
    next_rate,
)

Floats = NDArray[np.float64]
SERVED = 20.0
"""Replies a second that the service gives at a speed of 1."""
STEP = 0.03
"""Of the logarithm of times: how finely they are counted."""
WARM_S, DRAIN_S, TIMEOUT_S = 15.0, 10.0, 10.0
HOLDING = Holding(hold_s=60.0, longest_s=960.0, settle_s=180.0)
PLAN = SearchPlan(start=SERVED / 8, highest=SERVED * 8, max_levels=16, again=True)
"""Both as ``harness capacity`` has them, unless asked otherwise."""
LONGEST_SEARCH_S = 60_000
BUSY = 0.45
"""Share of the service from which on machines are added."""
KINDS = (
    "steady",
    "noise 5 %, memory 300 s",
    "noise 10 %, memory 300 s",
    "slower by 20 % an hour",
    "day pattern of ±15 %",
    "autoscaling x3 after 30 to 120 s, at each level",
    "autoscaling x3 after 30 to 120 s, kept",
    "load shedding",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Level:
    """Of each text: when its answer came (or was given up), how long it took, whether it failed;
    in seconds since the end of the warm-up."""

    at_s: Floats
    took_s: Floats
    failed: NDArray[np.bool_]


class Service(Protocol):
    """What a search looks at."""

    limit_s: float
    """of its p95"""

    def level(self, load: float, from_s: float, length_s: float) -> Level:
        """Held for so long after the warm-up, at a moment of the search."""
        ...

    def truth(self, at_s: float) -> float:
        """The limit in texts a second, at a moment of the search."""
        ...


@dataclass(kw_only=True)
class Queue:
    """One worker, whose speed is planted for every second of the search."""

    rng: np.random.Generator
    limit_s: float
    speed: Floats
    spread: float = 0.0
    """of the logarithm of a speed that wanders; then the truth is what holding for ever shows"""
    scales: float = 1.0
    """by what it gets faster once it has been busy"""
    keeps: bool = False
    """what was added, until the end of the search"""
    scaled: bool = field(default=False, init=False)

    def level(self, load: float, from_s: float, length_s: float) -> Level:
        rng, whole_s = self.rng, WARM_S + length_s
        came = np.sort(rng.uniform(0, whole_s, rng.poisson(load * whole_s)))
        speed = self.speed[(from_s + came).astype(int)]
        if self.scales > 1 and load > BUSY * SERVED:
            after_s = 0.0 if self.scaled else rng.uniform(30, 120)
            speed = np.where(came > after_s, speed * self.scales, speed)
            self.scaled = self.keeps
        work = rng.exponential(1.0, came.size) / (SERVED * speed)
        done = np.cumsum(work)
        took = done + np.maximum.accumulate(came - (done - work)) - came
        failed = took > TIMEOUT_S
        took = np.minimum(took, TIMEOUT_S)
        return Level(at_s=came + took - WARM_S, took_s=took, failed=failed)

    def truth(self, at_s: float) -> float:
        if self.spread:
            return _limit_in_noise(self.limit_s, self.spread)
        return limit_of(self.limit_s, float(self.speed[int(at_s)]) * self.scales)


@dataclass(kw_only=True)
class Shedding:
    """It takes so many texts a second, refuses the rest, and answers fast."""

    rng: np.random.Generator
    takes: int
    limit_s: float = 0.5

    def level(self, load: float, from_s: float, length_s: float) -> Level:  # noqa: ARG002
        rng, whole_s = self.rng, WARM_S + length_s
        came = np.sort(rng.uniform(0, whole_s, rng.poisson(load * whole_s)))
        second = came.astype(int)
        failed = np.arange(came.size) - np.searchsorted(second, second) >= self.takes
        took = np.where(failed, 0.005, rng.exponential(0.05, came.size))
        return Level(at_s=came + took - WARM_S, took_s=took, failed=failed)

    def truth(self, at_s: float) -> float:  # noqa: ARG002
        more = np.arange(self.takes, self.takes + 200)

        def off(load: float) -> float:
            refused = ((more - self.takes) * poisson.pmf(more, load)).sum()
            return float(refused) / load - 0.01

        return float(brentq(off, 0.1, self.takes * 2))


def limit_of(limit_s: float, speed: float = 1.0) -> float:
    """Where the p95 of M/M/1 meets the limit: times have the mean 1 / (served - load)."""
    return SERVED * speed + log(0.05) / limit_s


def _limit_in_noise(limit_s: float, spread: float) -> float:
    speeds = np.exp(spread * norm.ppf((np.arange(2000) + 0.5) / 2000))

    def off(load: float) -> float:
        return float(np.exp(-np.maximum(SERVED * speeds - load, 0.0) * limit_s).mean()) - 0.05

    return float(brentq(off, 0.0, SERVED * 2))


def make(kind: str, seed: int) -> Service:
    """A service of one of ``KINDS``; its limit and all its draws follow from the seed."""
    rng = np.random.default_rng([seed, *kind.encode()])
    limit_s = rng.uniform(6.0, 12.0) / SERVED
    at_s = np.arange(LONGEST_SEARCH_S)
    queue = Queue(rng=rng, limit_s=limit_s, speed=np.ones(LONGEST_SEARCH_S))
    word = kind.partition(" ")[0]
    if word == "noise":
        spread = float(kind.split()[1]) / 100
        return replace(queue, spread=spread, speed=_wandering(rng, spread, memory_s=300.0))
    if word == "slower":
        return replace(queue, speed=np.maximum(1 - 0.2 * at_s / 3600, 0.05))
    if word == "day":
        phase = rng.uniform(0, 2 * np.pi)
        return replace(queue, speed=1 + 0.15 * np.sin(2 * np.pi * at_s / 86400 + phase))
    if word == "autoscaling":
        return replace(queue, scales=3.0, keeps=kind.endswith("kept"))
    if word == "load":
        return Shedding(rng=rng, takes=int(rng.integers(6, 15)))
    return queue


def _wandering(rng: np.random.Generator, spread: float, memory_s: float) -> Floats:
    """exp of AR(1) noise, second by second."""
    alike = exp(-1 / memory_s)
    noise = rng.normal(0.0, spread * (1 - alike**2) ** 0.5, LONGEST_SEARCH_S)
    noise[0] = rng.normal(0.0, spread)
    found: Floats = np.exp(lfilter([1.0], [1.0, -alike], noise))
    return found


def shows_of(level: Level, limit_s: float) -> Shows:
    """How p95 and the errors stand in a part of a level."""
    bins = np.round(np.log(np.maximum(level.took_s / limit_s, 1e-2)) / STEP).astype(int)
    least = int(bins.min(initial=0))
    bins -= least
    width = int(bins.max(initial=0)) + 1
    values = (limit_s * np.exp((np.arange(width) + least) * STEP)).tolist()

    def shows(begin_s: float, end_s: float, held: float) -> Mapping[str, Shown]:
        inside = (level.at_s >= begin_s) & (level.at_s < end_s)
        place = ((level.at_s[inside] - begin_s) / (end_s - begin_s) * BLOCKS).astype(int)
        table = np.bincount(place * width + bins[inside], minlength=BLOCKS * width)
        rows = [
            [(values[at], int(row[at])) for at in np.flatnonzero(row)]
            for row in table.reshape(BLOCKS, width)
        ]
        found = {}
        times = Blocks(rows).estimate(95, confidence=LEVEL_CONFIDENCE)
        if times.figure is not None:
            found["reply p95"] = show_figure(times, limit_s, held)
        bad = np.bincount(place[level.failed[inside]], minlength=BLOCKS).tolist()
        whole = np.bincount(place, minlength=BLOCKS).tolist()
        share = estimate_share(list(zip(bad, whole, strict=True)), confidence=LEVEL_CONFIDENCE)
        errors = show_errors(share, held)
        if errors is not None:
            found["reply errors <= 1%"] = errors
        return found

    return shows


@dataclass(frozen=True, slots=True, kw_only=True)
class Searched:
    """A search that has ended: its answer, its levels, the seconds that it took."""

    answer: Answer
    tried: list[TriedLevel]
    took_s: float


def search(service: Service, *, plan: SearchPlan = PLAN, holding: Holding = HOLDING) -> Searched:
    """Search a service as ``harness capacity`` does."""
    tried: list[TriedLevel] = []
    held_s: list[float] = []
    now_s = 0.0
    while (load := next_rate(plan, tried)) is not None:
        again = is_again(plan, tried)
        least_s = max(
            (
                holding.again_s(length_s, one.judged)
                for one, length_s in zip(tried, held_s, strict=True)
                if again and one.rate == load
            ),
            default=0.0,
        )
        level, begin_s, end_s = _hold(service, load, now_s, plan, holding, tried, again, least_s)
        tried.append(level)
        held_s.append(end_s - begin_s)
        now_s += WARM_S + end_s + DRAIN_S
    return Searched(answer=answer(plan, tried), tried=tried, took_s=now_s)


def _hold(
    service: Service,
    load: float,
    now_s: float,
    plan: SearchPlan,
    holding: Holding,
    tried: list[TriedLevel],
    again: bool,
    least_s: float,
) -> tuple[TriedLevel, float, float]:
    shows = shows_of(service.level(load, now_s, holding.whole_s), service.limit_s)
    new = replace(plan, again=False)

    def suffices(reading: Reading) -> bool:
        so_far = TriedLevel(rate=load, judged=Judged.CLOSE, reading=reading)
        return again or answer(new, [*tried, so_far]).kind is AnswerKind.KNEE

    begin_s, end_s = 0.0, holding.hold_s
    while True:
        seen = look(holding, shows, begin_s, end_s, least_s=least_s, suffices=suffices)
        if seen.next_s is None:
            break
        begin_s, end_s = seen.begin_s, seen.next_s
    shown = shows(begin_s, end_s, min(1.0, (end_s - begin_s) / holding.longest_s))
    judged = judge_level(
        [one.state for one in shown.values()],
        leftovers_growing=False,
        generator_healthy=True,
        held_back=False,
        enough=any(one.of_limit is not None for one in shown.values()),
    )
    level = TriedLevel(
        rate=load,
        judged=judged,
        minutes=(WARM_S + end_s) / 60,
        reading=seen.reading,
        again=again,
        unsteady=seen.change is not Change.STEADY and not seen.clear,
        wandered=scatter(shows, begin_s, end_s),
    )
    return level, begin_s, end_s


def mean_truth(service: Service, took_s: float) -> float:
    """The limit over the hours of a search: what its answer is held against."""
    return float(np.mean([service.truth(at_s) for at_s in np.linspace(0, took_s, 20)]))
