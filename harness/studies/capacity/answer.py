"""The answer of a capacity search: as plain values for terminal, ``--json`` and a plan; as a page.

What the levels say together (scalability law, queue, Little's law) is held against it: each either
says something, or why it does not apply.
"""

from collections.abc import Mapping, Sequence
from math import inf, isfinite
from pathlib import Path
from statistics import median
from typing import Any

from rich.console import Console
from rich.text import Text

from harness.errors import ConfigError
from harness.judge.objective import Kind, Unit, parse_objective
from harness.report.html.charts import Chart, Drawing, Scale, placed, round_ticks
from harness.report.html.page import (
    Block,
    Cell,
    Column,
    Facts,
    Figure,
    Figures,
    Heading,
    Items,
    Page,
    Section,
    Table,
    Tile,
    level,
    numbers,
    texts,
)
from harness.report.story import Row
from harness.report.wording import capital, in_words, sentence
from harness.studies.capacity.holding import Judged
from harness.studies.capacity.models import FEWEST_LEVELS, fit_queue, fit_scalability
from harness.studies.capacity.search import Answer, AnswerKind, Quantity
from harness.units import duration_text, figure_text

CURVE_LOWEST, CURVE_HIGHEST = 0.1, 6.0
"""The range of the curve, as multiples of the limit; what lies outside is drawn at its edge."""
CURVE_TICKS = (0.1, 0.25, 0.5, 1.0, 2.0, 4.0)
JUDGED_STYLES = {
    Judged.UNDER: ("met", "good", "green"),
    Judged.CLOSE: ("too close to call", "near", "yellow"),
    Judged.OVER: ("missed", "bad", "red"),
    Judged.TOO_FEW: ("too few guests to tell", "dull", "magenta"),
    Judged.INCONCLUSIVE: ("the generator was the limit", "dull", "magenta"),
}
"""For each judgement its words, the tone on the page, and the style in the terminal."""
MAX_PEAK_FACTOR = 10.0
"""A peak at more than this many times the most that were in session is not shown as a figure."""
STEADY_FACTOR = 2.0
"""Figures up to this many times the limit are taken to come from a stable queue."""

Levels = Sequence[Mapping[str, Any]]


def fits_of(by: Quantity, levels: Levels) -> dict[str, Any]:
    """``scalability``, ``queueing``, ``little``: each with ``says`` or ``why_not``, and figures."""
    usable = [level for level in levels if level["judged"] != "inconclusive"]
    return {
        "scalability": _scalability(usable),
        "queueing": _queueing(by, usable),
        "little": _little(levels),
    }


def sentences(fits: Mapping[str, Mapping[str, Any]]) -> list[tuple[str, str, str]]:
    """(name, what it says or why it does not, why to doubt it) for a person."""
    names = {
        "scalability": "Universal Scalability Law",
        "queueing": "As a queue (M/M/c)",
        "little": "Little's law",
    }
    return [
        (
            name,
            fits[key].get("says") or fits[key]["why_not"],
            "; ".join(fits[key].get("doubts", ())),
        )
        for key, name in names.items()
    ]


def _scalability(levels: Levels) -> dict[str, Any]:
    points = {
        round(level["occupancy"], 3): level["replies_per_s"]
        for level in levels
        if level.get("occupancy") and level.get("replies_per_s")
    }
    if len(points) < FEWEST_LEVELS:
        return {"why_not": f"needs {FEWEST_LEVELS} different levels, there are {len(points)}"}
    fit = fit_scalability(list(points), list(points.values()))
    peak = fit.peak_concurrency
    if isfinite(peak) and peak > MAX_PEAK_FACTOR * max(points):
        peak, says = inf, "no peak in sight: replies still grow at the highest level"
    elif isfinite(peak):
        says = f"most replies at {peak:,.0f} in session: {fit.peak_throughput:,.1f} a second"
    elif isfinite(fit.peak_throughput):
        says = f"no peak, at most {fit.peak_throughput:,.1f} replies a second"
    else:
        says = "replies grow in step with the guests: no end in sight"
    return {
        "says": says,
        "lambda": fit.lambda_,
        "sigma": fit.sigma,
        "kappa": fit.kappa,
        "standard_errors": fit.errors,
        "r_squared": fit.r_squared,
        "peak_occupancy": peak if isfinite(peak) else None,
        "levels": [
            {"occupancy": n, "replies_per_s": x, "off": off}
            for (n, x), off in zip(points.items(), fit.residuals, strict=True)
        ],
        "doubts": list(fit.doubts),
    }


