"""The frames that arrive for one guest: classified, matched, measured, and kept for its story.

Runs inside the event loop. Requests that await an answer are in :attr:`Inbox.pending`, by their
tracingId; each of them ends exactly once, with one sample that has its outcome.
"""

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import KW_ONLY, dataclass, field
from datetime import UTC
from enum import StrEnum
from typing import Any

from harness.clock import monotonic_ns
from harness.errors import (
    RateLimited,
    RemoteProtocolError,
    ServiceError,
    SessionExpired,
    safe_quote,
)
from harness.guest.outcomes import outcome_of, service_error
from harness.guest.questions import Questions
from harness.measure.model import FRAMES_EXPECTED, Outcome, Question, Sample
from harness.measure.recorder import Recorder
from harness.protocol.codec import (
    ConnectionClosed,
    Event,
    Failure,
    LoggedOut,
    Message,
    Other,
    SessionCleared,
    SessionResponse,
    Unknown,
    decode,
)
from harness.protocol.codec import SessionExpired as ExpiredEvent
from harness.protocol.requests import ErrorCode, MessageClass
from harness.protocol.session import (
    AWAITS_CLEARED,
    AWAITS_CONFIGURED,
    CLEARED,
    ENDED,
    ConnectionState,
    Receive,
    SessionState,
    State,
)
from harness.transport.websocket import Waiter
from harness.units import parse_iso

KEPT = 8_192
"""Message ids of one generation. There are two, so the newest 8,192 to 16,384 ids are remembered:
those of a minute at the highest rates of one process, in some four megabytes."""


class Finding(StrEnum):
    """The kinds of frames from the service, by the names of their counters."""

    EXPECTED = FRAMES_EXPECTED
    LATE = "late_message"
    """an echo or answer whose request had been given up"""
    DUPLICATE = "duplicate"
    OUT_OF_ORDER = "out_of_order"
    """older by the service's own clock than a message that came before it"""
    CROSS_TALK = "cross_talk"
    """a message of another session"""
    UNASKED_CLEAR = "unasked_clear"
    """a SessionClearedEvent before this session sent any Clear: it proves nothing"""
    AFTER_CLEAR = "after_clear"
    """a message after SessionClearedEvent"""
    UNMATCHED = "unmatched_echo"
    """an echo with a tracingId that no guest of this process has used"""
    UNKNOWN = "unknown_frame"
    BAD = "bad_frame"
    """no JSON, or fields of impossible types"""


@dataclass(slots=True, eq=False)
class Seen:
    """The message ids that the guests of this process have seen, and who saw each first.

    The service gives every message an id of its own, so a message that reaches two sessions is
    cross-talk: one guest was shown the words meant for another. No field of a message names its
    session, so this is the only way to detect it, and nothing shows for which of the two it was
    meant. The second session takes it for a reply only if no other message comes.
    """

    _new: dict[str, str] = field(default_factory=dict)
    _old: dict[str, str] = field(default_factory=dict)

    def first(self, message_id: str, owner: str) -> str | None:
        """Note that ``owner`` sees a message. Returns who saw it first; None if nobody had yet."""
        new = self._new
        before = new.get(message_id) or self._old.get(message_id)
        if before is None:
            new[message_id] = owner
            if len(new) >= KEPT:
                self._old, self._new = new, {}
        return before


REMEMBERED = 64
"""How many requests that were given up are remembered, to recognize a late answer."""


Sent = tuple[str, int, int]
"""A request that awaits its answer: the operation that it measures (``""``: none), when it was due
and when it was sent. A plain tuple, because one is made for each message."""


