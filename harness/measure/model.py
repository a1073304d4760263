"""One measured operation: four stamps and an outcome."""

from enum import StrEnum
from typing import NamedTuple


class Outcome(StrEnum):
    """How an operation ended. Counted by these words, never by an error's text."""

    OK = "ok"
    TIMEOUT = "timeout"
    REFUSED = "refused"
    RATE_LIMITED = "rate_limited"
    LOST = "lost"
    EXPIRED = "expired"
    FORBIDDEN = "forbidden"
    PROTOCOL = "protocol"
    SERVICE_ERROR = "service_error"
    UNANSWERED = "unanswered"
    """a question without an answer: the story went on or ended first"""
    CUT_SHORT = "cut_short"
    """a question without an answer: the run ended first"""


CENSORED = frozenset({Outcome.TIMEOUT, Outcome.UNANSWERED})
"""Outcomes of what had not come by the time that was waited: its true time is longer."""
TIMED = frozenset({Outcome.OK, *CENSORED})
"""Outcomes whose times enter the histograms. What never came counts with the time that was waited,
and once more in a histogram of its own, by which a percentile among such is known to be a lower
bound; the other failures are only counted."""


class Sample(NamedTuple):
    """Stamps are nanoseconds of the monotonic clock (a tuple, because it is made for each message).

    due: when the schedule said it should happen (equal to ``sent`` where nothing scheduled it).
    sent: just before the bytes were written. arrived: the kernel received the bytes that ended it.
    seen: our code got to them.
    """

    operation: str
    due_ns: int
    sent_ns: int
    arrived_ns: int
    seen_ns: int
    outcome: Outcome = Outcome.OK

    @property
    def service_ns(self) -> int:
        """The service's own time, free of stalls of our event loop."""
        return self.arrived_ns - self.sent_ns

    @property
    def corrected_ns(self) -> int:
        """What a guest of an open workload waits; never smaller than the service time."""
        return self.arrived_ns - min(self.due_ns, self.sent_ns)

    @property
    def lag_ns(self) -> int:
        """How late we were to look."""
        return self.seen_ns - self.arrived_ns
