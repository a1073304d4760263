"""A guest's line to the service: one token, one connection at a time, requests and their answers.

It knows the wire and measures it; it knows no ledger. :class:`harness.guest.session.GuestSession`
puts the ledger around it, and the sweep uses it as it is.
"""

import uuid
from collections.abc import Callable
from enum import StrEnum

from harness.clock import monotonic_ns
from harness.errors import (
    ConnectFailed,
    ConnectionLost,
    Forbidden,
    RateLimited,
    ReplyTimeout,
    ServiceError,
    SessionExpired,
    TransportError,
    UpgradeRejected,
)
from harness.guest.inbox import Inbox
from harness.guest.settings import GuestSettings
from harness.measure.recorder import Recorder
from harness.measure.sample import Outcome, Sample
from harness.protocol import requests
from harness.protocol.codec import encode_request
from harness.protocol.events import SessionResponse
from harness.protocol.session import Did, SessionState, State
from harness.transport.websocket import WebSocket, connect


class Ending(StrEnum):
    """How an attempt to clear a session came out. Only the first three prove its end."""

    CLEARED = "cleared"
    """SessionClearedEvent came"""
    GONE = "gone"
    """the service had no session under this token any more"""
    EXPIRED = "expired"
    """the service let it go by itself"""
    REFUSED = "clear_refused"
    """clearing is switched off for this deployment"""
    RATE_LIMITED = "clear_rate_limited"
    UNANSWERED = "clear_unanswered"
    CUT = "cut"
    """the connection was lost before the proof"""
    UNREACHABLE = "unreachable"
    """no connection could be made"""
    ERROR = "service_error"
    """the service answered with another error"""

    @property
    def proof(self) -> bool:
        """Whether the service itself has said that the session is over."""
        return self in (Ending.CLEARED, Ending.GONE, Ending.EXPIRED)


def nothing(*_: object) -> None:
    """For those who need not be told."""


