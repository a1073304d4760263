"""What drifts over a soak: as a page for people who don't read logs, and as a table."""

from collections.abc import Sequence
from itertools import pairwise
from math import inf
from statistics import median

from rich.console import Console
from rich.text import Text

from harness.measure.model import OPERATIONS
from harness.measure.recorder import LAG_ARRIVAL, LAG_LOOP
from harness.report.html.charts import (
    SECONDS_FROM_MS,
    Chart,
    Drawing,
    Scale,
    Tick,
    placed,
    round_ticks,
)
from harness.report.html.page import (
    Cell,
    Column,
    Facts,
    Figure,
    Figures,
    Items,
    Page,
    Section,
    Table,
    Tile,
    numbers,
    pill,
    texts,
)
from harness.report.story import Row
from harness.report.wording import capital, percent_text, with_unit
from harness.streams import plain_table
from harness.studies.drift.assess import VERDICT_ORDER, DriftReport, Finding, Leak, Side
from harness.studies.drift.figures import DESCRIPTORS, LAGS, MEMORY, OCCUPANCY, RESUMES
from harness.studies.drift.trend import Drift, Trend
from harness.units import about_text, duration_text

MIN_HEIGHT_FACTOR = 4.0
"""The drawing is at least so many times as high as the change that counts, so that what does not
matter looks as it is: flat."""
GAP_FACTOR = 3.0
"""Bins without a value interrupt the line where they are so many times as wide as usual."""
MOST_LABELS = 4
OUTLIER_SHARE = 0.02
"""At each end this share of the points may lie outside the drawing; they are drawn at its edge."""


def drift_chart(finding: Finding) -> Chart:
    """Draw a finding; it has two points at least."""
    watched, trend = finding.watched, finding.trend
    at_s, values = watched.at_s, watched.values
    ends = trend.ends
    steady = abs(trend.level or median(values)) if watched.relative else 1.0
    matters = max(watched.matters * steady, watched.floor)
    low, high = _range(values, ends, MIN_HEIGHT_FACTOR * matters)
    drawing = Drawing(Scale(at_s[0], at_s[-1]), Scale(low, high))
    up = placed(_labels(low, high, watched.unit), drawing.y)
    drawing.grid(up)
    cut_s = at_s[0] + trend.cut_s
    if trend.cut_s > 0:
        drawing.boxes([(at_s[0], cut_s, low, high)], name="warm")
    for stretch in _stretches(at_s, values):
        drawing.line(stretch, name="course")
    if fan := _fan(trend, cut_s, at_s[-1]):
        drawing.area(fan, "fan")
    if ends is not None:
        drawing.line([(cut_s, ends[0]), (at_s[-1], ends[1])], name="fit")
    limit = watched.limit
    if limit is not None and low < limit < high:
        drawing.level(limit, "limit")
    return Chart(
        shapes=drawing.shapes,
        across=[Tick(0.0, "start"), Tick(1.0, duration_text(at_s[-1] - at_s[0]))],
        up=up,
        tone=TONES[trend.verdict],
    )


def _labels(low: float, high: float, unit: str | None) -> list[tuple[float, str]]:
    """Round values beside the axis, in the unit that fits their size."""
    name, scale = {"share": ("%", 100.0), "count": ("", 1.0)}.get(unit or "", (unit or "", 1.0))
    if unit == "ms" and high >= SECONDS_FROM_MS:
        name, scale = "s", 0.001
    ticks = round_ticks(low * scale, high * scale, name, MOST_LABELS)
    return [(value / scale, text) for value, text in ticks]


def _fan(trend: Trend, cut_s: float, end_s: float) -> list[tuple[float, float]]:
    """The lines with the lowest and the highest slope of the interval, through the middle of the
    fitted line."""
    ends, low, high = trend.ends, trend.slope_low_per_h, trend.slope_high_per_h
    if ends is None or low is None or high is None:
        return []
    middle, half_h = sum(ends) / 2, trend.span_s / 7200
    ways = ((cut_s, -low), (end_s, low), (end_s, high), (cut_s, -high))
    return [(at_s, middle + slope * half_h) for at_s, slope in ways]


