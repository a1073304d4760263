"""What has come for one guest: classified, matched, measured, and kept for who waits.

Runs inside the event loop. Requests that await an answer stand in :attr:`Inbox.pending` under
their tracingId; each of them ends exactly once, with a sample that says how.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from harness.clock import monotonic_ns
from harness.errors import RateLimited, RemoteProtocolError, ServiceError, SessionExpired
from harness.guest.failures import outcome_of, service_error
from harness.guest.forensics import Finding, Seen
from harness.measure.recorder import Recorder
from harness.measure.sample import Outcome, Sample
from harness.protocol import events
from harness.protocol.codec import decode
from harness.protocol.names import HEALTH_CHECK_TRACING_ID, ErrorCode
from harness.protocol.session import Got, SessionState, State
from harness.transport.bell import Bell

_new = tuple.__new__  # for each request: a named tuple's own way costs five times as much
_EXPECTED, _CLEARED = Finding.EXPECTED, State.CLEARED  # an enum is slow to give its members
FRAMES_KEPT = 64
"""Outbound messages kept for a guest that doesn't look at them."""


def nothing(*_: object) -> None:
    """For those who need not be told."""


class Pending(NamedTuple):
    """A request on its way: what it measures, when it was due and when it was sent."""

    operation: str
    due_ns: int
    sent_ns: int


@dataclass(slots=True)
class Arrived:
    """An Outbound message and its stamps."""

    message: events.Message
    arrived_ns: int
    seen_ns: int


