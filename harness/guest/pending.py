"""The requests of one guest that await an answer, by their tracingId.

Each of them ends exactly once, with a sample that says how.
"""

from typing import NamedTuple

from harness.clock import monotonic_ns
from harness.measure.model import Outcome, Sample
from harness.measure.recorder import Recorder

_new = tuple.__new__  # for each request: a named tuple's own way costs five times as much
REMEMBERED = 64
"""Requests that were given up and are remembered, to know a late answer."""


class Sent(NamedTuple):
    """A request on its way: what it measures, when it was due and when it was sent.

    One of operation ``""`` is not measured.
    """

    operation: str
    due_ns: int
    sent_ns: int


class Pending(dict[str, Sent]):
    """Requests in the order of sending (a dict, because one enters and leaves for each message)."""

    __slots__ = ("_given_up", "_recorder")

    def __init__(self, recorder: Recorder) -> None:
        super().__init__()
        self._recorder = recorder
        self._given_up: set[str] | None = None

    def expect(self, tracing_id: str, operation: str, due_ns: int, sent_ns: int) -> None:
        """Note a request that will be answered."""
        self[tracing_id] = _new(Sent, (operation, due_ns, sent_ns))

    def finish(self, operation: str, arrived_ns: int, seen_ns: int) -> None:
        """The oldest request of an operation, if there is one, has ended well."""
        for tracing_id, request in self.items():
            if request.operation == operation:
                del self[tracing_id]
                self.end(request, arrived_ns, seen_ns, Outcome.OK)
                return

    def end(self, request: Sent, arrived_ns: int, seen_ns: int, outcome: Outcome) -> None:
        """Measure one that has been taken out."""
        if request.operation:
            self._recorder.add(Sample(*request, arrived_ns, seen_ns, outcome))

    def give_up(self, outcome: Outcome, *, operation: str | None = None) -> None:
        """End what is pending (of one operation, or all) with an outcome, waited until now."""
        now = monotonic_ns()
        for tracing_id, request in list(self.items()):
            if operation is None or request.operation == operation:
                self._give_up(tracing_id, now, outcome)

    def give_up_older_than(self, age_s: float) -> None:
        """End messages whose echo has not come for so long as time-outs."""
        now = monotonic_ns()
        limit = now - int(age_s * 1e9)
        for tracing_id, request in list(self.items()):
            if request.sent_ns >= limit:
                return
            if request.operation in ("delivered", "health_check"):
                self._give_up(tracing_id, now, Outcome.TIMEOUT)

    def was_given_up(self, tracing_id: str) -> bool:
        """Whether an answer to it is late."""
        return self._given_up is not None and tracing_id in self._given_up

    def _give_up(self, tracing_id: str, now: int, outcome: Outcome) -> None:
        if self._given_up is None or len(self._given_up) >= REMEMBERED:
            self._given_up = set()
        self._given_up.add(tracing_id)
        self.end(self.pop(tracing_id), now, now, outcome)
