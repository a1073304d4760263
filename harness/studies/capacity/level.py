"""One level of a capacity search, judged from its run directory.

How the objectives stand in a part of a run: by the intervals of their figures, where there are
such. Read from the files that the run's processes write, so also while it goes on.
"""

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import sqrt
from pathlib import Path
from typing import Any

import orjson

from harness.config.run_config import CONNECTIONS
from harness.errors import ConfigError
from harness.judge.gate import Verdict
from harness.judge.objective import Kind, Objective, Op, Unit, parse_objective
from harness.judge.record import DEFAULT_OBJECTIVES, KNOWN
from harness.measure.histogram import Histogram
from harness.measure.model import OPERATIONS, Outcome, Phase
from harness.measure.recorder import corrected_tag, service_tag
from harness.measure.snapshot import Interval, read_histograms, read_intervals
from harness.measure.statistics import Blocks, Share, estimate_share
from harness.rundir.layout import RunDirectory, read_start
from harness.studies.capacity.models import Reading, read_share, read_time
from harness.studies.capacity.search import Judged, Standing, judge_level, standing

ERRORS_OF = ("connect", "session_open", "delivered", "reply")
"""Operations whose errors make a level missed, also where no objective names them: a service that
sheds load answers the rest all the faster."""
MOST_ERRORS = 0.01
"""Of each of them. Where an objective limits an operation's errors, that limit counts instead."""
HARDLY_ANY = MOST_ERRORS / 4
"""A share below it is not looked at: that it is certainly small was not asked of the search."""
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
        for path in RunDirectory(directory).all_intervals()
        for interval in read_intervals(path)
        if interval.phase == Phase.RUNNING
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
    for operation in ERRORS_OF:
        errors = _errors_of(directory, operation, objectives, window, held)
        if errors is not None:
            found[f"{operation} errors <= {MOST_ERRORS:.0%}"] = errors
    return found


def intervals_of(directory: Path, window: Window) -> Iterator[Interval]:
    """The intervals of all processes that lie in the window."""
    for path in RunDirectory(directory).all_intervals():
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
    errors = [kind for kind in Outcome if kind is not Outcome.OK]
    kinds = errors if objective.figure == "errors" else [Outcome(objective.figure)]
    share, _ = _share_of(directory, objective.subject, kinds, window)
    if share.figure is None or share.low is None or share.high is None:
        return None
    figure = f"{share.figure:.2%} ({share.low:.2%} to {share.high:.2%})"
    reading = None
    if share.error_share and objective.limit:
        reading = read_share(share.figure, objective.limit, share.error_share / sqrt(held))
    of_limit = _shares(share.low, share.figure, share.high, objective.limit)
    stands = standing(share, objective.limit, held=held)
    return Found(stands, figure, reading=reading, of_limit=of_limit)


def _errors_of(
    directory: Path, operation: str, objectives: Sequence[Objective], window: Window, held: float
) -> Found | None:
    """The errors of an operation that no objective limits; None where there are hardly any."""
    limited = {
        one.figure for one in objectives if one.subject == operation and one.unit is Unit.SHARE
    }
    if "errors" in limited:
        return None
    # What the end of the run has cut short is nobody's error.
    kinds = [
        kind
        for kind in Outcome
        if kind not in (Outcome.OK, Outcome.CUT_SHORT) and kind not in limited
    ]
    share, most = _share_of(directory, operation, kinds, window)
    if share.figure is None or share.low is None or share.high is None:
        return None
    if share.figure <= HARDLY_ANY:
        return None
    stands = standing(share, MOST_ERRORS, held=held)
    if stands is Standing.CLOSE and share.figure <= MOST_ERRORS:
        stands = Standing.MET
    how = "refused with 429" if most is Outcome.RATE_LIMITED else str(most).replace("_", " ")
    figure = f"{share.figure:.2%} {how} ({share.low:.2%} to {share.high:.2%})"
    reading = None
    if share.error_share:
        reading = read_share(share.figure, MOST_ERRORS, share.error_share / sqrt(held))
    of_limit = _shares(share.low, share.figure, share.high, MOST_ERRORS)
    return Found(stands, figure, reading=reading, of_limit=of_limit)


