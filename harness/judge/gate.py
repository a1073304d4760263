"""The gate: judge objectives by the figures of a run, and decide whether a missed one stops it.

Figures are a mapping shaped like ``run.json``. Nothing is assumed: a figure that is missing, empty
or not a number gives NO_DATA; an objective without measurements can fail but never pass.
"""

from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from math import isfinite
from typing import Any

from harness.judge.objective import (
    GENERATOR_LAG,
    Kind,
    Objective,
    Op,
    Unit,
    amount_text,
)
from harness.measure.model import COUNTERS, GROUPS, Outcome, Section
from harness.measure.statistics import (
    FEWEST_OF_A_SHARE,
    rank_bounds,
    samples_needed,
    samples_to_decide,
    share_bounds,
)
from harness.units import duration_text

Figures = Mapping[str, Any]
Time = tuple[float | None, bool, bool]
"""Milliseconds (None if nothing was recorded); whether they are only a lower bound; whether the
figure depends on what was cut short by the run's end."""
Percentile = Callable[[str, Kind, float], Time]
"""(operation, kind, percent 0-100) → the time, as far as it is known."""

BY_ITSELF = "had ended by itself"
ENDED = {
    "guests": (("served", "failed"), "guest", BY_ITSELF),
    "stories": (("finished", "broken_off"), "story", BY_ITSELF),
    "questions": (("asked",), "question", "was asked"),
}
"""For each group: the whole of its shares, one member, and the verb for "no member …"."""
WITHIN_CHANCE = "met, but within chance"
MOST_AMBIGUOUS = 0.05
"""With a larger share of ambiguous answers the time of the answers is unknown."""


class Verdict(StrEnum):
    """The verdict on an objective or a run."""

    PASS = "PASS"
    FAIL = "FAIL"
    NO_DATA = "NO_DATA"
    INVALID = "INVALID"


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """One objective, and how the run met it.

    ``margin`` is the distance to the limit in the objective's unit, negative if it is missed;
    ``margin_share`` is the same as a share of the limit, None if the limit is zero.
    """

    objective: Objective
    verdict: Verdict
    figure: float | None
    margin: float | None = None
    margin_share: float | None = None
    note: str = ""
    lower_bound: bool = False
    """the true figure is higher: its rank lies among the answers that never came"""
    low: float | None = None
    high: float | None = None
    """lower and upper bound of the true figure, each at 95 %; None if there is no bound"""
    within_chance: bool = False
    """the objective is met, but the true figure may miss it"""
    more_samples: int | None = None
    """about how many more samples would decide; None if unknown"""

    def text(self) -> str:
        """One line: verdict, objective, figure, margin."""
        unit = self.objective.unit
        if self.figure is None:
            return f"{self.verdict}  {self.objective.text}  {self.note}"
        shown = ("> " if self.lower_bound else "") + amount_text(self.figure, unit)
        margin = ""
        if self.margin is not None and self.objective.op is not Op.EQUAL:
            side = "left" if self.margin >= 0 else "over"
            margin = f", {amount_text(abs(self.margin), unit)} {side}"
        if between := interval_text(self.low, self.high, lambda one: amount_text(one, unit)):
            shown = f"{shown} ({between})"
        note = f" ({self.note})" if self.note else ""
        return f"{self.verdict}  {self.objective.text}  was {shown}{margin}{note}"

    def as_dict(self) -> dict[str, Any]:
        """Its form in ``run.json``."""
        return {
            "text": self.objective.text,
            "verdict": str(self.verdict),
            "figure": self.figure,
            "limit": self.objective.limit,
            "unit": str(self.objective.unit),
            "margin": self.margin_share,
            "note": self.note,
            "lower_bound": self.lower_bound,
            "low": self.low,
            "high": self.high,
            "within_chance": self.within_chance,
            "more_samples": self.more_samples,
        }


def interval_text(low: float | None, high: float | None, written: Callable[[float], str]) -> str:
    """Where the true figure lies: ``up to 3%``, ``2.7s to 3.4s``; empty if unknown.

    ``written`` turns an amount into text.
    """
    if high is None:
        return f"{written(low)} or more" if low else ""
    return f"{written(low)} to {written(high)}" if low else f"up to {written(high)}"


def chance_text(more_samples: int | None) -> str:
    """The sentence for an objective that is met within chance."""
    more = "" if more_samples is None else f": about {more_samples:,} more samples would decide"
    return f"{WITHIN_CHANCE}{more}"


