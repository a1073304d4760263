"""A guest's connection to the service: one token, one websocket at a time, requests and answers.

It speaks the protocol and measures it; it writes no ledger. :class:`GuestSession` of
:mod:`harness.guest.session` adds the ledger; the sweep uses a connection without one.
"""

import contextlib
import logging
import uuid
from collections.abc import Callable, Iterator
from dataclasses import KW_ONLY, InitVar, dataclass, field

from gevent import Timeout

from harness.clock import monotonic_ns
from harness.errors import (
    ConnectionLost,
    RateLimited,
    ReplyTimeout,
    ServiceError,
    TransportError,
)
from harness.guest.inbox import Inbox
from harness.guest.outcomes import (
    Ending,
    connect_outcome,
    ending_of,
    ending_of_state,
    in_vain,
    was_cut,
)
from harness.guest.settings import UNLIMITED, GuestSettings, Observer, Pace
from harness.ledger.ledger import guest_tag
from harness.limits import TYPING_EVERY_S
from harness.measure.model import CONNECT_PHASES, Outcome, Sample
from harness.measure.recorder import Recorder
from harness.protocol import requests
from harness.protocol.codec import Other, SessionResponse, encode_request, encode_text, text_head
from harness.protocol.session import (
    AWAITS_CLEARED,
    CLEARABLE,
    CLEARED,
    ConnectionState,
    Send,
    SessionState,
    State,
)
from harness.transport.websocket import WebSocket, connect

_OPEN, _CONNECTED = State.OPEN, ConnectionState.OPEN  # looking up a member of an enum is slow
_TWO_DIGITS = tuple(f"{number:02x}" for number in range(256))
LOG = logging.getLogger("harness.guest")
UNHEARD = frozenset({State.REFUSED, State.LOST})
"""Session states in which an open connection may still be told of a session: configureSession was
refused, or its connection was lost."""


