"""The one way in which all pages draw: SVG made here, stretched by the browser, moved by page.js.

Why our own. A page must be one file under 1 MB without network, work under its own security policy,
print, be read by a screen reader, and cost little at the end of a run. Chart libraries for Python
bring 1 to 4 MB of script to each page, and about two seconds of CPU to import; the small ones for
the browser come in no package that installs with ours. What our pages need is little: steps, bands,
bars, cells, a few marks, and one time axis that all charts share.

A chart is drawn in a box of 1000 by 100 units that the browser stretches to any width; lines keep
their thickness (``non-scaling-stroke``). Labels are HTML around the box, so they keep their size
and can be selected. To zoom is to show a part of the box. Without the script all is there but zoom
and tooltips. Words from outside are escaped where they enter.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise

from markupsafe import Markup, escape

from harness.judge.series import BANDS, HEAT_ROWS_PER_DECADE, Series, Values
from harness.measure.histogram import Counted
from harness.report.wording import count_text, ms_text, number_text

BLUE, ORANGE, GREEN, RED, PURPLE, GREY = (
    "#3a7fc4",
    "#c77414",
    "#2f9469",
    "#d0454c",
    "#8a63c9",
    "#7d8793",
)
FAILURE_COLOURS = (RED, ORANGE, PURPLE, BLUE, GREEN, GREY)
WIDE, HIGH = 1000.0, 100.0
"""The box that is drawn in."""
MOST_TICKS = 6
LOG_DIGITS = (
    tuple(tenth / 10 for tenth in range(10, 100)),
    tuple(half / 2 for half in range(2, 20)),
    (1, 2, 3, 4, 5, 6, 7, 8, 9),
    (1, 2, 5),
    (1, 3),
    (1,),
)
"""The digits at which a logarithmic axis may be labelled, from dense to sparse."""
TIME_STEPS_S = (
    1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10_800, 21_600, 43_200, 86_400,
)  # fmt: skip
MOST_TIME_TICKS = 8
HEAT_COLUMNS = 120
"""Maximum number of columns in the heat map of replies."""
SECONDS_FROM_MS = 3000.0
"""An axis of times is labelled in seconds if its highest value reaches this."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """An entry of a chart's legend; the page writes it, so that it can be read and selected."""

    text: str
    colour: str
    shape: str = "line"
    """line, dash, band or box."""


@dataclass(frozen=True, slots=True)
class Tick:
    """A label beside an axis; ``at`` is its place on it, 0 to 1."""

    at: float
    text: str


@dataclass(frozen=True, slots=True)
class Scale:
    """Where values lie on an axis, 0 to 1; what lies outside is drawn at its edge."""

    low: float
    high: float
    log: bool = False

    def at(self, value: float) -> float:
        """The place of a value."""
        low, high = self.low, self.high
        value = min(max(value, low), high)
        if self.log:
            low, high, value = math.log(low), math.log(high), math.log(value)
        return (value - low) / (high - low)


@dataclass(slots=True, kw_only=True)
class Chart:
    """What the page needs to show a chart; built by :class:`Drawing`."""

    shapes: Markup
    across: Sequence[Tick]
    up: Sequence[Tick]
    legend: Sequence[Key] = ()
    caption: str = ""
    """what the axis at the bottom is"""
    tall: bool = False
    tone: str = ""
    """pass, fail, good, near, bad or dull: the colour of what is drawn without one of its own"""
    span_ms: tuple[float, float] | None = None
    """of a chart over time: its whole span since the epoch; all such charts are zoomed together"""
    readings: str = ""
    """what the tooltip says: a line for each name, and on it a text for each place"""
    places: str = ""
    """where those places are, 0 to 1; evenly spread where this is empty"""