def _queueing(by: Quantity, levels: Levels) -> dict[str, Any]:
    if by is Quantity.OCCUPANCY:
        return {
            "why_not": "does not apply: the next guest waits for the one before (a closed workload)"
        }
    known = [level for level in levels if level.get("of_limit") and level.get("nearest")]
    texts = {level["nearest"] for level in known}
    objective = next((parse_objective(text, place="level") for text in sorted(texts)), None)
    if (
        len(texts) != 1
        or objective is None
        or objective.subject != "reply"
        or objective.percent is None
        or objective.unit is not Unit.MS
        or (objective.kind or Kind.SERVICE) is not Kind.SERVICE
    ):
        return {"why_not": "needs one percentile of the replies' service time as the objective"}
    steady = {
        level["replies_per_s"]: level["of_limit"][1] * objective.limit / 1000
        for level in known
        if level["of_limit"][1] <= STEADY_FACTOR and level.get("replies_per_s")
    }
    try:
        fit = fit_queue(list(steady), list(steady.values()), objective.percent)
    except ConfigError:
        return {"why_not": f"needs three levels in balance, there are {len(steady)}"}
    each = median(
        level["replies_per_s"] / level["arrivals_per_s"]
        for level in known
        if level.get("replies_per_s") and level.get("arrivals_per_s")
    )
    rate = fit.rate_at(objective.limit / 1000)
    predicted = None if rate is None else by.shown(rate / each)
    workers = f"{fit.servers} workers" if fit.servers > 1 else "one worker"
    says = f"{workers} of {duration_text(float(f'{fit.service_s:.3g}'))} an answer"
    if predicted is not None:
        says += f" would reach the limit at {predicted:,.0f} {by.unit}"
    return {
        "says": says,
        "servers": fit.servers,
        "service_s": fit.service_s,
        "predicted": predicted,
        "levels": [
            {"replies_per_s": x, "time_s": time, "off": off}
            for (x, time), off in zip(steady.items(), fit.residuals, strict=True)
        ],
        "doubts": list(fit.doubts),
    }


def _little(levels: Levels) -> dict[str, Any]:
    off = [level["little_off"] for level in levels if level.get("little_off") is not None]
    if not off:
        return {"why_not": "too few sessions ended to check it"}
    return {
        "says": f"occupancy is arrivals times time in session on {len(off)} of {len(levels)} "
        f"levels, to within {max(off):.1%}",
        "worst_off": max(off),
        "checked": len(off),
    }


ASSUMES = (
    "The service is the same during the whole search. Two early levels are held again at its end "
    "to see whether it still is.",
    "What is found holds for the guests of this locustfile, at these hours, in this deployment.",
    "A level counts as missed when more than 1 % of connects, sessions, messages or replies fail, "
    "also where no objective names them.",
)
"""The assumptions of every answer."""
AT_OTHER_HOURS = "What the service carries at other hours, or in spells longer than the search."


def could_not_tell(by: Quantity, answer: Answer, levels: Levels) -> list[str]:
    """What a search leaves open, and what may be done about it."""
    open_points = list(map(sentence, answer.doubts))
    open_points += [
        f"The level of {figure_text(by.shown(by.load_of(level)))} {by.unit} {level['note']}."
        for level in levels
        if level.get("note")
    ]
    if answer.confidence is not None and not any(level.get("again") for level in levels):
        open_points.append("Whether the service stayed the same: no level has been held again.")
    return [*open_points, AT_OTHER_HOURS]


