"""One level of a capacity search, judged from its run directory, also while it is going on.

An objective is judged by the confidence interval of its figure, if there is one.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from math import inf
from pathlib import Path

from harness.config.run_config import CONNECTIONS
from harness.errors import ConfigError, expect
from harness.judge.gate import Verdict
from harness.judge.objective import Kind, Objective, Op, Unit, parse_objective
from harness.judge.reading import parse_record
from harness.judge.record import DEFAULT_OBJECTIVES
from harness.judge.series import FAILED
from harness.judge.validity import MAX_NOT_OFFERED_SHARE
from harness.measure.histogram import Counted, combined, decoded
from harness.measure.model import OPERATIONS, Outcome, Phase
from harness.measure.recorder import censored_tag, corrected_tag, service_tag
from harness.measure.snapshot import (
    Interval,
    Measurements,
    TaggedHistogram,
    read_histograms,
    read_intervals,
    read_measurements,
)
from harness.measure.statistics import Blocks, Share, estimate_share
from harness.rundir.layout import RunDirectory, read_start
from harness.rundir.schema import RunRecord
from harness.studies.capacity.holding import (
    LEVEL_CONFIDENCE,
    MAX_ERROR_SHARE,
    Change,
    Holding,
    Judged,
    Look,
    ObjectiveState,
    Shown,
    Shows,
    judge_level,
    look,
    nearest,
    scatter,
    show_errors,
    show_figure,
)
from harness.studies.capacity.models import Reading

JUDGED_OPERATIONS = ("connect", "session_open", "delivered", "reply")
"""Operations whose errors make a level missed, even if no objective names them: a service that
sheds load answers the rest faster."""
NEVER_FACTOR = 10.0
"""An answer that never came counts as this many times the limit, or the slowest answer."""
GENERATOR_COUNTERS = ("leftover", "dropped", "late", "workers_lost")
"""Counters about the generator: a level judges them itself, not as objectives of the service."""


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

    def covers(self, ended_s: float, length_s: float) -> bool:
        return ended_s - length_s >= self.first_s - 0.5 and ended_s <= self.last_s + 0.5


@dataclass(frozen=True, slots=True)
class ObjectiveReading:
    """The state of an objective, its figure in words, and whether the figure has an interval."""

    shown: Shown
    figure: str
    bounded: bool = True


class Written:
    """The files that a run's processes have written so far, read once for all its windows."""

    def __init__(self, directory: Path) -> None:
        self._run = RunDirectory(directory)
        self._intervals = [
            interval for path in self._run.all_intervals() for interval in read_intervals(path)
        ]
        self._lines: dict[str, list[TaggedHistogram]] = {}
        self._decoded = cache(lambda text: decoded([text]))

    def window(
        self, warmup_s: float, *, begin_s: float = 0.0, end_s: float | None = None
    ) -> Window:
        """The judged part of a run: all of its arrivals after the warm-up, or a part of them.

        Raises ConfigError if the run never began.
        """
        running = [interval for interval in self._intervals if interval.phase == Phase.RUNNING]
        if not running:
            raise ConfigError(f"{self._run.path.name}: the level never ran")
        first = min(interval.ended_s - interval.length_s for interval in running) + warmup_s
        last = max(interval.ended_s for interval in running)
        return Window(first + begin_s, last if end_s is None else min(last, first + end_s))

    def intervals(self, window: Window) -> Iterator[Interval]:
        """The intervals of all processes that lie in the window."""
        return (one for one in self._intervals if window.covers(one.ended_s, one.length_s))

    def by_second(self, tag: str, window: Window) -> dict[int, Counted]:
        """Second → one of the histograms, over all processes. Raises ConfigError for a bad one."""
        if tag not in self._lines:
            self._lines[tag] = [
                line
                for path in self._run.all_histograms()
                for line in read_histograms(path)
                if line.tag == tag
            ]
        seconds: dict[int, list[Counted]] = defaultdict(list)
        for line in self._lines[tag]:
            if window.covers(line.started_s + line.length_s, line.length_s):
                seconds[int(line.started_s)].append(self._decoded(line.encoded))
        return {second: combined(parts) for second, parts in seconds.items()}


