"""One level of a capacity search, judged from its run directory."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from harness.analysis.blocks import Blocks
from harness.analysis.knee import Judged, Standing, judge_level, standing
from harness.errors import ConfigError
from harness.measure.histogram import Histogram
from harness.measure.recorder import corrected_tag, service_tag
from harness.measure.snapshot import HISTOGRAMS, INTERVALS, read_histograms, read_intervals
from harness.report.record import KNOWN, RECORD
from harness.slo.gate import Verdict
from harness.slo.objective import Kind, Objective, Op, Unit, parse_objective

GENERATORS_OWN = ("leftover", "dropped", "late", "workers_lost")
"""Counters that a level judges in their own right and not as objectives."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Level:
    """What a level showed. ``occupancy`` and ``replies_per_s`` are means of the judged time."""

    judged: Judged
    reason: str
    occupancy: float | None
    replies_per_s: float | None
    session_s: float | None
    figures: dict[str, str]
    enough: bool
    """whether every percentile that was asked for has an interval; otherwise hold it longer"""


@dataclass(frozen=True, slots=True)
class Window:
    """The part of a run that is judged, in seconds since the epoch: after the warm-up, before the
    end of arrivals."""

    first_s: float
    last_s: float

    def holds(self, ended_s: float, length_s: float) -> bool:
        """Whether an interval lies inside."""
        return ended_s - length_s >= self.first_s - 0.5 and ended_s <= self.last_s + 0.5


def judge_run(directory: Path, *, warmup_s: float, held: float = 1.0) -> Level:
    """Judge a finished level. Raises ConfigError when its record can't be read."""
    record = _record(directory)
    window = _window(directory, warmup_s)
    objectives = [
        parse_objective(entry["text"], KNOWN, place=directory.name)
        for entry in record.get("objectives", [])
    ]
    verdicts = {entry["text"]: entry["verdict"] for entry in record.get("objectives", [])}
    standings: list[Standing] = []
    figures: dict[str, str] = {}
    broke, enough = "", True
    for objective in objectives:
        if objective.subject in GENERATORS_OWN:
            continue
        found, figure, bounded = _standing(
            objective, verdicts[objective.text], directory, window, held
        )
        enough = enough and bounded
        if found is None:
            continue
        figures[objective.text] = figure
        standings.append(found)
        if found is Standing.MISSED and not broke:
            broke = f"{objective.text}: {figure}"
    leftover = int(record["sessions"].get("leftover", 0))
    if leftover and not broke:
        broke = f"{leftover} sessions left over"
    healthy = record["verdict"] != Verdict.INVALID
    dropped = int((record.get("arrivals") or {}).get("dropped", 0))
    judged = judge_level(
        standings, leftovers_growing=leftover > 0, generator_healthy=healthy, dropped=dropped
    )
    if judged is Judged.INCONCLUSIVE:
        why = "; ".join(record.get("reasons", ())[:1]) if not healthy else f"{dropped} dropped"
        broke = f"the generator was the limit: {why}"
    occupancy, replies_per_s, arrived_per_s = _means(directory, window)
    stay = occupancy / arrived_per_s if occupancy and arrived_per_s else None
    return Level(
        judged=judged,
        reason=broke,
        occupancy=occupancy,
        replies_per_s=replies_per_s,
        session_s=stay,  # Little: occupancy = arrival rate x time in session
        figures=figures,
        enough=enough,
    )


def _record(directory: Path) -> dict[str, Any]:
    path = directory / RECORD
    try:
        found = orjson.loads(path.read_bytes())
    except (OSError, orjson.JSONDecodeError) as error:
        raise ConfigError(f"{path} can't be read: {error}") from error
    if not isinstance(found, dict) or "sessions" not in found:
        raise ConfigError(f"{path} is not the record of a run")
    return found


def _window(directory: Path, warmup_s: float) -> Window:
    running = [
        interval
        for path in directory.glob(INTERVALS.format(worker="*"))
        for interval in read_intervals(path)
        if interval.phase == "running"
    ]
    if not running:
        raise ConfigError(f"{directory.name}: the level never ran")
    first = min(interval.ended_s - interval.length_s for interval in running)
    return Window(first + warmup_s, max(interval.ended_s for interval in running))


def _standing(
    objective: Objective, verdict: str, directory: Path, window: Window, held: float
) -> tuple[Standing | None, str, bool]:
    """How it stands, its figure in words, and whether the figure has an interval."""
    upper = objective.op in (Op.LESS, Op.AT_MOST)
    if objective.unit is not Unit.MS or objective.percent is None or not upper:
        if verdict == Verdict.NO_DATA:
            return None, "", True
        return (Standing.MET if verdict == Verdict.PASS else Standing.MISSED), verdict, True
    kind = objective.kind or Kind.SERVICE
    tag = service_tag if kind is Kind.SERVICE else corrected_tag
    blocks = Blocks(list(_blocks(directory, tag(objective.subject), window)))
    estimate = blocks.estimate(objective.percent)
    if estimate.figure is None:
        return None, "", False
    figure = f"{estimate.figure:,.0f} ms"
    if estimate.low is not None and estimate.high is not None:
        figure += f" ({estimate.low:,.0f} to {estimate.high:,.0f})"
    return standing(estimate, objective.limit, held=held), figure, estimate.enough


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


def _means(directory: Path, window: Window) -> tuple[float | None, float | None, float | None]:
    """Occupancy over all processes, replies and arrivals per second."""
    occupancy = replies = arrivals = 0.0
    spans: dict[str, float] = {}
    for path in directory.glob(INTERVALS.format(worker="*")):
        for interval in read_intervals(path):
            if not window.holds(interval.ended_s, interval.length_s):
                continue
            spans[interval.worker] = spans.get(interval.worker, 0.0) + interval.length_s
            occupancy += interval.sessions.get("occupancy", 0) * interval.length_s
            replies += interval.outcomes.get("reply", {}).get("ok", 0)
            arrivals += interval.arrivals.get("started", 0)
    span = max(spans.values(), default=0.0)
    if not span:
        return None, None, None
    return occupancy / span, replies / span, arrivals / span
