"""How the objectives stand in a part of a run: by the intervals of their figures, where there are
such. Read from the files that the run's processes write, so also while it goes on."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import sqrt
from pathlib import Path

from harness.errors import ConfigError
from harness.judge.gate import Verdict
from harness.judge.objective import Kind, Objective, Op, Unit
from harness.measure.blocks import Blocks
from harness.measure.histogram import Histogram
from harness.measure.model import Outcome
from harness.measure.operations import OPERATIONS
from harness.measure.recorder import corrected_tag, service_tag
from harness.measure.shares import estimate_share
from harness.measure.snapshot import (
    HISTOGRAMS,
    INTERVALS,
    Interval,
    read_histograms,
    read_intervals,
)
from harness.studies.capacity.crossing import Reading, read_share, read_time
from harness.studies.capacity.level_verdict import Standing, standing

GENERATORS_OWN = ("leftover", "dropped", "late", "workers_lost")
"""Counters that a level judges in their own right and not as objectives."""
CONFIDENCE = 0.99
"""Of a level's intervals. A search looks at many levels, and one mistake spoils it."""


@dataclass(frozen=True, slots=True)
class Window:
    """The part of a run that is judged, in seconds since the epoch: after the warm-up, before the
    end of arrivals."""

    first_s: float
    last_s: float

    @property
    def length_s(self) -> float:
        """How long it is; zero while the warm-up lasts."""
        return max(0.0, self.last_s - self.first_s)

    def holds(self, ended_s: float, length_s: float) -> bool:
        """Whether an interval lies inside."""
        return ended_s - length_s >= self.first_s - 0.5 and ended_s <= self.last_s + 0.5


@dataclass(frozen=True, slots=True)
class Found:
    """How an objective stands, its figure in words, whether the figure has an interval, and how far
    it is from the limit where that can be read."""

    standing: Standing
    figure: str
    bounded: bool = True
    reading: Reading | None = None
    of_limit: tuple[float, float, float] | None = None
    """the figure and its interval (low, figure, high) as shares of the limit"""


def read_window(directory: Path, warmup_s: float, *, longest_s: float | None = None) -> Window:
    """The judged part of a run: all of its arrivals after the warm-up, at most ``longest_s``.

    Raises ConfigError when it never ran.
    """
    running = [
        interval
        for path in directory.glob(INTERVALS.format(worker="*"))
        for interval in read_intervals(path)
        if interval.phase == "running"
    ]
    if not running:
        raise ConfigError(f"{directory.name}: the level never ran")
    first = min(interval.ended_s - interval.length_s for interval in running) + warmup_s
    last = max(interval.ended_s for interval in running)
    return Window(first, last if longest_s is None else min(last, first + longest_s))


def read_standings(
    directory: Path,
    objectives: Sequence[Objective],
    window: Window,
    *,
    held: float,
    verdicts: Mapping[str, str],
) -> dict[str, Found]:
    """How each objective stands that can be judged by now, by its text.

    ``verdicts`` are those of the finished run; they decide what has no interval, such as a count.
    """
    found = {}
    for objective in objectives:
        if objective.subject in GENERATORS_OWN:
            continue
        one = _standing(directory, objective, window, held, verdicts.get(objective.text, ""))
        if one is not None:
            found[objective.text] = one
    return found


def intervals_of(directory: Path, window: Window) -> Iterator[Interval]:
    """The intervals of all processes that lie in the window."""
    for path in sorted(directory.glob(INTERVALS.format(worker="*"))):
        for interval in read_intervals(path):
            if window.holds(interval.ended_s, interval.length_s):
                yield interval


def _standing(
    directory: Path, objective: Objective, window: Window, held: float, verdict: str
) -> Found | None:
    if objective.op in (Op.LESS, Op.AT_MOST):
        if objective.unit is Unit.MS and objective.percent is not None:
            return _of_times(directory, objective, objective.percent, window, held)
        if objective.unit is Unit.SHARE and objective.subject in OPERATIONS:
            return _of_outcomes(directory, objective, window, held)
    if verdict in ("", Verdict.NO_DATA):
        return None
    return Found(Standing.MET if verdict == Verdict.PASS else Standing.MISSED, verdict)


def _of_times(
    directory: Path, objective: Objective, percent: float, window: Window, held: float
) -> Found | None:
    kind = objective.kind or Kind.SERVICE
    tag = service_tag if kind is Kind.SERVICE else corrected_tag
    blocks = Blocks(list(_blocks(directory, tag(objective.subject), window)))
    estimate = blocks.estimate(percent, confidence=CONFIDENCE)
    if estimate.figure is None:
        return None
    figure = f"{estimate.figure:,.0f} ms"
    reading = of_limit = None
    if estimate.low is not None and estimate.high is not None:
        figure += f" ({estimate.low:,.0f} to {estimate.high:,.0f})"
        of_limit = _shares(estimate.low, estimate.figure, estimate.high, objective.limit)
    if estimate.error_share and objective.limit:
        # What was stopped early was stopped because of what it showed: it counts for less.
        error = estimate.error_share / sqrt(held)
        reading = read_time(estimate.figure, objective.limit, error)
    stands = standing(estimate, objective.limit, held=held)
    return Found(stands, figure, estimate.enough, reading, of_limit)


def _of_outcomes(
    directory: Path, objective: Objective, window: Window, held: float
) -> Found | None:
    seconds: dict[int, list[int]] = {}
    for interval in intervals_of(directory, window):
        outcomes = interval.outcomes.get(objective.subject, {})
        whole = sum(outcomes.values())
        if objective.figure == "errors":
            bad = whole - outcomes.get(Outcome.OK, 0)
        else:
            bad = outcomes.get(objective.figure, 0)
        block = seconds.setdefault(int(interval.ended_s - interval.length_s), [0, 0])
        block[0] += bad
        block[1] += whole
    share = estimate_share(
        [(bad, whole) for _, (bad, whole) in sorted(seconds.items())], confidence=CONFIDENCE
    )
    if share.figure is None or share.low is None or share.high is None:
        return None
    figure = f"{share.figure:.2%} ({share.low:.2%} to {share.high:.2%})"
    reading = None
    if share.error_share and objective.limit:
        reading = read_share(share.figure, objective.limit, share.error_share / sqrt(held))
    of_limit = _shares(share.low, share.figure, share.high, objective.limit)
    stands = standing(share, objective.limit, held=held)
    return Found(stands, figure, reading=reading, of_limit=of_limit)


def _shares(
    low: float, figure: float, high: float, limit: float
) -> tuple[float, float, float] | None:
    return (low / limit, figure / limit, high / limit) if limit else None


def _blocks(directory: Path, tag: str, window: Window) -> Iterator[Sequence[tuple[float, int]]]:
    """Milliseconds and counts, one block a second over all processes."""
    seconds: dict[int, Histogram] = {}
    for path in directory.glob(HISTOGRAMS.format(worker="*")):
        for line in read_histograms(path):
            if line.tag == tag and window.holds(line.started_s + line.length_s, line.length_s):
                second = seconds.setdefault(int(line.started_s), Histogram())
                second.merge_encoded(line.encoded)
    for second_at in sorted(seconds):
        yield [(value / 1000, count) for value, count in seconds[second_at].buckets_us()]