def as_dict(
    by: Quantity, answer: Answer, levels: Levels, *, wanted: float | None, directory: str
) -> dict[str, Any]:
    """All of it; loads in the unit that ``unit`` names. ``wanted`` is a load as searched."""
    top = highest_met(by, answer, levels)
    arrivals_per_s = top.get("arrivals_per_s")
    return {
        "by": str(by),
        "unit": by.unit,
        "found": str(answer.kind),
        "answer": answer.text(by.unit, by.shown(1.0)),
        "assumes": list(ASSUMES),
        "could_not_tell": could_not_tell(by, answer, levels),
        "low": by.shown(answer.low),
        "high": None if answer.high == inf else by.shown(answer.high),
        "centre": None if answer.centre is None else by.shown(answer.centre),
        "confidence": answer.confidence,
        "broke_first": answer.broke_first,
        "wanted": None if wanted is None else by.shown(wanted),
        "headroom": None if wanted is None or not answer.low else answer.headroom(wanted),
        "at_the_highest_met": {
            "occupancy": top.get("occupancy"),
            "arrivals_per_minute": None if arrivals_per_s is None else arrivals_per_s * 60,
            "session_s": top.get("session_s"),
        },
        "fits": fits_of(by, levels),
        "levels": list(levels),
        "minutes": answer.minutes,
        "directory": directory,
    }


def highest_met(by: Quantity, answer: Answer, levels: Levels) -> Mapping[str, Any]:
    """The highest level below the answer, empty when there is none."""
    at = [level for level in levels if by.load_of(level) <= answer.low * (1 + 1e-9)]
    return max(at, key=by.load_of, default={})


def figure_of(by: Quantity, load: float) -> str:
    """A load as it is shown, in the unit of the search."""
    return f"{by.shown(load):,.1f}" if by is Quantity.RATE else f"{load:,.0f}"


def show_level(by: Quantity, levels: Levels, console: Console) -> None:
    """The last of the levels."""
    level = levels[-1]
    _, _, style = JUDGED_STYLES[level["judged"]]
    at = f"level {len(levels):>2}  {figure_of(by, by.load_of(level)):>8} {by.unit}"
    shown = (f"{level['judged']:<12}", style)
    console.print(Text.assemble(f"{at}  ", shown, f" {_figures(level)}"))


def _figures(level: Mapping[str, Any]) -> str:
    """What decided, or else every figure; and what became of the level while it was held."""
    figures = ", ".join(f"{text}: {figure}" for text, figure in level["figures"].items())
    return (level["reason"] or figures) + (f" ({level['note']})" if level.get("note") else "")


def show(by: Quantity, answer: Answer, shown: Mapping[str, Any], console: Console) -> None:
    """The answer for a person; ``shown`` is it as plain values."""
    console.print(f"\ncapacity  {shown['answer']}", style="bold")
    for doubt in answer.doubts:
        console.print(f"in doubt  {doubt}", style="yellow")
    if answer.broke_first:
        what = "broke first" if answer.high < inf else "undecided"
        console.print(f"{what}  {answer.broke_first}")
    top = shown["at_the_highest_met"]
    if all(top.values()):
        console.print(
            f"at the highest level that was met: {top['occupancy']:,.1f} guests in session, "
            f"{duration_text(top['session_s'])} each, {top['arrivals_per_minute']:,.1f} new ones "
            "a minute"
        )
    for name, says, doubts in sentences(shown["fits"]):
        doubt = f" (do not trust it: {doubts})" if doubts else ""
        console.print(f"{name}: {says}{doubt}", style="dim")
    if shown["headroom"] is not None:
        console.print(
            f"headroom against {shown['wanted']:,.4g} {by.unit}  {shown['headroom']:+.0%}"
        )
    console.print(
        f"{answer.levels} levels, {answer.minutes:.1f} minutes; {shown['directory']}", style="dim"
    )