@dataclass(frozen=True, slots=True, kw_only=True)
class GateResult:
    """The run's verdict and its grounds. ``reasons`` say why it is INVALID."""

    verdict: Verdict
    judgements: tuple[Judgement, ...]
    reasons: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """The number of cases behind a figure, and its bounds, computed on demand."""

    size: int
    needed: int
    bounds: Callable[[], tuple[float | None, float | None]]
    """lower and upper bound of the true figure, each at 95 %; None if there is no bound"""
    more: Callable[[float, bool], int | None]
    """how many more cases would show that the figure is below a limit, or (False) above it, if the
    figure does not change"""
    known: bool = True
    """whether the cases themselves are available"""


@dataclass(frozen=True, slots=True)
class _Measured:
    """A figure, or None with the reason; ``certain`` if missing data can't have improved it."""

    figure: float | None
    note: str = ""
    certain: bool = True
    lower_bound: bool = False
    doubt: str = ""
    """why the objective can't be judged, unless it is missed for certain"""
    sample: Sample | None = None
    """the cases behind the figure, if it comes from a sample"""


def judge(
    objectives: Sequence[Objective],
    figures: Figures,
    *,
    percentile: Percentile,
    invalid: Sequence[str] = (),
    unfinished: bool = False,
    confident: bool = False,
) -> GateResult:
    """Judge a run. ``invalid`` are the caller's reasons why its figures can't be trusted.

    While the run is ``unfinished``, a count that can still grow to its limit is NO_DATA. With
    ``confident``, an objective that is met only within chance is NO_DATA too.

    INVALID outweighs FAIL, and FAIL outweighs NO_DATA. A run without objectives passes if anything
    was measured.
    """
    judgements = tuple(
        judge_one(item, figures, percentile=percentile, unfinished=unfinished, confident=confident)
        for item in objectives
    )
    operations = _section(figures, "operations")
    measured = any(_number(_section(operations, name).get("count")) for name in operations)
    verdicts = {judgement.verdict for judgement in judgements}
    if invalid:
        verdict = Verdict.INVALID
    elif Verdict.FAIL in verdicts:
        verdict = Verdict.FAIL
    elif Verdict.NO_DATA in verdicts or not (objectives or measured):
        verdict = Verdict.NO_DATA
    else:
        verdict = Verdict.PASS
    return GateResult(verdict=verdict, judgements=judgements, reasons=tuple(invalid))


def judge_one(
    objective: Objective,
    figures: Figures,
    *,
    percentile: Percentile,
    unfinished: bool = False,
    confident: bool = False,
) -> Judgement:
    """One objective on its own; ``unfinished`` and ``confident`` as in :func:`judge`."""
    if objective.figure == "value":
        measured = _counter(objective, figures)
    elif objective.subject == GENERATOR_LAG:
        measured = _generator_lag(objective, figures)
    elif objective.subject in ENDED:
        measured = _of_group(objective, figures, unfinished=unfinished)
    else:
        measured = _operation(objective, figures, percentile)
    if measured.figure is None:
        note = measured.doubt or measured.note
        return Judgement(objective=objective, verdict=Verdict.NO_DATA, figure=None, note=note)
    verdict, note = _verdict(objective, measured)
    if unfinished and verdict is Verdict.FAIL and _can_grow(objective, measured.figure):
        verdict, note = Verdict.NO_DATA, "not known before the end"
    low = high = more = None
    within_chance = False
    if measured.sample is not None and not measured.lower_bound and not measured.doubt:
        low, high = measured.sample.bounds()
        verdict, note = _few(objective, measured.sample, verdict, note, low, high)
        sure = measured.sample.known
        if sure and verdict is Verdict.PASS and _within_chance(objective, low, high):
            below = objective.op in (Op.LESS, Op.AT_MOST)
            within_chance, more = True, measured.sample.more(objective.limit, below)
            if confident and not objective.by_default:
                verdict, note = Verdict.NO_DATA, chance_text(more)
    margin = None if measured.lower_bound or measured.doubt else _margin(objective, measured.figure)
    return Judgement(
        low=low,
        high=high,
        within_chance=within_chance,
        more_samples=more,
        objective=objective,
        verdict=verdict,
        figure=measured.figure,
        margin=margin,
        margin_share=margin / objective.limit if objective.limit and margin is not None else None,
        note=note,
        lower_bound=measured.lower_bound,
    )