class Pending(dict[str, Sent]):
    """Requests in the order of sending (a dict, because each message adds and removes one)."""

    __slots__ = ("_given_up", "_recorder")

    def __init__(self, recorder: Recorder) -> None:
        super().__init__()
        self._recorder = recorder
        self._given_up: set[str] | None = None

    def finish(self, operation: str, arrived_ns: int, seen_ns: int) -> None:
        """End the oldest request of an operation, if there is one, with the outcome ok."""
        for tracing_id, request in self.items():
            if request[0] == operation:
                del self[tracing_id]
                self.end(request, arrived_ns, seen_ns, Outcome.OK)
                return

    def end(self, request: Sent, arrived_ns: int, seen_ns: int, outcome: Outcome) -> None:
        """Measure a request that was taken out."""
        if request[0]:
            self._recorder.add(Sample(*request, arrived_ns, seen_ns, outcome))

    def give_up(self, outcome: Outcome, *, operation: str | None = None) -> None:
        """End the pending requests (all, or those of one operation) with this outcome, now."""
        now = monotonic_ns()
        for tracing_id, request in list(self.items()):
            if operation is None or request[0] == operation:
                self._give_up(tracing_id, now, outcome)

    def give_up_older_than(self, age_s: float) -> None:
        """End, as time-outs, the messages and health checks that were sent longer ago than this."""
        now = monotonic_ns()
        limit = now - int(age_s * 1e9)
        for tracing_id, (operation, _, sent_ns) in list(self.items()):
            if sent_ns >= limit:
                return
            if operation in ("delivered", "health_check"):
                self._give_up(tracing_id, now, Outcome.TIMEOUT)

    def was_given_up(self, tracing_id: str) -> bool:
        """Whether this request was given up, so that its answer is late."""
        return self._given_up is not None and tracing_id in self._given_up

    def _give_up(self, tracing_id: str, now: int, outcome: Outcome) -> None:
        if self._given_up is None or len(self._given_up) >= REMEMBERED:
            self._given_up = set()
        self._given_up.add(tracing_id)
        self.end(self.pop(tracing_id), now, now, outcome)


_EXPECTED, _OPEN = Finding.EXPECTED, State.OPEN  # looking up a member of an enum is slow
_MAY_TELL_OF_A_SESSION = MessageClass.SESSION_RESPONSE.encode()
FRAMES_KEPT = 64
"""How many Outbound messages are kept for a guest that does not look at them."""


ODD_KEPT = 8
TIME_LENGTH = len("2026-11-28T01:02:03.456Z")
"""Times in this form can be compared as texts; nearly all times have it."""


def in_usual_form(time: str) -> str | None:
    """A time of the service, in UTC with milliseconds; None if it can't be read."""
    try:
        at = parse_iso(time).astimezone(UTC)
    except (OverflowError, ValueError):
        return None
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _shows(text: str, content: Sequence[Any]) -> bool:
    """Whether a message shows anything to a person: a blank message is no answer."""
    if text and not text.isspace():
        return True
    return any(
        any(value for key, value in part.items() if key != "contentType")
        for part in content
        if type(part) is dict
    )


Arrived = tuple[Message, bool, int, int, Question | None]
"""An Outbound message, whether it shows anything, when it arrived and was seen, and the question
that it probably answers. A plain tuple, because one is made for each message."""


