"""The answer of a capacity search as a page for people who decide."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from harness.report.html import page as html
from harness.report.html.charts import Chart, Drawing, Scale, placed, round_ticks
from harness.report.html.page import (
    Block,
    Cell,
    Column,
    Fact,
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
    write_page,
)
from harness.report.wording import in_words
from harness.studies.capacity.answer import sentences
from harness.studies.capacity.search import Raised
from harness.units import duration_text

PAGE = "capacity.html"
LOWEST, HIGHEST = 0.1, 6.0
"""Shares of the limit that the curve shows; what lies outside is drawn at its edge."""
SHARES = (0.1, 0.25, 0.5, 1.0, 2.0, 4.0)
WORDS = {
    "under": "met",
    "close": "too close to call",
    "over": "missed",
    "too few": "too few guests to tell",
    "inconclusive": "the generator was the limit",
}
TONES = {"under": "good", "close": "near", "over": "bad", "too few": "dull", "inconclusive": "dull"}


def write_capacity_page(directory: Path, found: Mapping[str, Any]) -> Path:
    """Write ``capacity.html`` from the answer (as ``harness capacity --json`` prints it).

    Raises ConfigError when that is not possible.
    """
    return write_page(directory / PAGE, capacity_page(found))


def render(found: Mapping[str, Any]) -> str:
    """The page's HTML; everything that comes from outside is escaped."""
    return html.render(capacity_page(found))


def capacity_page(found: Mapping[str, Any]) -> Page:
    """The page: the answer, the curve, every level, and what the levels say together."""
    by = Raised(found["by"])
    levels = sorted(found["levels"], key=by.load_of)
    headline = str(found["answer"])
    headline = headline[:1].upper() + headline[1:]
    sections = [_curve(found, by, levels), _levels(by, levels), _fits(found), _assumptions(found)]
    return Page(
        title=f"Capacity: {headline}",
        kicker="Capacity search",
        about=str(found["directory"]),
        tone="pass" if found["found"] in ("knee", "at least") else "no_data",
        headline=headline,
        why=_why(found, by),
        tiles=_tiles(found, by, levels),
        sections=[section for section in sections if section is not None],
        foot="A level counts as met or missed only when the interval of its figures lies clear of "
        "their limits. Those that are too close to call are read together.",
    )


def _why(found: Mapping[str, Any], by: Raised) -> str:
    match found["found"]:
        case "knee":
            many = "may come" if by is Raised.RATE else "may be in session"
            told = [
                f"So many guests {many} before the objectives are missed; the true limit lies "
                "between these two with a confidence of 95 %."
            ]
            if centre := _number_of(found.get("centre")):
                rate = " a minute" if by is Raised.RATE else ""
                told.append(f"Most likely it is {centre}{rate}.")
            if objective := _objective(found["broke_first"].partition(": ")[0]):
                told.append(f"Beyond it this no longer holds: {objective}.")
            return " ".join(told)
        case "changed":
            return (
                "What was measured at the beginning did not hold at the end, so no confidence can "
                "be stated. Search again while the service is the same, or give it longer to "
                "settle (--settle)."
            )
        case "at least":
            return (
                "The highest load that was allowed still met the objectives; the limit lies higher."
            )
        case "the generator is the limit":
            return (
                "Beyond that the load generator was the limit. The service's own limit was not "
                "found; use more processes or machines."
            )
        case "at most":
            first = f": {found['broke_first']}" if found["broke_first"] else ""
            return f"The lowest load that was tried already missed the objectives{first}."
        case _:
            return "The levels tried so far do not decide it."


def _tiles(found: Mapping[str, Any], by: Raised, levels: Sequence[Mapping[str, Any]]) -> list[Tile]:
    tiles = []
    met = [one for one in levels if one["judged"] == "under"]
    if met:
        top = max(met, key=by.load_of)
        other = "guests in session" if by is Raised.RATE else "new guests a minute"
        stay = top.get("session_s")
        tiles += [
            Tile(figure=_beside(by, top), name=f"{other} at the highest level that was met"),
            Tile(figure=duration_text(stay) if stay else "-", name="in session, each"),
        ]
    if found["headroom"] is not None:
        wanted = _number_of(found.get("wanted"))
        tiles.append(
            Tile(
                figure=f"{found['headroom'] * 100:+.0f} %",
                name="headroom against what is wanted",
                note=f"{wanted} {by.words}" if wanted else "",
                bad=found["headroom"] < 0,
            )
        )
    tiles.append(Tile(figure=str(len(levels)), name="levels tried"))
    return [*tiles, Tile(figure=f"{found['minutes']:.1f}", name="minutes of load")]


