"""The run over time: the interval files of all processes, merged into evenly wide bins.

Memory does not grow with the length of a run: bins are limited in number, and only the histograms
of the bin at hand and of the whole run are held. The same reading gives three levels: rows for the
CSV file, bins for the charts, and a few parts for the tables. Each level is merged from the finer
one, so its percentiles are exact too.

:func:`parts_block` gives the figures of each step and ramp of the schedule and of the drain: a step
that was too high must not hide in the whole. An operation belongs to the part in which it ended.
"""

import heapq
import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness.measure.histogram import Counted, Histogram, combined, decoded_where_whole, rank
from harness.measure.model import COMING, TIMED, Outcome, Phase
from harness.measure.recorder import (
    LAG_ARRIVAL,
    LAG_LOOP,
    WARM_UP,
    censored_tag,
    service_tag,
    with_warm_up,
)
from harness.measure.snapshot import Interval, TaggedHistogram, read_histograms, read_intervals
from harness.rundir.layout import RunDirectory
from harness.workload.schedule import Chain, Poisson, Rates, Schedule

MOST_ROWS = 3600
MOST_BINS = 240
MOST_BLOCKS = 60
MOST_PARTS = 12
HEAT_ROWS_PER_DECADE = 12
WIDTHS_S = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 43200, 86400)
BANDS = (50.0, 95.0, 99.0)
REPLIES = service_tag("reply")
FAILED = tuple(set(Outcome) - TIMED - {Outcome.CUT_SHORT})
"""Outcomes of what never came and has no time at all."""

HandOn = Callable[[str, Counted, float], None]
"""Takes a closed bin's tag, its histogram, and the middle of the bin in seconds."""
Values = list[float | None]
"""One value per bin; None where nothing was recorded (never 0 instead)."""


@dataclass(slots=True, kw_only=True)
class Series:
    """The run in bins; all lists are as long as ``starts_s``."""

    width_s: float
    starts_s: list[float]
    rates: dict[str, Values] = field(default_factory=dict)
    """Arrivals per second: due, started, late, dropped."""
    sessions: dict[str, Values] = field(default_factory=dict)
    """Running totals and the occupancy as last written in each bin, over all processes."""
    failures: dict[str, Values] = field(default_factory=dict)
    """Outcomes other than ok, counted per bin over all operations."""
    operations: dict[str, Values] = field(default_factory=dict)
    """How often each operation ended in each outcome, per bin: ``reply.ok``."""
    counts: dict[str, Values] = field(default_factory=dict)
    """Plain counts (forensics) per bin."""
    process: dict[str, Values] = field(default_factory=dict)
    """The highest of any process: cpu (share of one core), rss_mb, fds."""
    bands_ms: dict[str, dict[float, Values]] = field(default_factory=dict)
    """Percentiles by tag, see :data:`BANDS`."""
    bounds: dict[str, dict[float, list[bool]]] = field(default_factory=dict)
    """Where a percentile of ``bands_ms`` is a lower bound: its rank lies among what never came."""
    samples: dict[str, Values] = field(default_factory=dict)
    """How many values each tag's percentiles stand on."""
    heat: dict[tuple[int, int], int] = field(default_factory=dict)
    """Replies counted by (bin, row); row r begins at 10 ** (r / HEAT_ROWS_PER_DECADE) us."""
    totals: dict[str, Counted] = field(default_factory=dict)
    """The whole run by tag."""
    outcomes: dict[str, Counter[str]] = field(default_factory=dict)
    """The whole run's outcomes by operation."""
    phases: dict[str, float] = field(default_factory=dict)
    """Phase → when the first process wrote an interval of it (its beginning, in seconds)."""
    blocks: dict[str, list[list[tuple[float, int]]]] = field(default_factory=dict)
    """Service times as histograms of at most :data:`MOST_BLOCKS` blocks of time, in order:
    (milliseconds, count) pairs."""
    last: dict[str, tuple[float, str]] = field(default_factory=dict)
    """Process → when its last interval ended, in seconds, and the phase of that interval."""
    pauses: list[float] = field(default_factory=list)
    """When each process began a pause, in seconds."""
    parts: "Series | None" = None
    """The same run in at most :data:`MOST_PARTS` bins."""
    rows: "Series | None" = None
    """The same run in at most :data:`MOST_ROWS` bins."""

    def __len__(self) -> int:
        return len(self.starts_s)

    def parts_of(self, kind: str, name: str) -> Values:
        """A column of the coarse bins, such as ``("rates", "due")``."""
        if self.parts is None:
            return []
        columns: dict[str, Values] = getattr(self.parts, kind)
        return columns.get(name) or [None] * len(self.parts)

    def at_least(self, tag: str, quantile: float) -> list[bool]:
        """For each bin whether the true percentile is higher than the one in ``bands_ms``."""
        return self.bounds.get(tag, {}).get(quantile) or [False] * len(self)

    def bin_of(self, at_s: float) -> int:
        """The bin that holds a time; times outside fall into the first or last."""
        return min(max(0, int((at_s - self.starts_s[0]) / self.width_s)), len(self) - 1)