def _share_of(
    directory: Path, operation: str, kinds: Collection[Outcome], window: Window
) -> tuple[Share, Outcome]:
    """The share of some outcomes, by seconds, and the most frequent of them (OK: there is none)."""
    seconds: dict[int, list[int]] = {}
    many: Counter[Outcome] = Counter()
    for interval in intervals_of(directory, window):
        outcomes = interval.outcomes.get(operation, {})
        bad = {kind: outcomes[kind] for kind in kinds if outcomes.get(kind)}
        many.update(bad)
        block = seconds.setdefault(int(interval.ended_s - interval.length_s), [0, 0])
        block[0] += sum(bad.values())
        block[1] += sum(outcomes.values())
    blocks = [(bad, whole) for _, (bad, whole) in sorted(seconds.items())]
    most = many.most_common(1)
    return estimate_share(blocks, confidence=CONFIDENCE), most[0][0] if most else Outcome.OK


def _shares(
    low: float, figure: float, high: float, limit: float
) -> tuple[float, float, float] | None:
    return (low / limit, figure / limit, high / limit) if limit else None


def _blocks(directory: Path, tag: str, window: Window) -> Iterator[Sequence[tuple[float, int]]]:
    """Milliseconds and counts, one block a second over all processes."""
    seconds: dict[int, Histogram] = {}
    for path in RunDirectory(directory).all_histograms():
        for line in read_histograms(path):
            if line.tag == tag and window.holds(line.started_s + line.length_s, line.length_s):
                second = seconds.setdefault(int(line.started_s), Histogram())
                second.merge_encoded(line.encoded)
    for second_at in sorted(seconds):
        yield [(value / 1000, count) for value, count in seconds[second_at].buckets_us()]


MISSING = 0.05
"""Of the guests that were to be in session: more, and the level was not the one asked for."""
PACED = 0.01
"""Of the guests: when more had to wait for the limit of new connections, we were the limit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Level:
    """What a level showed; occupancy and figures per second are means of the judged time."""

    judged: Judged
    reason: str
    occupancy: float | None
    arrivals_per_s: float | None
    replies_per_s: float | None
    session_s: float | None
    little_off: float | None
    """by which share the run's occupancy and its arrivals * time in session differ"""
    figures: dict[str, str]
    enough: bool
    """whether every percentile that was asked for has an interval"""
    held_s: float
    """the judged time"""
    reading: Reading | None
    """how far the objective that is nearest to breaking is from its limit"""
    of_limit: tuple[float, float, float] | None
    """that objective's figure and its interval (low, figure, high) as shares of its limit"""
    nearest: str = ""
    """and that objective"""


@dataclass(frozen=True, slots=True)
class Look:
    """What a level that is still going shows: whether it is clear, and how far from the limit."""

    clear: bool
    reading: Reading | None


def held_for(directory: Path, *, warmup_s: float) -> float:
    """How long a level that is still going has been judged so far, in seconds; 0 at first."""
    try:
        return read_window(directory, warmup_s).length_s
    except ConfigError:
        return 0.0  # its files are not there yet


def look_at(directory: Path, *, warmup_s: float, judged_s: float, longest_s: float) -> Look:
    """A level that is still going, by its first ``judged_s`` seconds after the warm-up.

    Raises ConfigError when its files can't be read.
    """
    window = read_window(directory, warmup_s, longest_s=judged_s)
    objectives = _parsed(read_start(directory).get("objectives", ()), directory)
    held = _held(window, longest_s)
    found = read_standings(directory, objectives, window, held=held, verdicts={})
    said = {one.standing for one in found.values()}
    clear = Standing.MISSED in said or said == {Standing.MET}
    return Look(clear, _nearest(found))


def judge_run(
    directory: Path,
    *,
    warmup_s: float,
    judged_s: float | None = None,
    longest_s: float | None = None,
    guests: float | None = None,
) -> Level:
    """Judge a finished level by its first ``judged_s`` seconds after the warm-up (or all of it).

    It was to be held for ``longest_s`` at most, or for exactly as long as it was; ``guests`` were
    to be in session at once, where it was a level of occupancy. Raises ConfigError when its record
    can't be read.
    """
    record = _record(directory)
    window = read_window(directory, warmup_s, longest_s=judged_s)
    entries = record.get("objectives") or [{"text": text} for text in DEFAULT_OBJECTIVES]
    held = 1.0 if longest_s is None else _held(window, longest_s)
    found = read_standings(
        directory,
        _parsed([entry["text"] for entry in entries], directory),
        window,
        held=held,
        verdicts={entry["text"]: entry.get("verdict", "") for entry in entries},
    )
    occupancy, replies_per_s, arrived_per_s = _means(directory, window)
    judged, reason = _judge(record, found, _own_limit(directory, window, occupancy, guests))
    stay = occupancy / arrived_per_s if occupancy and arrived_per_s else None
    nearest = max(
        (text for text, one in found.items() if one.of_limit is not None),
        key=lambda text: (found[text].of_limit or (0, 0, 0))[1],
        default="",
    )
    return Level(
        judged=judged,
        reason=reason,
        occupancy=occupancy,
        arrivals_per_s=arrived_per_s,
        replies_per_s=replies_per_s,
        session_s=stay,  # Little: occupancy = arrival rate x time in session
        little_off=(record.get("little") or {}).get("off"),
        figures={text: one.figure for text, one in found.items()},
        enough=all(one.bounded for one in found.values()),
        held_s=round(window.length_s, 1),
        reading=_nearest(found),
        of_limit=found[nearest].of_limit if nearest else None,
        nearest=nearest,
    )


