"""When a missed objective should stop the run: the state between two looks, as a value."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

from harness.judge.gate import Judgement, Verdict
from harness.judge.objective import Objective
from harness.units import duration_text


@dataclass(frozen=True, slots=True)
class AbortState:
    """Since when (seconds of the run) each objective has been missed without a break."""

    missed_since_s: Mapping[Objective, float] = field(default_factory=lambda: MappingProxyType({}))


def consider_abort(
    state: AbortState, judgements: Sequence[Judgement], *, now_s: float
) -> tuple[AbortState, tuple[str, ...]]:
    """The next state, and why the run should be stopped now (empty: go on).

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
        began_s = state.missed_since_s.get(objective, now_s)
        since[objective] = began_s
        if now_s - began_s >= objective.delay_s:
            lasted = f" for {duration_text(now_s - began_s)}" if objective.delay_s else ""
            reasons.append(f"{judgement.text()}{lasted}")
    return AbortState(MappingProxyType(since)), tuple(reasons)
