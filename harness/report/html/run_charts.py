"""The charts of a run: title, explanation, the chart, and a table of it.

And the moments of a run that a reader should look at, found in its intervals.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from harness.judge.series import BANDS, FAILED, Series, Values
from harness.judge.validity import LATE_MS
from harness.measure.histogram import Counted
from harness.measure.model import COUNTERS, OPERATIONS, Phase, ordered
from harness.measure.recorder import LAG_ARRIVAL, LAG_LOOP, censored_tag, corrected_tag, service_tag
from harness.measure.statistics import Blocks
from harness.report.html.charts import (
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    PURPLE,
    RED,
    Chart,
    TimeCharts,
    band_texts,
    percentiles,
)
from harness.report.html.page import Figure
from harness.report.story import is_closed
from harness.report.wording import (
    UNKNOWN,
    clock_text,
    core_text,
    count_text,
    in_plain,
    ms_text,
    number_text,
)
from harness.rundir.schema import RunRecord

SILENT_BINS = 3
"""A process without data in so many last bins counts as lost."""
SAME_PAUSE_S = 5.0
"""The processes of a run hear of a pause at moments that lie no farther apart."""


class Incident(NamedTuple):
    """Something that happened at ``t`` (seconds since the epoch), or the phase that began then."""

    t: float
    text: str


def find_incidents(series: Series) -> list[Incident]:
    """The first of each kind of trouble, in order of time; empty for a run without any."""
    return sorted(_all(series), key=lambda incident: incident.t)


def _all(series: Series) -> Iterator[Incident]:
    for name, values in sorted(series.failures.items()):
        yield from _first(series, values, f"first operation that ended as {name}")
    dropped: Values = [
        None if value is None else value * series.width_s
        for value in series.rates.get("dropped", [])
    ]
    yield from _first(series, dropped, "first arrival dropped: no slot was free")
    yield from _first(series, series.sessions.get("leftover", []), "first leftover", total=True)
    for one in COUNTERS.values():
        if one.alarming or one.marked:
            yield from _first(series, series.counts.get(one.name, []), f"first of the {one.many}")
    for tag, words in ((LAG_ARRIVAL, "to look at arrivals"), (LAG_LOOP, "for its timers")):
        yield from _worst_lag(series, tag, words)
    yield from _silent(series)
    yield from _pauses(series)


def _first(
    series: Series, values: Values, words: str, *, total: bool = False
) -> Iterator[Incident]:
    known = [(place, value) for place, value in enumerate(values) if value]
    if known:
        whole = known[-1][1] if total else sum(value for _, value in known)
        more = f" ({count_text(whole)} in all)" if whole >= 1.5 else ""
        yield Incident(t=series.starts_s[known[0][0]], text=f"{words}{more}")


def _worst_lag(series: Series, tag: str, words: str) -> Iterator[Incident]:
    values = series.bands_ms.get(tag, {}).get(99.0, [])
    known = [(value, place) for place, value in enumerate(values) if value is not None]
    if known and max(known)[0] > LATE_MS:
        value, place = max(known)
        text = f"generator late {words}: {ms_text(value)} at p99, the worst of the run"
        yield Incident(t=series.starts_s[place], text=text)


def _silent(series: Series) -> Iterator[Incident]:
    end = max((at_s for at_s, _ in series.last.values()), default=0.0)
    for worker, (at_s, phase) in series.last.items():
        if phase != Phase.ENDED and end - at_s > SILENT_BINS * series.width_s:
            text = f"process {worker} reported for the last time, well before the end"
            yield Incident(t=at_s, text=text)


def _pauses(series: Series) -> Iterator[Incident]:
    before = 0.0
    for at_s in sorted(series.pauses):
        if at_s - before > SAME_PAUSE_S:
            yield Incident(t=at_s, text="paused by hand: no new guests")
        before = at_s


@dataclass(frozen=True, slots=True, kw_only=True)
class RunCharts:
    """All charts of a run's report, and what is marked in those over time."""

    phases: Sequence[Incident] = ()
    incidents: Sequence[Incident] = ()
    load: Sequence[Figure] = ()
    """arrivals and guests in session"""
    operations: Mapping[str, Figure] = field(default_factory=dict)
    """service time over the run, by operation"""
    trouble: Sequence[Figure] = ()
    """errors and leftovers; none where there were none"""
    generator: Sequence[Figure] = ()
    heat: Figure | None = None
    percentiles: Mapping[str, Figure] = field(default_factory=dict)
    intervals: Sequence[Sequence[str]] = ()
    """Per operation: samples and the confidence intervals of p50, p95 and p99."""


