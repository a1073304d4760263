"""What has come for one guest on one connection: matched, measured, and kept for who waits.

Runs inside the event loop. Requests that await an answer stand in :attr:`Inbox.pending` under
their tracingId; each of them ends exactly once, with a sample that says how.
"""

from collections import deque
from collections.abc import Callable
from typing import NamedTuple

from harness.clock import monotonic_ns
from harness.errors import (
    Forbidden,
    RateLimited,
    RemoteProtocolError,
    ServiceError,
    SessionExpired,
    SessionNotFound,
)
from harness.measure.recorder import Recorder
from harness.measure.sample import Outcome, Sample
from harness.protocol import events
from harness.protocol.codec import decode
from harness.protocol.names import ErrorCode
from harness.protocol.session import Got, SessionState, State
from harness.transport.bell import Bell

FRAMES_KEPT = 64
"""Outbound messages kept for a guest that doesn't look at them."""


class Pending(NamedTuple):
    """A request on its way: what it measures, when it was due and when it was sent."""

    operation: str
    due_ns: int
    sent_ns: int


class Arrived(NamedTuple):
    """An Outbound message and its stamps."""

    message: events.Message
    arrived_ns: int
    seen_ns: int


class Inbox:
    """Receiver of one connection's frames.

    ``on_cleared`` is called the moment the proof arrives, ``on_first_message`` with the service's
    id of the first message of ours that it has accepted.
    """

    __slots__ = (
        "_on_cleared",
        "_on_first_message",
        "_recorder",
        "_seen_ids",
        "bell",
        "cleared_ns",
        "close_reason",
        "closed_code",
        "connected",
        "failure",
        "pending",
        "replies",
        "response",
        "retired",
        "session",
    )

    def __init__(
        self,
        session: SessionState,
        recorder: Recorder,
        *,
        on_cleared: Callable[[], None],
        on_first_message: Callable[[str], None],
    ) -> None:
        self.session = session
        self._recorder = recorder
        self._on_cleared = on_cleared
        self._on_first_message: Callable[[str], None] | None = on_first_message
        self._seen_ids: set[str] = set()
        self.bell = Bell()
        self.pending: dict[str, Pending] = {}
        self.replies: deque[Arrived] = deque(maxlen=FRAMES_KEPT)
        self.response: events.SessionResponse | None = None
        self.failure: ServiceError | None = None
        """The newest error answer, until somebody takes it."""
        self.cleared_ns = 0
        self.retired = False
        """ConnectionClosedEvent has come: the service wants us to close the connection."""
        self.connected = True
        self.closed_code: int | None = None
        self.close_reason = ""

    def expect(self, tracing_id: str, operation: str, due_ns: int, sent_ns: int) -> None:
        """Note a request that will be answered."""
        self.pending[tracing_id] = Pending(operation, due_ns, sent_ns)

    def give_up(self, outcome: Outcome, *, operation: str | None = None) -> None:
        """End what is pending (of one operation, or all) with an outcome, waited until now."""
        now = monotonic_ns()
        for tracing_id, request in list(self.pending.items()):
            if operation is None or request.operation == operation:
                del self.pending[tracing_id]
                self._add(request, now, now, outcome)

    def give_up_older_than(self, age_s: float) -> None:
        """End messages whose echo has not come for so long as time-outs."""
        limit = monotonic_ns() - int(age_s * 1e9)
        for tracing_id, request in list(self.pending.items()):
            if request.operation == "delivered" and request.sent_ns < limit:
                del self.pending[tracing_id]
                now = monotonic_ns()
                self._add(request, now, now, Outcome.TIMEOUT)

    # Called by the connection.

    def on_frame(self, data: bytes, arrived_ns: int, seen_ns: int) -> None:
        """One frame from the service."""
        try:
            event = decode(data)
        except RemoteProtocolError:
            self._recorder.count("bad_frame")
            return
        if type(event) is events.Message:
            self._on_message(event, arrived_ns, seen_ns)
        else:
            self._on_other(event, arrived_ns, seen_ns)
        self.bell.ring()

    def on_end(self, code: int | None, reason: str) -> None:
        """The connection has ended."""
        self.connected = False
        self.closed_code, self.close_reason = code, reason
        if self.session.state in (State.CLEARED, State.EXPIRED):
            self.pending.clear()
        else:
            self.session.got(Got.CONNECTION_LOST)
            self.give_up(Outcome.LOST)
        self.bell.ring()

    # Messages.

    def _on_message(self, message: events.Message, arrived_ns: int, seen_ns: int) -> None:
        if self.session.state is State.CLEARED and message.presence != "Clear":
            self._recorder.count("after_clear")
            return
        if message.direction == "Inbound":
            self._on_inbound(message, arrived_ns, seen_ns)
            return
        if message.message_id:
            if message.message_id in self._seen_ids:
                self._recorder.count("duplicate")
                return
            self._seen_ids.add(message.message_id)
        if message.presence == "Disconnect":
            self._recorder.count("disconnected_by_service")
            if message.read_only:
                self.session.got(Got.DISCONNECTED_FOR_GOOD)
        elif not message.typing:
            self.replies.append(Arrived(message, arrived_ns, seen_ns))

    def _on_inbound(self, message: events.Message, arrived_ns: int, seen_ns: int) -> None:
        if message.presence == "Clear":
            return  # the echo of Clear proves nothing yet
        request = self.pending.pop(message.tracing_id or "", None)
        if request is None:
            # An echo we do not wait for (any more): late, doubled, or of another connection.
            self._recorder.count("unmatched_echo")
            return
        self._recorder.add(
            Sample(request.operation, request.due_ns, request.sent_ns, arrived_ns, seen_ns)
        )
        if self._on_first_message is not None and message.message_id and not message.is_response:
            self._on_first_message(message.message_id)
            self._on_first_message = None

    # Everything else.

    def _on_other(self, event: events.Event, arrived_ns: int, seen_ns: int) -> None:
        if isinstance(event, events.SessionCleared):
            if self.session.got(Got.CLEARED):
                self.cleared_ns = arrived_ns
                self._on_cleared()
                self._finish("clear", arrived_ns, seen_ns)
        elif isinstance(event, events.ConnectionClosed):
            if self.cleared_ns and not self.retired:
                self._recorder.add(
                    Sample("clear_to_close", self.cleared_ns, self.cleared_ns, arrived_ns, seen_ns)
                )
            self.retired = True
        elif isinstance(event, events.SessionResponse):
            self._on_session_response(event, arrived_ns, seen_ns)
        elif isinstance(event, events.Failure):
            self._on_failure(event, arrived_ns, seen_ns)
        elif isinstance(event, events.SessionExpired):
            self._on_expired("the session's time to live has passed")
        else:
            self._recorder.count("unknown_frame" if isinstance(event, events.Unknown) else "other")

    def _on_session_response(
        self, response: events.SessionResponse, arrived_ns: int, seen_ns: int
    ) -> None:
        got = Got.CONFIGURED_READ_ONLY if response.read_only else Got.CONFIGURED
        if self.session.got(got):
            self.response = response
            self._finish("session_open", arrived_ns, seen_ns)
            self._finish("resume", arrived_ns, seen_ns)

    def _on_failure(self, failure: events.Failure, arrived_ns: int, seen_ns: int) -> None:
        error = service_error(failure)
        request = self.pending.pop(failure.tracing_id or "", None)
        if request is None and self.pending and failure.tracing_id is None:
            # Without a tracingId the error is charged to the oldest request, as the vendor's
            # own client does.
            request = self.pending.pop(next(iter(self.pending)))
        if request is not None:
            self._add(request, arrived_ns, seen_ns, outcome_of(error))
        if isinstance(error, RateLimited):
            self._recorder.count("rate_limited")
        if isinstance(error, SessionExpired):
            self._on_expired(error.text)
            return
        self.failure = error
        if request is not None and request.operation in ("session_open", "resume"):
            self.session.got(Got.REFUSED)
        elif request is not None and request.operation == "clear":
            self.session.got(Got.CLEAR_REFUSED)

    def _on_expired(self, text: str) -> None:
        if self.session.got(Got.EXPIRED):
            self.failure = SessionExpired(ErrorCode.SESSION_EXPIRED, text)
            self.give_up(Outcome.EXPIRED)

    def _finish(self, operation: str, arrived_ns: int, seen_ns: int) -> None:
        for tracing_id, request in self.pending.items():
            if request.operation == operation:
                del self.pending[tracing_id]
                self._add(request, arrived_ns, seen_ns, Outcome.OK)
                return

    def _add(self, request: Pending, arrived_ns: int, seen_ns: int, outcome: Outcome) -> None:
        self._recorder.add(
            Sample(request.operation, request.due_ns, request.sent_ns, arrived_ns, seen_ns, outcome)
        )


def service_error(failure: events.Failure) -> ServiceError:
    """The error answer as the exception that says what it means."""
    code, text, tracing_id = failure.code, failure.text, failure.tracing_id
    if code in (ErrorCode.TOO_MANY_REQUESTS, ErrorCode.REQUEST_RATE_TOO_HIGH):
        return RateLimited(code, text, tracing_id, retry_after_s=failure.retry_after_s or 1.0)
    if code == ErrorCode.SESSION_EXPIRED:
        return SessionExpired(code, text, tracing_id)
    if code == ErrorCode.SESSION_NOT_FOUND:
        return SessionNotFound(code, text, tracing_id)
    if code == ErrorCode.FORBIDDEN:
        return Forbidden(code, text, tracing_id)
    return ServiceError(code, text, tracing_id)


def outcome_of(error: ServiceError) -> Outcome:
    """The word by which an error answer is counted."""
    if isinstance(error, RateLimited):
        return Outcome.RATE_LIMITED
    if isinstance(error, SessionExpired):
        return Outcome.EXPIRED
    if isinstance(error, Forbidden):
        return Outcome.FORBIDDEN
    return Outcome.SERVICE_ERROR
