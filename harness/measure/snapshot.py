"""Intervals on disk: written by each process, read and merged by whoever makes figures of them.

Two files per process, both only ever appended to, one flush per interval:

``intervals-WORKER.jsonl``
    one JSON object per interval: ``{"t": seconds since the epoch at its end, "s": its length in
    seconds, "phase": "running" | "paused" | "finishing" | "clearing" | "ended", "sessions": {...},
    "arrivals": {...}, "outcomes": {operation: {outcome: count}}, "counts": {...},
    "process": {"cpu": share of one core, "rss_mb": ..., "fds": ...}}``; ``sessions`` holds running
    totals and the present occupancy, everything else what happened in the interval.
``histograms-WORKER.hlog``
    the standard HDR log format (version 1.3) with one tagged line per histogram and interval;
    values are microseconds. Tags: ``OPERATION.service``, ``OPERATION.corrected``,
    ``OPERATION.censored`` and ``OPERATION.censored_corrected`` (of these the lower bounds),
    ``OPERATION.cut`` (how long was waited when the run ended), ``lag.arrival``, ``lag.loop``,
    ``arrival.lateness``, ``session.length``, ``session.cut``.

An interval is a second long in the first hour of a run, ten seconds until a day has passed, and a
minute after that (:func:`interval_s`), so that a soak's files stay small; a crash loses at most
the interval that was being collected. It can tear at most the last line, which readers leave out.

A histogram log beside those of a run's processes: of what became known only after the run.

Percentiles over all that was tried, also what never came.

What was waited for in vain has a true time that is longer than the time waited: a *censored*
value, a lower bound and never a value. A percentile whose rank lies among such is a lower bound
itself ("> 2 s"). What failed outright ranks there too: a refused connect is no fast connect.
What the run's end cut short says nothing as long as it had waited no longer than the slowest that
did come; then it is left out, and a figure that hangs on it is *unsure*.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import orjson

from harness.measure.histogram import Distribution, Histogram, decoded_where_whole
from harness.measure.histogram import rank as rank_of
from harness.measure.model import GREETING, REPLY, TURN, Outcome, interval_s
from harness.measure.recorder import (
    LAG_LOOP,
    QUESTIONS_AMBIGUOUS,
    REPLIES_AMBIGUOUS,
    TURNS_AMBIGUOUS,
    Collected,
    censored_tag,
    corrected_tag,
    cut_tag,
    service_tag,
)
from harness.rundir.layout import RunDirectory, worker_of, write_atomically

WAITED_FOR = ("connect", "session_open")
"""What a guest waits for who is due."""


class Figure(NamedTuple):
    """A time in milliseconds; None where nothing is known."""

    ms: float | None
    at_least: bool = False
    """the true figure is higher, nobody knows by how much"""
    unsure: bool = False
    """the figure depends on what was cut short by the run's end, or on ambiguous answers"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tried:
    """All of one operation that was tried in a run.

    ``bounds`` are the times that came and the lower bounds, ``censored`` the latter alone. Of what
    is ``ambiguous`` nothing is known but that it came.
    """

    bounds: Histogram
    censored: Histogram = field(default_factory=Histogram)
    cut: Histogram = field(default_factory=Histogram)
    outcomes: Mapping[str, int] = field(default_factory=dict)
    ambiguous: int = 0
    never_started: int = 0
    """guests who were due and never came in: of what a guest waits, these wait for ever"""

    @property
    def came(self) -> int:
        """How many came at a known time."""
        return self.bounds.count - self.censored.count

    @property
    def cut_early(self) -> int:
        """How many the run's end cut short before they were later than the slowest that came."""
        exact = self.exact()
        return 0 if exact.max_ms is None else self.cut.count_up_to_ms(exact.max_ms)

    @property
    def without(self) -> int:
        """How many never came, without those that were cut short early."""
        failed = sum(many for outcome, many in self.outcomes.items() if outcome != Outcome.OK)
        return max(failed, self.censored.count) - self.cut_early + self.never_started

    @property
    def whole(self) -> int:
        """All but those that were cut short early."""
        return self.came + self.ambiguous + self.without

    def exact(self) -> Distribution:
        """The times that came."""
        return self.bounds.without(self.censored) if self.censored.count else self.bounds

    def at(self, percent: float) -> Figure:
        """The time within which so many per cent came; 100: the slowest."""
        exact, without, early = self.exact(), self.without, self.cut_early
        whole = exact.count + without
        if not whole:
            return Figure(None)  # nothing was tried, or of nothing that came it is known when
        # Even if all that is ambiguous had been the fastest, and the end had cut nothing short:
        cut_late = self.cut.count - early
        certain = rank_of(percent, self.whole) > exact.count + self.ambiguous + cut_late
        rank = rank_of(percent, whole)
        beyond = rank - exact.count
        if 0 < beyond <= cut_late:
            return Figure(self.cut.at_rank_ms(early + beyond), at_least=True, unsure=True)
        if beyond > 0 or certain:
            ms = self.bounds.at_rank_ms(rank) or 0.0
            return Figure(ms, at_least=True, unsure=not certain)
        if percent < 100 and early:
            strict = rank_of(percent, whole + early)
            if strict > exact.count:
                return Figure(exact.at_rank_ms(rank), unsure=True)
            rank = strict
        return Figure(exact.at_rank_ms(rank))


