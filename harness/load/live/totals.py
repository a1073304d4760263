"""The running totals of all processes of a run, in the process that leads it.

Each process hands in its interval once a second: the local run directly, workers by a message to
their master. Early stops, the Sessions tab and the Prometheus endpoint use these totals. The record
of a run does not: it is made from the files.

:class:`AbortWatch` stops a run that has missed an objective with ``abort_on_fail`` for too long.
Old results must neither save a run that fails now nor end one that has recovered: a share or a time
is judged over a sliding window, a plain count over everything since the objective's grace.

Every sample is shown to Locust as well, for its familiar screen; no figure is read back from it.

Locust's ``request`` event costs several times what a message costs us. While only Locust's own
statistics listen, what ended well is handed to them in batches, in the form in which a master takes
in those of its workers; whoever else listens gets one event per sample.

Locust never trims its counts of each second, and adds a row to its history every five seconds:
:func:`trim` keeps both from growing with the length of a run.
"""

import time
from collections import Counter, deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from locust.stats import StatsEntry, bucket_response_time

from harness.clock import monotonic_ns
from harness.judge.gate import MissedSince, consider_abort, judge_one
from harness.judge.objective import GENERATOR_LAG, Kind, Objective, Unit
from harness.judge.record import guests_block, questions_block, stories_block
from harness.measure.histogram import Counted, Durations, Histogram, combined, decoded_where_whole
from harness.measure.model import (
    OPERATIONS,
    CountedBy,
    Outcome,
    Phase,
    RunningTotals,
    Sample,
    Section,
    counters_of,
)
from harness.measure.recorder import (
    LAG_LOOP,
    Recorder,
    censored_tag,
    corrected_tag,
    cut_tag,
    service_tag,
)
from harness.measure.snapshot import Figure, Tried, ambiguous, tried

WAITING = 64
"""How many histograms of one tag are added at once."""
KEPT_POINTS = 600
"""Seconds of history kept for the Sessions tab; older ones are dropped, so memory stays flat."""
QUIET_AFTER_S = 5.0
"""A process that has sent nothing for this long is shown as quiet."""
TOTALS = (*counters_of(Section.SESSIONS, CountedBy.LEDGER), "occupancy")
"""Running totals of the sessions, by which a run may be stopped."""


class Live(RunningTotals):
    """The running totals with histograms, and a history of the last minutes."""

    def __init__(self) -> None:
        super().__init__()
        self.began_ns = monotonic_ns()
        self._histograms: dict[str, Histogram] = {}
        self.points: deque[dict[str, Any]] = deque(maxlen=KEPT_POINTS)
        self._last_report_ns: dict[str, int] = {}
        self._recent: dict[str, Mapping[str, Counted | str]] = {}
        """each process's last interval: encoded, or only places with something in them"""
        self._waiting: dict[str, list[str]] = {}
        """encoded histograms by tag that are not added yet: adding many at once costs less"""

    def take_encoded(
        self, process: str, row: Mapping[str, Any], encoded: Mapping[str, str]
    ) -> None:
        """:meth:`take` for a worker's message. Damaged parts are left out: this is only a view."""
        self.take(process, row, {})
        for tag, text in encoded.items():
            waiting = self._waiting.setdefault(tag, [])
            waiting.append(text)
            if len(waiting) == WAITING:
                self._add(tag)
        self._recent[process] = encoded

    @property
    def histograms(self) -> dict[str, Histogram]:
        """The histograms of the whole run so far, by tag."""
        for tag in list(self._waiting):
            self._add(tag)
        return self._histograms

    def _add(self, tag: str) -> None:
        counted = decoded_where_whole(self._waiting.pop(tag), [])
        self._histograms.setdefault(tag, Histogram()).add(counted)

    def take(self, process: str, row: Mapping[str, Any], histograms: Mapping[str, Counted]) -> None:
        """Add one interval of one process."""
        self.add(process, row)
        self._last_report_ns[process] = monotonic_ns()
        for tag, histogram in histograms.items():
            self._histograms.setdefault(tag, Histogram()).add(histogram)
        self._recent[process] = histograms

    def most_in_session(self) -> int:
        """Guests in session in the process that has most of them."""
        return max(
            (int(r["sessions"].get("occupancy", 0)) for r in self.newest.values()), default=0
        )

    def left_by_reason(self) -> dict[str, int]:
        """Leftovers of all processes, by the reason that the ledger gives."""
        reasons = Counter[str]()
        for row in self.newest.values():
            reasons.update(row.get("left_by_reason", {}))
        return dict(reasons)

    def quiet(self) -> list[str]:
        """Processes that have sent nothing for a while."""
        limit = monotonic_ns() - int(QUIET_AFTER_S * 1e9)
        return sorted(name for name, last_ns in self._last_report_ns.items() if last_ns < limit)

    def recent(self, tag: str) -> Counted:
        """The last interval of all processes under one tag."""
        there = [histograms[tag] for histograms in self._recent.values() if tag in histograms]
        texts = [one for one in there if isinstance(one, str)]
        return combined(
            [
                decoded_where_whole(texts, []),
                *(one for one in there if not isinstance(one, str)),
            ]
        )

    def lost(self) -> list[str]:
        """Processes that fell silent before they had ended."""
        return [name for name in self.quiet() if self.newest[name].get("phase") != Phase.ENDED]

    def figures(self) -> dict[str, Any]:
        """The run so far in the shape of ``run.json``, as the gate takes it."""
        lag = self.histograms.get(LAG_LOOP, Histogram())  # of the event loops, by time
        p50, p99, most = lag.percentiles_ms([50, 99, 100])
        return {
            "sessions": {name: self.total("sessions", name) for name in TOTALS},
            "operations": {
                name: {
                    "count": sum(outcomes.values()),
                    "outcomes": outcomes,
                    "ambiguous": ambiguous(name, self.counts),
                    "cut_early": self._tried(name).cut_early,
                }
                for name, outcomes in self.outcomes.items()
            },
            "questions": questions_block(self.outcomes, self.counts),
            "stories": stories_block(self.counts),
            "guests": guests_block(self.counts),
            "arrivals": self.arrivals,
            "forensics": self.counts,
            "generator": {
                "lag_loop_ms": {"p50": p50, "p99": p99, "max": most},
                "workers_lost": len(self.lost()),
            },
        }

    def percentile(self, operation: str, kind: Kind, percent: float) -> Figure:
        """A time of the run so far."""
        return self._tried(operation, corrected=kind is Kind.CORRECTED).at(percent)

    def _tried(self, operation: str, *, corrected: bool = False) -> Tried:
        outcomes = self.outcomes.get(operation, {})
        return tried(
            operation,
            self.histograms,
            outcomes,
            self.counts,
            corrected=corrected,
            dropped=self.arrivals.get("dropped", 0),
        )

    def add_point(self, at_s: float) -> None:
        """Keep the present state as one point of the history."""
        lag = self.recent(LAG_LOOP).percentiles_ms([99])[0]
        times = {}
        for name in OPERATIONS:
            values = self.recent(service_tag(name)).percentiles_ms([50, 95])
            if values[0] is not None:
                times[name] = values
        self.points.append(
            {
                "t": round(at_s, 1),
                **{name: self.total("sessions", name) for name in TOTALS},
                **{name: self.arrivals.get(name, 0) for name in ("due", "late", "dropped")},
                "left": self.left_by_reason(),
                "lag_p99_ms": lag,
                "times_ms": times,
            }
        )