class Drawing:
    """Collects the shapes of one chart."""

    def __init__(self, x: Scale, y: Scale) -> None:
        self.x, self.y = x, y
        self._shapes: list[str] = []

    def grid(self, ticks: Iterable[Tick]) -> None:
        """Lines at the labels of the axis at the left."""
        self._path('class="grid"', "".join(f"M0 {_n(HIGH * (1 - t.at))}h{WIDE:.0f}" for t in ticks))

    def steps(self, edges: Sequence[float], values: Values, colour: str, width: float) -> None:
        """Values that hold from one edge to the next; none where nothing was recorded."""
        path, pen_up = [], True
        for place, value in enumerate(values):
            if value is None:
                pen_up = True
                continue
            y = self._up(value)
            start = f"M{self._across(edges[place])} {y}" if pen_up else f"V{y}"
            path.append(f"{start}H{self._across(edges[place + 1])}")
            pen_up = False
        paint = f'class="line" stroke="{colour}" stroke-width="{width}"'
        self._path(paint, "".join(path))

    def band(
        self, edges: Sequence[float], low: Values, high: Values, colour: str, opacity: float
    ) -> None:
        """The area between two courses of steps."""
        for begin, end in _stretches(low):
            there, back = [], []
            for place in range(begin, end):
                bottom, top = low[place], high[place]
                assert bottom is not None
                left, right = self._across(edges[place]), self._across(edges[place + 1])
                there.append(f"{left} {self._up(bottom if top is None else top)}H{right}")
                back.append(f"{right} {self._up(bottom)}H{left}")
            path = f"M{'L'.join(there)}L{'L'.join(reversed(back))}z"
            self._path(f'fill="{colour}" fill-opacity="{opacity}"', path)

    def boxes(
        self,
        boxes: Iterable[tuple[float, float, float, float]],
        colour: str = "",
        opacity: float = 1.0,
        name: str = "",
    ) -> None:
        """Rectangles as (left, right, bottom, top)."""
        path = []
        for left, right, bottom, top in boxes:
            x, y = WIDE * self.x.at(left), HIGH * (1 - self.y.at(top))
            wide = WIDE * self.x.at(right) - x
            high = HIGH * (1 - self.y.at(bottom)) - y
            path.append(f"M{_n(x)} {_n(y)}h{_n(wide)}v{_n(high)}h{_n(-wide)}z")
        paint = f'fill="{colour}"' if colour else f'class="{name}"'
        self._path(f'{paint} fill-opacity="{opacity:g}"', "".join(path))

    def line(
        self, points: Iterable[tuple[float, float]], *, colour: str = "", name: str = "line"
    ) -> None:
        """A line from point to point; ``name`` is a class of the style sheet."""
        paint = f' stroke="{colour}"' if colour else ""
        self._path(f'class="{name}"{paint}', f"M{self._course(points)}")

    def area(self, points: Iterable[tuple[float, float]], name: str) -> None:
        """A filled polygon."""
        self._path(f'class="{name}"', f"M{self._course(points)}z")

    def level(self, value: float, name: str) -> None:
        """A line across the whole chart."""
        self._path(f'class="{name}"', f"M0 {self._up(value)}H{WIDE:.0f}")

    def verticals(self, places: Iterable[float], name: str) -> None:
        """Lines from bottom to top."""
        path = "".join(f"M{self._across(x)} 0V{HIGH:.0f}" for x in places)
        self._path(f'class="{name}"', path)

    def point(self, x: float, low: float, value: float, high: float, tone: str) -> None:
        """A dot with its interval."""
        at, here = self._across(x), self._up(value)
        self._shapes.append(
            f'<g class="point {escape(tone)}">'
            f'<path class="whisker" d="M{at} {self._up(low)}V{self._up(high)}"/>'
            f'<path class="dot" d="M{at} {here}h0"/></g>'
        )

    @property
    def shapes(self) -> Markup:
        """The SVG of the chart; only numbers in it come from outside."""
        return Markup("".join(self._shapes))

    def _path(self, paint: str, path: str) -> None:
        if path:
            self._shapes.append(f'<path {paint} d="{path}"/>')

    def _course(self, points: Iterable[tuple[float, float]]) -> str:
        return "L".join(f"{self._across(x)} {self._up(y)}" for x, y in points)

    def _across(self, x: float) -> str:
        return _n(WIDE * self.x.at(x))

    def _up(self, y: float) -> str:
        return _n(HIGH * (1 - self.y.at(y)))


def _n(value: float) -> str:
    """A coordinate in as few characters as possible."""
    return f"{value:.1f}".removesuffix(".0").replace("-0.", "-.").removeprefix("-0") or "0"


def round_ticks(
    low: float, high: float, unit: str = "", most: int = MOST_TICKS, *, whole: bool = False
) -> list[tuple[float, str]]:
    """Round values from ``low`` to ``high`` with their labels, at most ``most``; 0.6 reads 0.6."""
    rough = (high - low) / max(1, most - 1)
    decade = math.floor(math.log10(rough))
    if whole:
        decade = max(decade, 0)
    for factor, shift in ((1, 0), (2, 0), (2.5, 0), (5, 0), (1, 1), (2, 1)):
        step = factor * 10.0 ** (decade + shift)
        digits = max(0, (factor == 2.5) - (decade + shift))
        first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
        if last - first + 1 <= most and not (whole and digits):
            break
    tail = f" {unit}" if unit else ""
    numbers = range(first, last + 1)
    return [(n * step, f"{n * step:,.{digits if n else 0}f}{tail}") for n in numbers]