@dataclass(slots=True, eq=False, repr=False)
class Inbox:
    """Receives one guest's frames, over all the connections that replace each other.

    The tracingIds of this session begin with ``owner``; those of this connection begin with
    ``lane``, which begins with ``owner`` (a session may have several connections at once).
    ``on_first_message`` is called with the id that the service gave to the guest's first message.
    """

    session: SessionState
    _recorder: Recorder
    _: KW_ONLY
    on_first_message: Callable[[str], None] | None
    seen: Seen
    owner: str
    lane: str
    token: str
    _newest: str = ""
    """the service's time of its newest message"""
    _newest_before: str = ""
    """the same time, as it was when the last connection ended"""
    waiter: Waiter = field(default_factory=Waiter)
    pending: Pending = field(init=False)
    questions: Questions | None = None
    """the questions of a guest with a story; each arriving message is matched to them at once"""
    answers: dict[str, Other | ServiceError | None] = field(default_factory=dict)
    """the answers that :meth:`want` asked for (None: not here yet), by tracingId or attachment
    id"""
    answered_ns: int = 0
    """when the newest of these answers arrived"""
    replies: deque[Arrived] | None = None
    """messages of the other side that the story has not looked at, oldest first"""
    doubtful: Arrived | None = None
    """the newest message that another session saw first: it is a reply only if no other comes"""
    response: SessionResponse | None = None
    configure_id: str = ""
    """tracingId of this connection's newest configureSession: only its answer counts"""
    unanswered_configures: tuple[tuple[str, int], ...] = ()
    """the configureSessions that may have been sent and were not answered, on this connection or an
    earlier one: tracingId and time of sending"""
    failure: ServiceError | None = None
    """the newest error answer, until it is taken"""
    odd: deque[str] | None = None
    """unknown frames, in words; see :meth:`take_odd`"""
    clear_id: str = ""
    """tracingId of this connection's newest Clear"""
    foreign_clear: bool = False
    """what answers another's Clear has come, so that SessionClearedEvent may be another's too"""
    stray_id: str = ""
    """the tracingId of our SessionClearedEvent, if no request of this session has that id"""
    _cleared_ns: int = 0
    lost_ns: int = 0
    """when the last connection ended"""
    closed_code: int | None = None
    close_reason: str = ""

    def __post_init__(self) -> None:
        self.pending = Pending(self._recorder)

    def begin(self) -> None:
        """A new connection begins; messages that the story has not looked at are kept."""
        self.session.connection = ConnectionState.OPEN
        self.closed_code, self.close_reason = None, ""
        self.response = self.failure = None
        self.configure_id = ""

    def end(self) -> None:
        """There is no connection any more. (A known reason for that stays.)"""
        if self.session.connection is ConnectionState.OPEN:
            self.session.connection = ConnectionState.LOST

    def want(self, key: str) -> None:
        """Keep the answer to one request, by its tracingId or the id of an attachment."""
        self.answers[key] = None

    def forget(self, key: str) -> None:
        """Drop this answer: the story no longer waits for it."""
        self.answers.pop(key, None)

    def add_missed(self, message: Message, at_ns: int) -> bool:
        """Take in a message from the history; True if it had not come on the connection.

        A message older than the newest one of the last connection is known already (ids are not
        remembered for a whole soak).
        """
        if message.time is not None:
            time = in_usual_form(message.time)
            if time is not None and time <= self._newest_before:
                return False
        if message.message_id and self.seen.first(message.message_id, self.lane) is None:
            self._keep(message, _shows(message.text, message.content), at_ns, at_ns)
            return True
        return False

    def note_answered(self, tracing_id: str) -> None:
        """One of :attr:`unanswered_configures` was answered, or was not sent after all.

        An answer that comes after our Clear was sent does not count: the service may have carried
        out either of the two first.
        """
        if self.unanswered_configures and self.session.state not in AWAITS_CLEARED | CLEARED:
            self.unanswered_configures = tuple(
                one for one in self.unanswered_configures if one[0] != tracing_id
            )

    def detach(self) -> None:
        """Call nobody back any more."""
        self.on_first_message = None

    # Called by the connection.

    def on_frame(self, data: bytes, arrived_ns: int, seen_ns: int) -> bool:
        """Take in one frame from the service; True if the story may be waiting for it."""
        try:
            event = decode(data)
        except RemoteProtocolError:
            self._recorder.count(Finding.BAD)
            if _MAY_TELL_OF_A_SESSION in data:  # damaged, it may still mean that a session is open
                self.session.receive(Receive.ANOTHER_CONFIGURED)
                return True
            return False
        if type(event) is Message:
            return self._on_message(event, arrived_ns, seen_ns)
        finding = self._on_other(event, arrived_ns, seen_ns)
        if finding is _EXPECTED:
            self._recorder.frames_expected += 1
        else:
            self._recorder.count(finding)
        return True

    def wake(self) -> None:
        """Let the story go on at once; called last in a turn of the event loop."""
        self.waiter.wake()

    def on_end(self, code: int | None, reason: str) -> None:
        """The connection has ended."""
        self.end()
        self._newest_before = self._newest
        self.lost_ns = monotonic_ns()
        self.closed_code, self.close_reason = code, reason
        if self.session.state not in ENDED:
            self.session.receive(Receive.CONNECTION_LOST)
        self.pending.give_up(Outcome.LOST)  # a proof of the session's end answers no other request
        self.waiter.close()
        self.waiter.notify()

    # Messages.

    def _on_message(self, message: Message, arrived_ns: int, seen_ns: int) -> bool:
        # Unpacked at once: reading eight fields of a named tuple by name costs more.
        direction, _, text, message_id, tracing_id, presence, typing, _, response, time, content = (
            message
        )
        state = self.session.state
        if state is not _OPEN and state in CLEARED and presence != "Clear":
            self._recorder.count(Finding.AFTER_CLEAR)
            return True
        finding = _EXPECTED
        if time is not None:
            if len(time) != TIME_LENGTH or time[-1] != "Z":
                time = in_usual_form(time) or self._newest
            if time < self._newest:
                finding = Finding.OUT_OF_ORDER
            else:
                self._newest = time
        # If it has no direction, a tracingId of ours shows that it is our own echo.
        if awaited := direction == "Outbound" or not (
            direction == "Inbound" or (tracing_id or "").startswith(self.owner)
        ):
            before = self.seen.first(message_id, self.lane) if message_id else None
            if before is not None and (before == self.lane or not before.startswith(self.owner)):
                finding = self._unwanted(message, before, arrived_ns, seen_ns)
            elif presence == "Disconnect":
                self._recorder.count("disconnected_by_service")
                if message.read_only:
                    self.session.receive(Receive.DISCONNECTED_FOR_GOOD)
            elif not typing:
                self._keep(message, _shows(text, content), arrived_ns, seen_ns)
        elif presence == "Clear":
            awaited = True  # the story waits for it, though alone it proves nothing
            if tracing_id == self.clear_id:
                self.session.receive(Receive.CLEAR_ECHOED)
            else:
                self.foreign_clear |= self._is_foreign(tracing_id)
        elif request := self.pending.pop(tracing_id or "", None):
            operation, due_ns, sent_ns = request
            self._recorder.add_ok(operation, due_ns, sent_ns, arrived_ns, seen_ns)
            if self.on_first_message is not None and message_id and not response:
                self.on_first_message(message_id)
                self.on_first_message = None
            awaited = response or presence is not None  # nobody waits for the echo of a text
        else:
            finding = self._unawaited(tracing_id or "", message, finding)
        if finding is _EXPECTED:
            self._recorder.frames_expected += 1
        else:
            self._recorder.count(finding)
        return awaited

    def _unwanted(self, message: Message, before: str, arrived_ns: int, seen_ns: int) -> Finding:
        """A message of the other side whose id was seen before."""
        if before == self.lane:
            return Finding.DUPLICATE
        if _shows(message.text, message.content):
            self.doubtful = (message, True, arrived_ns, seen_ns, None)
        return Finding.CROSS_TALK

    def _keep(self, message: Message, shows: bool, arrived_ns: int, seen_ns: int) -> None:
        """Keep a message of the other side; ``shows``: whether a person sees anything of it."""
        if self.replies is None:
            self.replies = deque(maxlen=FRAMES_KEPT)
        question = None
        if shows and self.questions is not None:
            question = self.questions.take_in(arrived_ns, seen_ns)
        self.replies.append((message, shows, arrived_ns, seen_ns, question))
        self._recorder.replies_received += 1

    def _is_foreign(self, tracing_id: str | None) -> bool:
        """Whether a frame names a request of another session."""
        return bool(tracing_id) and not str(tracing_id).startswith(self.owner)

    def _is_others(self, token: object) -> bool:
        """Whether a frame names another session."""
        return token is not None and token != self.token

    def _unawaited(self, tracing_id: str, message: Message, finding: Finding) -> Finding:
        """Take in the echo of a request that is not pending (any more)."""
        if not tracing_id:
            if message.is_response:
                return Finding.LATE
            return finding if message.presence else Finding.UNMATCHED
        if self.pending.was_given_up(tracing_id):
            return Finding.LATE
        if tracing_id.startswith(self.lane):
            return Finding.DUPLICATE
        # The echo of a request of another connection of this session is handled there.
        return finding if tracing_id.startswith(self.owner) else Finding.CROSS_TALK

    def _on_other(self, event: Event, arrived_ns: int, seen_ns: int) -> Finding:
        if isinstance(event, SessionCleared):
            first = self.session.receive(Receive.CLEARED)
            if self.session.state not in CLEARED:
                # It names no session: if we sent no Clear, it may be another session's.
                return Finding.UNASKED_CLEAR
            # A second one may be ours, and the first another's.
            if self._is_foreign(event.tracing_id):
                self.stray_id = str(event.tracing_id)
            self.foreign_clear |= self._is_others(event.token)
            if not first:
                return Finding.DUPLICATE
            self._cleared_ns = arrived_ns
            self.pending.finish("clear", arrived_ns, seen_ns)
        elif isinstance(event, ConnectionClosed):
            state, connection = self.session.state, self.session.connection
            if state in CLEARED and connection is not ConnectionState.RETIRED:
                cleared_ns = self._cleared_ns
                self._recorder.add_ok("clear_to_close", cleared_ns, cleared_ns, arrived_ns, seen_ns)
            self.session.connection = ConnectionState.RETIRED
            self.close_reason = event.reason
        elif isinstance(event, LoggedOut):
            self._recorder.count("logged_out")
            self.session.connection = ConnectionState.RETIRED
            self.close_reason = "the guest was logged out"
        elif isinstance(event, SessionResponse):
            return self._on_session_response(event, arrived_ns, seen_ns)
        elif isinstance(event, Failure):
            return self._on_failure(event, arrived_ns, seen_ns)
        elif isinstance(event, ExpiredEvent):
            self._on_expired("the session's time to live has passed")
        elif isinstance(event, Other):
            return self._on_answer(event, event.tracing_id, arrived_ns)
        elif isinstance(event, Unknown):
            self._note_odd(event)
            return Finding.UNKNOWN
        return Finding.EXPECTED

    def _on_answer(
        self, answer: Other | ServiceError, tracing_id: str | None, arrived_ns: int
    ) -> Finding:
        """Take in an answer that concerns only the request that asked for it."""
        known = self.pending.pop(tracing_id or "", None) is not None
        key = tracing_id
        if isinstance(answer, Other) and key is None:
            named = answer.body.get("attachmentId")
            key = named if isinstance(named, str) else None
        if key is not None and key in self.answers:
            self.answers[key] = answer
            self.answered_ns = arrived_ns
            return Finding.EXPECTED
        return Finding.EXPECTED if known or tracing_id is None else Finding.LATE

    def _on_session_response(
        self, response: SessionResponse, arrived_ns: int, seen_ns: int
    ) -> Finding:
        if response.tracing_id:
            self.note_answered(response.tracing_id)
        if not response.connected:  # the answer to closeSession
            if response.tracing_id == self.configure_id:  # no, it answers our configureSession
                self.session.receive(Receive.ANOTHER_CONFIGURED)
            other = Other("SessionResponse", {}, response.tracing_id)
            return self._on_answer(other, response.tracing_id, arrived_ns)
        tracing_id = response.tracing_id
        ours = tracing_id == self.configure_id or (
            tracing_id is None and self.session.state in AWAITS_CONFIGURED
        )
        if not ours:
            self.session.receive(Receive.ANOTHER_CONFIGURED)
            known = tracing_id is None or tracing_id.startswith(self.owner)
            return Finding.DUPLICATE if known else Finding.CROSS_TALK
        late = self.session.state not in AWAITS_CONFIGURED
        got = Receive.CONFIGURED_READ_ONLY if response.read_only else Receive.CONFIGURED
        if not self.session.receive(got):
            return Finding.DUPLICATE
        self.response = response
        self.note_answered(self.configure_id)
        self.pending.finish("session_open", arrived_ns, seen_ns)
        self.pending.finish("resume", arrived_ns, seen_ns)
        return Finding.LATE if late else Finding.EXPECTED

    def _on_failure(self, failure: Failure, arrived_ns: int, seen_ns: int) -> Finding:
        error = service_error(failure)
        if failure.of_session:
            self.session.receive(Receive.ANOTHER_CONFIGURED)
        if isinstance(error, RateLimited):
            self._recorder.count("rate_limited")
        tracing_id = failure.tracing_id
        refused = error.code < 500 or 4000 <= error.code < 5000
        if tracing_id and (refused or failure.of_session):
            self.note_answered(tracing_id)  # (after a 5xx the service may still carry it out)
        if tracing_id in self.answers:
            return self._on_answer(error, tracing_id, arrived_ns)
        if tracing_id == self.clear_id and self.session.state in CLEARED:
            self.session.receive(Receive.CLEAR_REFUSED)
            self.failure = error
            return Finding.EXPECTED
        request = self.pending.pop(tracing_id or "", None)
        by_name = request is not None
        if request is None and self.pending and tracing_id is None:
            # Without a tracingId the error is charged to the oldest request, as the vendor's
            # own client does.
            request = self.pending.pop(next(iter(self.pending)))
        if request is not None:
            outcome = outcome_of(error)
            self.pending.end(request, arrived_ns, seen_ns, outcome)
            if self.questions is not None:
                self.questions.fail(request[2], arrived_ns, seen_ns, outcome)
        elif tracing_id:  # its request was given up, or was never one of ours
            late = tracing_id.startswith(self.owner) or self.pending.was_given_up(tracing_id)
            if late and isinstance(error, SessionExpired):
                self._on_expired(error.text)
            return Finding.LATE if late else Finding.CROSS_TALK
        if by_name and isinstance(error, SessionExpired):
            self._on_expired(error.text)
            return Finding.EXPECTED
        self.failure = error
        if request is None:
            if self.questions is not None:  # every message has its echo, so it answers a question
                self.questions.fail_only(arrived_ns, seen_ns, outcome_of(error))
            return Finding.UNMATCHED
        operation = request[0]
        if operation == "session_open":
            # An error that names no request may answer another request: it refuses nothing.
            known = Receive.REFUSED if by_name and refused else Receive.UNCLEAR
            self.session.receive(known)
        elif operation == "resume":
            self.session.receive(Receive.UNCLEAR)
        elif operation == "clear":
            self.session.receive(Receive.CLEAR_REFUSED)
        return Finding.EXPECTED

    def _note_odd(self, event: Unknown) -> None:
        """Keep the text of an unknown frame: a wait that times out shows what did come."""
        if self.odd is None:
            self.odd = deque(maxlen=ODD_KEPT)
        name = safe_quote(event.message_class or "no class")
        text = f" ({safe_quote(event.text)})" if event.text else ""
        self.odd.append(f"a frame of {name}{text}")

    def take_odd(self) -> tuple[str, ...]:
        """The unknown frames that no error has shown yet, in words."""
        odd, self.odd = tuple(self.odd or ()), None
        return odd

    def _on_expired(self, text: str) -> None:
        if self.session.receive(Receive.EXPIRED):
            self.failure = SessionExpired(ErrorCode.SESSION_EXPIRED, text)
            self.pending.give_up(Outcome.EXPIRED)