class Line:
    """Requests of one token. All methods but :meth:`close` raise TransportError when it is cut."""

    def __init__(
        self,
        settings: GuestSettings,
        token: str,
        recorder: Recorder,
        *,
        on_cleared: Callable[[], None] = nothing,
        on_first_message: Callable[[str], None] = nothing,
    ) -> None:
        self.settings = settings
        self.token = token
        self.session = SessionState()
        self._recorder = recorder
        self._on_cleared = on_cleared
        self._on_first_message = on_first_message
        self._websocket: WebSocket | None = None
        self.inbox = self._new_inbox()
        self._tracing_prefix = str(uuid.uuid4())[:24]
        self._requests = 0

    @property
    def connected(self) -> bool:
        """Whether there is an open connection."""
        return self._websocket is not None and not self._websocket.closed

    @property
    def state(self) -> State:
        """Where the session stands."""
        return self.session.state

    def connect(self, *, due_ns: int | None = None) -> None:
        """Dial and upgrade; counts ``connect`` and its phases. Raises TransportError."""
        started = monotonic_ns()
        due = started if due_ns is None else due_ns
        settings = self.settings
        self.inbox = self._new_inbox()
        try:
            self._websocket = connect(
                settings.address,
                settings.target.resource,
                self.inbox,
                timeout_s=settings.connect_within_s,
                origin=settings.target.origin,
            )
        except TransportError as error:
            now = monotonic_ns()
            self._recorder.add(Sample("connect", due, started, now, now, _connect_outcome(error)))
            raise
        phases = self._websocket.phases
        for phase in ("dns", "tcp", "tls", "upgrade"):
            if phase in phases:
                self._recorder.add_phase(phase, phases[phase])
        now = monotonic_ns()
        arrived = min(now, started + phases["connect"])
        self._recorder.add(Sample("connect", due, started, arrived, now))

    def configure(
        self, *, due_ns: int | None = None, operation: str = "session_open"
    ) -> SessionResponse:
        """Open the session, or resume it; never startNew, which would orphan a live one.

        Raises ServiceError, ReplyTimeout or ConnectionLost.
        """
        inbox, tracing_id = self.inbox, self._next_id()
        self.session.do(Did.CONFIGURE)
        inbox.response, inbox.failure = None, None
        self.send(
            requests.configure_session(self.token, self.settings.target.deployment_id, tracing_id),
            operation,
            due_ns,
        )
        self._await(
            lambda: inbox.response is not None or inbox.failure is not None,
            "SessionResponse",
            self.settings.open_within_s,
            operation,
        )
        if inbox.response is None:
            raise self._take_failure()
        return inbox.response

    def say(self, body: str, *, due_ns: int | None = None, first: bool = False) -> int:
        """Send a text; returns its stamp. Does not wait. ``first`` adds the run's attributes."""
        self.session.do(Did.SPEAK)
        attributes = self.settings.custom_attributes if first else None
        request = requests.text(self.token, self._next_id(), body, custom_attributes=attributes)
        return self.send(request, "delivered", due_ns)

    def join(self, *, due_ns: int | None = None) -> int:
        """Send Presence Join; returns its stamp. Does not wait."""
        self.session.do(Did.SPEAK)
        request = requests.join(
            self.token, self._next_id(), custom_attributes=self.settings.custom_attributes
        )
        return self.send(request, "join", due_ns)

    def health_check(self, *, within_s: float) -> None:
        """Send an echo request and wait for its answer. Raises ReplyTimeout or ConnectionLost."""
        self.session.do(Did.CHECK)
        request = requests.health_check(self.token)
        self.send(request, "health_check", None)
        self._await(
            lambda: request["tracingId"] not in self.inbox.pending,
            "health check answer",
            within_s,
            "health_check",
        )

    def clear(self, *, within_s: float) -> Ending:
        """Send Presence Clear and wait for the proof. Never raises."""
        inbox = self.inbox
        if self.state is State.CLEARED:
            return Ending.CLEARED
        if self.state is State.EXPIRED:
            return Ending.EXPIRED
        if self.state not in (State.OPEN, State.READ_ONLY, State.CLEARING):
            return Ending.CUT
        deadline = monotonic_ns() + int(within_s * 1e9)
        try:
            while True:
                self.session.do(Did.CLEAR)
                inbox.failure = None
                self.send(requests.clear(self.token, self._next_id()), "clear", None)
                self._await(
                    lambda: self.state is not State.CLEARING or inbox.failure is not None,
                    "SessionClearedEvent",
                    (deadline - monotonic_ns()) / 1e9,
                    "clear",
                )
                if inbox.cleared_ns:
                    return Ending.CLEARED
                if inbox.failure is None and not inbox.connected:
                    return Ending.CUT
                error = self._take_failure()
                if not isinstance(error, RateLimited):
                    return _ending_of(error)
                left_s = (deadline - monotonic_ns()) / 1e9
                if error.retry_after_s >= left_s:
                    return Ending.RATE_LIMITED
                self.pause(error.retry_after_s)
        except ReplyTimeout:
            return Ending.UNANSWERED
        except ServiceError as error:
            return _ending_of(error)
        except TransportError:
            return Ending.CLEARED if inbox.cleared_ns else Ending.CUT

    def await_retirement(self, *, within_s: float) -> None:
        """After a Clear, give the service a moment to send its ConnectionClosedEvent."""
        deadline = monotonic_ns() + int(within_s * 1e9)
        while self.connected and not self.inbox.retired:
            left_s = (deadline - monotonic_ns()) / 1e9
            if left_s <= 0 or not self.inbox.bell.wait(left_s):
                return

    def pause(self, duration_s: float) -> None:
        """Do nothing for a while. Raises ConnectionLost or SessionExpired when either happens."""
        deadline = monotonic_ns() + int(duration_s * 1e9)
        while True:
            self.check()
            left_s = (deadline - monotonic_ns()) / 1e9
            if left_s <= 0:
                return
            self.inbox.bell.wait(left_s)

    def check(self) -> None:
        """Raises ConnectionLost or SessionExpired if the session can't go on."""
        inbox = self.inbox
        if self.state is State.EXPIRED:
            raise self._take_failure()
        if not inbox.connected:
            raise ConnectionLost(inbox.closed_code, inbox.close_reason)

    def send(self, request: requests.Request, operation: str, due_ns: int | None) -> int:
        """Write one request and note what it measures; its stamp."""
        if self._websocket is None:
            raise ConnectionLost(None)
        sent = self._websocket.send(encode_request(request))
        self.inbox.expect(request["tracingId"], operation, sent if due_ns is None else due_ns, sent)
        return sent

    def close(self) -> None:
        """Close the connection in order, if there is one."""
        if self._websocket is not None:
            self._websocket.close(wait_s=self.settings.close_within_s)

    def drop(self) -> None:
        """Cut the connection on purpose, as a guest does whose phone loses its network."""
        if self._websocket is not None:
            self._websocket.abort()

    def _new_inbox(self) -> Inbox:
        return Inbox(
            self.session,
            self._recorder,
            on_cleared=self._on_cleared,
            on_first_message=self._on_first_message,
        )

    def _next_id(self) -> str:
        self._requests += 1
        return f"{self._tracing_prefix}{self._requests:012x}"

    def _await(self, done: Callable[[], bool], what: str, within_s: float, operation: str) -> None:
        deadline = monotonic_ns() + int(within_s * 1e9)
        while not done():
            self.check()
            left_s = (deadline - monotonic_ns()) / 1e9
            if left_s <= 0:
                self.inbox.give_up(Outcome.TIMEOUT, operation=operation)
                raise ReplyTimeout(what, within_s)
            self.inbox.bell.wait(left_s)

    def _take_failure(self) -> ServiceError:
        failure, self.inbox.failure = self.inbox.failure, None
        return failure or ServiceError(0, "the service answered with an error")