def log_ticks(lowest: float, highest: float) -> list[tuple[float, str]]:
    """Round milliseconds on a logarithmic axis, few enough to be read."""
    decades = range(math.floor(math.log10(lowest)), math.ceil(math.log10(highest)) + 1)
    for digits in LOG_DIGITS:
        ticks = [digit * 10.0**decade for decade in decades for digit in digits]
        ticks = [tick for tick in ticks if lowest <= tick <= highest]
        if len(ticks) <= MOST_TICKS:
            break
    return [(tick, f"{tick:.3g} ms" if tick < 1000 else f"{tick / 1000:.6g} s") for tick in ticks]


def time_ticks(start_s: float, end_s: float) -> list[Tick]:
    """Round times of day in UTC; dates in runs of days. :file:`page.js` does the same on zoom."""
    length = end_s - start_s
    step = next((step for step in TIME_STEPS_S if length / step <= MOST_TIME_TICKS), 0)
    step = step or math.ceil(length / MOST_TIME_TICKS / 86_400) * 86_400
    form = "%H:%M:%S" if step < 60 else "%H:%M" if step < 86_400 else "%b %d"
    first = math.ceil(start_s / step)
    return [
        Tick((n * step - start_s) / length, datetime.fromtimestamp(n * step, UTC).strftime(form))
        for n in range(first, math.floor(end_s / step) + 1)
    ]


def placed(ticks: Iterable[tuple[float, str]], scale: Scale) -> list[Tick]:
    """Labels at the places of their values."""
    return [Tick(scale.at(value), text) for value, text in ticks]


