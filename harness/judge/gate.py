"""The gate: objectives judged on the figures of a run, and whether a missed one should stop it.

Figures are a mapping shaped like ``run.json``. Nothing is ever assumed: a figure that is missing,
empty or not a number gives NO_DATA, and what was not measured can fail but never pass.
"""

from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from math import isfinite
from typing import Any

from harness.judge.certainty import (
    FEWEST_OF_A_SHARE,
    rank_bounds,
    samples_needed,
    samples_to_decide,
    share_bounds,
)
from harness.judge.objective import (
    GENERATOR_LAG,
    Kind,
    Objective,
    Op,
    Unit,
    amount_text,
)
from harness.measure.model import COUNTERS, GROUPS, Outcome
from harness.units import duration_text

Figures = Mapping[str, Any]
Time = tuple[float | None, bool, bool]
"""Milliseconds, or None where nothing was recorded; whether they are a lower bound only; whether
the figure hangs on what the end of the run cut short."""
Percentile = Callable[[str, Kind, float], Time]
"""(operation, kind, percent 0-100) → what is known of it."""

BY_ITSELF = "had come to an end by itself"
ENDED = {
    "guests": (("served", "failed"), "guest", BY_ITSELF),
    "stories": (("finished", "broken_off"), "story", BY_ITSELF),
    "questions": (("asked",), "question", "was asked"),
}
"""Of each group: what its shares are shares of, one of it, and what none of them did."""
WITHIN_CHANCE = "met, but within chance"
MOST_AMBIGUOUS = 0.05
"""With more than this share of the answers ambiguous nobody can say how fast they came."""


class Verdict(StrEnum):
    """What can be said about an objective or a run."""

    PASS = "PASS"
    FAIL = "FAIL"
    NO_DATA = "NO_DATA"
    INVALID = "INVALID"


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """One objective and what the run says about it.

    ``margin`` is what is left until the limit in the objective's unit, negative when missed;
    ``margin_share`` is the same as a share of the limit, None where the limit is zero.
    """

    objective: Objective
    verdict: Verdict
    figure: float | None
    margin: float | None = None
    margin_share: float | None = None
    note: str = ""
    lower_bound: bool = False
    """the true figure is higher: its rank lies among what never came"""
    low: float | None = None
    high: float | None = None
    """below and above which the true figure is not, each at 95 %; None where nothing bounds it"""
    within_chance: bool = False
    """it is met, but the true figure may well miss it"""
    more_samples: int | None = None
    """about how many more would decide, where that can be told"""

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
        """As it stands in ``run.json``."""
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
    """Where the true figure lies: ``up to 3%``, ``2.7s to 3.4s``; empty where nothing is known.

    ``written`` says how an amount is written.
    """
    if high is None:
        return f"{written(low)} or more" if low else ""
    return f"{written(low)} to {written(high)}" if low else f"up to {written(high)}"


def chance_text(more_samples: int | None) -> str:
    """What to say of an objective that is met within chance."""
    more = "" if more_samples is None else f": about {more_samples:,} more samples would decide"
    return f"{WITHIN_CHANCE}{more}"


@dataclass(frozen=True, slots=True, kw_only=True)
class GateResult:
    """The run's verdict with everything it rests on. ``reasons`` are why it is INVALID."""

    verdict: Verdict
    judgements: tuple[Judgement, ...]
    reasons: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """How many cases a figure rests on, and how sure that makes it, worked out when asked for."""

    size: int
    needed: int
    bounds: Callable[[], tuple[float | None, float | None]]
    """below and above which the true figure is not, each at 95 %; None where there is no bound"""
    more: Callable[[float, bool], int | None]
    """how many more would show that the figure is below a limit, or (False) above it, if it stays
    what it is"""
    known: bool = True
    """whether the cases themselves are there to be asked"""


@dataclass(frozen=True, slots=True)
class _Measured:
    """A figure, or None with the reason; ``certain`` when absence can't have made it look good."""

    figure: float | None
    note: str = ""
    certain: bool = True
    lower_bound: bool = False
    doubt: str = ""
    """why nobody can say, unless the objective is missed for certain"""
    sample: Sample | None = None
    """what the figure rests on, where it is one of a sample"""