def tried(
    operation: str,
    histograms: Mapping[str, Histogram],
    outcomes: Mapping[str, int],
    counts: Mapping[str, int],
    *,
    corrected: bool = False,
    dropped: int = 0,
) -> Tried:
    """What the merged measurements of a run say of an operation; so many arrivals were ``dropped``.

    Who was turned away by us has waited for a connection and a session, and has had neither.
    """
    nothing = Histogram()
    tag = corrected_tag(operation) if corrected else service_tag(operation)
    censored = censored_tag(operation, corrected=corrected)
    return Tried(
        bounds=histograms.get(tag, nothing),
        censored=histograms.get(censored, nothing),
        cut=histograms.get(cut_tag(operation), nothing),
        outcomes=outcomes,
        ambiguous=ambiguous(operation, counts),
        never_started=dropped if corrected and operation in WAITED_FOR else 0,
    )


def ambiguous(operation: str, counts: Mapping[str, int]) -> int:
    """How many answers of an operation are known to have come, but not to what."""
    replies = counts.get(REPLIES_AMBIGUOUS, 0)
    if operation == REPLY:
        return replies
    if operation == TURN:
        return counts.get(TURNS_AMBIGUOUS, 0)
    return counts.get(QUESTIONS_AMBIGUOUS, 0) - replies if operation == GREETING else 0


MAX_COUNT, LATEST_S, LONGEST_S = 1 << 53, 1e11, 1e8
"""The greatest count, time of day and length of an interval that are read: an edited file may have
any number, and with greater ones no figure can be computed."""
BATCH = 256
"""So many histograms are decoded at once: quick, and still little memory."""


OnWrite = Callable[[bytes, bytes], None]
"""(appended to the intervals, appended to the histograms): to whoever keeps a copy"""


class IntervalWriter:
    """Appends intervals to the two files of this process; call :meth:`write` about once a second.

    Later in a run it holds what it is given until an interval is full.
    """

    def __init__(self, directory: Path, worker: str, *, started_ns: int) -> None:
        self._started_s = started_ns / 1e9
        self.on_write: OnWrite | None = None
        self._buffered = Collected()
        self._buffered_s = 0.0
        self._buffered_arrivals: Counter[str] = Counter()
        self._newest: tuple[int, Mapping[str, Mapping[str, float] | str]] | None = None
        self._intervals = RunDirectory(directory).intervals(worker).open("ab", buffering=0)
        self._histograms = RunDirectory(directory).histograms(worker).open("ab", buffering=0)
        self.header = log_head(self._started_s).encode()
        """how the histogram log begins"""
        write_whole(self._histograms, self.header)

    def write(
        self,
        collected: Collected,
        *,
        ended_ns: int,
        length_s: float,
        state: Mapping[str, Mapping[str, float] | str],
    ) -> None:
        """Add a part of an interval, and append the interval when it is full.

        ``state`` has the phase and the blocks sessions, arrivals, process. Raises OSError when the
        disk takes no more.
        """
        if self._buffered_s:
            self._buffered.merge(collected)
        else:
            self._buffered = collected
        self._buffered_s += length_s
        self._buffered_arrivals.update(state["arrivals"])
        self._newest = ended_ns, state
        # Half a second of tolerance, because timers are not exact.
        if self._buffered_s >= interval_s(ended_ns / 1e9 - self._started_s) - 0.5:
            self.flush()

    def flush(self) -> None:
        """Append what is held as an interval, if anything is. Raises OSError."""
        if self._newest is None:
            return
        (ended_ns, state), self._newest = self._newest, None
        collected, length_s = self._buffered, self._buffered_s
        arrivals = dict(self._buffered_arrivals)
        self._buffered, self._buffered_s, self._buffered_arrivals = Collected(), 0.0, Counter()
        start = ended_ns / 1e9 - length_s - self._started_s
        lines = [
            log_line(tag, start, length_s, histogram)
            for tag, histogram in collected.histograms.items()
        ]
        out_of_range = sum(histogram.out_of_range for histogram in collected.histograms.values())
        if out_of_range:
            collected.counts["out_of_range"] += out_of_range
        row = {
            "t": round(ended_ns / 1e9, 3),
            "s": round(length_s, 3),
            **state,
            "arrivals": arrivals,
            "outcomes": collected.outcomes,
            "counts": collected.counts,
        }
        histograms = "".join(lines).encode()
        intervals = orjson.dumps(row, option=orjson.OPT_NON_STR_KEYS) + b"\n"
        write_whole(self._histograms, histograms)
        write_whole(self._intervals, intervals)
        if self.on_write is not None:
            self.on_write(intervals, histograms)

    def close(self) -> None:
        """Write what is held and close both files; safe to call twice. Raises OSError."""
        self.flush()
        self._intervals.close()
        self._histograms.close()


