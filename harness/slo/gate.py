"""The gate: objectives judged on the figures of a run.

Figures are a mapping shaped like ``run.json``: ``sessions``, ``operations``, ``generator``,
``forensics``, ``arrivals``. Nothing is ever assumed: a figure that is missing, empty or not a
number gives NO_DATA, and what was not measured can fail but never pass.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from math import ceil, isfinite
from typing import Any

from harness.slo.objective import GENERATOR_LAG, Kind, Objective, Op, Unit, amount_text

Figures = Mapping[str, Any]
Percentile = Callable[[str, Kind, float], float | None]
"""(operation, kind, percent 0-100) → milliseconds, or None where nothing was recorded."""

# Where the run record keeps plain numbers, in the order in which a counter is looked for.
SECTIONS = ("sessions", "forensics", "arrivals", "generator")


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

    def text(self) -> str:
        """One line: verdict, objective, figure, margin."""
        unit = self.objective.unit
        if self.figure is None:
            return f"{self.verdict}  {self.objective.text}  {self.note}"
        shown = amount_text(self.figure, unit)
        margin = ""
        if self.margin is not None and self.objective.op is not Op.EQUAL:
            side = "left" if self.margin >= 0 else "over"
            margin = f", {amount_text(abs(self.margin), unit)} {side}"
        note = f" ({self.note})" if self.note else ""
        return f"{self.verdict}  {self.objective.text}  was {shown}{margin}{note}"

    def as_dict(self) -> dict[str, Any]:
        """For ``run.json``: plain values only."""
        return {
            "objective": self.objective.text,
            "verdict": str(self.verdict),
            "figure": self.figure,
            "limit": self.objective.limit,
            "unit": str(self.objective.unit),
            "margin": self.margin,
            "margin_share": self.margin_share,
            "note": self.note,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class GateResult:
    """The run's verdict with everything it rests on. ``reasons`` are why it is INVALID."""

    verdict: Verdict
    judgements: tuple[Judgement, ...]
    reasons: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """For ``run.json``."""
        return {
            "verdict": str(self.verdict),
            "objectives": [judgement.as_dict() for judgement in self.judgements],
            "invalid_because": list(self.reasons),
        }


@dataclass(frozen=True, slots=True)
class _Found:
    """A figure, or None with the reason; ``certain`` when absence can't have made it look good."""

    figure: float | None
    note: str = ""
    certain: bool = True


def judge(
    objectives: Sequence[Objective],
    figures: Figures,
    *,
    percentile: Percentile,
    invalid: Sequence[str] = (),
    unfinished: bool = False,
) -> GateResult:
    """Judge a run. ``invalid`` are the caller's reasons why its figures can't be believed.

    While it is ``unfinished``, counts that can still grow to what is asked for are NO_DATA.

    INVALID outweighs everything, then FAIL, then NO_DATA; a run without objectives passes when
    something was measured at all.
    """
    judgements = tuple(
        judge_one(item, figures, percentile=percentile, unfinished=unfinished)
        for item in objectives
    )
    verdicts = {judgement.verdict for judgement in judgements}
    if invalid:
        verdict = Verdict.INVALID
    elif Verdict.FAIL in verdicts:
        verdict = Verdict.FAIL
    elif Verdict.NO_DATA in verdicts or (not objectives and not _anything(figures)):
        verdict = Verdict.NO_DATA
    else:
        verdict = Verdict.PASS
    return GateResult(verdict=verdict, judgements=judgements, reasons=tuple(invalid))


def judge_one(
    objective: Objective, figures: Figures, *, percentile: Percentile, unfinished: bool = False
) -> Judgement:
    """One objective on its own; ``unfinished`` as in :func:`judge`."""
    if objective.figure == "value":
        found = _counter(objective, figures)
    elif objective.subject == GENERATOR_LAG:
        found = _generator_lag(objective, figures)
    else:
        found = _operation(objective, figures, percentile)
    if found.figure is None:
        return Judgement(objective=objective, verdict=Verdict.NO_DATA, figure=None, note=found.note)
    holds = objective.op.holds(found.figure, objective.limit)
    verdict = Verdict.PASS if holds else Verdict.FAIL
    note = found.note
    if holds and not found.certain:
        verdict = Verdict.NO_DATA
    elif unfinished and not holds and _can_grow(objective, found.figure):
        verdict, note = Verdict.NO_DATA, "not known before the end"
    margin = _margin(objective, found.figure)
    return Judgement(
        objective=objective,
        verdict=verdict,
        figure=found.figure,
        margin=margin,
        margin_share=margin / objective.limit if objective.limit else None,
        note=note,
    )


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