def _levels(by: Raised, levels: Sequence[Mapping[str, Any]]) -> Section:
    highest = max(map(by.load_of, levels), default=1.0)
    rows: list[Sequence[Cell]] = []
    for one in levels:
        figures = ", ".join(f"{text}: {figure}" for text, figure in one["figures"].items())
        rows.append(
            (
                _load(by, by.load_of(one)),
                level(by.load_of(one) / highest, TONES[one["judged"]]),
                WORDS[one["judged"]] + (", held again" if one.get("again") else ""),
                _beside(by, one),
                _number(one["replies_per_s"]),
                (one["reason"] or figures) + (f" ({one['note']})" if one.get("note") else ""),
            )
        )
    names = (
        ("Guests a minute", "In session")
        if by is Raised.RATE
        else ("Guests at once", "Guests a minute")
    )
    columns = [
        Column(names[0]),
        Column("", name_class="bar"),
        Column("Objectives"),
        Column(names[1], number=True),
        Column("Replies a second", number=True),
        Column("Figures", name_class="words"),
    ]
    what = "its arrival rate" if by is Raised.RATE else "how many guests were in session"
    return Section(
        heading="Every level",
        lede=f"Each level is a run of its own with its own report; the bar is {what}.",
        blocks=[Table(label="Every level", columns=columns, rows=rows, cards=True)],
    )


def _fits(found: Mapping[str, Any]) -> Section | None:
    if not found.get("fits"):
        return None
    rows = [
        Fact(name, says, f"In doubt: {doubts}." if doubts else "")
        for name, says, doubts in sentences(found["fits"])
    ]
    return Section(
        heading="What the levels say together",
        lede="Checks against theory. None of them is the answer; where one is in doubt, the reason "
        "stands beside it.",
        blocks=[Facts(rows)],
    )


def _assumptions(found: Mapping[str, Any]) -> Section | None:
    if not found.get("assumes"):
        return None  # an older search
    blocks: list[Block] = [
        Items(found["assumes"]),
        Heading("What it could not tell"),
        Items(found["could_not_tell"]),
    ]
    return Section(heading="What this rests on", blocks=blocks)


def _curve(
    found: Mapping[str, Any], by: Raised, levels: Sequence[Mapping[str, Any]]
) -> Section | None:
    measured = [one for one in levels if one.get("of_limit")]
    if len(measured) < 2:
        return None
    answered = found["found"] in ("knee", "changed") and found["high"] is not None
    points = [
        (by.shown(by.load_of(one)), one["of_limit"], TONES[one["judged"]]) for one in measured
    ]
    chart = knee_chart(points, band=(found["low"], found["high"]) if answered else None)
    came = "guests came a minute" if by is Raised.RATE else "guests were in session"
    figure = Figure(
        key="curve",
        title=f"The figure as a share of its limit, over {by.words}",
        about="",
        says="the same figures follow as a table",
        chart=chart,
    )
    return Section(
        heading="Where it breaks",
        lede=f"Each point is a level that was run: how many {came}, and how the figure nearest to "
        "breaking stood to its limit, with its interval. The shaded band is the answer, the dashed "
        "line the limit.",
        blocks=[Figures(figures=[figure], single=True)],
    )


def knee_chart(
    points: Sequence[tuple[float, Sequence[float], str]], *, band: tuple[float, float] | None
) -> Chart:
    """Figure over load, and where it meets the limit.

    Each point is a load in the unit that is drawn, its figure with its interval as shares of the
    limit (low, figure, high), and its tone.
    """
    across = Scale(0.0, max(load for load, _, _ in points) * 1.05)
    up = Scale(LOWEST, HIGHEST, log=True)
    drawing = Drawing(across, up)
    labels = placed([(share, f"{share:.0%}") for share in SHARES], up)
    drawing.grid(labels)
    if band is not None:
        drawing.boxes([(*band, LOWEST, HIGHEST)], name="answer")
    drawing.level(1.0, "limit")
    for load, (low, value, high), tone in points:
        drawing.point(load, low, value, high, tone)
    return Chart(
        shapes=drawing.shapes,
        across=placed(round_ticks(0.0, across.high), across),
        up=labels,
        tall=True,
    )


def _load(by: Raised, load: float) -> str:
    return _number(by.shown(load)) if by is Raised.RATE else f"{load:,.0f}"


def _beside(by: Raised, level: Mapping[str, Any]) -> str:
    """The other quantity: measured at that level."""
    if by is Raised.RATE:
        return _number(level.get("occupancy"))
    per_s = level.get("arrivals_per_s")
    return _number(None if per_s is None else per_s * 60)


def _objective(text: str) -> str:
    """In plain words, with the written form beside it."""
    words = in_words(text)
    return f"{words} ({text})" if words else text


def _number_of(value: float | None) -> str:
    return "" if value is None else f"{value:,.0f}"


def _number(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:,.0f}" if value >= 100 else f"{value:,.1f}"