@dataclass(slots=True, eq=False, repr=False)
class Connection:
    """Requests of one token. All methods but :meth:`close` raise TransportError when the connection
    is lost."""

    settings: GuestSettings
    token: str
    _recorder: Recorder
    _: KW_ONLY
    on_first_message: InitVar[Callable[[str], None] | None] = None
    on_configure: Callable[[bool], object] | None = None
    """called with True before each configureSession is sent (it may open a session at any time
    after that), and with False when the wait for its answer is over"""
    owner: str = field(default_factory=lambda: str(uuid.uuid4())[:24])
    number: InitVar[int] = 0
    """further connections of one session get the same ``owner`` and a number of their own"""
    session: SessionState = field(default_factory=SessionState)
    inbox: Inbox = field(init=False)
    over: bool = False
    """the session is being ended: another configureSession would open a new one"""
    paced_ns: int = 0
    """how long our own pacing held back the last message, or the opening of the session; this is
    not part of the guest's wait for the service"""
    tried_ns: int = 0
    """when the newest connect began; 0 while our own pacing holds it back"""
    in_vain: bool = False
    """the end of the run cut one of its waits (for the connection, the session or an answer) that
    had already lasted longer than any such wait before it"""
    retry_after_s: float = 0.0
    """how long the service has asked us not to connect again (Retry-After)"""
    _websocket: WebSocket | None = None
    _pace: Pace | None = None
    _lane: str = ""
    _text_head: bytes = b""
    _requests: int = 0
    _ids: str = ""
    """the first characters of the newest requests' ids"""
    _sent_ns: int = 0
    """when the newest request was sent"""
    _check_after_ns: int = 0
    _look_ns: int = 0
    """before this time no health check can be due"""

    def __post_init__(self, on_first_message: Callable[[str], None] | None, number: int) -> None:
        settings = self.settings
        self._lane = f"{self.owner}{number:02x}"
        self._text_head = text_head(self.token)
        self._pace = None if settings.budget == UNLIMITED else Pace(settings.budget)
        self._check_after_ns = int(settings.health_check_every_s * 1e9)
        self._look_ns = 0 if self._check_after_ns else 1 << 63
        self.inbox = Inbox(
            self.session,
            self._recorder,
            on_first_message=on_first_message,
            seen=settings.seen,
            owner=self.owner,
            lane=self._lane,
            token=self.token,
        )

    def log(self, what: str, *values: object) -> None:
        """Log what was decided for this guest, at DEBUG; the guest is named by its tag."""
        if LOG.isEnabledFor(logging.DEBUG):
            LOG.debug(f"guest %s: {what}", guest_tag(self.token), *values)

    @property
    def connected(self) -> bool:
        """Whether there is an open connection."""
        return self.session.connection is _CONNECTED

    @property
    def state(self) -> State:
        """The session's state."""
        return self.session.state

    def unanswered(self, at_ns: int) -> bool:
        """Whether a configureSession sent shortly before ``at_ns`` is unanswered; the service may
        still carry it out, even if the connection is gone. (Shortly: within ``late_within_s``.)"""
        unanswered = self.inbox.unanswered_configures
        if not unanswered:
            return False
        over_ns = at_ns - int(self.settings.late_within_s * 1e9)
        return any(left_ns > over_ns for _, left_ns in unanswered)

    def connect(self, *, due_ns: int | None = None) -> None:
        """Dial and upgrade; counts ``connect`` and its phases. Raises TransportError."""
        settings = self.settings
        self.paced_ns = self.tried_ns = 0
        if settings.connections is not None and (waited_s := settings.connections.acquire()) > 0:
            self._recorder.count("paced_connects")
            self.paced_ns = int(waited_s * 1e9)
        started = self.tried_ns = monotonic_ns()
        due = started if due_ns is None else due_ns + self.paced_ns
        self.inbox.begin()
        observer = settings.observer
        receiver = self.inbox if observer is None else _Observed(self.inbox, observer)
        if self._pace is not None:
            self._pace.begin()
        try:
            self._websocket = connect(
                settings.address,
                settings.target.resource,
                receiver,
                timeout_s=settings.connect_within_s,
                origin=settings.target.origin,
                library=settings.library,
            )
        except BaseException as error:
            now = monotonic_ns()
            self.inbox.end()
            if was_cut(error):
                self._note_cut("connect", now - started)
            self._recorder.add(Sample("connect", due, started, now, now, connect_outcome(error)))
            raise
        phases = self._websocket.phases
        for phase in CONNECT_PHASES:
            if phase in phases:
                self._recorder.add_phase(phase, phases[phase])
        now = monotonic_ns()
        arrived = min(now, started + phases["connect"])
        self._recorder.add(Sample("connect", due, started, arrived, now))

    def configure(
        self,
        *,
        due_ns: int | None = None,
        operation: str = "session_open",
        start_new: bool = False,
        sign_in: str = "",
    ) -> SessionResponse:
        """Open the session, or resume it. ``start_new`` is legal for a read-only session only.

        ``sign_in`` is used instead of that of the settings.

        ``operation`` is one of :data:`harness.measure.model.OPENINGS`. Raises ServiceError,
        ReplyTimeout or ConnectionLost.
        """
        inbox, tracing_id, jwt = self.inbox, self.next_id(), sign_in or self.settings.jwt()
        request = requests.configure_session(
            self.token,
            self.settings.target.deployment_id,
            tracing_id,
            start_new=start_new,
            sign_in=jwt,
        )
        self._tell(sending=True)
        try:
            if self.over:
                self.close()
                raise ConnectionLost(None, "the session is over")
            self.session.send(Send.START_NEW if start_new else Send.CONFIGURE)
            inbox.response, inbox.failure, inbox.configure_id = None, None, tracing_id
            self._ask_for_session(request, operation, due_ns)
        finally:
            self._tell(sending=False)
        if inbox.response is None:
            raise self.take_failure()
        inbox.failure = None  # an error before the answer was none of this request's
        return inbox.response

    def _tell(self, *, sending: bool) -> None:
        if self.on_configure is not None:
            self.on_configure(sending)

    def _ask_for_session(
        self, request: requests.Request, operation: str, due_ns: int | None
    ) -> None:
        """Send configureSession, and wait for its answer or an error."""
        inbox, tracing_id = self.inbox, request["tracingId"]
        inbox.unanswered_configures += ((tracing_id, monotonic_ns()),)
        try:
            self.send(request, operation, due_ns)
        except ConnectionLost:
            if not inbox.pending.was_given_up(tracing_id):
                inbox.note_answered(tracing_id)  # no byte of it was written
            raise
        self.paced_ns = 0
        with self.waiting(operation):
            self._await(
                lambda: inbox.response is not None or inbox.failure is not None,
                "SessionResponse",
                self.settings.open_within_s,
                operation,
            )

    def _note_cut(self, operation: str, waited_ns: int) -> None:
        if in_vain(waited_ns, self._recorder.slowest_wait_ns(operation)):
            self.in_vain = True

    @contextlib.contextmanager
    def waiting(self, operation: str) -> Iterator[None]:
        """Around a wait for one of :data:`harness.measure.model.WAITS`: if the end of the run cuts
        it, note whether it was in vain."""
        began = monotonic_ns()
        try:
            yield
        except BaseException as error:
            if was_cut(error):
                self._note_cut(operation, monotonic_ns() - began)
                self.inbox.pending.give_up(Outcome.CUT_SHORT, operation=operation)
            elif isinstance(error, Timeout):  # the story's own
                self.inbox.pending.give_up(Outcome.TIMEOUT, operation=operation)
            raise

    def say(self, body: str, due_ns: int | None = None) -> int:
        """Send a plain text, as :meth:`speak` does; returns its stamp."""
        if self.session.state is not _OPEN or self._pace is not None:
            self._begin_speaking()
        tracing_id = self.next_id()
        data = encode_text(self._text_head, tracing_id, body)
        return self._send(data, tracing_id, "delivered", due_ns)

    def speak(self, request: requests.Request, operation: str, due_ns: int | None) -> int:
        """Send a message of the conversation; returns its stamp. Does not wait for answers.

        Waits if the guest has used up its budget (counted as ``paced``).
        """
        self._begin_speaking()
        return self.send(request, operation, due_ns)

    def _begin_speaking(self) -> None:
        if self.session.state is not _OPEN:  # where speaking changes nothing
            self.session.send(Send.SPEAK)
        if self._pace is not None:
            self._keep_pace(self._pace.book(monotonic_ns(), message=True))

    def health_check(self, *, within_s: float) -> None:
        """Send an echo request and wait for its answer. Raises ReplyTimeout or ConnectionLost."""
        tracing_id = self._send_health_check()
        with self.waiting("health_check"):
            self._await(
                lambda: tracing_id not in self.inbox.pending,
                "health check answer",
                within_s,
                "health_check",
            )
        self.check()  # a lost connection has no pending requests either

    def ask(self, request: requests.Request, what: str, within_s: float) -> Other:
        """Send a request that has exactly one answer; returns that. Not measured here.

        Raises ServiceError, ReplyTimeout or ConnectionLost.
        """
        if self._pace is not None:
            self._keep_pace(self._pace.book(monotonic_ns(), message=False))
        tracing_id = request["tracingId"]
        self.inbox.want(tracing_id)
        try:
            self.send(request, "", None)
            return self.await_answer(tracing_id, what, within_s)
        finally:
            self.inbox.pending.pop(tracing_id, None)

    def await_answer(self, key: str, what: str, within_s: float) -> Other:
        """Wait for an answer that :meth:`Inbox.want` asked for. Raises the errors of
        :meth:`ask`."""
        answers = self.inbox.answers
        try:
            self._await(lambda: answers[key] is not None, what, within_s, None)
            answer = answers[key]
        finally:
            del answers[key]
        if isinstance(answer, ServiceError):
            raise answer
        assert answer is not None
        return answer

    def clear(self, *, within_s: float) -> Ending:
        """Send Presence Clear and wait for the proof. Never raises."""
        inbox = self.inbox
        known = ending_of_state(self.session)
        if known is not None or self.session.connection is ConnectionState.RETIRED:
            return known or Ending.CUT
        deadline = monotonic_ns() + int(within_s * 1e9)
        try:
            while True:
                inbox.failure = None
                inbox.clear_id = self.next_id()
                self.send(requests.clear(self.token, inbox.clear_id), "clear", None)
                if self.state in CLEARABLE:
                    self.session.send(Send.CLEAR)  # sent: what arrived before it was no answer
                self._await(
                    lambda: self.state not in AWAITS_CLEARED or inbox.failure is not None,
                    "SessionClearedEvent",
                    (deadline - monotonic_ns()) / 1e9,
                    "clear",
                )
                if self.state in CLEARED:
                    return Ending.CLEARED
                if inbox.failure is None and not self.connected:
                    return Ending.CUT
                error = self.take_failure()
                if not isinstance(error, RateLimited):
                    return ending_of(error)
                left_s = (deadline - monotonic_ns()) / 1e9
                if error.retry_after_s >= left_s:
                    return Ending.RATE_LIMITED
                self.pause(error.retry_after_s)
        except ReplyTimeout:
            return Ending.UNANSWERED
        except ServiceError as error:
            return ending_of(error)
        except TransportError:
            return Ending.CLEARED if self.state in CLEARED else Ending.CUT

    def confirm(self, within_s: float, *, stray_before: str = "") -> Ending:
        """After SessionClearedEvent, wait for what confirms it: the service sends that at once.

        It echoes our Clear and retires the connection. An event with neither may be another
        session's: only a resume can tell. So it is where the event or an echo names another's
        Clear or session, and after an error that names no request, which may be the answer to our
        Clear.

        Both events without the echo are proof enough. The service sends SessionClearedEvent only
        for a Clear, and sends it, and the ConnectionClosedEvent after it, only to the connections
        of the session that has ended. A Clear of another tab would have ended this same session.
        (The other reasons to retire a connection, such as a fourth one or closeSession, do not
        clear.)

        ``stray_before`` is the tracingId of an earlier SessionClearedEvent for this token that
        named no request of its session, though a resume has shown that the session was over. So
        the service puts ids of its own there, and a further one is no reason to doubt all three
        frames.
        """
        self._wait_while(lambda: self.connected, within_s)
        failure = self.inbox.failure
        if failure is not None and self.state not in CLEARED:
            return ending_of(self.take_failure())
        if failure is not None and failure.tracing_id is None:
            return Ending.UNCONFIRMED
        if self.inbox.foreign_clear:
            return Ending.UNCONFIRMED
        retired = self.session.connection is ConnectionState.RETIRED
        proved = self.state is State.PROVED
        if stray_id := self.inbox.stray_id:
            own = stray_before not in ("", stray_id)
            return Ending.CLEARED if own and retired and proved else Ending.UNCONFIRMED
        return Ending.CLEARED if retired or proved else Ending.UNCONFIRMED

    def await_contradiction(
        self, *, within_s: float, states: frozenset[State] = frozenset({State.REFUSED})
    ) -> None:
        """After a refused configureSession, wait to see whether the service reports a session
        anyway.

        Waits while the session is in one of the ``states``, for at most ``within_s``. The
        connection must stay open for it: nothing is read after our close frame.
        """
        websocket = self._websocket
        if websocket is not None:
            self._wait_while(lambda: self.state in states and not websocket.closed, within_s)

    def _wait_while(self, holds: Callable[[], bool], within_s: float) -> None:
        deadline = monotonic_ns() + int(within_s * 1e9)
        while holds():
            left_s = (deadline - monotonic_ns()) / 1e9
            if left_s <= 0 or not self.inbox.waiter.wait(left_s):
                return

    def pause(self, duration_s: float) -> None:
        """Wait (seconds). Raises ConnectionLost or SessionExpired if that happens meanwhile."""
        deadline = monotonic_ns() + int(duration_s * 1e9)
        while True:
            self.check()
            if monotonic_ns() >= deadline:
                return
            self.rest(deadline)

    def rest(self, until_ns: int) -> bool:
        """Sleep until a frame comes or the time is over; send an echo request when one is due.

        False if the time may be over: no frame has come for which the guest is woken.
        """
        if self._look_ns < until_ns:
            look_ns = self._look_ns = self._sent_ns + self._check_after_ns
            if look_ns > monotonic_ns():
                until_ns = min(until_ns, look_ns)
            elif self.state in (State.OPEN, State.READ_ONLY) and self.connected:
                self.inbox.pending.give_up_older_than(self.settings.health_check_every_s / 2)
                self._send_health_check()
                return False
        return self.inbox.waiter.wait_until(until_ns)

    def check(self) -> None:
        """Raises ConnectionLost or SessionExpired if the session can't go on."""
        inbox, session = self.inbox, self.session
        if session.state is State.EXPIRED:
            raise self.take_failure()
        if session.connection is _CONNECTED:
            return
        if session.connection is ConnectionState.RETIRED and session.state not in CLEARED:
            why = inbox.close_reason or "the service retired this connection"
            self.close()
            raise ConnectionLost(None, why)
        if self._websocket is None or self._websocket.closed:
            raise ConnectionLost(inbox.closed_code, inbox.close_reason)

    def send(self, request: requests.Request, operation: str, due_ns: int | None) -> int:
        """Write one request and note what it measures; returns its stamp."""
        return self._send(encode_request(request), request["tracingId"], operation, due_ns)

    def _send(self, data: bytes, tracing_id: str, operation: str, due_ns: int | None) -> int:
        if self._websocket is None:
            raise ConnectionLost(None)
        sent = self._websocket.send(data)
        if self.settings.observer is not None:
            _show(self.settings.observer, True, data, sent)
        inbox = self.inbox
        if due_ns is None:
            due_ns = sent
        elif self.paced_ns:
            due_ns += self.paced_ns
        inbox.pending[tracing_id] = operation, due_ns, sent
        self._sent_ns = sent
        if self.session.connection is not _CONNECTED:  # the kernel refused it: the socket was dead
            inbox.pending.give_up(Outcome.LOST)
            raise ConnectionLost(inbox.closed_code, inbox.close_reason)
        return sent

    def close(self) -> None:
        """Close the connection properly, if there is one."""
        if self._websocket is not None:
            self._websocket.close(wait_s=self.settings.close_within_s)

    def detach(self) -> None:
        """The session is over: call nobody back, and keep no reference to the session."""
        self.on_configure = None
        self.inbox.detach()

    def drop(self) -> None:
        """Cut the connection on purpose, as a guest does whose phone loses its network."""
        if self.session.connection is not ConnectionState.RETIRED:
            self.session.connection = ConnectionState.DROPPED
        if self._websocket is not None:
            self._websocket.abort()

    def next_id(self) -> str:
        """A tracingId in the form of a UUID; it holds the connection's lane and a number."""
        number = self._requests = self._requests + 1
        low = number & 0xFF
        if low <= 1:  # nearly always only the last two digits change
            self._ids = f"{self._lane}{number >> 8:08x}"
        return self._ids + _TWO_DIGITS[low]

    def _keep_pace(self, wait_ns: int) -> None:
        self.paced_ns = wait_ns
        if wait_ns:
            self._recorder.count("paced")
            self.pause(wait_ns / 1e9)

    def _send_health_check(self) -> str:
        self.session.send(Send.CHECK)
        if self._pace is not None:
            self._pace.book(monotonic_ns(), message=False)
        tracing_id = self.next_id()
        self.send(requests.health_check(self.token, tracing_id), "health_check", None)
        return tracing_id

    def _await(
        self, done: Callable[[], bool], what: str, within_s: float, operation: str | None
    ) -> None:
        deadline = monotonic_ns() + int(within_s * 1e9)
        while not done():
            self.check()
            left_s = (deadline - monotonic_ns()) / 1e9
            if left_s <= 0:
                if operation:
                    self.inbox.pending.give_up(Outcome.TIMEOUT, operation=operation)
                raise ReplyTimeout(what, within_s, self.inbox.take_odd())
            self.inbox.waiter.wait_until(deadline)

    def take_failure(self) -> ServiceError:
        """Return the newest error answer and forget it."""
        failure, self.inbox.failure = self.inbox.failure, None
        return failure or ServiceError(0, "the service answered with an error")