def _nearest(found: Mapping[str, Found]) -> Reading | None:
    readings = [one.reading for one in found.values() if one.reading is not None]
    return max(readings, key=lambda reading: reading.value, default=None)


def _held(window: Window, longest_s: float) -> float:
    return min(1.0, max(window.length_s, 0.001) / longest_s)


def _own_limit(
    directory: Path, window: Window, occupancy: float | None, guests: float | None
) -> str:
    """What kept us from putting the load on that was asked for; empty when nothing did.

    What could not be started after the window, while the run was being ended, does not count.
    """
    dropped = started = paced = 0
    for interval in intervals_of(directory, window):
        dropped += interval.arrivals.get("dropped", 0)
        started += interval.arrivals.get("started", 0)
        paced += interval.counts.get("paced_connects", 0)
    if dropped:
        return f"{dropped} arrivals dropped"
    if paced > PACED * started:
        return (
            f"{paced} guests waited for the limit of new connections that the harness keeps "
            f"({CONNECTIONS.variable})"
        )
    if guests is not None and (occupancy or 0.0) < guests * (1 - MISSING):
        return f"{occupancy or 0.0:,.1f} of {guests:,.0f} guests were in session"
    return ""


def _judge(
    record: Mapping[str, Any], found: Mapping[str, Found], own_limit: str
) -> tuple[Judged, str]:
    missed = [(text, one) for text, one in found.items() if one.standing is Standing.MISSED]
    # What has a figure says more than a bare FAIL.
    missed.sort(key=lambda entry: entry[1].of_limit is None)
    broke = next((f"{text}: {one.figure}" for text, one in missed), "")
    leftover = int(record["sessions"].get("leftover", 0))
    if leftover and not broke:
        broke = f"{leftover} sessions left over"
    # Whether the load was held back has been asked in the level's own window.
    reasons = record.get("invalid_because") or record.get("reasons", ())
    besides = [why for why in reasons if why not in record.get("not_offered", ())]
    healthy = record["verdict"] != Verdict.INVALID or not besides
    judged = judge_level(
        [one.standing for one in found.values()],
        leftovers_growing=leftover > 0,
        generator_healthy=healthy,
        held_back=bool(own_limit),
        enough=any(one.bounded for one in found.values() if one.standing is Standing.CLOSE),
    )
    if judged is Judged.INCONCLUSIVE:
        why = "; ".join(besides[:1]) if not healthy else own_limit or "nothing was measured"
        broke = f"the generator was the limit: {why}"
    elif judged in (Judged.CLOSE, Judged.TOO_FEW):
        broke = next(
            f"{text}: {one.figure}" for text, one in found.items() if one.standing is Standing.CLOSE
        )
    return judged, broke


def _record(directory: Path) -> dict[str, Any]:
    path = RunDirectory(directory).record
    try:
        found = orjson.loads(path.read_bytes())
    except (OSError, orjson.JSONDecodeError) as error:
        raise ConfigError(f"{path} can't be read: {error}") from error
    if not isinstance(found, dict) or "sessions" not in found:
        raise ConfigError(f"{path} is not the record of a run")
    return found


def _parsed(texts: Any, directory: Path) -> list[Objective]:
    return [parse_objective(text, KNOWN, place=directory.name) for text in texts]


def _means(directory: Path, window: Window) -> tuple[float | None, float | None, float | None]:
    """Occupancy over all processes, replies and arrivals per second."""
    occupancy = replies = arrivals = 0.0
    spans: dict[str, float] = {}
    for interval in intervals_of(directory, window):
        spans[interval.worker] = spans.get(interval.worker, 0.0) + interval.length_s
        occupancy += interval.sessions.get("occupancy", 0) * interval.length_s
        replies += interval.outcomes.get("reply", {}).get("ok", 0)
        arrivals += interval.arrivals.get("started", 0)
    span = max(spans.values(), default=0.0)
    if not span:
        return None, None, None
    return occupancy / span, replies / span, arrivals / span
