"""What stands in a report about each chart: title, explanation, the chart, and a table of it.

The moments of a run that a reader should look at, found in its intervals.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from harness.judge.series import BANDS, Series, Values
from harness.measure.model import OPERATIONS, ordered
from harness.measure.recorder import LAG_ARRIVAL, LAG_LOOP, corrected_tag, service_tag
from harness.measure.statistics import Blocks
from harness.report.figures import clock_text, count_text, ms_text, number_text, percent_text
from harness.report.html.charts import (
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    PURPLE,
    RED,
    Plot,
    TimePlots,
    percentiles,
)
from harness.report.story import is_closed
from harness.rundir.schema import Incident, Phase, RunRecord

LAG_MS = 100.0
"""Generator lag at p99 from which on it is worth a mark."""
SILENT_BINS = 3
"""So many bins without a word before the end make a process lost."""
ENDED = "ended"
SAME_PAUSE_S = 5.0
"""The processes of a run hear of a pause at moments that lie no farther apart."""
COUNTED = {
    "cross_talk": "cross-talk: a message of another session",
    "unasked_clear": "SessionClearedEvent that nobody asked for",
    "after_clear": "message after the proof of Clear",
    "rate_limited": "answer 429",
    "reconnects": "lost connection made again",
}


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
    yield from _first(series, dropped, "first arrival dropped, for want of a free slot")
    yield from _first(series, series.sessions.get("leftover", []), "first leftover", total=True)
    for name, words in COUNTED.items():
        yield from _first(series, series.counts.get(name, []), f"first {words}")
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
    if known and max(known)[0] > LAG_MS:
        value, place = max(known)
        text = f"generator late {words}: {ms_text(value)} at p99, the worst of the run"
        yield Incident(t=series.starts_s[place], text=text)


def _silent(series: Series) -> Iterator[Incident]:
    end = max((at_s for at_s, _ in series.last.values()), default=0.0)
    for worker, (at_s, phase) in series.last.items():
        if phase != ENDED and end - at_s > SILENT_BINS * series.width_s:
            yield Incident(t=at_s, text=f"last word of process {worker}, well before the end")


def _pauses(series: Series) -> Iterator[Incident]:
    before = 0.0
    for at_s in sorted(series.pauses):
        if at_s - before > SAME_PAUSE_S:
            yield Incident(t=at_s, text="paused by hand: no new guests")
        before = at_s


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """A chart with its words. ``rows`` repeat it as a table over the parts of the run."""

    key: str
    title: str
    about: str
    plot: Plot
    head: Sequence[str] = ()
    rows: Sequence[Sequence[str]] = field(default=())


@dataclass(frozen=True, slots=True, kw_only=True)
class Panels:
    """All charts of a run's report, and what is marked in those over time."""

    phases: list[Phase]
    incidents: list[Incident]
    times: list[Panel]
    heat: Panel | None
    percentiles: list[Panel]
    intervals: list[list[str]]
    """Per operation: samples and the confidence intervals of p50, p95 and p99."""

    def __iter__(self) -> Iterator[Panel]:
        yield from self.times
        if self.heat is not None:
            yield self.heat
        yield from self.percentiles


BY_SCHEDULE = (
    "Guests per second: due by the schedule, started, started late, and dropped (never started, "
    "for want of a free slot). Started below due means the load was not what was asked for."
)
BY_TURNS = "Guests per second. In a closed workload the next one comes when one has left."
NOTHING = Panels(phases=[], incidents=[], times=[], heat=None, percentiles=[], intervals=[])


def make_panels(record: RunRecord, series: Series) -> Panels:
    """Everything there is to draw; all charts over time share one axis and its marks."""
    closed = is_closed(record)
    phases = record.phases or _phases(series)
    incidents = record.incidents or find_incidents(series)
    plots = TimePlots(
        series,
        [phase.t for phase in phases],
        [incident.t for incident in incidents],
    )
    return Panels(
        phases=phases,
        incidents=incidents,
        times=_over_time(series, plots, closed=closed),
        heat=_heat(series, plots),
        percentiles=_percentiles(series, closed=closed),
        intervals=[_intervals(series, name) for name in in_order(series)],
    )