@dataclass(frozen=True, slots=True)
class Part:
    """A part of a run, after so much of its longest time (``progress``, as in ``holding``).

    ``whole`` is all that a finished run has measured: what was begun in the window and failed
    after it, or was still waited for at the end, counts.
    """

    written: Written
    window: Window
    progress: float = 1.0
    whole: Measurements | None = None

    def objective_intervals(
        self, objectives: Sequence[Objective], verdicts: Mapping[str, str]
    ) -> dict[str, ObjectiveReading]:
        """The state of each objective that can be judged now, by the objective's text.

        ``verdicts`` are those of the finished run; they decide objectives without an interval, such
        as counts. Raises ConfigError for a damaged histogram.
        """
        objective_intervals = {
            one.text: self._read(one, verdicts.get(one.text, ""))
            for one in objectives
            if one.subject not in GENERATOR_COUNTERS
        }
        shares = {(one.subject, one.figure) for one in objectives if one.unit is Unit.SHARE}
        for operation in JUDGED_OPERATIONS:
            limited = {figure for subject, figure in shares if subject == operation}
            errors = self._errors_of(operation, limited)
            objective_intervals[f"{operation} errors <= {MAX_ERROR_SHARE:.0%}"] = errors
        return {text: one for text, one in objective_intervals.items() if one is not None}

    def _read(self, objective: Objective, verdict: str) -> ObjectiveReading | None:
        """The state of an objective; None if it is not known yet."""
        nothing: ObjectiveReading | None = None
        if objective.op in (Op.LESS, Op.AT_MOST):
            measured = None
            if objective.unit is Unit.MS and objective.percent is not None:
                measured = self._of_times(objective, objective.percent)
                still = Shown(state=ObjectiveState.CLOSE)
                nothing = ObjectiveReading(still, "nothing was measured", bounded=False)
            elif objective.unit is Unit.SHARE and objective.subject in OPERATIONS:
                measured = self._of_outcomes(objective)
            if measured is not None:
                return measured
        if verdict in ("", Verdict.NO_DATA):
            return nothing
        stands = ObjectiveState.MET if verdict == Verdict.PASS else ObjectiveState.MISSED
        return ObjectiveReading(Shown(state=stands), verdict)

    def _errors_of(self, operation: str, limited: Collection[str]) -> ObjectiveReading | None:
        """The errors of an operation that no objective limits; None if there are none."""
        if "errors" in limited:
            return None
        kinds = [kind for kind in Outcome if kind is not Outcome.OK and kind not in limited]
        share, most = self._share_of(operation, kinds)
        shown = show_errors(share, self.progress)
        if shown is None:
            return None
        how = "refused with 429" if most is Outcome.RATE_LIMITED else str(most).replace("_", " ")
        return ObjectiveReading(shown, _share_text(share, f" {how}"))

    def _of_times(self, objective: Objective, percent: float) -> ObjectiveReading | None:
        """A percentile over all attempts: one that never ended ranks above all that did."""
        kind, operation = objective.kind or Kind.SERVICE, objective.subject
        came, never = self._tried_by_second(operation, corrected=kind is Kind.CORRECTED)
        if cut := self._cut_late(operation):
            never[max(came.keys() | never.keys(), default=0)] += cut
        slowest = max((one.max_ms or 0.0 for one in came.values()), default=0.0)
        beyond = NEVER_FACTOR * max(objective.limit, slowest)
        rows = []
        for second in sorted(came.keys() | never.keys()):
            buckets = came[second].buckets_us() if second in came else ()
            times = [(us / 1000, many) for us, many in buckets]
            rows.append([*times, (beyond, never.get(second, 0))])
        estimate = Blocks(rows).estimate(percent, confidence=LEVEL_CONFIDENCE)
        if estimate.figure is None:
            return None
        figure = f"{estimate.figure:,.0f} ms"
        if estimate.figure == beyond:
            figure = f"more than {100 - percent:.4g} % never came"
        elif estimate.low is not None and estimate.high is not None:
            figure += f" ({estimate.low:,.0f} to {estimate.high:,.0f})"
        else:
            figure += ", too few to tell"
        return ObjectiveReading(
            show_figure(estimate, objective.limit, self.progress), figure, estimate.enough
        )

    def _of_outcomes(self, objective: Objective) -> ObjectiveReading | None:
        errors = [kind for kind in Outcome if kind is not Outcome.OK]
        kinds = errors if objective.figure == "errors" else [Outcome(objective.figure)]
        share, _ = self._share_of(objective.subject, kinds)
        if share.figure is None:
            return None
        return ObjectiveReading(
            show_figure(share, objective.limit, self.progress), _share_text(share)
        )

    def _share_of(self, operation: str, kinds: Collection[Outcome]) -> tuple[Share, Outcome]:
        """The share of some outcomes, by seconds, and the most frequent of them (OK: there is
        none).

        What the end of the run has cut short counts as in a verdict: only if it had waited longer
        than all that came.
        """
        window = self.window if self.whole is None else replace(self.window, last_s=inf)
        seconds: dict[int, list[int]] = {}
        many: Counter[Outcome] = Counter()
        for interval in self.written.intervals(window):
            outcomes = dict(interval.outcomes.get(operation, {}))
            outcomes.pop(Outcome.CUT_SHORT, None)
            bad = {kind: outcomes[kind] for kind in kinds if outcomes.get(kind)}
            many.update(bad)
            block = seconds.setdefault(_second_of(interval), [0, 0])
            block[0] += sum(bad.values())
            block[1] += sum(outcomes.values())
        blocks = [(bad, all_of) for _, (bad, all_of) in sorted(seconds.items())]
        if Outcome.CUT_SHORT in kinds and (cut := self._cut_late(operation)):
            many[Outcome.CUT_SHORT] += cut
            blocks.append((cut, cut))
        most = next((kind for kind, _ in many.most_common(1)), Outcome.OK)
        return estimate_share(blocks, confidence=LEVEL_CONFIDENCE), most

    def _cut_late(self, operation: str) -> int:
        """How many were cut short by the run's end after they had waited longer than the slowest
        answer took."""
        if self.whole is None:
            return 0
        tried = self.whole.tried(operation)
        return tried.cut.count - tried.cut_early

    def _tried_by_second(
        self, operation: str, *, corrected: bool
    ) -> tuple[dict[int, Counted], Counter[int]]:
        """Second → the times of what came, and → how many never did; over all processes."""
        came_tag = (corrected_tag if corrected else service_tag)(operation)
        unknown_tag = censored_tag(operation, corrected=corrected)
        came, never = self.written.by_second(came_tag, self.window), Counter[int]()
        for second, unknown in self.written.by_second(unknown_tag, self.window).items():
            came[second] = came[second].without(unknown)
            never[second] = unknown.count
        for interval in self.written.intervals(self.window):
            outcomes = interval.outcomes.get(operation, {})
            if failed := sum(outcomes.get(kind, 0) for kind in FAILED):
                never[_second_of(interval)] += failed
        return came, never


