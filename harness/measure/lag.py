"""The event loop's own lateness: a timer that notes how long after its time it was served.

Lateness is weighed by time, because a generator that stands still takes no samples: at any moment
it is the time that a timer due then had to wait. Each beat of the timer stands for
:data:`PERIOD_S` of the run, also those that a stall has swallowed.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import gevent

from harness.clock import monotonic_ns
from harness.measure.histogram import Histogram

PERIOD_S = 0.02
LATE_MS = 100.0
"""A generator that is later than this measures itself."""
MOST_LATE = 0.01
"""In a larger share of the time it may not be so late, or the run is INVALID."""
LEAST_S = 0.25
"""In a run of a few seconds a single hiccup is more than that share: so much in all is forgiven."""
LONGEST_S = 5.0
"""Nor may it stand still for so long at a stretch."""


class LoopLag:
    """Sleeps :data:`PERIOD_S` again and again and reports by how much it overslept.

    A stall of the loop is seen by every beat that it swallows: each beat that should have
    happened in between counts with the time it was late, so that one long stall weighs as much as
    the time it took (the generator's own coordinated omission would hide it otherwise).
    """

    def __init__(self, report: Callable[[int], None]) -> None:
        self._report = report
        self._greenlet: gevent.Greenlet[..., None] | None = None
        self._due_ns = 0

    def start(self) -> None:
        """Begin; the beats go on until :meth:`stop`."""
        self._greenlet = gevent.spawn(self._beat)

    def stop(self) -> None:
        """End, with the stall that may be going on just now; safe to call twice."""
        if self._greenlet is not None:
            self._greenlet.kill(block=False)
            self._greenlet = None
            late = monotonic_ns() - self._due_ns if self._due_ns else 0
            if late > PERIOD_S * 1e9:
                self._tell(late)

    def _beat(self) -> None:
        period_ns = int(PERIOD_S * 1e9)
        while True:
            self._due_ns = monotonic_ns() + period_ns
            gevent.sleep(PERIOD_S)
            self._tell(max(0, monotonic_ns() - self._due_ns))

    def _tell(self, late_ns: int) -> None:
        period_ns = int(PERIOD_S * 1e9)
        while late_ns > period_ns:
            self._report(late_ns)
            late_ns -= period_ns
        self._report(late_ns)


@dataclass(frozen=True, slots=True)
class Lateness:
    """How late the loop of one process was: the share of the time in which it was later than
    :data:`LATE_MS`, the longest time at a stretch for which it stood still, and how long it was
    late so in all (seconds)."""

    process: str
    share: float
    longest_s: float
    late_s: float

    @property
    def too_late(self) -> bool:
        """Whether what was measured beside it may be the generator's own."""
        too_often = self.share > MOST_LATE and self.late_s > LEAST_S
        return too_often or self.longest_s >= LONGEST_S

    def text(self) -> str:
        """In a sentence."""
        if self.longest_s >= LONGEST_S:
            return f"{self.process} stood still for {self.longest_s:.1f} s at a stretch"
        return (
            f"{self.process} was later than {LATE_MS:.0f} ms in {self.share:.1%} of the time "
            f"(limit {MOST_LATE:.0%})"
        )


def lateness(beats_of: Mapping[str, Histogram]) -> list[Lateness]:
    """Of each process by itself, from the beats of its loop; the worst first."""
    each = [
        Lateness(
            process,
            beats.count_above_ms(LATE_MS) / beats.count,
            (beats.max_ms or 0) / 1000,
            beats.count_above_ms(LATE_MS) * PERIOD_S,
        )
        for process, beats in beats_of.items()
        if beats.count
    ]
    return sorted(each, key=lambda one: (-one.too_late, -one.share, -one.longest_s, one.process))


def complaints(processes: list[Lateness]) -> list[str]:
    """Why a run is INVALID for it; none where every process kept its time."""
    bad = [one for one in processes if one.too_late]
    if not bad:
        return []
    more = f", and {len(bad) - 1} more processes" if len(bad) > 1 else ""
    return [f"the generator lagged: {bad[0].text()}{more}: use more processes or less load"]