def read_series(run_dir: Path) -> Series | None:
    """Read a run directory's intervals; None when there are none. Damaged lines are left out."""
    paths = RunDirectory(run_dir).all_intervals()
    span = read_span(paths)
    if span is None:
        return None
    levels = empty_series(span, (MOST_ROWS, MOST_BINS, MOST_BLOCKS, MOST_PARTS))
    rows, series, _, parts = levels
    series.rows, series.parts = rows, parts
    for path in paths:
        followers = [_Sessions(one) for one in (rows, series, parts)]
        for interval in read_intervals(path):
            began = interval.ended_s - interval.length_s
            phase = interval.phase
            if phase == Phase.PAUSED:
                if series.last.get(interval.worker, (0.0, ""))[1] != Phase.PAUSED:
                    series.pauses.append(began)
                phase = Phase.RUNNING  # a pause is a moment of the run and not the end of a phase
            series.phases[phase] = min(series.phases.get(phase, began), began)
            series.last[interval.worker] = (interval.ended_s, interval.phase)
            for operation, outcomes in interval.outcomes.items():
                series.outcomes.setdefault(operation, Counter()).update(outcomes)
            for follower in followers:
                follower.add(interval)
        for follower in followers:
            follower.end()
    _read_times(levels, series, RunDirectory(run_dir).all_histograms())
    return series


def bin_width_s(span_s: float, narrowest_s: float, most: int) -> float:
    """The narrowest round width that needs no more than ``most`` bins.

    It is a multiple of ``narrowest_s``, so that no finer bin lies in two of these.
    """
    step = max(1, round(narrowest_s))
    for width in WIDTHS_S:
        if width % step == 0 and span_s / width <= most:
            return float(width)
    return float(math.ceil(span_s / most / step) * step)


def read_span(paths: list[Path]) -> tuple[float, float, float] | None:
    """(start, end, typical length of an interval) over all files."""
    start, end = math.inf, -math.inf
    lengths: Counter[float] = Counter()
    for path in paths:
        for interval in read_intervals(path):
            start = min(start, interval.ended_s - interval.length_s)
            end = max(end, interval.ended_s)
            lengths[round(interval.length_s)] += 1
    if not lengths:
        return None
    return start, end, max(1.0, lengths.most_common(1)[0][0])


def span_s(intervals: Sequence[Interval]) -> tuple[float, float] | None:
    """From when until when intervals tell, in seconds since the epoch; None of none."""
    if not intervals:
        return None
    return min(one.ended_s - one.length_s for one in intervals), max(
        one.ended_s for one in intervals
    )


def empty_series(span: tuple[float, float, float], mosts: tuple[int, ...]) -> list[Series]:
    """Series with nothing in them yet, from fine to coarse, each within its number of bins."""
    start, end, width = span
    levels = []
    for most in mosts:
        width = bin_width_s(end - start, width, most)
        number = max(1, math.ceil((end - start) / width - 1e-6))
        levels.append(
            Series(
                width_s=width,
                starts_s=[start + index * width for index in range(number)],
            )
        )
    return levels


class _Sessions:
    """Adds one process's intervals to a series, in order of time.

    Running totals of a process that has stopped writing go on counting with their last value,
    except its occupancy, which ends with it.
    """

    def __init__(self, series: Series) -> None:
        self._series = series
        self._last: dict[str, float] = {}
        self._place = 0

    def add(self, interval: Interval) -> None:
        series = self._series
        place = series.bin_of(interval.ended_s - interval.length_s / 2)
        self._carry(place)
        self._last = {name: float(value) for name, value in interval.sessions.items()}
        for name, count in interval.arrivals.items():
            self._put(series.rates, name, place, count / series.width_s)
        for operation, outcomes in interval.outcomes.items():
            for outcome, count in outcomes.items():
                self._put(series.operations, f"{operation}.{outcome}", place, count)
                if outcome != "ok":
                    self._put(series.failures, outcome, place, count)
        for name, count in interval.counts.items():
            self._put(series.counts, name, place, count)
        for name, value in interval.process.items():
            values = _values(series.process, name, len(series))
            values[place] = max(values[place] or 0.0, value)

    def end(self) -> None:
        """The process has written its last interval."""
        self._carry(self._place + 1)
        self._last.pop("occupancy", None)
        self._carry(len(self._series))

    def _carry(self, place: int) -> None:
        """Put the totals known so far into the bins before ``place``."""
        while self._place < min(place, len(self._series)):
            for name, value in self._last.items():
                self._put(self._series.sessions, name, self._place, value)
            self._place += 1

    def _put(self, into: dict[str, Values], name: str, place: int, value: float) -> None:
        values = _values(into, name, len(self._series))
        values[place] = (values[place] or 0.0) + value


