"""What a soak shows: every watched figure's trend, the leak, and whose fault it is.

One error rate holds for the whole report: a run in which nothing drifts is called drifting in at
most one of twenty, however many figures are watched (Bonferroni).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from math import inf

from harness.errors import ConfigError, expect
from harness.studies.drift.trend import Drift, Trend, rate_interval, trend
from harness.units import about_text, duration_text

TOLERATED_LEAK = 0.001
"""The share of leftovers that is no leak yet, where nobody names another."""


class Side(StrEnum):
    """Whose figure it is."""

    SERVICE = "service"
    HARNESS = "harness"


MAX_LOWER_BOUNDS = 0.1
"""The share of points that may be lower bounds. With more of them, a figure that seems flat may
have risen."""
NOT_WITH_LOWER_BOUNDS = frozenset({Drift.FLAT, Drift.IMPROVING})
"""Verdicts that are not possible if too many points are lower bounds."""


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
    """Then a fall is an improvement, and never fails."""
    matters: float = 0.05
    floor: float = 0.0
    """A change smaller than this, in the figure's unit, never matters, even if it is a large share.
    """
    relative: bool = True
    limit: float | None = None
    fills: bool = False
    lower_bounds: int = 0
    """how many of the values are lower bounds: a percentile among what never came"""
    unit: str = ""
    """ms, s, MB, share or empty; only shown, never used in a calculation"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """A watched figure and its trend; ``limit_in_s`` is (earliest, latest) from the run's end."""

    watched: Watched
    trend: Trend
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


