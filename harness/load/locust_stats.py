"""Shows every sample to Locust as well, for its familiar screen. Nothing reads it back.

Locust's ``request`` event costs several times what a message costs us. While only Locust's own
statistics listen, what ended well is handed to them in batches, in the form in which a master takes
in those of its workers; whoever else listens gets one event per sample.

Locust never trims its counts of each second, and adds a row to its history every five seconds:
:func:`trim` keeps both from growing with the length of a run.
"""

import time
from typing import Any

import numpy as np
from locust.stats import StatsEntry, bucket_response_time

from harness.measure.histogram import Durations
from harness.measure.model import Outcome, Sample
from harness.measure.recorder import Recorder

METHOD = "guest"
CLASS_NS = 100_000
"""Locust's own classes of times are coarser. Each sample goes into one of these first, and only
these are put into Locust's, by their middle: that costs a twentieth, for the same counts."""


class GuestOutcome(Exception):
    """An operation that did not end well; its text is the outcome's bounded word."""


_SHOWN: dict[Outcome, GuestOutcome] = {
    outcome: GuestOutcome(outcome.value) for outcome in Outcome if outcome is not Outcome.OK
}


class BridgedRecorder(Recorder):
    """A recorder whose samples Locust sees too: failures at once, the rest when it is folded."""

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
            response_time=_milliseconds(service_ns),
            response_length=0,
            exception=failure,
            context={},
        )


def _milliseconds(service_ns: int) -> float:
    """A kernel's stamp is converted between clocks, and may fall microseconds before its cause."""
    return max(0, service_ns) / 1e6


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
"""Seconds of counts that are kept: more than Locust looks back, and room for late reports."""
KEPT_ROWS = 2_000
"""Rows of history at most: beyond, every second row goes, so that the charts still show it all."""


def trim(stats: Any, now_s: float) -> None:
    """Let go of what Locust's ``RequestStats`` keeps and does not look at any more."""
    oldest_s = int(now_s) - KEPT_S
    for entry in (stats.total, *stats.entries.values()):
        for per_second in (entry.num_reqs_per_sec, entry.num_fail_per_sec):
            for second in [second for second in per_second if second < oldest_s]:
                del per_second[second]
    if len(stats.history) > KEPT_ROWS:
        del stats.history[1::2]