class BinnedTimes:
    """The histograms of one bin at a time; what a bin gathered is handed on when it closes."""

    def __init__(self, series: Series, hand_on: HandOn) -> None:
        self._series = series
        self._hand_on = hand_on
        self._place = 0
        self._texts: dict[str, list[str]] = {}
        self._parts: dict[str, list[Counted]] = {}

    def read(self, paths: list[Path]) -> None:
        """Take in the histogram files of all processes, in order of time, and close."""
        files = [read_histograms(path) for path in paths]
        lines = files[0] if len(files) == 1 else heapq.merge(*files, key=_middle_s)
        bin_ends_s = self._enter(0.0)
        for line in lines:
            at_s = _middle_s(line)
            if at_s >= bin_ends_s:
                bin_ends_s = self._enter(at_s)
            self._texts.setdefault(line.tag, []).append(line.encoded)
        self.close()

    def add(self, tag: str, part: Counted, at_s: float) -> None:
        """Take in what a finer level hands on."""
        self._enter(at_s)
        self._parts.setdefault(tag, []).append(part)

    def close(self) -> None:
        """Note the open bin's percentiles and hand its histograms on."""
        series, place = self._series, self._place
        middle_s = series.starts_s[place] + series.width_s / 2
        for tag in (*self._texts, *self._parts):
            histogram = self._closed(tag)
            if tag in (LAG_ARRIVAL, LAG_LOOP) or tag.endswith(".service"):
                bands = series.bands_ms.setdefault(tag, {})
                for quantile, (value, least) in zip(
                    BANDS, self._over_all(tag, histogram), strict=True
                ):
                    bands.setdefault(quantile, [None] * len(series))[place] = value
                    if least:
                        bounds = series.bounds.setdefault(tag, {})
                        bounds.setdefault(quantile, [False] * len(series))[place] = True
                _values(series.samples, tag, len(series))[place] = histogram.count
            if tag == REPLIES:
                for value_us, count in histogram.buckets_us():
                    row = math.floor(math.log10(max(1, value_us)) * HEAT_ROWS_PER_DECADE)
                    series.heat[place, row] = series.heat.get((place, row), 0) + count
            self._hand_on(tag, histogram, middle_s)
        self._texts, self._parts = {}, {}

    def _over_all(self, tag: str, histogram: Counted) -> list[tuple[float | None, bool]]:
        """The percentiles over all that ended in the open bin, and which are lower bounds.

        As in the record of the whole run, what never came ranks above all that did.
        """
        operation = tag.removesuffix(".service")
        unknown = censored_tag(operation)
        known = unknown in self._texts or unknown in self._parts
        censored = self._closed(unknown) if known else None
        came = histogram if censored is None else histogram.without(censored)
        failed = sum(
            values[self._place] or 0.0
            for outcome in FAILED
            if (values := self._series.operations.get(f"{operation}.{outcome}")) is not None
        )
        never = int(failed) + (0 if censored is None else censored.count)
        if not never:
            return [(value, False) for value in histogram.percentiles_ms(BANDS)]
        percentiles = []
        for quantile in BANDS:
            at = rank(quantile, came.count + never)
            least = at > came.count
            percentiles.append(((histogram if least else came).at_rank_ms(at), least))
        return percentiles

    def _enter(self, at_s: float) -> float:
        """Make the bin that holds ``at_s`` the open one; a time before it counts in it.

        Returns the end of the open bin, in seconds.
        """
        place = max(self._place, self._series.bin_of(at_s))
        if place != self._place:
            self.close()
            self._place = place
        return self._series.starts_s[place] + self._series.width_s

    def _closed(self, tag: str) -> Counted:
        if tag in self._parts:
            return combined(self._parts[tag])
        return decoded_where_whole(self._texts[tag], [])  # the record tells what is left out


def _read_times(levels: list[Series], series: Series, paths: list[Path]) -> None:
    def to_totals(tag: str, part: Counted, _at_s: float) -> None:
        before = series.totals.get(tag)
        series.totals[tag] = part if before is None else combined([before, part])

    def to_parts(tag: str, part: Counted, at_s: float) -> None:
        if tag.endswith(".service"):
            buckets = [(value_us / 1000, count) for value_us, count in part.buckets_us()]
            series.blocks.setdefault(tag, []).append(buckets)
        parts.add(tag, part, at_s)

    parts = BinnedTimes(levels[3], to_totals)
    blocks = BinnedTimes(levels[2], to_parts)
    bins = BinnedTimes(levels[1], blocks.add)
    BinnedTimes(levels[0], bins.add).read(paths)
    for level in (bins, blocks, parts):
        level.close()


