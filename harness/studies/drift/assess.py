"""What a soak shows: every watched figure's trend, the leak, and whose fault it is.

One error rate holds for the whole report: a run in which nothing drifts is called drifting in at
most one of twenty, however many figures are watched (Bonferroni).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from math import inf

from harness.errors import ConfigError
from harness.studies.drift.trend import Drift, Trend, rate_interval, trend
from harness.units import about_text, duration_text


class Side(StrEnum):
    """Whose figure it is."""

    SERVICE = "service"
    HARNESS = "harness"


@dataclass(frozen=True, slots=True, kw_only=True)
class Watched:
    """One figure over time. ``load`` at the same times where the figure follows the load.

    ``matters`` is the change over the run that counts, a share when ``relative``. ``limit``, in
    the figure's unit, is where it would hurt (memory of the machine, the objective's limit).
    ``fills``: it grows at first and then stays, as memory does. What the harness itself needs
    drifts only where that matters; a service's figure from a fifth of that on.
    """

    name: str
    side: Side
    at_s: Sequence[float]
    values: Sequence[float]
    load: Sequence[float] | None = None
    trials: Sequence[float] | None = None
    """of a share: of how many, at the same times"""
    less_is_better: bool = False
    """Then a fall is told as an improvement and fails nothing."""
    matters: float = 0.05
    floor: float = 0.0
    """In the figure's unit: a smaller change never matters, however large it is as a share."""
    relative: bool = True
    limit: float | None = None
    fills: bool = False
    unit: str = ""
    """ms, s, MB, share, or none: for people; nothing is reckoned with it"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """A watched figure and its trend; ``limit_in_s`` is (earliest, latest) from the run's end."""

    name: str
    side: Side
    trend: Trend
    watched: Watched
    limit_in_s: tuple[float, float] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Leak:
    """Leftovers as a share of the sessions. ``more_sessions`` would decide where undecided."""

    verdict: Drift
    low: float
    share: float
    high: float
    tolerated: float
    per_hour: float | None = None
    more_sessions: int | None = None
    ended_later: int = 0
    """Leftovers of the run that a sweep has ended since; they count as left over all the same."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DriftReport:
    """All findings, the overall verdict and a sentence for a person."""

    verdict: Drift
    findings: tuple[Finding, ...]
    leak: Leak | None
    sentence: str


def assess(
    watched: Sequence[Watched],
    *,
    sessions: int = 0,
    leftovers: int = 0,
    ended_later: int = 0,
    duration_s: float = 0.0,
    tolerated_leak: float = 0.001,
    warmup_s: float | None = None,
    confidence: float = 0.95,
    seed: int = 0,
) -> DriftReport:
    """Judge a soak. ``sessions`` opened, ``leftovers`` among them (nothing is said when 0 opened).

    ``ended_later`` of the leftovers were ended by a sweep after the run.
    ``tolerated_leak`` is the share of leftovers that is no leak yet.
    """
    looks = len(watched) + (1 if sessions else 0)
    if not looks:
        raise ConfigError("drift: nothing to judge: the run has neither series nor sessions")
    each = 1 - (1 - confidence) / looks
    findings = []
    for item in watched:
        try:
            found = trend(
                item.at_s,
                item.values,
                load=item.load,
                trials=item.trials,
                matters=item.matters,
                floor=item.floor,
                material=item.matters if item.side is Side.HARNESS else None,
                relative=item.relative,
                fills=item.fills,
                warmup_s=warmup_s,
                confidence=each,
                seed=seed,
            )
        except ConfigError as error:
            raise ConfigError(f"{item.name}: {error}") from None
        if found.verdict is Drift.DRIFTING and found.falls and item.less_is_better:
            found = replace(found, verdict=Drift.IMPROVING)
        reached = None if item.limit is None else found.limit_reached_in_s(item.limit)
        findings.append(
            Finding(name=item.name, side=item.side, trend=found, watched=item, limit_in_s=reached)
        )
    leak = None
    if sessions:
        found_leak = leak_of(
            leftovers, sessions, duration_s=duration_s, tolerated=tolerated_leak, confidence=each
        )
        leak = replace(found_leak, ended_later=ended_later)
    verdicts = [finding.trend.verdict for finding in findings]
    verdicts += [leak.verdict] if leak else []
    order = (Drift.DRIFTING, Drift.UNDECIDED, Drift.IMPROVING, Drift.FLAT)
    return DriftReport(
        verdict=min(verdicts, key=order.index),
        findings=tuple(findings),
        leak=leak,
        sentence=_sentence(findings, leak),
    )


def leak_of(
    leftovers: int,
    sessions: int,
    *,
    duration_s: float = 0.0,
    tolerated: float = 0.001,
    confidence: float = 0.95,
) -> Leak:
    """Is the share of leftovers above what is tolerated?"""
    if not 0 <= leftovers <= sessions or sessions == 0:
        raise ConfigError(f"leak: expected leftovers among sessions, got {leftovers} of {sessions}")
    if not 0 < tolerated < 1:
        raise ConfigError(f"leak: tolerated: expected a share above 0, got {tolerated!r}")
    low, share, high = rate_interval(leftovers, sessions, confidence=confidence)
    verdict, more = Drift.UNDECIDED, None
    if low > tolerated:
        verdict = Drift.DRIFTING
    elif high < tolerated:
        verdict = Drift.FLAT
    else:
        more = _sessions_to_decide(share, sessions, tolerated, confidence)
    return Leak(
        verdict=verdict,
        low=low,
        share=share,
        high=min(1.0, high),
        tolerated=tolerated,
        per_hour=leftovers / duration_s * 3600 if duration_s > 0 else None,
        more_sessions=more,
    )


def _sessions_to_decide(
    share: float, sessions: int, tolerated: float, confidence: float
) -> int | None:
    """How many more sessions would decide if the share stayed as it is; None beyond reason."""
    total = sessions
    while total < 1000 * sessions:
        total = total * 5 // 4 + 1
        low, _, high = rate_interval(round(share * total), total, confidence=confidence)
        if low > tolerated or high < tolerated:
            return total - sessions
    return None


def _sentence(findings: Sequence[Finding], leak: Leak | None) -> str:
    drifting = [f for f in findings if f.trend.verdict is Drift.DRIFTING]
    better = [f for f in findings if f.trend.verdict is Drift.IMPROVING]
    sides = {finding.side for finding in drifting}
    leaks = leak is not None and leak.verdict is Drift.DRIFTING
    parts = []
    if leaks and leak is not None:
        parts.append(
            f"Sessions leak: {leak.share:.2%} were left over "
            f"({leak.low:.2%} to {leak.high:.2%}, tolerated {leak.tolerated:.2%})."
        )
        if leak.ended_later:
            parts.append(f"A sweep has ended {leak.ended_later:,} of them since.")
    named = ", ".join(_told(finding) for finding in drifting)
    if sides == {Side.SERVICE}:
        own = [f for f in findings if f.side is Side.HARNESS]
        calm = own and all(f.trend.verdict in (Drift.FLAT, Drift.IMPROVING) for f in own)
        parts.append(
            f"The service drifts: {named}; "
            + ("the harness itself is flat." if calm else "the harness itself is not shown flat.")
        )
    elif sides == {Side.HARNESS}:
        parts.append(f"The harness itself drifts, not the service: {named}.")
    elif sides:
        parts.append(
            f"Service and harness both drift, so the service's figures can't be trusted: {named}."
        )
    if better:
        parts.append("Improving: " + ", ".join(_told(finding) for finding in better) + ".")
    open_ = [f for f in findings if f.trend.verdict is Drift.UNDECIDED]
    if open_:
        parts.append("Undecided: " + ", ".join(_open(finding) for finding in open_) + ".")
    if leak is not None and leak.verdict is Drift.UNDECIDED:
        more = "" if leak.more_sessions is None else f"; {leak.more_sessions:,} more would decide"
        parts.append(f"Whether sessions leak is undecided after so few{more}.")
    if not parts or (better and len(parts) == 1):
        parts.insert(0, "Nothing drifts.")
    return " ".join(parts)


def _told(finding: Finding) -> str:
    found = finding.trend
    if found.step is not None:
        step, unit = found.step, finding.watched.unit
        at = duration_text(round(step.at_s - finding.watched.at_s[0]))
        before, after = (f"{level:.4g}{unit and ' ' + unit}" for level in (step.before, step.after))
        return f"{finding.name} went from {before} to {after} at once, {at} into the run"
    change = found.of_start(found.change or 0.0)
    amount = f"{change:+.1%}" if found.relative else f"{change:+.4g}"
    told = f"{finding.name} {amount} over {duration_text(found.span_s)}"
    if finding.limit_in_s is not None:
        earliest, latest = finding.limit_in_s
        until = "" if latest == inf else f" to {about_text(latest)}"
        told += f" (limit reached in {about_text(earliest)}{until})"
    return told


def _open(finding: Finding) -> str:
    found = finding.trend
    if found.note:
        return f"{finding.name} ({found.note})"
    if found.longer_s is None:
        return finding.name
    return f"{finding.name} (about {about_text(found.longer_s)} more would decide)"