def log_head(started_s: float) -> str:
    """The first lines of a histogram log; its times count from ``started_s`` (epoch)."""
    return (
        "#[Histogram log format version 1.3]\n"
        f"#[StartTime: {started_s:.3f} (seconds since epoch)]\n"
        "#[Values are microseconds; Interval_Max is in milliseconds]\n"
        '"StartTimestamp","Interval_Length","Interval_Max",'
        '"Interval_Compressed_Histogram"\n'
    )


def log_line(tag: str, start_s: float, length_s: float, histogram: Histogram) -> str:
    """One histogram of a log."""
    return f"Tag={tag},{start_s:.3f},{length_s:.3f},{histogram.max_ms:.3f},{histogram.encode()}\n"


def write_whole(file: Any, data: bytes) -> None:
    """Write all of ``data`` to an unbuffered file; a full disk may take only a part of it."""
    view = memoryview(data)
    while view:
        view = view[file.write(view) :]


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """One line of an intervals file."""

    worker: str
    ended_s: float
    length_s: float
    phase: str
    sessions: dict[str, int]
    arrivals: dict[str, int]
    outcomes: dict[str, dict[str, int]]
    counts: dict[str, int]
    process: dict[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class TaggedHistogram:
    """One line of a histogram log, still encoded."""

    worker: str
    tag: str
    started_s: float
    length_s: float
    encoded: str


@dataclass(slots=True, kw_only=True)
class Measurements:
    """Everything that the processes of a run measured, merged exactly."""

    workers: list[str] = field(default_factory=list)
    histograms: dict[str, Histogram] = field(default_factory=dict)
    outcomes: dict[str, Counter[str]] = field(default_factory=dict)
    counts: Counter[str] = field(default_factory=Counter)
    arrivals: Counter[str] = field(default_factory=Counter)
    damaged: list[str] = field(default_factory=list)
    """lines that could not be read and were left out: ``FILE:LINE: why``"""
    loop_lag: dict[str, Histogram] = field(default_factory=dict)
    """how late each process's event loop was, by process: one may not hide behind the others"""

    def tried(self, operation: str, *, corrected: bool = False) -> Tried:
        """All of one operation that was tried."""
        return tried(
            operation,
            self.histograms,
            self.outcomes.get(operation, {}),
            self.counts,
            corrected=corrected,
            dropped=self.arrivals["dropped"],
        )


def read_measurements(directory: Path) -> Measurements:
    """Merge all processes' files of a run directory, without the lines that are damaged."""
    merged = Measurements()
    for path in RunDirectory(directory).all_intervals():
        merged.workers.append(worker_of(path))
        for interval in read_intervals(path, merged.damaged):
            merged.counts.update(interval.counts)
            merged.arrivals.update(interval.arrivals)
            for operation, outcomes in interval.outcomes.items():
                merged.outcomes.setdefault(operation, Counter()).update(outcomes)
    for path in RunDirectory(directory).all_histograms():
        own: dict[str, Histogram] = {}
        _merge_histograms(own, path, merged.damaged)
        if LAG_LOOP in own:
            merged.loop_lag[worker_of(path)] = own[LAG_LOOP]
        for tag, histogram in own.items():
            merged.histograms.setdefault(tag, Histogram()).merge(histogram)
    return merged


def _merge_histograms(into: dict[str, Histogram], path: Path, damaged: list[str]) -> None:
    waiting: dict[str, list[str]] = {}

    def flush(tag: str, texts: list[str]) -> None:
        bad: list[str] = []
        histogram = decoded_where_whole(texts, bad)
        damaged.extend(f"{path.name}:{tag}: {why}" for why in bad)
        into.setdefault(tag, Histogram()).add(histogram)

    for line in read_histograms(path, damaged):
        texts = waiting.setdefault(line.tag, [])
        texts.append(line.encoded)
        if len(texts) == BATCH:
            flush(line.tag, waiting.pop(line.tag))
    for tag, texts in waiting.items():
        flush(tag, texts)


def read_intervals(path: Path, damaged: list[str] | None = None) -> Iterator[Interval]:
    """The whole lines of an intervals file; ``damaged`` takes what is to be said of the others."""
    worker = worker_of(path)
    for number, line in _whole_lines(path):
        try:
            interval = _interval(worker, orjson.loads(line))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            if damaged is not None:
                why = f"{error} is missing" if isinstance(error, KeyError) else error
                damaged.append(f"{path.name}:{number}: not an interval of a run: {why}")
        else:
            yield interval


def _interval(worker: str, row: Any) -> Interval:
    """Raises what a row that is none of ours brings with it."""
    return Interval(
        worker=worker,
        ended_s=_number(row["t"], up_to=LATEST_S),
        length_s=_number(row["s"], up_to=LONGEST_S),
        phase=str(row.get("phase", "")),
        sessions=_counts(row["sessions"]),
        arrivals=_counts(row["arrivals"]),
        outcomes={str(name): _counts(counts) for name, counts in row["outcomes"].items()},
        counts=_counts(row["counts"]),
        process={name: _number(value, up_to=MAX_COUNT) for name, value in row["process"].items()},
    )


def _counts(row: Any) -> dict[str, int]:
    for value in row.values():
        if type(value) is not int or not 0 <= value <= MAX_COUNT:
            raise ValueError(f"expected a whole number up to {MAX_COUNT:,}, got {value!r:.40}")
    return dict(row)


def _number(value: Any, *, up_to: float) -> Any:
    """The number. Raises ValueError for any other value, NaN and infinity too."""
    if type(value) not in (int, float) or not 0 <= value <= up_to:
        raise ValueError(f"expected a number up to {up_to:,.0f}, got {value!r:.40}")
    return value


def read_histograms(path: Path, damaged: list[str] | None = None) -> Iterator[TaggedHistogram]:
    """The whole lines of a histogram log, not yet decoded; ``damaged`` as in the intervals."""
    worker = worker_of(path)
    started = 0.0
    for number, raw in _whole_lines(path):
        line = raw.decode("utf-8", "replace")
        try:
            if line.startswith("#[StartTime:"):
                started = _number(float(line.split()[1]), up_to=LATEST_S)
            if line.startswith(("#", '"')):
                continue
            tag, start, length, _, encoded = line.split(",")
            if not tag.startswith("Tag="):
                raise ValueError(f"{tag!r:.40} in place of a tag")
            histogram = TaggedHistogram(
                worker=worker,
                tag=tag.removeprefix("Tag="),
                started_s=_number(started + float(start), up_to=LATEST_S),
                length_s=_number(float(length), up_to=LONGEST_S),
                encoded=encoded,
            )
        except (ValueError, IndexError) as error:
            if damaged is not None:
                damaged.append(
                    f"{path.name}:{number}: expected Tag=NAME,start,length,max,histogram: {error}"
                )
        else:
            yield histogram


def _whole_lines(path: Path) -> Iterator[tuple[int, bytes]]:
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            if line.endswith(b"\n"):
                yield number, line.rstrip(b"\n")


AUDIT = "audit"
"""Beside the names of processes: whose histograms are what an audit has measured."""


def write_addition(
    directory: Path, operation: str, samples: Iterable[tuple[int, int]]
) -> Histogram:
    """Write what an audit has measured beside what guests have, in one step; the sum of it.

    What an earlier audit wrote is replaced. ``samples`` are (wall time in ns, duration in ns); each
    counts in its second. Nothing was scheduled, so the corrected latency is the service time.
    Raises OSError.
    """
    whole = Histogram()
    seconds: dict[int, list[int]] = {}
    for at_ns, duration_ns in samples:
        seconds.setdefault(at_ns // 1_000_000_000, []).append(duration_ns)
    started_s = min(seconds, default=0)
    lines = [log_head(started_s)]
    for at_s, durations_ns in sorted(seconds.items()):
        histogram = Histogram()
        histogram.record_many_ns(durations_ns)
        whole.merge(histogram)
        lines += [
            log_line(tag, at_s - started_s, 1.0, histogram)
            for tag in (service_tag(operation), corrected_tag(operation))
        ]
    path = RunDirectory(directory).histograms(AUDIT)
    write_atomically(path, "".join(lines))
    return whole