def _verdict(objective: Objective, measured: _Measured) -> tuple[Verdict, str]:
    assert measured.figure is not None
    holds = objective.op.holds(measured.figure, objective.limit)
    upper = objective.op in (Op.LESS, Op.AT_MOST, Op.EQUAL)
    if measured.lower_bound:
        if upper and holds and measured.doubt:
            return Verdict.NO_DATA, measured.doubt  # it may have come within the limit
        if upper:
            return Verdict.FAIL, measured.note  # an answer that never came misses any limit
        return (Verdict.PASS if holds else Verdict.NO_DATA), measured.note
    if measured.doubt and (holds or objective.unit is Unit.MS):
        return Verdict.NO_DATA, measured.doubt
    if holds and not measured.certain:
        return Verdict.NO_DATA, measured.note
    return (Verdict.PASS if holds else Verdict.FAIL), measured.note


def _few(
    objective: Objective,
    sample: Sample,
    verdict: Verdict,
    note: str,
    low: float | None,
    high: float | None,
) -> tuple[Verdict, str]:
    """With too few samples the verdict is NO_DATA, unless even they show a missed objective."""
    missing = sample.needed - sample.size
    if missing <= 0:
        return verdict, note
    too_few = f"{sample.size:,} samples, {missing:,} more {'is' if missing == 1 else 'are'} needed"
    if objective.by_default and verdict is Verdict.PASS:
        return verdict, too_few
    upper = objective.op in (Op.LESS, Op.AT_MOST, Op.EQUAL)
    bound = low if upper else high
    missed = bound is not None and not objective.op.holds(bound, objective.limit)
    return (verdict, note) if missed and verdict is Verdict.FAIL else (Verdict.NO_DATA, too_few)


def _within_chance(objective: Objective, low: float | None, high: float | None) -> bool:
    """Whether the true figure may miss an objective that the measured one meets."""
    if objective.op is Op.EQUAL:
        return False  # the objective is about the measured cases only
    bound = high if objective.op in (Op.LESS, Op.AT_MOST) else low
    return bound is None or not objective.op.holds(bound, objective.limit)


def _can_grow(objective: Objective, figure: float) -> bool:
    """Whether a count can still meet its objective while the run goes on."""
    more = objective.op in (Op.MORE, Op.AT_LEAST, Op.EQUAL) and figure <= objective.limit
    return objective.unit is Unit.COUNT and more


def _margin(objective: Objective, figure: float) -> float:
    if objective.op in (Op.LESS, Op.AT_MOST):
        return objective.limit - figure
    if objective.op in (Op.MORE, Op.AT_LEAST):
        return figure - objective.limit
    return -abs(figure - objective.limit)


def _operation(objective: Objective, figures: Figures, percentile: Percentile) -> _Measured:
    name = objective.subject
    entry = _section(_section(figures, "operations"), name)
    read = {word: _number(value) for word, value in _section(entry, "outcomes").items()}
    if None in read.values():
        return _Measured(None, f"the outcomes of {name} are not all numbers")
    outcomes = {word: number or 0.0 for word, number in read.items()}
    ended, early = sum(outcomes.values()), _amount(entry, "cut_early")
    attempts = max(_amount(entry, "count"), ended)
    if attempts <= 0:
        nothing = f"no {name} was measured"
        if objective.figure == "count":
            return _Measured(0.0, nothing, certain=False)
        return _Measured(None, nothing)
    if objective.figure == "count":
        return _Measured(attempts)
    doubt = _doubt(name, entry, figures, outcomes.get("ok", 0.0))
    if objective.unit is Unit.MS:
        return _time(objective, entry, figures, percentile, outcomes, doubt)
    if ended <= 0:
        return _Measured(None, f"the outcomes of {name} are not in the record")
    # Operations that were cut short early say nothing: they are left out of part and whole.
    whole = ended if objective.figure == Outcome.CUT_SHORT else ended - early
    if objective.figure == "errors":
        amount = whole - outcomes.get("ok", 0.0)
    else:
        amount = outcomes.get(objective.figure, 0.0)
    if whole <= 0:
        return _Measured(None, f"each {name} was cut short by the end of the run")
    if objective.unit is not Unit.SHARE:
        return _Measured(amount, doubt=doubt)
    return _Measured(amount / whole, doubt=doubt, sample=_of_share(amount, whole))


def _doubt(name: str, entry: Figures, figures: Figures, answers: float) -> str:
    """Why the answers of an operation can't be matched; empty if they can."""
    ambiguous = _amount(entry, "ambiguous")
    if name in ("reply", "turn"):
        reason = _section(figures, "questions").get("doubtful_because")
        if reason:
            return str(reason)
    if ambiguous > answers * MOST_AMBIGUOUS:
        return (
            f"{ambiguous:,.0f} of {answers:,.0f} answers are ambiguous "
            f"(more than {MOST_AMBIGUOUS:.0%})"
        )
    return ""


