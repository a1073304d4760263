"""The answer of a capacity search as a page for people who decide."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from harness import __version__
from harness.report.knee_chart import KneeChart, knee_chart
from harness.report.page import template_environment
from harness.report.wording import in_words
from harness.units import duration_text

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
    path = directory / PAGE
    part = path.with_suffix(".html.part")
    part.write_text(render(found), encoding="utf-8")
    part.replace(path)
    return path


def render(found: Mapping[str, Any]) -> str:
    """The page's HTML; everything that comes from outside is escaped."""
    levels = sorted(found["levels"], key=lambda level: level["rate_per_s"])
    highest = max((level["rate_per_s"] for level in levels), default=1.0)
    rows = [
        {
            "rate": f"{level['rate_per_s'] * 60:,.1f}",
            "width": round(100 * level["rate_per_s"] / highest, 2),
            "tone": TONES[level["judged"]],
            "word": WORDS[level["judged"]],
            "why": level["reason"]
            or ", ".join(f"{text}: {figure}" for text, figure in level["figures"].items()),
            "occupancy": _number(level["occupancy"]),
            "replies": _number(level["replies_per_s"]),
            "run": level["run"],
        }
        for level in levels
    ]
    top = max(
        (level for level in levels if level["judged"] == "under"),
        key=lambda level: level["rate_per_s"],
        default=None,
    )
    return (
        template_environment()
        .get_template("capacity.html")
        .render(
            version=__version__,
            found=found,
            headline=_headline(found),
            tone="pass" if found["found"] in ("knee", "at least") else "no_data",
            rows=rows,
            level_count=len(rows),
            chart=_chart(found, levels),
            centre=_number_of(found.get("centre_per_minute")),
            wanted=_number_of(found.get("wanted_per_minute")),
            objective=_objective(found["broke_first"].partition(": ")[0]),
            top=None
            if top is None
            else {
                "occupancy": _number(top["occupancy"]),
                "stay": "-" if not top["session_s"] else duration_text(top["session_s"]),
            },
            minutes=f"{found['minutes']:.1f}",
        )
    )


def _headline(found: Mapping[str, Any]) -> str:
    low, high = found["low_per_minute"], found["high_per_minute"]
    match found["found"]:
        case "knee":
            return f"{low:,.0f} to {high:,.0f} guests a minute"
        case "at least" | "the generator is the limit":
            return f"At least {low:,.0f} guests a minute"
        case "at most":
            return f"Fewer than {high:,.0f} guests a minute"
        case _:
            return "Not found yet"


def _chart(found: Mapping[str, Any], levels: Sequence[Mapping[str, Any]]) -> KneeChart | None:
    answered = found["found"] == "knee" and found["high_per_minute"] is not None
    return knee_chart(
        levels,
        TONES,
        low_per_s=found["low_per_minute"] / 60 if answered else None,
        high_per_s=found["high_per_minute"] / 60 if answered else None,
    )


def _objective(text: str) -> str:
    """In plain words, with the written form beside it."""
    words = in_words(text)
    return f"{words} ({text})" if words else text


def _number_of(value: float | None) -> str:
    return "" if value is None else f"{value:,.0f}"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:,.1f}"
