"""The percentile-by-percentile plot of one operation."""

import math
from collections.abc import Sequence

import numpy as np
from bokeh.models import ColumnDataSource, FixedTicker, HoverTool, Range1d
from bokeh.models.text import BaseText
from bokeh.plotting import figure

from harness.measure.counted import Counted
from harness.report.html.style import BLUE, ORANGE, Key, Plot, drawn_plainly, tick_log, value_ticks

QUANTILE_TICKS: dict[float, str] = {
    0: "0",
    50: "50",
    90: "90",
    99: "99",
    99.9: "99.9",
    99.99: "99.99",
}
MOST_POINTS = 160


def percentiles(service: Counted, corrected: Counted | None) -> Plot:
    """Milliseconds by percentile, the axis stretched towards 100 as HDR histograms are drawn."""
    plot = figure(
        height=210, sizing_mode="stretch_width", tools="", toolbar_location=None, y_axis_type="log"
    )
    highest_place = 1.0
    lowest, highest = math.inf, 0.0
    legend = []
    for name, histogram, colour, dash in (
        ("corrected", corrected, ORANGE, "dashed"),
        ("service", service, BLUE, "solid"),
    ):
        if histogram is None or not histogram.count:
            continue
        quantiles, values = _curve(histogram)
        places = _nines(quantiles)
        highest_place = max(highest_place, places[-1])
        lowest, highest = min(lowest, values[0]), max(highest, values[-1])
        source = ColumnDataSource({"x": places, "ms": values, "q": quantiles})
        line = plot.line("x", "ms", source=source, color=colour, line_width=2, line_dash=dash)
        tips = [(name, "@ms{0,0.[00]} ms"), ("percentile", "@q{0.[0000]}")]
        plot.add_tools(HoverTool(renderers=[line], tooltips=tips, mode="vline"))
        legend.append(Key(text=name, colour=colour, shape="dash" if dash == "dashed" else "line"))
    plot.x_range = Range1d(start=0, end=highest_place * 1.02)
    plot.y_range = Range1d(start=lowest / 1.2, end=highest * 1.2)
    tick_log(plot.yaxis[0], lowest / 1.2, highest * 1.2)
    ticks: dict[float | str, str | BaseText] = {
        _nines([q])[0]: text for q, text in QUANTILE_TICKS.items()
    }
    plot.xaxis.ticker = FixedTicker(ticks=_nines(list(QUANTILE_TICKS)))
    plot.xaxis.major_label_overrides = ticks
    plot.xaxis.axis_label = "percentile"
    plot.yaxis.formatter = value_ticks("ms")
    return Plot(figure=drawn_plainly(plot), legend=legend[::-1])


def _curve(histogram: Counted, most: int = MOST_POINTS) -> tuple[list[float], list[float]]:
    """(percentiles, milliseconds) of the cumulative distribution, thinned evenly to ``most``."""
    whole, seen = histogram.count, 0
    quantiles, values = [0.0], [0.0]
    for value_us, count in histogram.buckets_us():
        if not seen:
            values[0] = value_us / 1000
        seen += count
        quantiles.append(100 * seen / whole)
        values.append(value_us / 1000)
    # The highest value stands where the last but one ends: 100 % itself lies infinitely far away.
    quantiles[-1] = max(quantiles[-2], 100 * (1 - 1 / (2 * whole)))
    keep = sorted(
        {round(place) for place in np.linspace(0, len(values) - 1, min(most, len(values)))}
    )
    return [quantiles[place] for place in keep], [values[place] for place in keep]


def _nines(quantiles: Sequence[float]) -> list[float]:
    return [-math.log10(1 - quantile / 100) for quantile in quantiles]