def _middle_s(line: TaggedHistogram) -> float:
    return line.started_s + line.length_s / 2


def _values(into: dict[str, Values], name: str, length: int) -> Values:
    values = into.get(name)
    if values is None:
        values = into[name] = [None] * length
    return values


LEAD_S = 0.5
"""From the start of a run to that of its schedule."""
SHOWN = ("session_open", "reply")
MOST_SCHEDULE_PARTS = 24
"""A schedule of more parts than this is a curve, which the charts show better."""
DRAIN = "drain"


@dataclass(slots=True)
class _Part:
    name: str
    from_s: float
    to_s: float
    guests: int = 0
    outcomes: dict[str, Counter[str]] = field(default_factory=dict)
    times: dict[str, Histogram] = field(default_factory=dict)


def schedule_parts(schedule: Schedule) -> list[dict[str, Any]]:
    """The stretches of a schedule in which its rate is steady or a straight line."""
    if isinstance(schedule, Chain):
        parts = []
        for part, start_ns in zip(schedule.parts, schedule.starts_ns, strict=False):
            for one in schedule_parts(part):
                shifted = {key: one[key] + start_ns / 1e9 for key in ("from_s", "to_s")}
                parts.append(one | shifted)
        return parts
    if isinstance(schedule, Poisson):
        return schedule_parts(schedule.base)
    if not isinstance(schedule, Rates):
        return [{"name": schedule.describe(), "from_s": 0.0, "to_s": schedule.duration_s}]
    parts = []
    for segment, start_ns in zip(schedule.segments, schedule.starts_ns, strict=False):
        first, last = (60 * float(rate) for rate in (segment.first, segment.last))
        name = f"{first:.4g}/min" if first == last else f"{first:.4g} to {last:.4g}/min"
        end_ns = start_ns + segment.length_ns
        parts.append({"name": name, "from_s": start_ns / 1e9, "to_s": end_ns / 1e9})
    return parts


def parts_block(
    directory: Path, parts: Sequence[Mapping[str, Any]], intervals: Sequence[Interval]
) -> list[dict[str, Any]]:
    """The record's ``parts``, in order; empty where there is nothing to tell apart.

    Raises ConfigError on a damaged line.
    """
    span = span_s(intervals)
    if span is None or len(parts) > MOST_SCHEDULE_PARTS:
        return []
    began, ended = span
    running = [one.ended_s for one in intervals if one.phase in COMING]
    drained = max(running, default=began)
    first = began + LEAD_S if parts else began
    stretches = [
        _Part(str(part["name"]), first + float(part["from_s"]), first + float(part["to_s"]))
        for part in parts
        if first + float(part["from_s"]) < drained
    ] or [_Part("guests come", began, drained)]
    stretches[0].from_s, stretches[-1].to_s = began, drained
    stretches.append(_Part(DRAIN, drained, ended))
    if len(stretches) < 3:
        return []
    for interval in intervals:
        part = _part_of(stretches, interval.ended_s - interval.length_s / 2)
        part.guests += interval.arrivals.get("started", 0)
        for name in SHOWN:
            outcomes = part.outcomes.setdefault(name, Counter())
            outcomes.update(with_warm_up(interval.outcomes, name))
    tags = {service_tag(f"{what}{name}"): name for name in SHOWN for what in ("", WARM_UP)}
    for path in RunDirectory(directory).all_histograms():
        for line in read_histograms(path):
            if line.tag in tags:
                part = _part_of(stretches, _middle_s(line))
                times = part.times.setdefault(tags[line.tag], Histogram())
                times.merge_encoded(line.encoded)
    return [_block(part, began) for part in stretches]


def _part_of(parts: Sequence[_Part], at_s: float) -> _Part:
    return next((part for part in parts if at_s < part.to_s), parts[-1])


def _block(part: _Part, began_s: float) -> dict[str, Any]:
    operations = {}
    for name, outcomes in part.outcomes.items():
        count = sum(outcomes.values())
        p50, p95 = part.times.get(name, Histogram()).percentiles_ms([50, 95])
        errors = count - outcomes["ok"]
        operations[name] = {"count": count, "errors": errors, "p50_ms": p50, "p95_ms": p95}
    return {
        "name": part.name,
        "from_s": round(part.from_s - began_s, 1),
        "to_s": round(part.to_s - began_s, 1),
        "guests": part.guests,
        "operations": operations,
    }