def _range(
    values: Sequence[float], ends: tuple[float, float] | None, least: float
) -> tuple[float, float]:
    """Lowest and highest that is drawn; never below zero for what never is."""
    ranked = sorted(values)
    spikes = int(len(ranked) * OUTLIER_SHARE)
    shown = [ranked[spikes], ranked[-1 - spikes], *(ends or ())]
    low, high = min(shown), max(shown)
    spare = max((high - low) * 0.08, (least - (high - low)) / 2, 1e-9)
    bottom, top = low - spare, high + spare
    if bottom < 0 <= ranked[0]:
        bottom = 0.0
    return bottom, max(top, bottom + max(least, 1e-9))


def _stretches(at_s: Sequence[float], values: Sequence[float]) -> list[list[tuple[float, float]]]:
    """The points in stretches, split where there is a gap."""
    steps = [later - earlier for earlier, later in pairwise(at_s)]
    widest = GAP_FACTOR * median(steps)
    stretches = [[(at_s[0], values[0])]]
    for step, at, value in zip(steps, at_s[1:], values[1:], strict=True):
        if step > widest:
            stretches.append([])
        stretches[-1].append((at, value))
    return stretches


TONES = dict(zip(VERDICT_ORDER, ("fail", "no_data", "pass", "pass"), strict=True))
DAY_S = 86_400.0
SIDE_NAMES = {Side.SERVICE: "the service", Side.HARNESS: "the harness itself"}
FIGURE_NAMES = {
    RESUMES: "Connections lost and made again, a minute",
    OCCUPANCY: "Guests in session, against what their arrivals imply",
    LAGS[LAG_ARRIVAL]: "Lateness of the harness in reading",
    LAGS[LAG_LOOP]: "Lateness of the harness in acting",
    MEMORY: "Memory of the harness",
    DESCRIPTORS: "Open files of the harness",
}


def drift_page(run: str, report: DriftReport) -> Page:
    """What drifts first, then every figure as a drawing and as a row."""
    findings = [one for verdict in VERDICT_ORDER for one in report.of(verdict)]
    sections = [_courses(findings), _table(findings)] if findings else []
    if report.leak is not None:
        note = "Sessions without proof that they ended. At a real service each may hold an agent "
        note += "for hours: harness sweep ends them."
        sections.append(Section("Sessions left behind", [Facts(_leak(report.leak))], note))
    sections.append(Section("What this takes for granted", [Items(assumptions(report))]))
    headline = _headline(report)
    spans = [finding.trend.span_s for finding in report.findings]
    return Page(
        title=f"Drift: {headline}",
        kicker="Drift over a soak",
        about=run,
        tone=TONES[report.verdict],
        headline=headline,
        why=_why(report),
        tiles=_tiles(report, max(spans, default=0.0)),
        sections=sections,
        foot="Slopes by Theil and Sen, intervals by resampling blocks of time; the effect of the "
        "load is removed first.",
    )


def _courses(findings: Sequence[Finding]) -> Section:
    figures = [
        Figure(
            key=f"course-{number}",
            title=title_of(one.watched.name),
            about=_sentence(one),
            says=f"{one.trend.verdict} over the run; the same figures follow as a table",
            pill=_pill(one),
            chart=drift_chart(one),
        )
        for number, one in enumerate(findings)
        if len(one.watched.values) > 1
    ]
    return Section(
        "Every figure over the run",
        [Figures(figures=figures)],
        "Blue is what was measured, the straight line its trend, and the fan around it how "
        "sure that is. The dashed line is the limit. What is shaded at the left was warm-up and "
        "does not count. A drawing is at least four times as high as a change that would matter, "
        "so what looks flat is flat.",
    )


def _table(findings: Sequence[Finding]) -> Section:
    rows = [
        (
            FIGURE_NAMES.get(one.watched.name, one.watched.name),
            SIDE_NAMES[one.watched.side],
            _pill(one),
            *_ends_text(one),
            _change(one),
            _between(one),
            duration_text(one.trend.cut_s),
            _limit(one),
        )
        for one in findings
    ]
    columns = texts("Figure", "Of", "Verdict") + numbers("From", "To", "Change", "Interval")
    columns += [Column("Warm-up", number=True, wide=True), *numbers("Limit")]
    return Section(
        "As a table",
        [Table("Every figure", columns, rows, cards=True)],
        "From the end of the warm-up to the end of the run; one error rate of 5 % holds for all "
        "figures together.",
    )