def capacity_page(answer: Mapping[str, Any]) -> Page:
    """The answer (as ``--json`` prints it), the curve, the levels, what they say together."""
    by = Quantity(answer["by"])
    levels = sorted(answer["levels"], key=by.load_of)
    headline = capital(str(answer["answer"]))
    open_points = Items(answer["could_not_tell"])
    rests: list[Block] = [Items(answer["assumes"]), Heading("What it could not tell"), open_points]
    sections = [
        _curve(answer, by, levels),
        _levels(by, levels),
        _fits(answer),
        Section("What this rests on", rests),
    ]
    return Page(
        title=f"Capacity: {headline}",
        kicker="Capacity search",
        about=Path(str(answer["directory"])).name,
        tone="pass" if answer["found"] in ("knee", "at least") else "no_data",
        headline=headline,
        why=_why(answer, by),
        tiles=_tiles(answer, by, levels),
        sections=[section for section in sections if section is not None],
        foot="A level counts as met or missed only when the interval of its figures lies clear of "
        "their limits. Those that are too close to call are read together.",
    )


WHY: Mapping[str, str] = {
    AnswerKind.CHANGED: "What was measured at the beginning did not hold at the end, so no "
    "confidence can be stated. Search again while the service is the same, or give it longer to "
    "settle (--settle).",
    AnswerKind.AT_LEAST: "The highest load that was allowed still met the objectives; the limit "
    "lies higher.",
    AnswerKind.GENERATOR: "Beyond that the load generator was the limit. The service's own limit "
    "was not found; use more processes or machines.",
}


def _why(answer: Mapping[str, Any], by: Quantity) -> str:
    kind = answer["found"]
    if kind == AnswerKind.KNEE:
        many = "may come" if by is Quantity.RATE else "may be in session"
        parts = [
            f"So many guests {many} before the objectives are missed; the true limit lies "
            "between these two with a confidence of 95 %."
        ]
        if answer["centre"] is not None:
            rate = " a minute" if by is Quantity.RATE else ""
            parts.append(f"Most likely it is {answer['centre']:,.0f}{rate}.")
        if objective := answer["broke_first"].partition(": ")[0]:
            words = in_words(objective)  # the written form beside it
            both = f"{words} ({objective})" if words else objective
            parts.append(f"Beyond it this no longer holds: {both}.")
        return " ".join(parts)
    if kind == AnswerKind.AT_MOST:
        first = f": {answer['broke_first']}" if answer["broke_first"] else ""
        return f"The lowest load that was tried already missed the objectives{first}."
    return WHY.get(kind, "The levels tried so far do not decide it.")


def _tiles(answer: Mapping[str, Any], by: Quantity, levels: Levels) -> list[Tile]:
    tiles = []
    met = [one for one in levels if one["judged"] == "under"]
    if met:
        top = max(met, key=by.load_of)
        other = "guests in session" if by is Quantity.RATE else "new guests a minute"
        session_s = top.get("session_s")
        tiles += [
            Tile(_beside(by, top), f"{other} at the highest level that was met"),
            Tile(duration_text(session_s) if session_s else "-", "in session, each"),
        ]
    if answer["headroom"] is not None:
        wanted = answer["wanted"]
        share, against = f"{answer['headroom'] * 100:+.0f} %", "headroom against what is wanted"
        tiles.append(Tile(share, against, f"{wanted:,.0f} {by.words}", bad=answer["headroom"] < 0))
    tiles.append(Tile(str(len(levels)), "levels tried"))
    return [*tiles, Tile(f"{answer['minutes']:.1f}", "minutes of load")]


