"""One watched figure over a soak as a small drawing: its course, the warm-up, the fitted slope.

Plain SVG, so that the page needs no script. Its texts are numbers of ours; what comes from outside
does not get in here.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median

from harness.report.figures import with_unit
from harness.studies.drift.assess import Finding
from harness.units import duration_text

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
    ends = _ends(finding)
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


def _ends(finding: Finding) -> tuple[float, float] | None:
    """The fitted figure at the end of the warm-up and at the end of the run."""
    found = finding.trend
    if found.level is None or found.slope_per_h is None:
        return None
    return found.level - found.slope_per_h * found.span_s / 3600, found.level


def _fan(finding: Finding, cut_x: float, up: Callable[[float], float]) -> str | None:
    """The lines of the lowest and the highest slope, through the middle of the fitted one."""
    ends, found = _ends(finding), finding.trend
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