def judge(
    objectives: Sequence[Objective],
    figures: Figures,
    *,
    percentile: Percentile,
    invalid: Sequence[str] = (),
    unfinished: bool = False,
    confident: bool = False,
) -> GateResult:
    """Judge a run. ``invalid`` are the caller's reasons why its figures can't be believed.

    While it is ``unfinished``, counts that can still grow to what is asked for are NO_DATA; with
    ``confident`` so is what is met within chance.

    INVALID outweighs everything, then FAIL, then NO_DATA; a run without objectives passes when
    something was measured at all.
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
            return Verdict.FAIL, measured.note  # nobody waits for ever
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
    """With too few samples nobody can say, unless even they show that the objective is missed."""
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
    """Whether the true figure may well miss an objective that the measured one meets."""
    if objective.op is Op.EQUAL:
        return False  # of what was seen, and of nothing more
    bound = high if objective.op in (Op.LESS, Op.AT_MOST) else low
    return bound is None or not objective.op.holds(bound, objective.limit)


def _can_grow(objective: Objective, figure: float) -> bool:
    """Whether a count of a run that goes on can still come to hold."""
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
    # What was cut early says nothing, neither well nor ill: it is in no part and in no whole.
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
    """Why the answers of an operation can't be told apart."""
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
    """How much never came, and what became of it."""
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
    """A count of guests, stories or questions by what became of them."""
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
    """What is not known of those that were lost with their process, where it can decide.

    Any number of them may have ended in the way that is asked for.
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
    return f"of {unknown:,.0f} more it is not known how they ended"


def _key(objective: Objective) -> str:
    """The figure's key in the run record: ``max``, ``p95``, ``p99_9``."""
    if objective.percent is None:
        return "max"
    return f"p{objective.percent:g}".replace(".", "_")


def _of_share(hits: float, whole: float) -> Sample:
    """What so many cases of so many say of a share."""
    many = round(whole)
    return Sample(
        size=many,
        needed=FEWEST_OF_A_SHARE,
        bounds=lambda: share_bounds(round(hits), many),
        more=lambda limit, below: samples_to_decide(round(hits), many, limit, below=below),
    )


def _of_times(objective: Objective, whole: float, percentile: Percentile) -> Sample | None:
    """What so many times say of a percentile; nothing where it is the highest that counts."""
    percent, size, kind = objective.percent, round(whole), objective.kind or Kind.SERVICE
    if percent is None or size <= 0:
        return None

    def at(rank: int | None) -> float | None:
        if rank is None:
            return None
        value_ms, lower_bound, _ = percentile(objective.subject, kind, 100 * (rank - 0.5) / size)
        return None if lower_bound else value_ms

    def slower(limit: float) -> int:
        """How many are not within the limit."""

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
    if value is None:
        return _Measured(None, f"{name} is not in the record")
    opened = _amount(_section(figures, "sessions"), "opened")
    if objective.unit is Unit.SHARE:
        if opened <= 0:
            return _Measured(None, "no session was opened")
        return _Measured(value / opened)
    return _Measured(value, "" if opened > 0 else "no session was opened", certain=opened > 0)


def _section(mapping: Figures, name: str) -> Figures:
    inner = mapping.get(name)
    return inner if isinstance(inner, Mapping) else {}


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if isfinite(value) and value >= 0 else None


def _amount(section: Figures, name: str) -> float:
    """A number of a section, zero where there is none."""
    return _number(section.get(name)) or 0.0


MissedSince = Mapping[Objective, float]
"""Since when (seconds of the run) each objective has been missed without a break."""


def consider_abort(
    missed_since_s: MissedSince, judgements: Sequence[Judgement], *, now_s: float
) -> tuple[MissedSince, tuple[str, ...]]:
    """Since when each is missed now, and why the run should be stopped now (empty: go on).

    ``now_s`` counts from the run's start and never goes back. Only objectives with
    ``abort_on_fail`` are considered, only after their grace, and only when missed at every look
    for their delay: a single good look (or one without data) starts the delay anew.
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