def _second_of(interval: Interval) -> int:
    return int(interval.ended_s - interval.length_s)


def _share_text(share: Share, how: str = "") -> str:
    return f"{share.figure:.2%}{how} ({share.low:.2%} to {share.high:.2%})"


MAX_MISSING_SHARE = 0.05
"""Share of the guests in session that may be missing; with more, it was not the level asked for."""
MAX_PACED_SHARE = 0.01
"""Share of the guests that may wait for the limit of new connections; with more, our own limit was
the bottleneck."""


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
    """difference between the run's occupancy and its arrivals * time in session, as a share"""
    figures: dict[str, str]
    enough: bool
    """whether every percentile that was asked for has an interval"""
    held_s: float
    """the judged time"""
    reading: Reading | None
    """distance to its limit of the objective that is nearest to it"""
    of_limit: tuple[float, float, float] | None
    """that objective's figure and its interval (low, figure, high) as shares of its limit"""
    nearest: str = ""
    """that objective's text"""
    note: str = ""
    """how the level changed while it was held"""
    unsteady: bool = False
    """whether it still changed when its time was over"""
    wandered: tuple[float, int] = (0.0, 0)
    """how far its parts lie from their mean (``holding.scatter``)"""


def judged_so_far_s(directory: Path, *, warmup_s: float) -> float:
    """How long a level that is still going has been judged so far, in seconds; 0 at first."""
    try:
        return Written(directory).window(warmup_s).length_s
    except ConfigError:
        return 0.0  # its files are not there yet


