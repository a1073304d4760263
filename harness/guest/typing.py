"""The guest's typing indicator: at most once in five seconds, and no more where it is refused."""

from harness.clock import monotonic_ns
from harness.errors import ServiceError
from harness.guest.connection import Line
from harness.measure.recorder import Recorder

TYPING_EVERY_NS = 5_000_000_000
"""Official clients tell of typing at most once in five seconds."""


class Typing:
    """What one guest has told of its typing."""

    __slots__ = ("_off", "_told_ns", "_tracing_id")

    def __init__(self) -> None:
        self._told_ns = 0
        self._tracing_id = ""
        self._off = False

    def next_id(self, line: Line, recorder: Recorder) -> str:
        """The tracingId to tell it by now; empty when it is too early or refused anyway.

        A refusal of the one before is counted as ``typing_is_off``.
        """
        inbox, before = line.inbox, self._tracing_id
        if before and inbox.answers and isinstance(inbox.answers.get(before), ServiceError):
            recorder.count("typing_is_off")
            self._off, self._tracing_id = True, ""
            inbox.forget(before)
        now = monotonic_ns()
        if self._off or now - self._told_ns < TYPING_EVERY_NS:
            return ""
        inbox.forget(before)
        self._told_ns, self._tracing_id = now, line.next_id()
        inbox.want(self._tracing_id)
        return self._tracing_id