EVERYTHING = "all processes"


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """The totals of a run at a moment (seconds of the run)."""

    at_s: float
    sessions: Mapping[str, int]
    outcomes: Mapping[str, Mapping[str, int]]
    counts: Mapping[str, int]
    arrivals: Mapping[str, int]
    histograms: Mapping[str, Counted]

    @classmethod
    def of(cls, live: Live, at_s: float, tags: Iterable[str]) -> "Mark":
        """The present totals; of the histograms only those of ``tags``."""
        return cls(
            at_s=at_s,
            sessions={name: live.total("sessions", name) for name in TOTALS},
            outcomes={name: dict(many) for name, many in live.outcomes.items()},
            counts=dict(live.counts),
            arrivals=dict(live.arrivals),
            histograms={
                tag: live.histograms[tag].counted() for tag in tags if tag in live.histograms
            },
        )

    def since(self, earlier: "Mark") -> Live:
        """The totals between an earlier mark and this one."""
        between = Live()
        between.outcomes = {
            name: _less(many, earlier.outcomes.get(name, {}))
            for name, many in self.outcomes.items()
        }
        between.counts = _less(self.counts, earlier.counts)
        between.arrivals = _less(self.arrivals, earlier.arrivals)
        between.newest[EVERYTHING] = {"sessions": _less(self.sessions, earlier.sessions)}
        for tag, whole in self.histograms.items():
            before = earlier.histograms.get(tag)
            between._histograms[tag] = Histogram()
            between._histograms[tag].add(whole if before is None else whole.without(before))
        return between


NOTHING = Mark(at_s=0.0, sessions={}, outcomes={}, counts={}, arrivals={}, histograms={})