def _show(observer: Observer, outgoing: bool, data: bytes, at_ns: int) -> None:
    """Call the observer; if it fails, the session goes on."""
    with contextlib.suppress(Exception):
        observer(outgoing, data, at_ns)


class _Observed:
    """An inbox with an observer."""

    def __init__(self, inbox: Inbox, observer: Observer) -> None:
        self._observer = observer
        self._inbox = inbox
        self.on_end = inbox.on_end
        self.wake = inbox.wake

    def on_frame(self, data: bytes, arrived_ns: int, seen_ns: int) -> bool:
        """Show the frame to the observer, then take it in."""
        _show(self._observer, False, data, arrived_ns)
        return self._inbox.on_frame(data, arrived_ns, seen_ns)


TYPING_EVERY_NS = int(TYPING_EVERY_S * 1e9)


@dataclass(slots=True, eq=False)
class Typing:
    """The typing indicator of one guest; it is not sent again after a refusal."""

    _sent_ns: int = 0
    _tracing_id: str = ""
    _off: bool = False

    def next_id(self, connection: Connection, recorder: Recorder) -> str:
        """The tracingId for a typing event now; empty if it is too early, or was refused before.

        A refusal of the previous event is counted as ``typing_is_off``.
        """
        inbox, before = connection.inbox, self._tracing_id
        if before and isinstance(inbox.answers.get(before), ServiceError):
            recorder.count("typing_is_off")
            self._off, self._tracing_id = True, ""
            inbox.forget(before)
        now = monotonic_ns()
        if self._off or now - self._sent_ns < TYPING_EVERY_NS:
            return ""
        inbox.forget(before)
        self._sent_ns, self._tracing_id = now, connection.next_id()
        inbox.want(self._tracing_id)
        return self._tracing_id