def _operation(objective: Objective, figures: Figures, percentile: Percentile) -> _Found:
    name = objective.subject
    entry = _section(_section(figures, "operations"), name)
    outcomes = {key: _number(value) for key, value in _section(entry, "outcomes").items()}
    if None in outcomes.values():
        return _Found(None, f"the outcomes of {name} are not all numbers")
    ended = sum(number or 0.0 for number in outcomes.values())
    timed = _number(entry.get("count")) or 0.0
    attempts = max(timed, ended)
    if attempts <= 0:
        nothing = f"no {name} was measured"
        if objective.figure == "count":
            return _Found(0.0, nothing, certain=False)
        return _Found(None, nothing)
    if objective.figure == "count":
        return _Found(attempts)
    if objective.unit is Unit.MS:
        return _time(objective, entry, timed, percentile)
    if ended <= 0:
        return _Found(None, f"the outcomes of {name} are not in the record")
    if objective.figure == "errors":
        amount = ended - (outcomes.get("ok") or 0.0)
    else:
        amount = outcomes.get(objective.figure) or 0.0
    return _Found(amount / ended if objective.unit is Unit.SHARE else amount)


def _time(objective: Objective, entry: Figures, timed: float, percentile: Percentile) -> _Found:
    kind = objective.kind or Kind.SERVICE
    nothing = f"no {kind} time of {objective.subject} was measured"
    if timed <= 0:
        return _Found(None, nothing)
    value = _number(_section(entry, f"{kind}_ms").get(_key(objective)))
    if value is None and objective.percent is not None:
        value = _number(percentile(objective.subject, kind, objective.percent))
    if value is None:
        return _Found(None, nothing)
    return _Found(value, _few(timed, objective.percent))


def _key(objective: Objective) -> str:
    """The figure's key in the run record: ``max``, ``p95``, ``p99_9``."""
    if objective.percent is None:
        return "max"
    return f"p{objective.percent:g}".replace(".", "_")


def _few(count: float, percent: float | None) -> str:
    """A word of caution where a percentile is no more than the slowest sample."""
    if percent is None:
        return ""
    needed = ceil(round(100 / (100 - percent), 6))
    return "" if count >= needed else f"only {count:.0f} samples: the slowest of them"


def _generator_lag(objective: Objective, figures: Figures) -> _Found:
    times = _section(_section(figures, "generator"), "lag_loop_ms")
    value = _number(times.get(_key(objective)))
    kept = ", ".join(str(name) for name in times) or "nothing"
    return _Found(value, "" if value is not None else f"the record keeps of it: {kept}")


def _counter(objective: Objective, figures: Figures) -> _Found:
    name = objective.subject
    value = None
    for section in SECTIONS:
        value = _number(_section(figures, section).get(name))
        if value is not None:
            break
    if value is None:
        return _Found(None, f"{name} is not in the record")
    opened = _number(_section(figures, "sessions").get("opened")) or 0.0
    if objective.unit is Unit.SHARE:
        if opened <= 0:
            return _Found(None, "no session was opened")
        return _Found(value / opened)
    return _Found(value, "" if opened > 0 else "no session was opened", certain=opened > 0)


def _anything(figures: Figures) -> bool:
    operations = _section(figures, "operations")
    return any((_number(_section(operations, name).get("count")) or 0.0) > 0 for name in operations)


def _section(mapping: Figures, name: str) -> Figures:
    inner = mapping.get(name)
    return inner if isinstance(inner, Mapping) else {}


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if isfinite(value) and value >= 0 else None
