"""The answer of a capacity search as a page for people who decide.

The curve of a capacity search as a drawing: figure over load, and where it meets the limit.

Plain SVG, so that the page needs no script. Its texts are numbers of ours; what comes from outside
does not get in here.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import log
from pathlib import Path
from typing import Any

from harness import __version__
from harness.report.html.page import template_environment
from harness.report.wording import in_words
from harness.rundir.layout import write_atomically
from harness.studies.capacity.answer import sentences
from harness.studies.capacity.search import Raised
from harness.units import duration_text

HEIGHT = 320
LEFT, RIGHT, TOP, BOTTOM = 64, 700, 30, 266
LOWEST, HIGHEST = 0.1, 6.0
"""Shares of the limit that the axis shows; what lies outside is drawn at its edge."""
SHARES = (0.1, 0.25, 0.5, 1.0, 2.0, 4.0)
MOST_TICKS = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """A level: where it is drawn, its interval, and its tone."""

    x: float
    y: float
    top: float
    bottom: float
    tone: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Tick:
    """A label beside an axis."""

    at: float
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class KneeChart:
    """All that the template draws; lengths in units of a drawing that is 720 wide."""

    points: Sequence[Point]
    across: Sequence[Tick]
    up: Sequence[Tick]
    limit_y: float
    low_x: float | None
    high_x: float | None
    left: int = LEFT
    right: int = RIGHT
    top: int = TOP
    bottom: int = BOTTOM
    height: int = HEIGHT


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """A level: its load, its figure with its interval as shares of the limit, and its tone."""

    load: float
    of_limit: Sequence[float]
    tone: str


def knee_chart(
    levels: Sequence[Measured], *, low: float | None, high: float | None
) -> KneeChart | None:
    """Loads are in the unit that is drawn. None with fewer than two levels."""
    if len(levels) < 2:
        return None
    most = max(level.load for level in levels) * 1.05

    def across(load: float) -> float:
        return float(round(LEFT + (RIGHT - LEFT) * min(load / most, 1.0), 1))

    points = []
    for level in sorted(levels, key=lambda level: level.load):
        least, figure, top = level.of_limit
        points.append(
            Point(
                x=across(level.load),
                y=_up(figure),
                top=_up(top),
                bottom=_up(least),
                tone=level.tone,
            )
        )
    step = _step(most)
    return KneeChart(
        points=points,
        across=[
            Tick(at=across(number * step), text=_label(number * step))
            for number in range(int(most / step) + 1)
        ],
        up=[Tick(at=_up(share), text=f"{share:.0%}") for share in SHARES],
        limit_y=_up(1.0),
        low_x=None if low is None else across(low),
        high_x=None if high is None else across(high),
    )


def _label(load: float) -> str:
    return f"{load:,.0f}" if load >= 1000 else f"{load:,.4g}"


def _up(share: float) -> float:
    inside = min(max(share, LOWEST), HIGHEST)
    part = (log(inside) - log(LOWEST)) / (log(HIGHEST) - log(LOWEST))
    return round(BOTTOM - (BOTTOM - TOP) * part, 1)


def _step(most: float) -> float:
    """A round distance between labels."""
    step = 1.0
    while most / step > MOST_TICKS:
        for factor in (2, 2.5, 2):  # 1, 2, 5, 10
            step *= factor
            if most / step <= MOST_TICKS:
                break
    return step


PAGE = "capacity.html"
WORDS = {
    "under": "met",
    "close": "too close to call",
    "over": "missed",
    "inconclusive": "the generator was the limit",
}
TONES = {"under": "good", "close": "near", "over": "bad", "inconclusive": "dull"}


def write_capacity_page(directory: Path, found: Mapping[str, Any]) -> Path:
    """Write ``capacity.html`` from the answer (as ``harness capacity --json`` prints it)."""
    return write_atomically(directory / PAGE, render(found))


def render(found: Mapping[str, Any]) -> str:
    """The page's HTML; everything that comes from outside is escaped."""
    by = Raised(found["by"])
    levels = sorted(found["levels"], key=by.load_of)
    highest = max(map(by.load_of, levels), default=1.0)
    rows = [
        {
            "load": _load(by, by.load_of(level)),
            "width": round(100 * by.load_of(level) / highest, 2),
            "tone": TONES[level["judged"]],
            "word": WORDS[level["judged"]],
            "why": level["reason"]
            or ", ".join(f"{text}: {figure}" for text, figure in level["figures"].items()),
            "beside": _beside(by, level),
            "replies": _number(level["replies_per_s"]),
            "run": level["run"],
        }
        for level in levels
    ]
    top: Mapping[str, Any] = max(
        (level for level in levels if level["judged"] == "under"), key=by.load_of, default={}
    )
    return (
        template_environment()
        .get_template("capacity.html")
        .render(
            version=__version__,
            found=found,
            headline=_headline(found, by),
            tone="pass" if found["found"] in ("knee", "at least") else "no_data",
            rows=rows,
            level_count=len(rows),
            chart=_chart(found, by, levels),
            unit=by.words,
            by_rate=by is Raised.RATE,
            centre=_number_of(found.get("centre")),
            wanted=_number_of(found.get("wanted")),
            objective=_objective(found["broke_first"].partition(": ")[0]),
            top={
                "beside": _beside(by, top),
                "stay": "-" if not top.get("session_s") else duration_text(top["session_s"]),
            }
            if top
            else None,
            fits=sentences(found["fits"]) if found.get("fits") else [],
            minutes=f"{found['minutes']:.1f}",
        )
    )


def _headline(found: Mapping[str, Any], by: Raised) -> str:
    low, high = found["low"], found["high"]
    match found["found"]:
        case "knee":
            return f"{low:,.0f} to {high:,.0f} {by.words}"
        case "at least" | "the generator is the limit":
            return f"At least {low:,.0f} {by.words}"
        case "at most":
            return f"Fewer than {high:,.0f} {by.words}"
        case _:
            return "Not found yet"


def _load(by: Raised, load: float) -> str:
    return _number(by.shown(load)) if by is Raised.RATE else f"{load:,.0f}"


def _beside(by: Raised, level: Mapping[str, Any]) -> str:
    """The other quantity: measured at that level."""
    if by is Raised.RATE:
        return _number(level.get("occupancy"))
    per_s = level.get("arrivals_per_s")
    return _number(None if per_s is None else per_s * 60)


def _chart(
    found: Mapping[str, Any], by: Raised, levels: Sequence[Mapping[str, Any]]
) -> KneeChart | None:
    answered = found["found"] == "knee" and found["high"] is not None
    measured = [
        Measured(
            load=by.shown(by.load_of(level)),
            of_limit=level["of_limit"],
            tone=TONES[level["judged"]],
        )
        for level in levels
        if level.get("of_limit")
    ]
    return knee_chart(
        measured,
        low=found["low"] if answered else None,
        high=found["high"] if answered else None,
    )


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
