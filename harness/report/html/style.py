"""How every chart looks, and the legend that the page writes for it.

Hardly any text enters a chart: titles, legends and what phases and incidents are called stand in
the HTML around it. Names that do (in tooltips) lose all letters that mean something there.
"""

import math
import re
from dataclasses import dataclass, field

from bokeh.models import (
    Axis,
    FixedTicker,
    NumeralTickFormatter,
    PrintfTickFormatter,
    TickFormatter,
)
from bokeh.plotting import figure

BLUE, ORANGE, GREEN, RED, PURPLE, GREY = (
    "#3a7fc4",
    "#c77414",
    "#2f9469",
    "#d0454c",
    "#8a63c9",
    "#7d8793",
)
MOST_LOG_TICKS = 6
LOG_DIGITS = (
    tuple(tenth / 10 for tenth in range(10, 100)),
    tuple(half / 2 for half in range(2, 20)),
    (1, 2, 3, 4, 5, 6, 7, 8, 9),
    (1, 2, 5),
    (1, 3),
    (1,),
)
"""Where a decade may be labelled, from dense to sparse."""
MEANINGFUL = re.compile(r"[^\w .,%-]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """An entry of a chart's legend; the page writes it, so that it can be read and selected."""

    text: str
    colour: str
    shape: str = "line"
    """line, dash, band or box."""


@dataclass(slots=True, kw_only=True)
class Plot:
    """A Bokeh figure and its legend."""

    figure: figure
    legend: list[Key] = field(default_factory=list)


def plain(name: str) -> str:
    """A name fit for a tooltip."""
    return MEANINGFUL.sub("_", name)[:40]


def drawn_plainly(plot: figure) -> figure:
    plot.output_backend = "svg"  # stays sharp on paper and at any zoom
    plot.min_border_left = 70
    plot.background_fill_alpha = 0
    plot.border_fill_alpha = 0
    plot.outline_line_color = None
    plot.xgrid.grid_line_color = None
    plot.xaxis.minor_tick_line_color = None
    plot.yaxis.minor_tick_line_color = None
    plot.yaxis.axis_line_color = None
    plot.yaxis.major_tick_line_color = None
    plot.axis.major_label_text_font_size = "11.5px"
    plot.axis.axis_label_text_font_style = "normal"
    plot.axis.axis_label_text_font_size = "11.5px"
    plot.axis.major_label_text_font = "system-ui, sans-serif"
    plot.axis.axis_label_text_font = "system-ui, sans-serif"
    return plot


def value_ticks(unit: str) -> TickFormatter:
    # No formatter that needs a script: the page's security policy forbids making code from text.
    if unit in ("ms", "s", "%"):
        return PrintfTickFormatter(format=f"%g {unit}".replace("%g %", "%g %%"))
    return NumeralTickFormatter(format="0,0.[00]")


def tick_log(axis: Axis, lowest: float, highest: float) -> None:
    """Label a logarithmic axis of milliseconds at round values, few enough to be read."""
    decades = range(math.floor(math.log10(lowest)), math.ceil(math.log10(highest)) + 1)
    for digits in LOG_DIGITS:
        ticks = [digit * 10.0**decade for decade in decades for digit in digits]
        ticks = [tick for tick in ticks if lowest <= tick <= highest]
        if len(ticks) <= MOST_LOG_TICKS:
            break
    axis.ticker = FixedTicker(ticks=ticks)
    axis.major_label_overrides = {
        tick: f"{tick:g} ms" if tick < 1000 else f"{tick / 1000:g} s" for tick in ticks
    }