def look_at(
    directory: Path,
    *,
    warmup_s: float,
    holding: Holding,
    begin_s: float = 0.0,
    end_s: float,
    least_s: float = 0.0,
    suffices: Callable[[Reading], bool] = lambda _: False,
) -> Look:
    """Look at a level that is still going on, by some of its seconds after the warm-up.

    Raises ConfigError if its files can't be read.
    """
    objectives = _parsed(read_start(directory).get("objectives", ()), directory)
    shows = _shows(Written(directory), objectives, warmup_s)
    return look(holding, shows, begin_s, end_s, least_s=least_s, suffices=suffices)


def _shows(written: Written, objectives: Sequence[Objective], warmup_s: float) -> Shows:
    def shows(begin_s: float, end_s: float, progress: float) -> dict[str, Shown]:
        window = written.window(warmup_s, begin_s=begin_s, end_s=end_s)
        objective_intervals = Part(written, window, progress).objective_intervals(objectives, {})
        return {text: one.shown for text, one in objective_intervals.items()}

    return shows


def judge_run(
    directory: Path,
    *,
    warmup_s: float,
    begin_s: float = 0.0,
    end_s: float | None = None,
    longest_s: float | None = None,
    guests: float | None = None,
) -> Level:
    """Judge a finished level by the time after the warm-up, or by a part of it.

    ``longest_s``: how long the level was to be held at most (None: exactly as long as it was).
    ``guests``: how many were to be in session at once, if it was a level of occupancy. Raises
    ConfigError if its record can't be read, or lacks the run's end or its leftovers.
    """
    path = RunDirectory(directory).record
    record = parse_record(path)
    expect(record.verdict is not None, f"{path}: verdict", "the run's verdict", "nothing")
    left = f"{path}: sessions.leftover"
    expect(record.sessions.leftover is not None, left, "how many were left over", "nothing")
    written = Written(directory)
    window = written.window(warmup_s, begin_s=begin_s, end_s=end_s)
    length_s = max(window.length_s, 0.001)
    holding = Holding(hold_s=length_s, longest_s=longest_s or length_s)
    verdicts = {entry.text: entry.verdict for entry in record.objectives}
    objectives = _parsed(verdicts or DEFAULT_OBJECTIVES, directory)
    progress = min(1.0, length_s / holding.longest_s)
    whole = read_measurements(directory)
    objective_intervals = Part(written, window, progress, whole).objective_intervals(
        objectives, verdicts
    )
    objective_intervals |= _missed_with_figure(record, objective_intervals)
    shows = _shows(written, objectives, warmup_s)
    seen = look(holding, shows, begin_s, begin_s + length_s)
    occupancy, replies_per_s, arrived_per_s = _means(written, window)
    judged, reason = _judge(
        record, objective_intervals, _own_limit(written, window, occupancy, guests)
    )
    session_s = occupancy / arrived_per_s if occupancy and arrived_per_s else None
    shown = {text: one.shown for text, one in objective_intervals.items()}
    of_limit = {text: one.of_limit for text, one in shown.items() if one.of_limit is not None}
    first = max(of_limit, key=lambda text: of_limit[text][1], default="")
    unsteady = seen.change is not Change.STEADY and not seen.clear
    note = f"got better while it was held: its first {begin_s:,.0f} s don't count" * (begin_s > 0)
    if unsteady:
        note = f"was still getting {seen.change} when its time was over"
    return Level(
        judged=judged,
        reason=reason,
        occupancy=occupancy,
        arrivals_per_s=arrived_per_s,
        replies_per_s=replies_per_s,
        session_s=session_s,  # Little: occupancy = arrival rate x time in session
        little_off=record.little.off if record.little else None,
        figures={text: one.figure for text, one in objective_intervals.items()},
        enough=all(one.bounded for one in objective_intervals.values()),
        held_s=round(window.length_s, 1),
        reading=nearest(shown),
        of_limit=of_limit.get(first),
        nearest=first,
        note=note,
        unsteady=unsteady,
        wandered=scatter(shows, begin_s, begin_s + length_s),
    )