def _phases(series: Series) -> list[Phase]:
    """The phases that the processes themselves noted; none where there was only one."""
    noted = {name: at_s for name, at_s in series.phases.items() if name}
    if len(noted) < 2:
        return []
    return [Phase(name=name, t=noted[name]) for name in sorted(noted, key=lambda name: noted[name])]


def _over_time(series: Series, plots: TimePlots, *, closed: bool) -> list[Panel]:
    found = [_arrivals(series, plots, closed=closed), _occupancy(series, plots)]
    for number, name in enumerate(in_order(series)):
        found.append(_operation(series, plots, name, key=f"time-{number}"))
    found += [_failures(series, plots), _leftovers(series, plots), _lag(series, plots)]
    found.append(_cpu(series, plots))
    return [panel for panel in found if panel is not None]


def _heat(series: Series, plots: TimePlots) -> Panel | None:
    if not series.heat:
        return None
    return Panel(
        key="heat",
        title="Replies by the time they took",
        about="Each cell counts the replies of one stretch of time (across) that took so long (up, "
        "logarithmic). Two dark bands mean two kinds of replies; a band that climbs means the "
        "service is slowing down.",
        plot=plots.heat(),
        head=("From (UTC)", "Replies", "p50", "p95", "p99"),
        rows=_band_rows(series, service_tag("reply")),
    )


def _percentiles(series: Series, *, closed: bool) -> list[Panel]:
    found: list[Panel] = []
    for name in in_order(series):
        service = series.totals[service_tag(name)]
        corrected = None if closed else series.totals.get(corrected_tag(name))
        plot = percentiles(service, corrected)
        found.append(Panel(key=f"percentiles-{len(found)}", title=name, about="", plot=plot))
    return found


def _intervals(series: Series, name: str) -> list[str]:
    blocks = Blocks(series.blocks[service_tag(name)])
    return [name, count_text(blocks.count), *(_interval(blocks, percent) for percent in BANDS)]


def _interval(blocks: Blocks, percent: float) -> str:
    found = blocks.estimate(percent)
    if found.low is None or found.high is None:
        return f"too few: {blocks.missing(percent).removeprefix('has ')}"
    return f"{ms_text(found.low)} to {ms_text(found.high)}"


def in_order(series: Series) -> list[str]:
    """The operations with times: the interesting ones, then the other known ones, then the rest."""
    return ordered(
        tag.removesuffix(".service") for tag in series.totals if tag.endswith(".service")
    )


def _arrivals(series: Series, plots: TimePlots, *, closed: bool) -> Panel | None:
    kinds = (("due", GREY), ("started", BLUE), ("late", ORANGE), ("dropped", RED))
    named = _present(series.rates, kinds[1:2] if closed else kinds)
    if not named:
        return None
    return Panel(
        key="arrivals",
        title="Arrivals",
        about=BY_TURNS if closed else BY_SCHEDULE,
        plot=plots.lines(named, "/s"),
        head=("From (UTC)", *(f"{name} /s" for name, _, _ in named)),
        rows=_rows(series, [(series.parts_of("rates", name), number_text) for name, _, _ in named]),
    )


def _occupancy(series: Series, plots: TimePlots) -> Panel | None:
    return _totals(
        series,
        plots,
        key="occupancy",
        title="Occupancy",
        about="Guests in session at once.",
        names=(("occupancy", BLUE),),
    )


def _leftovers(series: Series, plots: TimePlots) -> Panel | None:
    return _totals(
        series,
        plots,
        key="leftovers",
        title="Leftovers",
        about="Sessions whose guest has gone without proof that the session ended, so far.",
        names=(("leftover", RED),),
    )


