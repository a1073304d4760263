"""The curve of a capacity search as a drawing: figure over load, and where it meets the limit.

Plain SVG, so that the page needs no script. Its texts are numbers of ours; what comes from outside
does not get in here.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import log
from typing import Any

WIDTH, HEIGHT = 720, 300
LEFT, RIGHT, TOP, BOTTOM = 56, 700, 16, 256
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
    """All that the template draws; lengths in units of a 720 by 300 drawing."""

    points: Sequence[Point]
    across: Sequence[Tick]
    up: Sequence[Tick]
    limit_y: float
    low_x: float | None
    high_x: float | None


def knee_chart(
    levels: Sequence[Mapping[str, Any]],
    tones: Mapping[str, str],
    *,
    low_per_s: float | None,
    high_per_s: float | None,
) -> KneeChart | None:
    """``levels`` as a search keeps them. None with fewer than two that have a figure."""
    known = [level for level in levels if level.get("of_limit")]
    if len(known) < 2:
        return None
    most = max(level["rate_per_s"] for level in known) * 1.05

    def across(rate: float) -> float:
        return float(round(LEFT + (RIGHT - LEFT) * min(rate / most, 1.0), 1))

    points = []
    for level in sorted(known, key=lambda level: float(level["rate_per_s"])):
        low, figure, high = level["of_limit"]
        points.append(
            Point(
                x=across(level["rate_per_s"]),
                y=_up(figure),
                top=_up(high),
                bottom=_up(low),
                tone=tones[level["judged"]],
            )
        )
    step = _step(most * 60)
    return KneeChart(
        points=points,
        across=[
            Tick(at=across(number * step / 60), text=f"{number * step:,.4g}")
            for number in range(int(most * 60 / step) + 1)
        ],
        up=[Tick(at=_up(share), text=f"{share:.0%}") for share in SHARES],
        limit_y=_up(1.0),
        low_x=None if low_per_s is None else across(low_per_s),
        high_x=None if high_per_s is None else across(high_per_s),
    )


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
