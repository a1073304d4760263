"""Keeps a guest under the service's documented limits, by waiting before it would break one.

The limits are sliding windows: at most so many events in any window of that length. A window is
kept as the times of its newest events, so it is exact; an event that has no room yet is booked for
the moment when it has.
"""

from collections import deque
from dataclasses import dataclass

import gevent

from harness.clock import monotonic_ns
from harness.protocol.names import (
    CONNECTIONS_PER_DEPLOYMENT_PER_MINUTE,
    MESSAGES_PER_SESSION_PER_SECOND,
    REQUESTS_PER_CONNECTION_PER_MINUTE,
)

SECOND_NS = 1_000_000_000
MINUTE_NS = 60 * SECOND_NS
KEPT_FOR_LEAVING = 2
"""Requests of each minute that a story may not use up: one for Clear, one to repeat it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """What one guest may use; 0 takes a limit away."""

    requests_per_minute: int = REQUESTS_PER_CONNECTION_PER_MINUTE
    """all requests of one connection"""
    messages_per_s: int = MESSAGES_PER_SESSION_PER_SECOND
    """texts, events and answers of one session"""


DOCUMENTED = Budget()
UNLIMITED = Budget(requests_per_minute=0, messages_per_s=0)


class Pace:
    """How much of its budget a guest has used lately."""

    __slots__ = ("_budget", "_messages", "_requests")

    def __init__(self, budget: Budget) -> None:
        self._budget = budget
        self._requests: list[int] = []
        self._messages: list[int] = []

    def begin(self) -> None:
        """A new connection: its requests are counted anew, the session's messages are not."""
        self._requests.clear()

    def book(self, now_ns: int, *, message: bool) -> int:
        """Nanoseconds to wait before the next request may leave (it counts as sent then)."""
        at = now_ns
        limit = self._budget.requests_per_minute
        if limit:
            at = _book(self._requests, max(1, limit - KEPT_FOR_LEAVING), MINUTE_NS, at)
        if message and self._budget.messages_per_s:
            at = _book(self._messages, self._budget.messages_per_s, SECOND_NS, at)
        return at - now_ns


def _book(times: list[int], limit: int, window_ns: int, now_ns: int) -> int:
    at = now_ns
    if len(times) >= limit:
        at = max(now_ns, times.pop(0) + window_ns)
    times.append(at)
    return at


class ConnectionBudget:
    """New connections per minute: a limit of the whole deployment.

    One for all guests of a process; ``share`` is this process's part when several load the same
    deployment (1/4 for each of four workers). 0 per minute: no limit.
    """

    def __init__(
        self, per_minute: int = CONNECTIONS_PER_DEPLOYMENT_PER_MINUTE, *, share: float = 1.0
    ) -> None:
        self.limit = max(1, int(per_minute * share)) if per_minute else 0
        self._times: deque[int] = deque(maxlen=self.limit or None)

    def acquire(self) -> float:
        """Wait for room for one more connection; the seconds that it took."""
        if not self.limit:
            return 0.0
        now = monotonic_ns()
        full = len(self._times) == self.limit
        at = max(now, self._times[0] + MINUTE_NS) if full else now
        self._times.append(at)
        if at > now:
            gevent.sleep((at - now) / 1e9)
        return (at - now) / 1e9