def _totals(
    series: Series,
    plots: TimePlots,
    *,
    key: str,
    title: str,
    about: str,
    names: Sequence[tuple[str, str]],
) -> Panel | None:
    named = _present(series.sessions, names)
    if not named:
        return None
    return Panel(
        key=key,
        title=title,
        about=about,
        plot=plots.lines(named),
        head=("From (UTC)", *(name for name, _, _ in named)),
        rows=_rows(
            series, [(series.parts_of("sessions", name), count_text) for name, _, _ in named]
        ),
    )


def _operation(series: Series, plots: TimePlots, name: str, *, key: str) -> Panel:
    tag = service_tag(name)
    return Panel(
        key=key,
        title=f"Service time of {name}",
        about=OPERATIONS[name].definition if name in OPERATIONS else "",
        plot=plots.bands(series.bands_ms[tag], series.samples[tag]),
        head=("From (UTC)", "Samples", "p50", "p95", "p99"),
        rows=_band_rows(series, tag),
    )


def _failures(series: Series, plots: TimePlots) -> Panel | None:
    named = [(name, series.failures[name]) for name in sorted(series.failures)]
    if not named:
        return None
    return Panel(
        key="failures",
        title="Errors by outcome",
        about="Operations that did not end well, over all operations.",
        plot=plots.stacked(named),
        head=("From (UTC)", *(name for name, _ in named)),
        rows=_rows(
            series, [(series.parts_of("failures", name), _none_is_none) for name, _ in named]
        ),
    )


def _lag(series: Series, plots: TimePlots) -> Panel | None:
    tags = ((LAG_ARRIVAL, "from arrival to our code", BLUE), (LAG_LOOP, "event loop", PURPLE))
    named = [
        (f"{label}, p99", series.bands_ms[tag][99.0], colour)
        for tag, label, colour in tags
        if tag in series.bands_ms
    ]
    if not named or series.parts is None:
        return None
    parts = [series.parts.bands_ms[tag][99.0] for tag, _, _ in tags if tag in series.parts.bands_ms]
    return Panel(
        key="lag",
        title="Generator lag",
        about="How late this machine was to look at what had already arrived, and to its own "
        "timers. High values here mean that the load was not applied as planned.",
        plot=plots.lines(named, "ms"),
        head=("From (UTC)", *(name for name, _, _ in named)),
        rows=_rows(series, [(values, ms_text) for values in parts]),
    )


def _cpu(series: Series, plots: TimePlots) -> Panel | None:
    values = series.process.get("cpu")
    if values is None:
        return None
    shares: Values = [None if value is None else value * 100 for value in values]
    return Panel(
        key="cpu",
        title="Generator CPU",
        about="The busiest process, as a share of one core.",
        plot=plots.lines([("CPU", shares, GREEN)], "%"),
        head=("From (UTC)", "CPU"),
        rows=_rows(series, [(series.parts_of("process", "cpu"), percent_text)]),
    )


def _present(
    columns: dict[str, Values], names: Sequence[tuple[str, str]]
) -> list[tuple[str, Values, str]]:
    return [(name, columns[name], colour) for name, colour in names if name in columns]


def _band_rows(series: Series, tag: str) -> list[list[str]]:
    parts = series.parts
    if parts is None or tag not in parts.bands_ms:
        return []
    columns = [(parts.samples[tag], count_text)]
    return _rows(series, columns + [(parts.bands_ms[tag][quantile], ms_text) for quantile in BANDS])


def _rows(
    series: Series, columns: Sequence[tuple[Values, Callable[[float | None], str]]]
) -> list[list[str]]:
    parts = series.parts
    if parts is None:
        return []
    return [
        [clock_text(start), *(text(values[place]) for values, text in columns)]
        for place, start in enumerate(parts.starts_s)
    ]


def _none_is_none(value: float | None) -> str:
    """A failure that was not counted did not happen, where there is an interval at all."""
    return count_text(value or 0)
