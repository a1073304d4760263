"""The curve of a capacity search as a drawing: figure over load, and where it meets the limit.

Plain SVG, so that the page needs no script. Its texts are numbers of ours; what comes from outside
does not get in here.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import log

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
