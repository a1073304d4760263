"""What drifts over a soak as a page for people who don't read logs."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf
from pathlib import Path

from harness import __version__
from harness.measure.operations import OPERATIONS
from harness.report.figures import percent_text, with_unit
from harness.report.html.answer_page import write_page
from harness.report.html.page import template_environment
from harness.studies.drift.assess import DriftReport, Finding, Leak, Side
from harness.studies.drift.chart import DriftChart, drift_chart
from harness.studies.drift.trend import Drift
from harness.units import about_text, duration_text

PAGE = "drift.html"
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
    return write_page(run_dir / PAGE, render(run_dir.name, report))


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