def _levels(by: Quantity, levels: Levels) -> Section:
    highest = max(map(by.load_of, levels), default=1.0)
    rows: list[Sequence[Cell]] = []
    for one in levels:
        load = by.load_of(one)
        words, tone, _ = JUDGED_STYLES[one["judged"]]
        rows.append(
            (
                _number(by.shown(load)) if by is Quantity.RATE else f"{load:,.0f}",
                level(load / highest, tone),
                words + (", held again" if one.get("again") else ""),
                _beside(by, one),
                _number(one["replies_per_s"]),
                _figures(one),
            )
        )
    raised, beside, what = ("Guests at once", "Guests a minute", "how many guests were in session")
    if by is Quantity.RATE:
        raised, beside, what = ("Guests a minute", "In session", "its arrival rate")
    columns = [*texts(raised), Column("", name_class="bar"), *texts("Objectives")]
    columns += [*numbers(beside, "Replies a second"), Column("Figures", name_class="words")]
    return Section(
        "Every level",
        [Table("Every level", columns, rows, cards=True)],
        f"Each level is a run of its own with its own report; the bar is {what}.",
    )


def _fits(answer: Mapping[str, Any]) -> Section:
    rows = [
        Row(name, says, f"In doubt: {doubts}." if doubts else "")
        for name, says, doubts in sentences(answer["fits"])
    ]
    return Section(
        "What the levels say together",
        [Facts(rows)],
        "Checks against theory. None of them is the answer; where one is in doubt, the reason "
        "stands beside it.",
    )


def _curve(answer: Mapping[str, Any], by: Quantity, levels: Levels) -> Section | None:
    measured = [one for one in levels if one.get("of_limit")]
    if len(measured) < 2:
        return None
    answered = answer["found"] in ("knee", "changed") and answer["high"] is not None
    points = [
        (by.shown(by.load_of(one)), one["of_limit"], JUDGED_STYLES[one["judged"]][1])
        for one in measured
    ]
    chart = knee_chart(points, band=(answer["low"], answer["high"]) if answered else None)
    came = "guests came a minute" if by is Quantity.RATE else "guests were in session"
    figure = Figure(
        key="curve",
        title=f"The figure as a share of its limit, over {by.words}",
        says="the same figures follow as a table",
        chart=chart,
    )
    return Section(
        "Where it breaks",
        [Figures(figures=[figure], single=True)],
        f"Each point is a level that was run: how many {came}, and how the figure nearest to "
        "breaking stood to its limit, with its interval. The shaded band is the answer, the dashed "
        "line the limit.",
    )


def knee_chart(
    points: Sequence[tuple[float, Sequence[float], str]], *, band: tuple[float, float] | None
) -> Chart:
    """Figure over load, and where it meets the limit.

    Each point is a load in the unit that is drawn, its figure with its interval as shares of the
    limit (low, figure, high), and its tone.
    """
    across = Scale(0.0, max(load for load, _, _ in points) * 1.05)
    up = Scale(CURVE_LOWEST, CURVE_HIGHEST, log=True)
    drawing = Drawing(across, up)
    labels = placed([(share, f"{share:.0%}") for share in CURVE_TICKS], up)
    drawing.grid(labels)
    if band is not None:
        drawing.boxes([(*band, CURVE_LOWEST, CURVE_HIGHEST)], name="answer")
    drawing.level(1.0, "limit")
    for load, (low, value, high), tone in points:
        drawing.point(load, low, value, high, tone)
    return Chart(
        shapes=drawing.shapes,
        across=placed(round_ticks(0.0, across.high), across),
        up=labels,
        tall=True,
    )


def _beside(by: Quantity, level: Mapping[str, Any]) -> str:
    """The other quantity: measured at that level."""
    if by is Quantity.RATE:
        return _number(level.get("occupancy"))
    per_s = level.get("arrivals_per_s")
    return _number(None if per_s is None else per_s * 60)


def _number(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:,.0f}" if value >= 100 else f"{value:,.1f}"