class Inbox:
    """Receiver of one guest's frames, over all connections that follow each other.

    ``owner`` begins the tracingIds of this session and ``lane`` (which begins with it) those of
    this connection: a session may have several. ``on_cleared`` is called the moment the proof
    arrives, ``on_first_message`` with the service's id of the first message of ours that it has
    accepted.
    """

    __slots__ = (
        "_given_up",
        "_lane",
        "_newest",
        "_newest_before",
        "_on_cleared",
        "_on_first_message",
        "_owner",
        "_recorder",
        "_seen",
        "answered_ns",
        "answers",
        "bell",
        "cleared_ns",
        "close_reason",
        "closed_code",
        "connected",
        "doubtful",
        "failure",
        "lost_ns",
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
        seen: Seen,
        owner: str,
        lane: str,
    ) -> None:
        self.session = session
        self._recorder = recorder
        self._on_cleared = on_cleared
        self._on_first_message: Callable[[str], None] | None = on_first_message
        self._seen = seen
        self._owner = owner
        self._lane = lane
        self._newest = self._newest_before = ""
        """the service's time of its newest message, now and when the last connection ended"""
        self._given_up: set[str] | None = None
        self.bell = Bell()
        self.pending: dict[str, Pending] = {}
        self.answers: dict[str, events.Other | ServiceError | None] | None = None
        """what :meth:`want` asked for, by tracingId or attachment id"""
        self.answered_ns = 0
        """when the newest of these arrived"""
        self.replies: deque[Arrived] | None = None
        """messages of the other side that nobody has looked at; see :meth:`next_reply`"""
        self.doubtful: Arrived | None = None
        """the newest message that another session saw first: a reply only for want of another"""
        self.response: events.SessionResponse | None = None
        self.failure: ServiceError | None = None
        """The newest error answer, until somebody takes it."""
        self.cleared_ns = 0
        self.lost_ns = 0
        """when the last connection ended"""
        self.retired = False
        """ConnectionClosedEvent has come: the service wants us to close the connection."""
        self.connected = False
        self.closed_code: int | None = None
        self.close_reason = ""

    def begin(self) -> None:
        """A new connection begins; what has come and was not looked at is kept."""
        self.connected, self.retired = True, False
        self.closed_code, self.close_reason = None, ""
        self.response = self.failure = None

    def expect(self, tracing_id: str, operation: str, due_ns: int, sent_ns: int) -> None:
        """Note a request that will be answered; one of operation ``""`` is not measured."""
        self.pending[tracing_id] = _new(Pending, (operation, due_ns, sent_ns))

    def want(self, key: str) -> None:
        """Keep the answer to one request, by its tracingId or the id of an attachment."""
        if self.answers is None:
            self.answers = {}
        self.answers[key] = None

    def forget(self, key: str) -> None:
        """Nobody waits for this answer any more."""
        if self.answers is not None:
            self.answers.pop(key, None)

    def next_reply(self) -> Arrived | None:
        """The oldest message of the other side that was not looked at yet."""
        return self.replies.popleft() if self.replies else None

    def add_missed(self, message: events.Message, at_ns: int) -> bool:
        """Take in a message from the history; True if it had not come on the connection.

        One older than what has come is known: ids are not remembered for a whole soak.
        """
        if message.time is not None and message.time <= self._newest_before:
            return False
        if message.message_id and self._seen.first(message.message_id, self._lane) is None:
            self._keep(message, at_ns, at_ns)
            return True
        return False

    def give_up(self, outcome: Outcome, *, operation: str | None = None) -> None:
        """End what is pending (of one operation, or all) with an outcome, waited until now."""
        now = monotonic_ns()
        for tracing_id, request in list(self.pending.items()):
            if operation is None or request.operation == operation:
                self._give_up(tracing_id, now, outcome)

    def give_up_older_than(self, age_s: float) -> None:
        """End messages whose echo has not come for so long as time-outs."""
        if not self.pending:
            return
        now = monotonic_ns()
        limit = now - int(age_s * 1e9)
        for tracing_id, request in list(self.pending.items()):
            if request.sent_ns >= limit:
                return  # they stand in the order of sending
            if request.operation in ("delivered", "health_check"):
                self._give_up(tracing_id, now, Outcome.TIMEOUT)

    def _give_up(self, tracing_id: str, now: int, outcome: Outcome) -> None:
        if self._given_up is None or len(self._given_up) >= FRAMES_KEPT:
            self._given_up = set()
        self._given_up.add(tracing_id)
        self._add(self.pending.pop(tracing_id), now, now, outcome)

    def part(self) -> None:
        """Its session is over: nobody is told any more, and nothing holds the session here."""
        self._on_cleared, self._on_first_message = nothing, None

    # Called by the connection.

    def on_frame(self, data: bytes, arrived_ns: int, seen_ns: int) -> bool:
        """One frame from the service; whether somebody may wait for it."""
        try:
            event = decode(data)
        except RemoteProtocolError:
            self._recorder.count(Finding.BAD)
            return False
        awaited = True
        if type(event) is events.Message:
            finding = self._on_message(event, arrived_ns, seen_ns)
            if event.direction == "Inbound" and not (event.presence or event.is_response):
                awaited = False  # nobody waits for the echo of a text
        else:
            finding = self._on_other(event, arrived_ns, seen_ns)
        if finding is _EXPECTED:
            self._recorder.frames_expected += 1
        else:
            self._recorder.count(finding)
        return awaited

    def wake(self) -> None:
        """Let the story go on, at once; the last thing of a turn of the event loop."""
        self.bell.wake()

    def on_end(self, code: int | None, reason: str) -> None:
        """The connection has ended."""
        self.connected = False
        self._newest_before = self._newest
        self.lost_ns = monotonic_ns()
        self.closed_code, self.close_reason = code, reason
        if self.session.state in (State.CLEARED, State.EXPIRED):
            self.pending.clear()
        else:
            self.session.got(Got.CONNECTION_LOST)
            self.give_up(Outcome.LOST)
        self.bell.close()
        self.bell.ring()

    # Messages.

    def _on_message(self, message: events.Message, arrived_ns: int, seen_ns: int) -> Finding:
        if self.session.state is _CLEARED and message.presence != "Clear":
            return Finding.AFTER_CLEAR
        finding = _EXPECTED
        time = message.time
        if time is not None:
            if time < self._newest:
                finding = Finding.OUT_OF_ORDER
            else:
                self._newest = time
        if message.direction == "Inbound":
            return self._on_inbound(message, arrived_ns, seen_ns, finding)
        if message.message_id:
            before = self._seen.first(message.message_id, self._lane)
            if before == self._lane:
                return Finding.DUPLICATE
            if before is not None and not before.startswith(self._owner):
                if message.text or message.content:
                    self.doubtful = Arrived(message, arrived_ns, seen_ns)
                return Finding.CROSS_TALK
        if message.presence == "Disconnect":
            self._recorder.count("disconnected_by_service")
            if message.read_only:
                self.session.got(Got.DISCONNECTED_FOR_GOOD)
        elif not message.typing:
            self._keep(message, arrived_ns, seen_ns)
        return finding

    def _keep(self, message: events.Message, arrived_ns: int, seen_ns: int) -> None:
        if self.replies is None:
            self.replies = deque(maxlen=FRAMES_KEPT)
        self.replies.append(Arrived(message, arrived_ns, seen_ns))
        self._recorder.replies_received += 1

    def _on_inbound(
        self, message: events.Message, arrived_ns: int, seen_ns: int, finding: Finding
    ) -> Finding:
        if message.presence == "Clear":
            return finding  # the echo of Clear proves nothing yet
        tracing_id = message.tracing_id or ""
        request = self.pending.pop(tracing_id, None)
        if request is None:
            return self._unawaited(tracing_id, message, finding)
        operation, due_ns, sent_ns = request
        self._recorder.add_ok(operation, due_ns, sent_ns, arrived_ns, seen_ns)
        if self._on_first_message is not None and message.message_id and not message.is_response:
            self._on_first_message(message.message_id)
            self._on_first_message = None
        return finding

    def _unawaited(self, tracing_id: str, message: events.Message, finding: Finding) -> Finding:
        if not tracing_id or tracing_id == HEALTH_CHECK_TRACING_ID:
            if message.is_response:
                return Finding.LATE
            return finding if message.presence else Finding.UNMATCHED
        if self._given_up is not None and tracing_id in self._given_up:
            return Finding.LATE
        if tracing_id.startswith(self._lane):
            return Finding.DUPLICATE
        # An echo of another connection of the same session is none of our business.
        return finding if tracing_id.startswith(self._owner) else Finding.CROSS_TALK

    def _on_other(self, event: events.Event, arrived_ns: int, seen_ns: int) -> Finding:
        if isinstance(event, events.SessionCleared):
            if not self.session.got(Got.CLEARED):
                return Finding.DUPLICATE if self.cleared_ns else Finding.UNMATCHED
            self.cleared_ns = arrived_ns
            self._on_cleared()
            self._finish("clear", arrived_ns, seen_ns)
        elif isinstance(event, events.ConnectionClosed):
            if self.cleared_ns and not self.retired:
                cleared_ns = self.cleared_ns
                self._recorder.add_ok("clear_to_close", cleared_ns, cleared_ns, arrived_ns, seen_ns)
            self.retired = True
            self.close_reason = event.reason
        elif isinstance(event, events.SessionResponse):
            return self._on_session_response(event, arrived_ns, seen_ns)
        elif isinstance(event, events.Failure):
            return self._on_failure(event, arrived_ns, seen_ns)
        elif isinstance(event, events.SessionExpired):
            self._on_expired("the session's time to live has passed")
        elif isinstance(event, events.Other):
            return self._on_answer(event, event.tracing_id, arrived_ns)
        elif isinstance(event, events.Unknown):
            return Finding.UNKNOWN
        return Finding.EXPECTED

    def _on_answer(
        self, answer: events.Other | ServiceError, tracing_id: str | None, arrived_ns: int
    ) -> Finding:
        """Something that only matters to who asked for it."""
        known = self.pending.pop(tracing_id or "", None) is not None
        key = tracing_id
        if isinstance(answer, events.Other) and key is None:
            named = answer.body.get("attachmentId")
            key = named if isinstance(named, str) else None
        if self.answers is not None and key in self.answers:
            self.answers[key] = answer
            self.answered_ns = arrived_ns
            return Finding.EXPECTED
        return Finding.EXPECTED if known or tracing_id is None else Finding.LATE

    def _on_session_response(
        self, response: events.SessionResponse, arrived_ns: int, seen_ns: int
    ) -> Finding:
        if not response.connected:  # the answer to closeSession
            other = events.Other("SessionResponse", {}, response.tracing_id)
            return self._on_answer(other, response.tracing_id, arrived_ns)
        got = Got.CONFIGURED_READ_ONLY if response.read_only else Got.CONFIGURED
        if not self.session.got(got):
            return Finding.DUPLICATE
        self.response = response
        self._finish("session_open", arrived_ns, seen_ns)
        self._finish("resume", arrived_ns, seen_ns)
        return Finding.EXPECTED

    def _on_failure(self, failure: events.Failure, arrived_ns: int, seen_ns: int) -> Finding:
        error = service_error(failure)
        if isinstance(error, RateLimited):
            self._recorder.count("rate_limited")
        tracing_id = failure.tracing_id
        if self.answers is not None and tracing_id in self.answers:
            return self._on_answer(error, tracing_id, arrived_ns)
        request = self.pending.pop(tracing_id or "", None)
        if request is None and self.pending and tracing_id is None:
            # Without a tracingId the error is charged to the oldest request, as the vendor's
            # own client does.
            request = self.pending.pop(next(iter(self.pending)))
        if request is not None:
            self._add(request, arrived_ns, seen_ns, outcome_of(error))
        if isinstance(error, SessionExpired):
            self._on_expired(error.text)
            return Finding.EXPECTED
        if request is None and tracing_id:
            return Finding.LATE  # nobody waits for it any more
        self.failure = error
        if request is None:
            return Finding.UNMATCHED
        if request.operation == "session_open":
            refused = error.code < 500 or 4000 <= error.code < 5000
            self.session.got(Got.REFUSED if refused else Got.UNCLEAR)
        elif request.operation == "resume":
            self.session.got(Got.UNCLEAR)
        elif request.operation == "clear":
            self.session.got(Got.CLEAR_REFUSED)
        return Finding.EXPECTED

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
        if request.operation:
            self._recorder.add(Sample(*request, arrived_ns, seen_ns, outcome))
