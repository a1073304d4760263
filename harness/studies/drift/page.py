"""What drifts over a soak as a page for people who don't read logs.

One watched figure over a soak as a small drawing: its course, the warm-up, the fitted slope.

Plain SVG, so that the page needs no script. Its texts are numbers of ours; what comes from outside
does not get in here.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import inf
from pathlib import Path
from statistics import median

from harness import __version__
from harness.measure.model import OPERATIONS
from harness.report.figures import percent_text, with_unit
from harness.report.html.page import template_environment, write_page
from harness.rundir.layout import DRIFT_PAGE
from harness.studies.drift.assess import DriftReport, Finding, Leak, Side
from harness.studies.drift.trend import Drift
from harness.units import about_text, duration_text

WIDTH, HEIGHT = 360, 150
LEFT, RIGHT, TOP, BOTTOM = 62, 352, 12, 122
LEAST_HEIGHT = 4.0
"""The drawing is at least so many times as high as the change that counts, so that what does not
matter looks as it is: flat."""
GAP = 3.0
"""Bins without a value interrupt the line where they are so many times as wide as usual."""
SPIKES = 0.02
"""So small a part of the points at each end may lie outside and is drawn at the edge."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DriftChart:
    """All that the template draws; lengths in units of a 360 by 150 drawing.

    ``lines`` are the course as points of polylines, ``fan`` the interval of the slope as a polygon,
    ``fit`` the fitted line's ends; None where no slope could be told.
    """

    lines: Sequence[str]
    cut_x: float
    fit: tuple[float, float, float, float] | None
    fan: str | None
    limit_y: float | None
    top_text: str
    bottom_text: str
    end_text: str


def drift_chart(finding: Finding) -> DriftChart:
    """Draw a finding; it has two points at least."""
    watched, found = finding.watched, finding.trend
    at_s, values = watched.at_s, watched.values
    began, ended = at_s[0], at_s[-1]
    ends = _line_ends(finding)
    level = abs(found.level or median(values)) if watched.relative else 1.0
    matters = max(watched.matters * level, watched.floor)
    low, high = _range(values, ends, LEAST_HEIGHT * matters)

    def across(at: float) -> float:
        return round(LEFT + (RIGHT - LEFT) * (at - began) / (ended - began), 1)

    def up(value: float) -> float:
        inside = min(max(value, low), high)
        return round(float(BOTTOM - (BOTTOM - TOP) * (inside - low) / (high - low)), 1)

    cut_x = across(began + found.cut_s)
    limit = watched.limit
    return DriftChart(
        lines=[
            " ".join(f"{across(at)},{up(value)}" for at, value in stretch)
            for stretch in _stretches(at_s, values)
        ],
        cut_x=cut_x,
        fit=None if ends is None else (cut_x, up(ends[0]), float(RIGHT), up(ends[1])),
        fan=_fan(finding, cut_x, up),
        limit_y=up(limit) if limit is not None and low < limit < high else None,
        top_text=with_unit(_short(high), watched.unit),
        bottom_text=with_unit(_short(low), watched.unit),
        end_text=duration_text(ended - began),
    )


def _line_ends(finding: Finding) -> tuple[float, float] | None:
    """The fitted figure at the end of the warm-up and at the end of the run."""
    found = finding.trend
    if found.level is None or found.slope_per_h is None:
        return None
    return found.level - found.slope_per_h * found.span_s / 3600, found.level


def _fan(finding: Finding, cut_x: float, up: Callable[[float], float]) -> str | None:
    """The lines of the lowest and the highest slope, through the middle of the fitted one."""
    ends, found = _line_ends(finding), finding.trend
    if ends is None or found.slope_low_per_h is None or found.slope_high_per_h is None:
        return None
    middle, half_h = (ends[0] + ends[1]) / 2, found.span_s / 7200
    low, high = found.slope_low_per_h * half_h, found.slope_high_per_h * half_h
    corners = (
        (cut_x, middle - low),
        (float(RIGHT), middle + low),
        (float(RIGHT), middle + high),
        (cut_x, middle - high),
    )
    return " ".join(f"{x},{up(value)}" for x, value in corners)


