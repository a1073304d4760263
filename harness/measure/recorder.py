"""Collects samples of the current interval; one per process.

What has been collected is taken away at the end of each interval and written to disk, so memory
stays flat however long a run is. Figures of the whole run are made by merging the intervals.
"""

from collections import Counter
from dataclasses import dataclass, field

from harness.measure.histogram import Histogram
from harness.measure.sample import TIMED, Outcome, Sample

LAG_ARRIVAL = "lag.arrival"
LAG_LOOP = "lag.loop"
SESSION_LENGTH = "session.length"
"""How long guests were in session, from arrival to the end of their way out."""


def service_tag(operation: str) -> str:
    """Name of the histogram of an operation's service time."""
    return f"{operation}.service"


def corrected_tag(operation: str) -> str:
    """Name of the histogram of an operation's corrected latency."""
    return f"{operation}.corrected"


@dataclass(slots=True)
class Collected:
    """What one interval gathered: histograms by tag, outcomes by operation, plain counts."""

    histograms: dict[str, Histogram] = field(default_factory=dict)
    outcomes: dict[str, Counter[Outcome]] = field(default_factory=dict)
    counts: Counter[str] = field(default_factory=Counter)

    def merge(self, other: "Collected") -> None:
        """Add what another, later interval gathered."""
        for tag, histogram in other.histograms.items():
            self.histograms.setdefault(tag, Histogram()).merge(histogram)
        for operation, outcomes in other.outcomes.items():
            self.outcomes.setdefault(operation, Counter()).update(outcomes)
        self.counts.update(other.counts)


class Recorder:
    """Takes samples in, hands whole intervals out. One per event loop (it is not thread-safe)."""

    def __init__(self) -> None:
        self._now = Collected()

    def add(self, sample: Sample) -> None:
        """Count a sample and, if its outcome is timed, its durations."""
        now = self._now
        operation, due, sent, arrived, seen, outcome = sample
        outcomes = now.outcomes.get(operation)
        if outcomes is None:
            outcomes = now.outcomes[operation] = Counter()
        outcomes[outcome] += 1
        if outcome not in TIMED:
            return
        self._record(operation + ".service", arrived - sent)
        self._record(operation + ".corrected", arrived - (due if due < sent else sent))
        if outcome is Outcome.OK:
            self._record(LAG_ARRIVAL, seen - arrived)

    def add_phase(self, operation: str, duration_ns: int) -> None:
        """A duration with no stamps of its own, such as a phase of the dialling."""
        outcomes = self._now.outcomes.setdefault(operation, Counter())
        outcomes[Outcome.OK] += 1
        self._record(operation + ".service", duration_ns)
        self._record(operation + ".corrected", duration_ns)

    def add_loop_lag(self, lag_ns: int) -> None:
        """How late the event loop came to a timer."""
        self._record(LAG_LOOP, lag_ns)

    def add_session_length(self, length_ns: int) -> None:
        """How long a guest was in session."""
        self._record(SESSION_LENGTH, length_ns)

    def count(self, what: str, by: int = 1) -> None:
        """Add to a plain count, such as ``late`` or ``cross_talk``."""
        self._now.counts[what] += by

    def take(self) -> Collected:
        """Hand out what was collected since the last call and start anew."""
        taken, self._now = self._now, Collected()
        return taken

    def _record(self, tag: str, duration_ns: int) -> None:
        histogram = self._now.histograms.get(tag)
        if histogram is None:
            histogram = self._now.histograms[tag] = Histogram()
        histogram.record_ns(duration_ns)