def assumptions(report: DriftReport) -> list[str]:
    """The assumptions of the answer, and what such a run can't show."""
    sentences = [
        "One error rate of 5 % holds for all figures together, for their slopes and for one "
        "sudden change of each.",
        "The effect of the number of guests in session on a figure is removed before it is judged.",
    ]
    span_s = max((one.trend.span_s for one in report.findings), default=0.0)
    if span_s < DAY_S:
        sentences.append(
            "This run is shorter than a day, so a change that comes with the hour of the day looks "
            "like a drift."
        )
    return sentences


def title_of(name: str) -> str:
    """A watched figure in words: ``reply p95`` → ``Replies: slowest of twenty``."""
    operation, _, figure = name.rpartition(" ")
    if operation not in OPERATIONS:
        return FIGURE_NAMES.get(name, name)
    many = OPERATIONS[operation].many
    words = {"p50": "usual time", "p95": "slowest of twenty", "errors": "failed"}
    return f"{capital(many)}: {words.get(figure, figure)}"


def _headline(report: DriftReport) -> str:
    leaks, sides = report.leak_is(Drift.DRIFTING), report.drifting_sides
    if sides == {Side.SERVICE, Side.HARNESS}:
        return "The service and the harness itself both drift"
    if sides:
        whose = SIDE_NAMES[sides.pop()]
        both = ", and sessions are left behind" if leaks else ""
        return f"{capital(whose)} drifts{both}"
    if leaks:
        return "Sessions are left behind"
    settled = report.verdict in (Drift.FLAT, Drift.IMPROVING)
    return "Nothing drifts" if settled else "Not decided yet"


def _why(report: DriftReport) -> str:
    parts = [_change_sentence(one) for side in Side for one in report.of(Drift.DRIFTING, side)]
    if Side.HARNESS in report.drifting_sides:
        parts.append("While the harness itself drifts, what it says of the service is in doubt.")
    leak = report.leak
    if leak is not None and leak.verdict is Drift.DRIFTING:
        parts.append(
            f"{percent_text(leak.share)} of the sessions ended without proof of their end; "
            f"{percent_text(leak.tolerated)} are tolerated."
        )
    parts += [f"For the better: {_change_sentence(one)}" for one in report.of(Drift.IMPROVING)]
    many = len(report.of(Drift.UNDECIDED))
    open_yet = [f"{many} figures" if many > 1 else "one figure"] if many else []
    if report.leak_is(Drift.UNDECIDED):
        open_yet.append("the share of sessions left behind")
    if open_yet and not parts:
        which = " and ".join(open_yet)
        parts.append(f"Nothing was found that drifts, but {which} can't be called flat yet.")
    if not parts:
        parts.append("No figure grew, slowed down or leaked by as much as would matter.")
    longer = [one.trend.longer_s for one in report.findings if one.trend.longer_s is not None]
    if longer:
        parts.append(f"About {about_text(max(longer))} more of the same would decide the rest.")
    return " ".join(parts)


def _tiles(report: DriftReport, span_s: float) -> list[Tile]:
    verdicts = [one.trend.verdict for one in report.findings]
    drifting = verdicts.count(Drift.DRIFTING)
    flat = f"{verdicts.count(Drift.FLAT)} of {len(verdicts)}"
    tiles = [
        Tile(str(drifting), "drifting", bad=drifting > 0),
        Tile(str(verdicts.count(Drift.UNDECIDED)), "undecided"),
        Tile(flat, "figures are flat"),
        Tile(duration_text(span_s), "looked at, after the warm-up"),
    ]
    leak = report.leak
    if leak is not None:
        bad = leak.verdict is Drift.DRIFTING
        tiles.append(Tile(percent_text(leak.share), "of the sessions left behind", bad=bad))
        if leak.per_hour is not None:
            tiles.append(Tile(f"{leak.per_hour:,.3g}", "left behind an hour", bad=bad))
    return tiles


def _ends(finding: Finding) -> tuple[float | None, float | None]:
    """The fitted figure after the warm-up and at the end, in three digits."""
    ends, least = finding.trend.ends, min(finding.watched.values)
    if ends is None:
        return None, None
    start, end = (float(f"{max(value, min(least, 0.0)):.3g}") for value in ends)
    return start, end


def _ends_text(finding: Finding) -> tuple[str, str]:
    start, end = (with_unit(value, finding.watched.unit) for value in _ends(finding))
    return start, end