def _range(
    values: Sequence[float], ends: tuple[float, float] | None, least: float
) -> tuple[float, float]:
    """Lowest and highest that is drawn; never below zero for what never is."""
    ranked = sorted(values)
    spikes = int(len(ranked) * SPIKES)
    shown = [ranked[spikes], ranked[-1 - spikes], *(ends or ())]
    low, high = min(shown), max(shown)
    spare = max((high - low) * 0.08, (least - (high - low)) / 2, 1e-9)
    bottom, top = low - spare, high + spare
    if bottom < 0 <= ranked[0]:
        bottom = 0.0
    return bottom, max(top, bottom + max(least, 1e-9))


def _stretches(at_s: Sequence[float], values: Sequence[float]) -> list[list[tuple[float, float]]]:
    """The points, apart where there is a hole between them."""
    steps = [later - earlier for earlier, later in pairwise(at_s)]
    widest = GAP * median(steps)
    found = [[(at_s[0], values[0])]]
    for step, at, value in zip(steps, at_s[1:], values[1:], strict=True):
        if step > widest:
            found.append([])
        found[-1].append((at, value))
    return found


def _short(value: float) -> float:
    """Three digits are enough beside an axis."""
    return float(f"{value:.3g}")


ORDER = (Drift.DRIFTING, Drift.UNDECIDED, Drift.IMPROVING, Drift.FLAT)
TONES = {
    Drift.DRIFTING: "fail",
    Drift.UNDECIDED: "no_data",
    Drift.IMPROVING: "pass",
    Drift.FLAT: "pass",
}
DAY_S = 86_400.0
WHOSE = {Side.SERVICE: "the service", Side.HARNESS: "the harness itself"}
NAMED = {
    "resumes a minute": "Connections lost and made again, a minute",
    "occupancy over expected": "Guests in session, against what their arrivals imply",
    "lag.arrival p95": "Lateness of the harness in reading",
    "lag.loop p95": "Lateness of the harness in acting",
    "memory": "Memory of the harness",
    "descriptors": "Open files of the harness",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """One figure as the page shows it."""

    name: str
    title: str
    whose: str
    verdict: str
    tone: str
    sentence: str
    start: str
    end: str
    change: str
    interval: str
    warm_up: str
    limit: str
    chart: DriftChart | None


def write_drift_page(run_dir: Path, report: DriftReport) -> Path:
    """Write ``drift.html`` beside the run's files. Raises ConfigError when that can't be done."""
    return write_page(run_dir / DRIFT_PAGE, render(run_dir.name, report))


def render(run: str, report: DriftReport) -> str:
    """The page's HTML; everything that comes from outside is escaped."""
    shown = [_shown(one) for verdict in ORDER for one in report.findings if _is(one, verdict)]
    spans = [finding.trend.span_s for finding in report.findings]
    template = template_environment().get_template("drift.html")
    return template.render(
        version=__version__,
        run=run,
        tone=TONES[report.verdict],
        headline=_headline(report),
        why=_why(report),
        keys=_keys(report, max(spans, default=0.0)),
        assumptions=assumptions(report),
        figures=shown,
        leak=None if report.leak is None else _leak(report.leak),
    )


def assumptions(report: DriftReport) -> list[str]:
    """What the answer takes for granted, and what a run such as this can't tell."""
    found = [
        "One error rate of 5 % holds for all figures together, for their slopes and for one "
        "sudden change of each.",
        "What a figure owes to the number of guests in session is taken out before it is judged.",
    ]
    span_s = max((one.trend.span_s for one in report.findings), default=0.0)
    if span_s < DAY_S:
        found.append(
            "This run is shorter than a day, so a change that comes with the hour of the day looks "
            "like a drift."
        )
    return found


def title_of(name: str) -> str:
    """A watched figure in words: ``reply p95`` → ``Replies: slowest of twenty``."""
    operation, _, figure = name.rpartition(" ")
    if operation not in OPERATIONS:
        return NAMED.get(name, name)
    many = OPERATIONS[operation].many
    what = {
        "p50": "usual time",
        "p95": "slowest of twenty",
        "errors": "did not end well",
    }.get(figure, figure)
    return f"{many[0].upper()}{many[1:]}: {what}"


def _headline(report: DriftReport) -> str:
    leaks = report.leak is not None and report.leak.verdict is Drift.DRIFTING
    sides = {one.side for one in report.findings if _is(one, Drift.DRIFTING)}
    if sides == {Side.SERVICE, Side.HARNESS}:
        return "The service and the harness itself both drift"
    if sides:
        whose = WHOSE[sides.pop()]
        both = ", and sessions are left behind" if leaks else ""
        return f"{whose[0].upper()}{whose[1:]} drifts{both}"
    if leaks:
        return "Sessions are left behind"
    settled = report.verdict in (Drift.FLAT, Drift.IMPROVING)
    return "Nothing drifts" if settled else "Not decided yet"


def _why(report: DriftReport) -> str:
    drifting = [one for one in report.findings if _is(one, Drift.DRIFTING)]
    parts = [_news(one) for one in drifting if one.side is Side.SERVICE]
    parts += [_news(one) for one in drifting if one.side is Side.HARNESS]
    if any(one.side is Side.HARNESS for one in drifting):
        parts.append("While the harness itself drifts, what it says of the service is in doubt.")
    leak = report.leak
    if leak is not None and leak.verdict is Drift.DRIFTING:
        parts.append(
            f"{percent_text(leak.share)} of the sessions ended without proof of their end; "
            f"{percent_text(leak.tolerated)} are tolerated."
        )
    for one in report.findings:
        if _is(one, Drift.IMPROVING):
            parts.append(f"For the better: {_news(one)}")
    many = sum(_is(one, Drift.UNDECIDED) for one in report.findings)
    many += leak is not None and leak.verdict is Drift.UNDECIDED
    if many and not parts:
        parts.append(f"Nothing was found that drifts, but {_of(many)} can't be called flat yet.")
    if not parts:
        parts.append("No figure grew, slowed down or leaked by as much as would matter.")
    longer = [one.trend.longer_s for one in report.findings if one.trend.longer_s is not None]
    if longer:
        parts.append(f"About {about_text(max(longer))} more of the same would decide the rest.")
    return " ".join(parts)


def _of(many: int) -> str:
    return "one figure" if many == 1 else f"{many} figures"


def _keys(report: DriftReport, span_s: float) -> list[tuple[str, str, bool]]:
    """(figure, what it is, whether it is bad)."""
    verdicts = [one.trend.verdict for one in report.findings]
    keys = [
        (str(verdicts.count(Drift.DRIFTING)), "drifting", Drift.DRIFTING in verdicts),
        (str(verdicts.count(Drift.UNDECIDED)), "undecided", False),
        (f"{verdicts.count(Drift.FLAT)} of {len(verdicts)}", "figures are flat", False),
        (duration_text(span_s), "looked at, after the warm-up", False),
    ]
    leak = report.leak
    if leak is not None:
        bad = leak.verdict is Drift.DRIFTING
        keys.append((percent_text(leak.share), "of the sessions left behind", bad))
        if leak.per_hour is not None:
            keys.append((f"{leak.per_hour:,.3g}", "left behind an hour", bad))
    return keys


def _shown(finding: Finding) -> Shown:
    found, watched = finding.trend, finding.watched
    start, end = _ends(finding)
    return Shown(
        name=finding.name,
        title=title_of(finding.name),
        whose=WHOSE[finding.side],
        verdict=str(found.verdict),
        tone=TONES[found.verdict],
        sentence=_sentence(finding),
        start=with_unit(start, watched.unit),
        end=with_unit(end, watched.unit),
        change=_amount(finding, found.change),
        interval=""
        if found.low is None
        else f"{_amount(finding, found.low)} to {_amount(finding, found.high)}",
        warm_up=duration_text(found.cut_s),
        limit=_limit(finding),
        chart=drift_chart(finding) if len(watched.values) > 1 else None,
    )


def _ends(finding: Finding) -> tuple[float | None, float | None]:
    """The fitted figure after the warm-up and at the end, in three digits."""
    found = finding.trend
    if found.level is None or found.slope_per_h is None:
        return None, None
    ends = (found.level - found.slope_per_h * found.span_s / 3600, found.level)
    least = min(finding.watched.values)
    start, end = (float(f"{max(value, min(least, 0.0)):.3g}") for value in ends)
    return start, end


def _amount(finding: Finding, value: float | None) -> str:
    if value is None:
        return "—"
    if finding.trend.relative:
        return f"{value:+.1%}".replace("%", " %")
    unit = finding.watched.unit
    return ("+" if value > 0 else "") + with_unit(float(f"{value:.2g}"), unit)


def _news(finding: Finding) -> str:
    """What happened to a figure that drifts, for whoever reads one sentence only."""
    found = finding.trend
    if found.step is not None:
        return f"{title_of(finding.name)}: {_at_once(finding)}"
    start, end = (with_unit(value, finding.watched.unit) for value in _ends(finding))
    change, before = _amount(finding, found.change), duration_text(round(found.span_s))
    operation, _, figure = finding.name.rpartition(" ")
    often = {"p50": "Half of the", "p95": "One in twenty"}.get(figure)
    if operation in OPERATIONS and often:
        verb = "takes" if figure == "p95" else "take"
        told = (
            f"{often} {OPERATIONS[operation].many} {verb} {end} or longer now; {before} before it "
            f"was {start} ({change})."
        )
    else:
        way = "rose" if (found.change or 0) > 0 else "fell"
        told = f"{title_of(finding.name)} {way} from {start} to {end} in {before} ({change})."
    return told + _at_this_pace(finding)


def _at_once(finding: Finding) -> str:
    """Where and how far a figure jumped."""
    step, unit = finding.trend.step, finding.watched.unit
    assert step is not None
    before, after = (with_unit(float(f"{level:.3g}"), unit) for level in (step.before, step.after))
    at = duration_text(round(step.at_s - finding.watched.at_s[0]))
    return f"from {before} to {after} at once, {at} into the run."


def _at_this_pace(finding: Finding) -> str:
    reached = _reached(finding)
    if not reached:
        return ""
    limit = with_unit(finding.watched.limit, finding.watched.unit)
    if finding.limit_in_s is None:
        return f" The limit of {limit} is {reached}."
    return f" At this pace the limit of {limit} is {reached}."


def _sentence(finding: Finding) -> str:
    """What happened to the figure, beside its drawing."""
    found = finding.trend
    if found.step is not None:
        told = _at_once(finding)
        return told[0].upper() + told[1:]
    start, end = (with_unit(value, finding.watched.unit) for value in _ends(finding))
    if found.verdict in (Drift.DRIFTING, Drift.IMPROVING):
        amount = _amount(finding, found.change)
        span = duration_text(round(found.span_s))
        return f"From {start} to {end} in {span} ({amount}).{_at_this_pace(finding)}"
    if found.verdict is Drift.FLAT:
        return f"Stayed at {end}, give or take."
    if found.note:
        return f"Can't be told: {found.note}."
    if found.longer_s is not None:
        return f"Can't be told yet; about {about_text(found.longer_s)} more would decide."
    return "Can't be told yet."


def _limit(finding: Finding) -> str:
    """The stated limit, and when it is reached."""
    if finding.watched.limit is None:
        return ""
    text = with_unit(finding.watched.limit, finding.watched.unit)
    reached = _reached(finding)
    return f"{text}, {reached}" if reached else text


def _reached(finding: Finding) -> str:
    """``reached in 2h to 3h``; empty where the figure does not drift towards a limit."""
    limit, level = finding.watched.limit, finding.trend.level
    if limit is not None and level is not None and level >= limit:
        return "exceeded already"
    if finding.limit_in_s is None:
        return ""
    earliest, latest = (about_text(at) if at < inf else "" for at in finding.limit_in_s)
    return f"reached in {earliest}" + (f" to {latest}" if latest not in ("", earliest) else "")


def _leak(leak: Leak) -> Sequence[tuple[str, str]]:
    rows = [
        ("Verdict", str(leak.verdict)),
        ("Of the sessions", f"{percent_text(leak.share)}"),
        ("With its interval", f"{percent_text(leak.low)} to {percent_text(leak.high)}"),
        ("Tolerated", percent_text(leak.tolerated)),
    ]
    if leak.per_hour is not None:
        rows.append(("An hour", f"{leak.per_hour:,.3g}"))
    if leak.ended_later:
        rows.append(("Ended by a sweep since", f"{leak.ended_later:,} sessions"))
    if leak.more_sessions is not None:
        rows.append(("Would decide", f"{leak.more_sessions:,} sessions more"))
    return rows


def _is(finding: Finding, verdict: Drift) -> bool:
    return finding.trend.verdict is verdict