TableColumn = tuple[str, Values, Callable[[float | None], str]]
"""Its name, its values, and how one is written."""
OPEN_LOAD = (
    "Guests per second: due by the schedule, started, started late, and dropped (never started, "
    "because no slot was free). Where started is below due, the load was not the planned one."
)
CLOSED_LOAD = "Guests per second. In a closed workload the next one comes when one has left."
ABOUT_LEFTOVERS = "Sessions without proof of their end, of guests who have left by then."
NO_CHARTS = RunCharts()


def draw_charts(record: RunRecord, series: Series) -> RunCharts:
    """Everything there is to draw; all charts over time share one axis and its marks."""
    closed = is_closed(record)
    phases, incidents = _phases(series), find_incidents(series)
    charts = TimeCharts(
        series, [phase.t for phase in phases], [incident.t for incident in incidents]
    )
    names = in_order(series)
    return RunCharts(
        phases=phases,
        incidents=incidents,
        load=_drawn(
            _arrivals(series, charts, closed=closed),
            _total(series, charts, "occupancy", BLUE, "Occupancy", "Guests in session at once."),
        ),
        operations={
            name: _operation(series, charts, name, key=f"time-{number}")
            for number, name in enumerate(names)
        },
        trouble=_drawn(
            _failures(series, charts),
            _total(series, charts, "leftover", RED, "Leftovers", ABOUT_LEFTOVERS),
        ),
        generator=_drawn(_lag(series, charts), _cpu(series, charts)),
        heat=_heat(series, charts),
        percentiles={
            name: figure
            for number, name in enumerate(names)
            if (figure := _percentiles(record, series, name, key=f"percentiles-{number}"))
        },
        intervals=[_intervals(series, name) for name in names],
    )


def _drawn(*figures: Figure | None) -> list[Figure]:
    return [figure for figure in figures if figure is not None]


def _phases(series: Series) -> list[Incident]:
    """The phases that the processes themselves noted; none where there was only one."""
    noted = [Incident(t=at_s, text=name) for name, at_s in series.phases.items() if name]
    return sorted(noted, key=lambda phase: phase.t) if len(noted) > 1 else []


def _heat(series: Series, charts: TimeCharts) -> Figure | None:
    if not series.heat:
        return None
    return Figure(
        key="heat",
        title="Replies by the time they took",
        about="Each cell counts replies: from left to right by when they came, upwards by how long "
        "they took (logarithmic). Two dark bands mean two kinds of replies. A band that climbs "
        "means that the service is slowing down.",
        chart=charts.heat(),
        head=("From (UTC)", "Replies", "p50", "p95", "p99"),
        rows=_band_rows(series, service_tag("reply")),
    )


def _percentiles(record: RunRecord, series: Series, name: str, *, key: str) -> Figure | None:
    """The distribution of the times; what never came ranks above all of them."""
    outcomes = series.outcomes.get(name, Counter())
    failed = sum(outcomes[outcome] for outcome in FAILED)
    clocks: list[Counted | None] = []
    never: list[int] = []
    for tag, corrected in ((service_tag(name), False), (corrected_tag(name), True)):
        times = series.totals.get(tag)
        censored = series.totals.get(censored_tag(name, corrected=corrected))
        clocks.append(times if times is None or censored is None else times.without(censored))
        never.append(failed + (0 if censored is None else censored.count))
    if figures := record.operations.get(name):
        never[1] += figures.never_started or 0
    service, by_schedule = clocks
    if service is None or not service.count:
        return None
    chart = percentiles(service, None if is_closed(record) else by_schedule, never)
    return Figure(key=key, title=name, chart=chart)


def _intervals(series: Series, name: str) -> list[str]:
    blocks = Blocks(series.blocks[service_tag(name)])
    return [name, count_text(blocks.count), *(_interval(blocks, percent) for percent in BANDS)]


def _interval(blocks: Blocks, percent: float) -> str:
    estimate = blocks.estimate(percent)
    if estimate.low is None or estimate.high is None:
        return f"too few: {blocks.missing(percent).removeprefix('has ')}"
    return f"{ms_text(estimate.low)} to {ms_text(estimate.high)}"


def in_order(series: Series) -> list[str]:
    """The operations with times: the interesting ones, then the other known ones, then the rest."""
    return ordered(
        tag.removesuffix(".service") for tag in series.totals if tag.endswith(".service")
    )