def end_session(line: Line, *, lost_ns: int | None = None) -> Ending:
    """Make a new connection for a token and end its session, with proof. Never raises.

    The answer to configureSession tells what is left of it: ``newSession`` true means that the
    service no longer knew the token, so the session in question *was* over; the new, empty one
    that this very question has made is cleared as well. False means that it lives: it is cleared.
    Timed as ``resume`` from ``lost_ns`` where that is given.
    """
    try:
        line.connect()
        response = line.configure(due_ns=lost_ns, operation="resume")
    except (ConnectFailed, UpgradeRejected):
        return Ending.UNREACHABLE
    except ServiceError as error:
        line.close()
        return _ending_of(error)
    except ReplyTimeout:
        line.close()
        return Ending.UNANSWERED
    except TransportError:
        return Ending.CUT
    ending = line.clear(within_s=line.settings.clear_within_s)
    if ending.proof:
        line.await_retirement(within_s=line.settings.close_within_s)
    line.close()
    if response.new_session and ending is not Ending.CLEARED:
        return ending  # the old session is over, but the empty one that we made is not
    return Ending.GONE if response.new_session else ending


def _connect_outcome(error: TransportError) -> Outcome:
    if isinstance(error, UpgradeRejected):
        return Outcome.RATE_LIMITED if error.status == 429 else Outcome.REFUSED
    if isinstance(error, ConnectFailed) and "within" in error.why:
        return Outcome.TIMEOUT
    return Outcome.REFUSED


def _ending_of(error: ServiceError) -> Ending:
    if isinstance(error, Forbidden):
        return Ending.REFUSED
    if isinstance(error, SessionExpired):
        return Ending.EXPIRED
    if isinstance(error, RateLimited):
        return Ending.RATE_LIMITED
    return Ending.ERROR
