"""The charts of a report as Bokeh figures; the page's script gives them the colours of the page.

How every chart looks, and the legend that the page writes for it.

Hardly any text enters a chart: titles, legends and what phases and incidents are called stand in
the HTML around it. Names that do (in tooltips) lose all letters that mean something there.

The percentile-by-percentile plot of one operation.
"""

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import numpy.typing as npt
from bokeh.models import (
    Axis,
    BasicTicker,
    BoxZoomTool,
    ColumnDataSource,
    DatetimeTickFormatter,
    FixedTicker,
    HoverTool,
    NumeralTickFormatter,
    PrintfTickFormatter,
    Range1d,
    TickFormatter,
)
from bokeh.models.annotations import Span
from bokeh.models.renderers import DataRenderer
from bokeh.models.text import BaseText
from bokeh.plotting import figure

from harness.judge.series import HEAT_ROWS_PER_DECADE, Series, Values
from harness.measure.histogram import Counted

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


FAILURE_COLOURS = (RED, ORANGE, PURPLE, BLUE, GREEN, GREY)
HEAT_COLUMNS = 120
TIME_RANGE = "time"


class TimePlots:
    """Makes charts over one shared, zoomable time axis."""

    def __init__(self, series: Series, marks_s: Sequence[float], incidents_s: Sequence[float]):
        self._series = series
        self._marks_s = marks_s
        self._incidents_s = incidents_s
        start, end = series.starts_s[0], series.starts_s[-1] + series.width_s
        self._range = Range1d(
            start=start * 1000,
            end=end * 1000,
            bounds=(start * 1000, end * 1000),
            min_interval=min(series.width_s * 4000, (end - start) * 1000),
            name=TIME_RANGE,
        )
        self._middles = (np.array(series.starts_s) + series.width_s / 2) * 1000

    def lines(self, named: Sequence[tuple[str, Values, str]], unit: str = "") -> Plot:
        """Steps, one per (name, values, colour)."""
        plot = self._figure(unit)
        columns = {f"v{number}": _numbers(values) for number, (_, values, _) in enumerate(named)}
        source = ColumnDataSource({"t": self._middles, **columns})
        tips = [("UTC", "@t{%F %T}")]
        for number, (name, _, colour) in enumerate(named):
            drawn = plot.step(
                "t", f"v{number}", source=source, mode="center", color=colour, line_width=1.6
            )
            tips.append((plain(name), f"@v{number}{{0,0.[00]}}{unit and ' ' + unit}"))
            if number == 0:
                self._hover(plot, drawn, tips)
        self._finish(plot, _highest([values for _, values, _ in named]))
        return Plot(
            figure=plot, legend=[Key(text=name, colour=colour) for name, _, colour in named]
        )

    def bands(self, bands_ms: dict[float, Values], samples: Values, colour: str = BLUE) -> Plot:
        """The median as a line with bands up to p95 and p99."""
        highest_ms = _highest(bands_ms.values())
        unit, scale = ("s", 1000.0) if highest_ms >= 3000 else ("ms", 1.0)
        plot = self._figure(unit)
        columns = {
            f"p{quantile:g}": _numbers(values) / scale for quantile, values in bands_ms.items()
        }
        source = ColumnDataSource({"t": self._middles, "n": _numbers(samples), **columns})
        for begin, end in _stretches(bands_ms[50.0]):
            t = _edges(self._middles[begin:end], self._series.width_s * 1000)
            p50, p95, p99 = (_doubled(columns[name][begin:end]) for name in ("p50", "p95", "p99"))
            plot.varea(t, p95, p99, color=colour, fill_alpha=0.22)
            plot.varea(t, p50, p95, color=colour, fill_alpha=0.4)
        line = plot.step("t", "p50", source=source, mode="center", color=colour, line_width=2)
        tips = [("UTC", "@t{%F %T}"), ("samples", "@n{0,0}")]
        tips += [(f"p{quantile:g}", f"@p{quantile:g}{{0,0.[00]}} {unit}") for quantile in bands_ms]
        self._hover(plot, line, tips)
        self._finish(plot, highest_ms / scale)
        legend = [
            Key(text="p50", colour=colour),
            Key(text="to p95", colour=f"{colour}9a", shape="band"),
            Key(text="to p99", colour=f"{colour}48", shape="band"),
        ]
        return Plot(figure=plot, legend=legend)

    def stacked(self, named: Sequence[tuple[str, Values]]) -> Plot:
        """Bars of counts on top of each other."""
        plot = self._figure("")
        half = self._series.width_s * 500
        base = np.zeros(len(self._series))
        legend = []
        for number, (name, values) in enumerate(named):
            colour = FAILURE_COLOURS[number % len(FAILURE_COLOURS)]
            counts = np.nan_to_num(_numbers(values))
            used = np.flatnonzero(counts)
            source = ColumnDataSource(
                {
                    "t": self._middles[used],
                    "left": self._middles[used] - half,
                    "right": self._middles[used] + half,
                    "bottom": base[used],
                    "top": base[used] + counts[used],
                    "count": counts[used],
                }
            )
            drawn = plot.quad(
                "left", "right", "top", "bottom", source=source, color=colour, line_width=1
            )
            self._hover(plot, drawn, [("UTC", "@t{%F %T}"), (plain(name), "@count{0,0}")])
            base = base + counts
            legend.append(Key(text=name, colour=colour, shape="box"))
        self._finish(plot, float(base.max(initial=1)))
        return Plot(figure=plot, legend=legend)

    def heat(self) -> Plot:
        """Replies counted by time and by how long they took; darker is more."""
        series = self._series
        step = math.ceil(len(series) / HEAT_COLUMNS)
        cells: dict[tuple[int, int], int] = {}
        for (place, row), count in series.heat.items():
            cells[place // step, row] = cells.get((place // step, row), 0) + count
        most = max(cells.values())
        start, end = series.starts_s[0] * 1000, (series.starts_s[-1] + series.width_s) * 1000
        width = series.width_s * step * 1000
        columns: dict[str, list[float]] = {
            "left": [start + place * width for place, _ in cells],
            "right": [min(end, start + (place + 1) * width) for place, _ in cells],
            "bottom": [_row_ms(row) for _, row in cells],
            "top": [_row_ms(row + 1) for _, row in cells],
            "count": [float(count) for count in cells.values()],
            "alpha": [_alpha(count, most) for count in cells.values()],
        }
        plot = self._figure("ms", height=260, y_axis_type="log")
        plot.y_range = Range1d(start=min(columns["bottom"]), end=max(columns["top"]))
        tick_log(plot.yaxis[0], min(columns["bottom"]), max(columns["top"]))
        drawn = plot.quad(
            "left",
            "right",
            "top",
            "bottom",
            source=ColumnDataSource(columns),
            fill_color=BLUE,
            fill_alpha="alpha",
            line_color=None,
        )
        tips = [
            ("UTC", "@left{%F %T}"),
            ("took", "@bottom{0,0.[0]} to @top{0,0.[0]} ms"),
            ("replies", "@count{0,0}"),
        ]
        self._hover(plot, drawn, tips, mode="mouse", at="@left")
        self._mark(plot)
        steps = (1, max(1, most // 10), most)
        legend = [
            Key(text=f"{count:,}", colour=f"{BLUE}{round(_alpha(count, most) * 255):02x}")
            for count in dict.fromkeys(steps)
        ]
        return Plot(
            figure=plot,
            legend=[Key(text=key.text, colour=key.colour, shape="box") for key in legend],
        )

    def _figure(
        self, unit: str, *, height: int = 168, y_axis_type: Literal["linear", "log"] = "linear"
    ) -> figure:
        plot = figure(
            height=height,
            sizing_mode="stretch_width",
            x_range=self._range,
            x_axis_type="datetime",
            y_axis_type=y_axis_type,
            tools=[BoxZoomTool(dimensions="width")],
            toolbar_location=None,
        )
        plot.xaxis.formatter = DatetimeTickFormatter(
            milliseconds="%H:%M:%S",
            seconds="%H:%M:%S",
            minsec="%H:%M:%S",
            minutes="%H:%M",
            hourmin="%H:%M",
            hours="%H:%M",
            days="%b %d",
        )
        plot.yaxis.formatter = value_ticks(unit)
        return drawn_plainly(plot)

    def _finish(self, plot: figure, highest: float) -> None:
        plot.y_range = Range1d(start=0, end=max(highest * 1.06, 1e-6))
        if highest <= 4 and highest == int(highest):
            plot.yaxis.ticker = FixedTicker(ticks=list(range(int(highest) + 1)))
        else:
            plot.yaxis.ticker = BasicTicker(desired_num_ticks=4)
        self._mark(plot)

    def _mark(self, plot: figure) -> None:
        for at_s in self._marks_s:
            plot.add_layout(_span(at_s, GREY, "dotted"))
        for at_s in self._incidents_s:
            plot.add_layout(_span(at_s, RED, "dashed"))

    @staticmethod
    def _hover(
        plot: figure,
        drawn: DataRenderer,
        tips: list[tuple[str, str]],
        *,
        mode: Literal["vline", "mouse"] = "vline",
        at: str = "@t",
    ) -> None:
        plot.add_tools(
            HoverTool(renderers=[drawn], tooltips=tips, formatters={at: "datetime"}, mode=mode)
        )


def _span(at_s: float, colour: str, dash: str) -> Span:
    return Span(
        location=at_s * 1000, dimension="height", line_color=colour, line_dash=dash, line_width=1.3
    )


def _numbers(values: Values) -> npt.NDArray[np.float64]:
    return np.array([math.nan if value is None else value for value in values], dtype=np.float64)


def _stretches(values: Values) -> list[tuple[int, int]]:
    """(begin, end) of each stretch of bins that hold something."""
    found = []
    begin: int | None = None
    for place, value in enumerate([*values, None]):
        if value is not None and begin is None:
            begin = place
        elif value is None and begin is not None:
            found.append((begin, place))
            begin = None
    return found


def _edges(middles: npt.NDArray[np.float64], width: float) -> npt.NDArray[np.float64]:
    """Left and right edge of each bin in turn."""
    return np.column_stack((middles - width / 2, middles + width / 2)).ravel()


def _doubled(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return np.repeat(values, 2)


def _highest(columns: Iterable[Values]) -> float:
    values = [value for column in columns for value in column if value is not None]
    return max(values, default=1.0) or 1.0


def _row_ms(row: int) -> float:
    return float(10 ** (row / HEAT_ROWS_PER_DECADE)) / 1000


def _alpha(count: int, most: int) -> float:
    return 0.12 + 0.88 * (math.log(count) / math.log(most) if most > 1 else 1.0)


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