def _time(
    objective: Objective,
    entry: Figures,
    figures: Figures,
    percentile: Percentile,
    outcomes: Mapping[str, float],
    doubt: str,
) -> _Measured:
    name, kind = objective.subject, objective.kind or Kind.SERVICE
    if kind is Kind.CORRECTED and figures.get("workload") == "closed":
        return _Measured(
            None, "a closed workload has no schedule that a time could be corrected by"
        )
    nothing = f"no {kind} time of {name} was measured"
    if _amount(entry, "count") <= 0:
        return _Measured(None, nothing)
    times, key = _section(entry, f"{kind}_ms"), _key(objective)
    value = _number(times.get(key))
    lower_bound, unsure = (key in (times.get(flag) or ()) for flag in ("lower_bounds", "unsure"))
    if value is None:
        percent = 100.0 if objective.percent is None else objective.percent
        value_ms, lower_bound, unsure = percentile(name, kind, percent)
        value = _number(value_ms)
    if value is None:
        return _Measured(None, nothing, doubt=doubt)
    cut = outcomes.get(Outcome.CUT_SHORT, 0.0)
    waited = f"{cut:,.0f} were still waited for when the run ended"
    if lower_bound and not (unsure and doubt):
        late = unsure and cut > _amount(entry, "cut_early")
        never = _never(entry, outcomes, kind)
        return _Measured(value, never, lower_bound=True, doubt=waited if late else "")
    if unsure and not doubt:
        doubt = waited
    whole = _amount(entry, "count") - _amount(entry, "ambiguous") - _amount(entry, "cut_early")
    return _Measured(value, doubt=doubt, sample=_of_times(objective, whole, percentile))


def _never(entry: Figures, outcomes: Mapping[str, float], kind: Kind) -> str:
    """How many answers never came, and their outcomes."""
    early = _amount(entry, "cut_early")
    ended = sum(outcomes.values()) - early
    late = {**outcomes, Outcome.CUT_SHORT: outcomes.get(Outcome.CUT_SHORT, 0.0) - early}
    failed = {name: number for name, number in late.items() if name != "ok" and number}
    dropped = _amount(entry, "never_started")
    if dropped and kind is Kind.CORRECTED:
        failed["dropped"] = dropped
        ended += dropped
    shown = ", ".join(f"{name} {number:,.0f}" for name, number in failed.items())
    never = sum(failed.values())
    share = never / ended if ended else 0.0
    return f"{never:,.0f} of {ended:,.0f} ({share:.1%}) never came: {shown}"


def _of_group(objective: Objective, figures: Figures, *, unfinished: bool) -> _Measured:
    """A count of guests, stories or questions with one kind of end."""
    section = _section(figures, objective.subject)
    value = _number(section.get(objective.figure))
    whole_of, one, did = ENDED[objective.subject]
    parts = [_number(section.get(name)) for name in whole_of]
    if value is None or None in parts:
        return _Measured(None, f"{objective.subject} {objective.figure} is not in the record")
    whole = sum(part or 0.0 for part in parts)
    questions = objective.subject == "questions"
    cut = _amount(section, "cut_short" if questions else "cut")
    if questions and objective.figure in ("asked", "answered", "cut_short"):
        cut = 0.0  # all of them count: no answer has come to these
    note = f"{cut:,.0f} more were cut short by the end of the run" if cut else ""
    if questions:
        whole -= cut
        did = BY_ITSELF if cut else did
    elif objective.figure not in ("failed", "broken_off"):
        whole += cut
    doubt = "" if unfinished else _no_known_end(objective, section, value, whole)
    if whole <= 0:
        nothing = "; ".join(part for part in (f"no {one} {did}", note, doubt) if part)
        return _Measured(None, nothing)
    if objective.unit is not Unit.SHARE:
        return _Measured(value, note, doubt=doubt)
    return _Measured(value / whole, note, doubt=doubt, sample=_of_share(value, whole))


def _no_known_end(objective: Objective, section: Figures, value: float, whole: float) -> str:
    """A sentence about those that were lost with their process, if they could change the verdict.

    Any number of them may have ended in the way that the objective counts.
    """
    began, *ends = GROUPS[objective.subject]
    if objective.subject == "questions":  # of theirs, not each class is a way to end
        unknown = _amount(section, "open")
    else:
        unknown = _amount(section, began) - sum(_amount(section, name) for name in ends)
    if unknown <= 0 or objective.figure == began:
        return ""
    of = whole + unknown if objective.unit is Unit.SHARE else 1.0
    extremes = (value / of, (value + unknown) / of)
    if len({objective.op.holds(extreme, objective.limit) for extreme in extremes}) == 1:
        return ""
    return f"the end of {unknown:,.0f} more is unknown"