class TimeCharts:
    """Makes charts over one shared, zoomable time axis."""

    def __init__(
        self, series: Series, phases_s: Sequence[float], incidents_s: Sequence[float]
    ) -> None:
        self._series = series
        self._phases_s, self._incidents_s = phases_s, incidents_s
        start, end = series.starts_s[0], series.starts_s[-1] + series.width_s
        self._time = Scale(start, end)
        self._edges = [*series.starts_s, end]

    def lines(self, named: Sequence[tuple[str, Values, str]], unit: str = "") -> Chart:
        """Steps, one per (name, values, colour)."""
        highest = _highest(values for _, values, _ in named)
        drawing, up = self._begin(highest, "" if unit == "/s" else unit)
        for _, values, colour in named:
            drawing.steps(self._edges, values, colour, 1.6)
        tail = f" {unit}" if unit else ""
        texts = [
            (name, [None if one is None else f"{_short(one)}{tail}" for one in values])
            for name, values, _ in named
        ]
        legend = [Key(text=name, colour=colour) for name, _, colour in named]
        return self._chart(drawing, up, legend, texts)

    def bands(self, tag: str) -> Chart:
        """The median as a line with bands up to p95 and p99; what never came is marked."""
        series = self._series
        p50, p95, p99 = (series.bands_ms[tag][quantile] for quantile in BANDS)
        highest_ms = _highest((p50, p95, p99))
        unit, scale = ("s", 1000.0) if highest_ms >= SECONDS_FROM_MS else ("ms", 1.0)
        p50, p95, p99 = (
            [None if value is None else value / scale for value in values]
            for values in (p50, p95, p99)
        )
        drawing, up = self._begin(highest_ms / scale, unit)
        drawing.band(self._edges, p95, p99, BLUE, 0.22)
        drawing.band(self._edges, p50, p95, BLUE, 0.4)
        drawing.steps(self._edges, p50, BLUE, 2)
        for quantile, values in ((95.0, p95), (99.0, p99)):
            least = series.at_least(tag, quantile)
            marked = [value if at else None for value, at in zip(values, least, strict=True)]
            drawing.steps(self._edges, marked, RED, 3)
        texts: list[tuple[str, list[str | None]]] = [
            ("samples", [None if one is None else count_text(one) for one in series.samples[tag]])
        ]
        texts += [
            (f"p{quantile:g}", [text or None for text in band_texts(series, tag, quantile)])
            for quantile in series.bands_ms[tag]
        ]
        legend = [
            Key(text="p50", colour=BLUE),
            Key(text="to p95", colour=f"{BLUE}9a", shape="band"),
            Key(text="to p99", colour=f"{BLUE}48", shape="band"),
        ]
        if any(any(series.at_least(tag, quantile)) for quantile in (95.0, 99.0)):
            legend.append(Key(text="lower bound: some answers never came", colour=RED))
        return self._chart(drawing, up, legend, texts)

    def stacked(self, named: Sequence[tuple[str, Values]]) -> Chart:
        """Bars of counts on top of each other."""
        base = [0.0] * len(self._series)
        layers, legend = [], []
        for number, (name, values) in enumerate(named):
            colour = FAILURE_COLOURS[number % len(FAILURE_COLOURS)]
            boxes = []
            for place, value in enumerate(values):
                if value:
                    top = base[place] + value
                    edges = self._edges
                    boxes.append((edges[place], edges[place + 1], base[place], top))
                    base[place] = top
            layers.append((boxes, colour))
            legend.append(Key(text=name, colour=colour, shape="box"))
        drawing, up = self._begin(max(base, default=1.0) or 1.0, "")
        for boxes, colour in layers:
            drawing.boxes(boxes, colour)
        texts = [
            (name, [count_text(value) if value else None for value in values])
            for name, values in named
        ]
        return self._chart(drawing, up, legend, texts)

    def heat(self) -> Chart:
        """Replies counted by time and by how long they took; darker is more."""
        series = self._series
        step = math.ceil(len(series) / HEAT_COLUMNS)
        cells: dict[tuple[int, int], int] = {}
        for (place, row), count in series.heat.items():
            cells[place // step, row] = cells.get((place // step, row), 0) + count
        most = max(cells.values())
        lowest, highest = min(row for _, row in cells), max(row for _, row in cells) + 1
        scale = Scale(_row_ms(lowest), _row_ms(highest), log=True)
        drawing = Drawing(self._time, scale)
        up = placed(log_ticks(scale.low, scale.high), scale)
        drawing.grid(up)
        shades: dict[float, list[tuple[float, float, float, float]]] = {}
        for (place, row), count in cells.items():
            left = place * step
            right = min(left + step, len(series))
            box = (self._edges[left], self._edges[right], _row_ms(row), _row_ms(row + 1))
            shades.setdefault(_shade(count, most), []).append(box)
        for shade, boxes in sorted(shades.items()):
            drawing.boxes(boxes, BLUE, shade)
        legend = [
            Key(
                text=f"{count:,}",
                colour=f"{BLUE}{round(_shade(count, most) * 255):02x}",
                shape="box",
            )
            for count in dict.fromkeys((1, max(1, most // 10), most))
        ]
        texts: dict[int, list[str]] = {}
        for (place, row), count in sorted(cells.items(), reverse=True):
            times = f"{ms_text(_row_ms(row))} to {ms_text(_row_ms(row + 1))}"
            texts.setdefault(place, []).append(f"{count:,} took {times}")
        labels = {
            place: "; ".join(some[:4]) + ("; …" if len(some) > 4 else "")
            for place, some in texts.items()
        }
        each = [labels.get(place // step) for place in range(len(series))]
        chart = self._chart(drawing, up, legend, [("replies", each)])
        chart.tall = True
        return chart

    def _begin(self, highest: float, unit: str) -> tuple[Drawing, list[Tick]]:
        scale = Scale(0.0, max(highest * 1.06, 1e-6))
        whole = unit == "" and highest == int(highest) and highest <= 5
        up = placed(round_ticks(0.0, scale.high, unit, 5, whole=whole), scale)
        drawing = Drawing(self._time, scale)
        drawing.grid(up)
        return drawing, up

    def _chart(
        self,
        drawing: Drawing,
        up: Sequence[Tick],
        legend: Sequence[Key],
        texts: Sequence[tuple[str, Sequence[str | None]]],
    ) -> Chart:
        drawing.verticals(self._phases_s, "phase")
        drawing.verticals(self._incidents_s, "incident")
        start, end = self._time.low, self._time.high
        return Chart(
            shapes=drawing.shapes,
            across=time_ticks(start, end),
            up=up,
            legend=legend,
            span_ms=(start * 1000, end * 1000),
            readings=_readings(texts),
        )


def _readings(texts: Iterable[tuple[str, Sequence[str | None]]]) -> str:
    """The texts of the tooltip as ``page.js`` reads them; separators inside a text are replaced."""
    rows = ((name, *(text or "" for text in row)) for name, row in texts)
    return "\n".join(
        "|".join(" ".join(cell.replace("|", "/").split()) for cell in row) for row in rows
    )


def band_texts(series: Series, tag: str, quantile: float) -> list[str]:
    """A percentile of each bin as text: ``> 2 s`` where what never came lies there."""
    bands, least = series.bands_ms[tag][quantile], series.at_least(tag, quantile)
    return [
        "" if value is None else f"> {ms_text(value)}" if at else ms_text(value)
        for value, at in zip(bands, least, strict=True)
    ]


QUANTILE_TICKS = (0.0, 50.0, 90.0, 99.0, 99.9, 99.99)
MOST_POINTS = 160


def percentiles(
    service: Counted, corrected: Counted | None, never: Sequence[int] = (0, 0)
) -> Chart:
    """Milliseconds by percentile, the axis stretched towards 100 as HDR histograms are drawn.

    ``never``: how many never came, of each clock. They rank above all others: the curve ends there.
    """
    curves = [
        (name, *percentile_curve(histogram, missing), colour, shape)
        for name, histogram, missing, colour, shape in (
            ("corrected", corrected, never[1], ORANGE, "dash"),
            ("service", service, never[0], BLUE, "line"),
        )
        if histogram is not None and histogram.count
    ]
    lowest = min(values[0] for _, _, values, _, _ in curves)
    highest = max(values[-1] for _, _, values, _, _ in curves)
    last = max(1.0, *(_nines(quantiles[-1]) for _, quantiles, _, _, _ in curves))
    drawing = Drawing(Scale(0.0, last * 1.02), Scale(lowest / 1.2, highest * 1.2, log=True))
    up = placed(log_ticks(lowest / 1.2, highest * 1.2), drawing.y)
    drawing.grid(up)
    for _, quantiles, values, colour, shape in curves:
        points = zip(map(_nines, quantiles), values, strict=True)
        dashed = " dashed" if shape == "dash" else ""
        drawing.line(points, colour=colour, name=f"line thick{dashed}")
    legend = [
        Key(text=name, colour=colour, shape=shape) for name, _, _, colour, shape in curves[::-1]
    ]
    if never[0] or (corrected is not None and never[1]):
        drawing.verticals({_nines(quantiles[-1]) for _, quantiles, _, _, _ in curves}, "incident")
        legend.append(Key(text="above it are those that never came", colour=RED, shape="dash"))
    name, quantiles, values, _, _ = curves[-1]
    texts = [
        ("percentile", [f"{quantile:.5g}" for quantile in quantiles]),
        (name, [ms_text(value) for value in values]),
    ]
    return Chart(
        shapes=drawing.shapes,
        across=[
            Tick(drawing.x.at(place), f"{quantile:g}")
            for quantile in QUANTILE_TICKS
            if (place := _nines(quantile)) <= drawing.x.high
        ],
        up=up,
        legend=legend,
        caption="percentile",
        readings=_readings(texts),
        places="|".join(f"{drawing.x.at(_nines(quantile)):.4f}" for quantile in quantiles),
    )


def percentile_curve(histogram: Counted, never: int = 0) -> tuple[list[float], list[float]]:
    """(percentiles, milliseconds) of the cumulative distribution, thinned evenly.

    ``never`` is how many never came; they are counted above all that did.
    """
    whole, seen = histogram.count + never, 0
    quantiles, values = [0.0], [0.0]
    for value_us, count in histogram.buckets_us():
        if not seen:
            values[0] = value_us / 1000
        seen += count
        quantiles.append(100 * seen / whole)
        values.append(value_us / 1000)
    # The highest value stands where the last but one ends: 100 % itself lies infinitely far away.
    quantiles[-1] = max(quantiles[-2], min(quantiles[-1], 100 * (1 - 1 / (2 * whole))))
    many = min(MOST_POINTS, len(values))
    keep = sorted({round(n * (len(values) - 1) / max(1, many - 1)) for n in range(many)})
    return [quantiles[place] for place in keep], [values[place] for place in keep]


def _nines(quantile: float) -> float:
    return -math.log10(1 - quantile / 100)


def _stretches(values: Values) -> list[tuple[int, int]]:
    """(begin, end) of each stretch of bins that are not empty."""
    known = [value is not None for value in values]
    edges = [place for place, (a, b) in enumerate(pairwise([False, *known, False])) if a != b]
    return list(zip(edges[::2], edges[1::2], strict=True))


def _highest(columns: Iterable[Values]) -> float:
    values = [value for column in columns for value in column if value is not None]
    return max(values, default=1.0) or 1.0


def _row_ms(row: int) -> float:
    return float(10 ** (row / HEAT_ROWS_PER_DECADE)) / 1000


def _shade(count: int, most: int) -> float:
    """How dark a cell is, in sixteen steps."""
    return round(0.12 + 0.88 * (math.log(count) / math.log(most) if most > 1 else 1.0), 1) or 0.1


def _short(value: float) -> str:
    return number_text(float(f"{value:.4g}"))