def _pill(finding: Finding) -> Cell:
    verdict = finding.trend.verdict
    return pill(str(verdict), TONES[verdict])


def _change(finding: Finding) -> str:
    """The change between the two ends as they are shown."""
    start, end = _ends(finding)
    if finding.trend.relative or start is None or end is None:
        return _amount(finding, finding.trend.change)
    return _amount(finding, end - start)


def _amount(finding: Finding, value: float | None) -> str:
    if value is None:
        return "—"
    if finding.trend.relative:
        return f"{finding.trend.of_start(value):+.1%}".replace("%", " %")
    unit = finding.watched.unit
    return ("+" if value > 0 else "") + with_unit(float(f"{value:.3g}"), unit)


def _between(finding: Finding) -> str:
    """The interval of the change in words; empty if it is not known."""
    low, high = finding.trend.low, finding.trend.high
    return "" if low is None else f"{_amount(finding, low)} to {_amount(finding, high)}"


def _change_sentence(finding: Finding) -> str:
    """What happened to a figure that drifts, in one sentence."""
    trend, title = finding.trend, title_of(finding.watched.name)
    if trend.step is not None:
        return f"{title}: {_at_once(finding)}"
    start, end = _ends_text(finding)
    change, before = _change(finding), duration_text(round(trend.span_s))
    operation, _, figure = finding.watched.name.rpartition(" ")
    often = {"p50": "Half of the", "p95": "One in twenty"}.get(figure)
    if operation in OPERATIONS and often:
        often += f" {OPERATIONS[operation].many} {'takes' if figure == 'p95' else 'take'}"
        news = f"{often} {end} or longer now; {before} before it was {start} ({change})."
    else:
        way = "rose" if (trend.change or 0) > 0 else "fell"
        news = f"{title} {way} from {start} to {end} in {before} ({change})."
    return news + _at_this_pace(finding)


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
    trend = finding.trend
    if trend.step is not None:
        return capital(_at_once(finding))
    start, end = _ends_text(finding)
    if trend.verdict in (Drift.DRIFTING, Drift.IMPROVING):
        amount = _change(finding)
        span = duration_text(round(trend.span_s))
        return f"From {start} to {end} in {span} ({amount}).{_at_this_pace(finding)}"
    if trend.verdict is Drift.FLAT:
        return f"Stayed at {end}, give or take."
    if trend.note:
        return f"Can't be told: {trend.note}."
    return "; ".join(filter(None, ("Can't be told yet", trend.open_because))) + "."


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


def _leak(leak: Leak) -> list[Row]:
    more = leak.more_sessions
    facts = {
        "Verdict": str(leak.verdict),
        "Of the sessions": percent_text(leak.share),
        "With its interval": f"{percent_text(leak.low)} to {percent_text(leak.high)}",
        "Tolerated": percent_text(leak.tolerated),
        "An hour": "" if leak.per_hour is None else f"{leak.per_hour:,.3g}",
        "Ended by a sweep since": f"{leak.ended_later:,} sessions" if leak.ended_later else "",
        "Would decide": "" if more is None else f"{more:,} sessions more",
    }
    return [Row(name, figure) for name, figure in facts.items() if figure]


STYLES = dict(zip(VERDICT_ORDER, ("bold red", "yellow", "green", "green"), strict=True))


def show_drift(report: DriftReport, console: Console) -> None:
    heads = ("figure", "of the", "verdict", "change over the run", "interval", "")
    rows = plain_table(*heads, left=True)
    for finding in report.findings:
        trend = finding.trend
        rows.add_row(
            finding.watched.name,
            str(finding.watched.side),
            Text(str(trend.verdict), style=STYLES[trend.verdict]),
            _change(finding),
            _between(finding),
            f"changed at once from {step.before:.4g} to {step.after:.4g}"
            if (step := trend.step) is not None
            else trend.open_because,
        )
    if (leak := report.leak) is not None:
        rows.add_row(
            "leftovers",
            "service",
            Text(str(leak.verdict), style=STYLES[leak.verdict]),
            f"{leak.share:.2%} of sessions",
            f"{leak.low:.2%} to {leak.high:.2%}",
            f"tolerated {leak.tolerated:.2%}",
        )
    console.print(rows)
    console.print(f"\n{report.sentence}", style="bold")
    for assumption in assumptions(report):
        console.print(assumption, style="dim")
