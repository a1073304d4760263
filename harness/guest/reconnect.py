"""Reconnect after a lost connection, with the same token and never with startNew.

Like the vendor's mobile SDK: try again every few seconds, up to a limit. A forbidden upgrade is not
tried again.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import gevent

from harness.clock import monotonic_ns
from harness.errors import (
    ConnectionLost,
    RateLimited,
    ReplyTimeout,
    ServiceError,
    SessionNotFound,
    TransportError,
    UpgradeRejected,
)
from harness.guest.connection import Connection
from harness.guest.outcomes import STORY_ENDS, connect_outcome
from harness.guest.questions import Phase, Questions
from harness.guest.rest import fetch_history
from harness.measure.model import Outcome, Sample
from harness.measure.recorder import Recorder
from harness.protocol import requests
from harness.protocol.codec import SessionResponse
from harness.protocol.requests import CLOSE_GOING_AWAY, ErrorCode, Request
from harness.protocol.session import ConnectionState, State

# Looking up a member of an enum is slow.
_OPEN, _READ_ONLY, _LOST = State.OPEN, State.READ_ONLY, State.LOST
_CONNECTED = ConnectionState.OPEN
ANSWERS_WITHIN_NS = 10_000_000_000
"""How long a connection that is to be replaced is kept for answers that may still come."""
ANSWERS_LOOK_NS = 100_000_000


def resume(connection: Connection, recorder: Recorder, *, since_ns: int = 0) -> SessionResponse:
    """Connect again and resume the session; timed as ``resume`` from the loss or ``since_ns``.

    Raises the last TransportError or ReplyTimeout after the time limit, or the ServiceError that
    the service answered.
    """
    settings = connection.settings
    lost_ns = since_ns or connection.inbox.lost_ns or monotonic_ns()
    deadline = lost_ns + int(settings.reconnect_within_s * 1e9)
    wait_s = 0.0
    while True:
        if wait_s:
            gevent.sleep(wait_s)
        wait_s = settings.reconnect_every_s
        error: TransportError | ReplyTimeout | RateLimited
        try:
            connection.connect(due_ns=lost_ns)
            return connection.configure(due_ns=lost_ns, operation="resume")
        except RateLimited as limited:
            wait_s = max(wait_s, limited.retry_after_s)
            error = limited
        except UpgradeRejected as rejected:
            if rejected.status == ErrorCode.FORBIDDEN:
                raise
            wait_s = max(wait_s, rejected.retry_after_s or 0.0)
            error = rejected
        except (TransportError, ReplyTimeout) as failed:
            error = failed
        connection.close()
        if connection.over:
            raise error
        now = monotonic_ns()
        if now + int(wait_s * 1e9) >= deadline:
            outcome = connect_outcome(error) if isinstance(error, TransportError) else Outcome.LOST
            recorder.add(Sample("resume", lost_ns, lost_ns, now, now, outcome))
            raise error


@dataclass(slots=True, eq=False)
class Reconnecting:
    """A connection that is replaced when it is lost, if the settings allow that.

    Otherwise, and if the service has retired the connection on purpose, each method raises the
    ConnectionLost.
    """

    _connection: Connection
    _questions: Questions
    """if these are over, the guest is leaving and does not reconnect"""
    _recorder: Recorder
    _made_ns: int = field(default_factory=monotonic_ns)
    """about when the present connection was made"""
    _max_age_ns: int = 0

    def __post_init__(self) -> None:
        settings = self._connection.settings
        if settings.reconnect_within_s:  # a guest that never reconnects has none replaced either
            self._max_age_ns = int(settings.max_connection_age_s * 1e9)

    def keep(self) -> None:
        """Make sure that there is a connection."""
        try:
            self._connection.check()
        except ConnectionLost as lost:
            self.reconnect(lost)

    def rest_until(self, due_ns: int) -> None:
        """Wait until then and stay connected, unless the guest has dropped its connection."""
        while True:
            if self._connection.session.connection is ConnectionState.DROPPED:
                return gevent.sleep(max(0.0, (due_ns - monotonic_ns()) / 1e9))
            try:
                until_ns = self._renewed_until(due_ns) if self._max_age_ns else due_ns
                self._connection.pause(max(0.0, (until_ns - monotonic_ns()) / 1e9))
                if until_ns >= due_ns:
                    return None
            except ConnectionLost as lost:
                self.reconnect(lost)

    def _renewed_until(self, due_ns: int) -> int:
        """Replace a connection that has reached its age. Returns when to look again, ``due_ns`` at
        the latest.

        The connection is closed properly, then resumed as after a loss, but counted as ``renewed``.
        """
        connection, now = self._connection, monotonic_ns()
        old_ns = self._made_ns + self._max_age_ns
        if now >= old_ns and connection.connected and self._questions.phase is not Phase.OVER:
            if connection.inbox.pending and now < old_ns + ANSWERS_WITHIN_NS:
                return min(due_ns, now + ANSWERS_LOOK_NS)
            connection.close()
            self._recorder.count("renewed")
            self._resume(since_ns=monotonic_ns())
            old_ns = self._made_ns + self._max_age_ns
        return min(due_ns, old_ns)

    def send(
        self, request: Callable[[str, str], Request], operation: str, due_ns: int | None = None
    ) -> int:
        """Build a request from token and tracingId and send it on this connection, or on the next
        one; returns its stamp."""
        connection = self._connection
        while True:
            try:
                self._check()
                return connection.speak(
                    request(connection.token, connection.next_id()), operation, due_ns
                )
            except ConnectionLost as lost:
                self.reconnect(lost)

    def say(self, text: str, due_ns: int) -> int:
        """Send a plain text in the same way; returns its stamp."""
        connection = self._connection
        session = connection.session
        while True:
            try:
                if session.state is not _OPEN or session.connection is not _CONNECTED:
                    self._check()
                return connection.say(text, due_ns)
            except ConnectionLost as lost:
                self.reconnect(lost)

    def health_check(self, within_s: float) -> None:
        """Send an echo request on this connection, or on the next one, and wait for the answer."""
        while True:
            try:
                self._connection.check()
                return self._connection.health_check(within_s=within_s)
            except ConnectionLost as lost:
                self.reconnect(lost)

    def _check(self) -> None:
        self._connection.check()
        if self._connection.session.state in (_READ_ONLY, _LOST):
            raise ServiceError(
                ErrorCode.READ_ONLY, "the other side has ended this conversation for good"
            )

    def start_new(self) -> None:
        """Leave a read-only session behind and open a new one under the same token.

        Like the vendor's client: closeSession for all connections, then startNew. If that is
        refused, the old session lives on, but without this connection; the call may be repeated.
        """
        connection = self._connection
        if connection.state is _READ_ONLY:
            request = requests.close_session(connection.token, connection.next_id())
            connection.ask(request, "answer to closeSession", connection.settings.open_within_s)
        connection.configure(start_new=True)

    def reconnect(self, lost: ConnectionLost) -> None:
        """Resume the session on a new connection and take in the missed messages.

        Raises SessionNotFound if the service no longer knew the session.
        """
        connection = self._connection
        before = connection.session.connection
        may = connection.settings.reconnect_within_s and self._questions.phase is not Phase.OVER
        if not may or before is ConnectionState.RETIRED:
            raise lost
        self._recorder.count("reconnects")
        connection.log("reconnecting: %s", lost)
        if lost.code == CLOSE_GOING_AWAY:
            self._recorder.count("going_away")
        # A guest who was away on purpose is due now.
        dropped = before is ConnectionState.DROPPED
        self._resume(since_ns=monotonic_ns() if dropped else 0)

    def _resume(self, *, since_ns: int) -> None:
        response = resume(self._connection, self._recorder, since_ns=since_ns)
        self._made_ns = monotonic_ns()
        if response.new_session:
            self._recorder.count("resumed_anew")
            self._connection.log("the service no longer knew its session")
            raise SessionNotFound(
                ErrorCode.SESSION_NOT_FOUND, "the service no longer knew this guest's session"
            )
        if self._connection.settings.history:
            self._take_in_missed()

    def _take_in_missed(self) -> None:
        try:
            missed = fetch_history(self._connection, self._recorder)
        except STORY_ENDS:
            return  # counted as a failed history; the story goes on without it
        now = monotonic_ns()
        for message in missed:
            if message.direction == "Outbound" and self._connection.inbox.add_missed(message, now):
                self._recorder.count("recovered")