def _key(objective: Objective) -> str:
    """The figure's key in the run record: ``max``, ``p95``, ``p99_9``."""
    if objective.percent is None:
        return "max"
    return f"p{objective.percent:g}".replace(".", "_")


def _of_share(hits: float, whole: float) -> Sample:
    """The sample of a share: ``hits`` cases of ``whole``."""
    many = round(whole)
    return Sample(
        size=many,
        needed=FEWEST_OF_A_SHARE,
        bounds=lambda: share_bounds(round(hits), many),
        more=lambda limit, below: samples_to_decide(round(hits), many, limit, below=below),
    )


def _of_times(objective: Objective, whole: float, percentile: Percentile) -> Sample | None:
    """The sample of a percentile of ``whole`` times; None if the highest time counts."""
    percent, size, kind = objective.percent, round(whole), objective.kind or Kind.SERVICE
    if percent is None or size <= 0:
        return None

    def at(rank: int | None) -> float | None:
        if rank is None:
            return None
        value_ms, lower_bound, _ = percentile(objective.subject, kind, 100 * (rank - 0.5) / size)
        return None if lower_bound else value_ms

    def slower(limit: float) -> int:
        """How many times are not within the limit."""

        def is_slower(rank: int) -> bool:
            value = at(rank)
            return value is None or value > limit

        return size - bisect_left(range(1, size + 1), True, key=is_slower)

    share = 1 - percent / 100
    ranks = rank_bounds(percent, size)
    slowest, never, _ = percentile(objective.subject, kind, 100.0)
    return Sample(
        size=size,
        needed=samples_needed(percent),
        known=slowest is not None or never,
        bounds=lambda: (at(ranks[0]), at(ranks[1])),
        more=lambda limit, below: samples_to_decide(slower(limit), size, share, below=below),
    )


def _generator_lag(objective: Objective, figures: Figures) -> _Measured:
    times = _section(_section(figures, "generator"), "lag_loop_ms")
    value = _number(times.get(_key(objective)))
    kept = ", ".join(str(name) for name in times) or "nothing"
    return _Measured(value, "" if value is not None else f"the record keeps of it: {kept}")


def _counter(objective: Objective, figures: Figures) -> _Measured:
    name = objective.subject
    known = COUNTERS.get(name)
    value = None if known is None else _number(_section(figures, known.section).get(name))
    if known is None or value is None:
        return _Measured(None, f"{name} is not in the record")
    sessions = _section(figures, "sessions")
    opened = _amount(sessions, "opened")
    doubt = ""
    if opened <= 0:
        doubt = "no session was opened"
    elif known.section is Section.SESSIONS and sessions.get("may_lack"):
        doubt = "there may be sessions that no ledger here lists"
    if objective.unit is not Unit.SHARE:
        return _Measured(value, doubt, certain=not doubt)
    if opened <= 0:
        return _Measured(None, doubt)
    return _Measured(value / opened, doubt, certain=not doubt)


def _section(mapping: Figures, name: str) -> Figures:
    inner = mapping.get(name)
    return inner if isinstance(inner, Mapping) else {}


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if isfinite(value) and value >= 0 else None


def _amount(section: Figures, name: str) -> float:
    """A number of a section; zero if there is none."""
    return _number(section.get(name)) or 0.0


MissedSince = Mapping[Objective, float]
"""For each missed objective: since when (seconds of the run) it has been missed without a break."""


def consider_abort(
    missed_since_s: MissedSince, judgements: Sequence[Judgement], *, now_s: float
) -> tuple[MissedSince, tuple[str, ...]]:
    """Since when each objective is missed, and why the run should be stopped now (empty: go on).

    ``now_s`` counts from the run's start and never goes back. Only objectives with
    ``abort_on_fail`` count, only after their grace, and only if they were missed at every check
    during their delay: one check that is met, or has no data, starts the delay again.
    """
    since: dict[Objective, float] = {}
    reasons = []
    for judgement in judgements:
        objective = judgement.objective
        if not objective.abort_on_fail or judgement.verdict is not Verdict.FAIL:
            continue
        if now_s < objective.grace_s:
            continue
        began_s = missed_since_s.get(objective, now_s)
        since[objective] = began_s
        if now_s - began_s >= objective.delay_s:
            lasted = f" for {duration_text(now_s - began_s)}" if objective.delay_s else ""
            reasons.append(f"{judgement.text()}{lasted}")
    return since, tuple(reasons)