def _missed_with_figure(
    record: RunRecord, objective_intervals: Mapping[str, ObjectiveReading]
) -> dict[str, ObjectiveReading]:
    """Objectives that only the run has judged, as missed: with the run's figure.

    Where its interval includes the limit, the samples are too few to decide.
    """
    readings = {}
    for entry in record.objectives:
        one = objective_intervals.get(entry.text)
        if one is None or one.figure != Verdict.FAIL or entry.figure is None:
            continue
        objective = parse_objective(entry.text)
        share = objective.unit is Unit.SHARE
        known = [value for value in (entry.figure, entry.low, entry.high) if value is not None]
        figure, *bounds = (f"{value:.2%}" if share else f"{value:,.4g}" for value in known)
        upper = objective.op in (Op.LESS, Op.AT_MOST)
        if upper and entry.low is not None and entry.low <= objective.limit:
            words = f"{figure} ({' to '.join(bounds)})"
            readings[entry.text] = ObjectiveReading(Shown(state=ObjectiveState.CLOSE), words)
        else:
            readings[entry.text] = replace(one, figure=figure)
    return readings


def _own_limit(
    written: Written, window: Window, occupancy: float | None, guests: float | None
) -> str:
    """Why the level did not have the wanted load; empty where it had.

    What could not be started after the window, while the run was being ended, does not count.
    """
    arrivals: Counter[str] = Counter()
    paced = 0
    for interval in written.intervals(window):
        arrivals.update(interval.arrivals)
        paced += interval.counts.get("paced_connects", 0)
    late, started = arrivals["late"], arrivals["started"]
    if dropped := arrivals["dropped"]:
        return f"{dropped} arrivals dropped"
    if late > MAX_NOT_OFFERED_SHARE * started:
        return f"{late} of {started} arrivals late"
    if paced > MAX_PACED_SHARE * started:
        return (
            f"{paced} guests waited for the limit of new connections that the harness keeps "
            f"({CONNECTIONS.variable})"
        )
    if guests is not None and (occupancy or 0.0) < guests * (1 - MAX_MISSING_SHARE):
        return f"{occupancy or 0.0:,.1f} of {guests:,.0f} guests were in session"
    return ""


def _judge(
    record: RunRecord, objective_intervals: Mapping[str, ObjectiveReading], own_limit: str
) -> tuple[Judged, str]:
    missed = [
        (text, one)
        for text, one in objective_intervals.items()
        if one.shown.state is ObjectiveState.MISSED
    ]
    # What was measured in the level's own window says more than the verdict of the whole run.
    missed.sort(key=lambda entry: entry[1].shown.of_limit is None)
    broke = next((f"{text}: {one.figure}" for text, one in missed), "")
    leftover = record.sessions.leftover or 0
    if leftover and not broke:
        broke = f"{leftover:,} session{'' if leftover == 1 else 's'} left over"
    # Whether the load was held back has been asked in the level's own window.
    reasons = record.invalid_because or record.reasons
    besides = [why for why in reasons if why not in record.not_offered]
    healthy = record.verdict != Verdict.INVALID or not besides
    judged = judge_level(
        [one.shown.state for one in objective_intervals.values()],
        leftovers_growing=leftover > 0,
        generator_healthy=healthy,
        held_back=bool(own_limit),
        enough=any(
            one.bounded
            for one in objective_intervals.values()
            if one.shown.state is ObjectiveState.CLOSE
        ),
    )
    if judged is Judged.INCONCLUSIVE:
        why = "; ".join(besides[:1]) if not healthy else own_limit or "nothing was measured"
        broke = f"the generator was the limit: {why}"
    elif judged in (Judged.CLOSE, Judged.TOO_FEW):
        broke = next(
            f"{text}: {one.figure}"
            for text, one in objective_intervals.items()
            if one.shown.state is ObjectiveState.CLOSE
        )
    return judged, broke


def _parsed(texts: Iterable[str], directory: Path) -> list[Objective]:
    return [parse_objective(text, place=directory.name) for text in texts]


def _means(written: Written, window: Window) -> tuple[float | None, float | None, float | None]:
    """Occupancy over all processes, replies and arrivals per second."""
    occupancy = replies = arrivals = 0.0
    spans: dict[str, float] = {}
    for interval in written.intervals(window):
        spans[interval.worker] = spans.get(interval.worker, 0.0) + interval.length_s
        occupancy += interval.sessions.get("occupancy", 0) * interval.length_s
        replies += interval.outcomes.get("reply", {}).get("ok", 0)
        arrivals += interval.arrivals.get("started", 0)
    span = max(spans.values(), default=0.0)
    if not span:
        return None, None, None
    return occupancy / span, replies / span, arrivals / span