VERDICT_ORDER = (Drift.DRIFTING, Drift.UNDECIDED, Drift.IMPROVING, Drift.FLAT)
"""The order of verdicts in a report, the most important first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DriftReport:
    """All findings and the overall verdict."""

    verdict: Drift
    findings: tuple[Finding, ...]
    leak: Leak | None

    def of(self, verdict: Drift, side: Side | None = None) -> list[Finding]:
        """The findings with this verdict, of both sides or one."""
        return [
            one
            for one in self.findings
            if one.trend.verdict is verdict and side in (None, one.watched.side)
        ]

    def leak_is(self, verdict: Drift) -> bool:
        """Whether the leak has this verdict; False if nothing is known of a leak."""
        return self.leak is not None and self.leak.verdict is verdict

    @property
    def drifting_sides(self) -> set[Side]:
        return {one.watched.side for one in self.of(Drift.DRIFTING)}

    @property
    def sentence(self) -> str:
        """All of it for a person, in one line."""
        leak, parts = self.leak, []
        if leak is not None and leak.verdict is Drift.DRIFTING:
            parts.append(
                f"Sessions leak: {leak.share:.2%} were left over "
                f"({leak.low:.2%} to {leak.high:.2%}, tolerated {leak.tolerated:.2%})."
            )
            if leak.ended_later:
                parts.append(f"A sweep has ended {leak.ended_later:,} of them since.")
        named = ", ".join(map(_change_text, self.of(Drift.DRIFTING)))
        sides = self.drifting_sides
        if sides == {Side.SERVICE}:
            own = [one.trend.verdict for one in self.findings if one.watched.side is Side.HARNESS]
            calm = own and set(own) <= {Drift.FLAT, Drift.IMPROVING}
            shown = "flat" if calm else "not shown flat"
            parts.append(f"The service drifts: {named}; the harness itself is {shown}.")
        elif sides == {Side.HARNESS}:
            parts.append(f"The harness itself drifts, not the service: {named}.")
        elif sides:
            parts.append(
                "Service and harness both drift, so the service's figures can't be trusted: "
                f"{named}."
            )
        calm = not parts
        for words, verdict, to_text in (
            ("Improving", Drift.IMPROVING, _change_text),
            ("Undecided", Drift.UNDECIDED, _undecided_text),
        ):
            if findings := self.of(verdict):
                parts.append(f"{words}: {', '.join(map(to_text, findings))}.")
        if leak is not None and leak.verdict is Drift.UNDECIDED:
            more = f"; {leak.more_sessions:,} more would decide" if leak.more_sessions else ""
            parts.append(f"Whether sessions leak is undecided after so few{more}.")
        open_yet = self.verdict is Drift.UNDECIDED
        return " ".join(["Nothing drifts.", *parts] if calm and not open_yet else parts)


def assess(
    watched: Sequence[Watched],
    *,
    sessions: int = 0,
    leftovers: int = 0,
    ended_later: int = 0,
    duration_s: float = 0.0,
    tolerated_leak: float = TOLERATED_LEAK,
    warmup_s: float | None = None,
    confidence: float = 0.95,
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
            figure_trend = trend(
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
            )
        except ConfigError as error:
            raise ConfigError(f"{item.name}: {error}") from None
        if figure_trend.verdict is Drift.DRIFTING and figure_trend.falls and item.less_is_better:
            figure_trend = replace(figure_trend, verdict=Drift.IMPROVING)
        if (
            item.lower_bounds > MAX_LOWER_BOUNDS * len(item.values)
            and figure_trend.verdict in NOT_WITH_LOWER_BOUNDS
        ):
            note = (
                f"{item.lower_bounds} of {len(item.values)} points are lower bounds: what never "
                "came may have become slower"
            )
            figure_trend = replace(figure_trend, verdict=Drift.UNDECIDED, note=note)
        reached = None if item.limit is None else figure_trend.limit_reached_in_s(item.limit)
        findings.append(Finding(watched=item, trend=figure_trend, limit_in_s=reached))
    leak = None
    if sessions:
        leak = leak_of(
            leftovers, sessions, duration_s=duration_s, tolerated=tolerated_leak, confidence=each
        )
        leak = replace(leak, ended_later=ended_later)
    verdicts = [finding.trend.verdict for finding in findings]
    verdicts += [leak.verdict] if leak else []
    return DriftReport(
        verdict=min(verdicts, key=VERDICT_ORDER.index), findings=tuple(findings), leak=leak
    )


def check_tolerated(share: float, place: str) -> None:
    """Raises ConfigError, which names the place, for what is no share of leftovers to tolerate."""
    form = f"a share above 0 and below 1 such as {TOLERATED_LEAK:g}"
    expect(0 < share < 1, place, form, f"{share:g}")


def leak_of(
    leftovers: int,
    sessions: int,
    *,
    duration_s: float = 0.0,
    tolerated: float = TOLERATED_LEAK,
    confidence: float = 0.95,
) -> Leak:
    """Is the share of leftovers above what is tolerated?"""
    if not 0 <= leftovers <= sessions or sessions == 0:
        raise ConfigError(f"leak: expected leftovers among sessions, got {leftovers} of {sessions}")
    check_tolerated(tolerated, "leak: tolerated")
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


def _change_text(finding: Finding) -> str:
    trend = finding.trend
    if trend.step is not None:
        step, unit = trend.step, finding.watched.unit
        at = duration_text(round(step.at_s - finding.watched.at_s[0]))
        before, after = (f"{level:.4g}{unit and ' ' + unit}" for level in (step.before, step.after))
        return f"{finding.watched.name} went from {before} to {after} at once, {at} into the run"
    change = trend.of_start(trend.change or 0.0)
    amount = f"{change:+.1%}" if trend.relative else f"{change:+.4g}"
    text = f"{finding.watched.name} {amount} over {duration_text(trend.span_s)}"
    if finding.limit_in_s is not None:
        earliest, latest = finding.limit_in_s
        until = "" if latest == inf else f" to {about_text(latest)}"
        text += f" (limit reached in {about_text(earliest)}{until})"
    return text


def _undecided_text(finding: Finding) -> str:
    why = finding.trend.open_because
    return f"{finding.watched.name} ({why})" if why else finding.watched.name