def _arrivals(series: Series, charts: TimeCharts, *, closed: bool) -> Figure | None:
    kinds = (("due", GREY), ("started", BLUE), ("late", ORANGE), ("dropped", RED))
    named = _present(series.rates, kinds[1:2] if closed else kinds)
    chart = charts.lines(named, "/s") if named else None
    columns = [(f"{name} /s", series.parts_of("rates", name), number_text) for name, _, _ in named]
    about = CLOSED_LOAD if closed else OPEN_LOAD
    return _over_time(series, "arrivals", "Arrivals", about, chart, columns)


def _total(
    series: Series, charts: TimeCharts, name: str, colour: str, title: str, about: str
) -> Figure | None:
    """How many sessions are in a class; no chart where there never was one."""
    named = [one for one in _present(series.sessions, ((name, colour),)) if any(one[1])]
    chart = charts.lines(named) if named else None
    columns = [(name, series.parts_of("sessions", name), count_text) for name, _, _ in named]
    return _over_time(series, title.lower(), title, about, chart, columns)


def _operation(series: Series, charts: TimeCharts, name: str, *, key: str) -> Figure:
    tag = service_tag(name)
    return Figure(
        key=key,
        title=f"Service time of {in_plain(name)}",
        about=OPERATIONS[name].definition if name in OPERATIONS else "",
        chart=charts.bands(tag),
        head=("From (UTC)", "Samples", "p50", "p95", "p99"),
        rows=_band_rows(series, tag),
    )


def _failures(series: Series, charts: TimeCharts) -> Figure | None:
    named = [(name, series.failures[name]) for name in sorted(series.failures)]
    chart = charts.stacked(named) if named else None
    columns = [(name, series.parts_of("failures", name), _count_or_zero) for name, _ in named]
    about = "Operations that failed, all kinds together."
    return _over_time(series, "failures", "Errors by outcome", about, chart, columns)


def _lag(series: Series, charts: TimeCharts) -> Figure | None:
    tags = ((LAG_ARRIVAL, "from arrival to our code", BLUE), (LAG_LOOP, "event loop", PURPLE))
    if series.parts is None:
        return None
    both = series.bands_ms.keys() & series.parts.bands_ms.keys()
    known = [(tag, f"{label}, p99", colour) for tag, label, colour in tags if tag in both]
    named = [(label, series.bands_ms[tag][99.0], colour) for tag, label, colour in known]
    chart = charts.lines(named, "ms") if named else None
    columns = [(label, series.parts.bands_ms[tag][99.0], ms_text) for tag, label, _ in known]
    about = (
        "How late this machine was to read what had arrived, and how late its own timers fired. "
        "High values here mean that the load was not applied as planned."
    )
    return _over_time(series, "lag", "Generator lag", about, chart, columns)


def _cpu(series: Series, charts: TimeCharts) -> Figure | None:
    values = series.process.get("cpu")
    if values is None:
        return None
    shares: Values = [None if value is None else value * 100 for value in values]
    chart = charts.lines([("CPU", shares, GREEN)], "%")
    columns = [("CPU", series.parts_of("process", "cpu"), core_text)]
    about = "The busiest process, as a share of one core."
    return _over_time(series, "cpu", "Generator CPU", about, chart, columns)


def _over_time(
    series: Series,
    key: str,
    title: str,
    about: str,
    chart: Chart | None,
    columns: Sequence[TableColumn],
) -> Figure | None:
    """A chart with the same figures as a table; None without a chart."""
    if chart is None:
        return None
    starts = () if series.parts is None else series.parts.starts_s
    return Figure(
        key=key,
        title=title,
        about=about,
        chart=chart,
        head=("From (UTC)", *(name for name, _, _ in columns)),
        rows=[
            [clock_text(start), *(text(values[place]) for _, values, text in columns)]
            for place, start in enumerate(starts)
        ],
    )


def _present(
    columns: dict[str, Values], names: Sequence[tuple[str, str]]
) -> list[tuple[str, Values, str]]:
    return [(name, columns[name], colour) for name, colour in names if name in columns]


def _band_rows(series: Series, tag: str) -> list[list[str]]:
    parts = series.parts
    if parts is None or tag not in parts.bands_ms:
        return []
    columns = [[count_text(value) for value in parts.samples[tag]]]
    columns += [[text or UNKNOWN for text in band_texts(parts, tag, q)] for q in BANDS]
    starts = map(clock_text, parts.starts_s)
    return [list(row) for row in zip(starts, *columns, strict=True)]


def _count_or_zero(value: float | None) -> str:
    """A failure that was not counted did not happen, where there is an interval at all."""
    return count_text(value or 0)