class AbortWatch:
    """Judges a running run once a second, by the objectives that may stop it."""

    def __init__(self, objectives: Sequence[Objective], live: Live) -> None:
        self._objectives = [item for item in objectives if item.abort_on_fail]
        self._live = live
        self._missed_since_s: MissedSince = {}
        self._marks: deque[Mark] = deque()
        self._after_grace: dict[Objective, Mark] = {}
        self._tags = sorted({tag for item in self._objectives for tag in _tags(item)})
        self._longest_s = max((item.window_s for item in self._objectives), default=0.0)

    def look(self, now_s: float) -> tuple[str, ...]:
        """Why the run should stop now; empty: go on. ``now_s`` counts from the run's start."""
        if not self._objectives:
            return ()
        now = Mark.of(self._live, now_s, self._tags)
        self._marks.append(now)
        while len(self._marks) > 1 and self._marks[1].at_s <= now_s - self._longest_s:
            self._marks.popleft()
        judgements = []
        for item in self._objectives:
            if now_s < item.grace_s:
                continue
            first = self._after_grace.setdefault(item, now if item.grace_s else NOTHING)
            part = now.since(self._start_of(item, first, now_s))
            figures = part.figures()
            figures["generator"]["workers_lost"] = len(self._live.lost())
            judgements.append(judge_one(item, figures, percentile=part.percentile, unfinished=True))
        self._missed_since_s, reasons = consider_abort(
            self._missed_since_s, judgements, now_s=now_s
        )
        return reasons

    def _start_of(self, item: Objective, first: Mark, now_s: float) -> Mark:
        if item.unit is Unit.COUNT:
            return first
        before = [mark for mark in self._marks if mark.at_s <= now_s - item.window_s]
        return max((first, *before[-1:]), key=lambda mark: mark.at_s)


def _tags(item: Objective) -> list[str]:
    if item.subject == GENERATOR_LAG:
        return [LAG_LOOP]
    if item.unit is not Unit.MS:
        return [service_tag(item.subject), cut_tag(item.subject)]
    name = item.subject
    return [
        service_tag(name),
        corrected_tag(name),
        censored_tag(name),
        censored_tag(name, corrected=True),
        cut_tag(name),
    ]


def _less(later: Mapping[str, int], before: Mapping[str, int]) -> dict[str, int]:
    return {name: many - before.get(name, 0) for name, many in later.items()}


METHOD = "guest"
CLASS_NS = 100_000
"""Width of the classes in which samples are counted first; only each class's middle is given to
Locust, whose own classes are coarser. That costs a twentieth, for the same counts."""


class GuestOutcome(Exception):
    """An operation that did not end well; its text is the outcome's fixed word."""


_SHOWN: dict[Outcome, GuestOutcome] = {
    outcome: GuestOutcome(outcome.value) for outcome in Outcome if outcome is not Outcome.OK
}


class BridgedRecorder(Recorder):
    """A recorder whose samples Locust gets too: failures at once, the rest in batches."""

    def __init__(self, environment: Any) -> None:
        super().__init__()
        self._environment = environment

    def _add_failed(self, sample: Sample) -> None:
        super()._add_failed(sample)
        self._fire(sample.operation, sample.service_ns, _SHOWN[sample.outcome])

    def _show(self, operation: str, service_ns: Durations) -> None:
        stats = getattr(self._environment.runner, "stats", None)
        listeners = self._environment.events.request._handlers
        if stats is None or any(one.__module__ != "locust.runners" for one in listeners):
            for duration_ns in service_ns:
                self._fire(operation, int(duration_ns), None)
            return
        batch = _batch(stats, operation, service_ns)
        stats.total.extend(batch)
        stats.get(operation, METHOD).extend(batch)

    def _fire(self, operation: str, service_ns: int, failure: GuestOutcome | None) -> None:
        self._environment.events.request.fire(
            request_type=METHOD,
            name=operation,
            # A kernel's stamp is converted between clocks, and may fall just before its cause.
            response_time=max(0, service_ns) / 1e6,
            response_length=0,
            exception=failure,
            context={},
        )


def _batch(stats: Any, operation: str, service_ns: Durations) -> Any:
    now = time.time()
    times_ns = np.maximum(np.asarray(service_ns, dtype=np.int64), 0)
    batch: Any = StatsEntry(stats, operation, METHOD)  # whose types say int where floats are kept
    batch.num_requests = len(service_ns)
    batch.num_reqs_per_sec[int(now)] = len(service_ns)
    batch.last_request_timestamp = now
    batch.total_response_time = float(times_ns.sum()) / 1e6
    batch.min_response_time = float(times_ns.min()) / 1e6
    batch.max_response_time = float(times_ns.max()) / 1e6
    classes, counts = np.unique(times_ns // CLASS_NS, return_counts=True)
    for number, count in zip(classes.tolist(), counts.tolist(), strict=True):
        batch.response_times[bucket_response_time((number + 0.5) * CLASS_NS / 1e6)] += count
    return batch


KEPT_S = 60
"""Seconds of counts that are kept: more than Locust needs, with room for late reports."""
KEPT_ROWS = 2_000
"""Most rows of history; beyond that every second row is dropped, so the charts still show all."""


def trim(stats: Any, now_s: float) -> None:
    """Drop the entries of Locust's ``RequestStats`` that Locust no longer reads."""
    oldest_s = int(now_s) - KEPT_S
    for entry in (stats.total, *stats.entries.values()):
        for per_second in (entry.num_reqs_per_sec, entry.num_fail_per_sec):
            for second in [second for second in per_second if second < oldest_s]:
                del per_second[second]
    if len(stats.history) > KEPT_ROWS:
        del stats.history[1::2]
