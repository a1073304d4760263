"""What can go wrong, in words that are counted: error answers, failed connects, endings.

From what is known of a session to the word for its end, and from that to its ledger stage.

The one place where both are derived: the table of :mod:`harness.protocol.session` is what is
known, and only an ending that is a proof takes a session off the list of leftovers.
"""

from enum import StrEnum

from harness.errors import (
    ConnectFailed,
    Forbidden,
    HarnessError,
    NotPossible,
    RateLimited,
    RemoteProtocolError,
    ReplyTimeout,
    ServiceError,
    SessionExpired,
    SessionNotFound,
    TransportError,
    UpgradeRejected,
)
from harness.ledger.ledger import Stage
from harness.measure.model import Outcome
from harness.protocol import events
from harness.protocol.names import ErrorCode
from harness.protocol.session import SessionState, State


class Ending(StrEnum):
    """How an attempt to end a session came out; :attr:`proof` says which of them prove its end."""

    CLEARED = "cleared"
    """SessionClearedEvent came"""
    GONE = "gone"
    """the service had no session under this token any more"""
    ENDED = "ended"
    """the service said that it had let it go by itself, and a resume has shown it"""
    NEVER = "never_configured"
    """there never was a session: nothing that could make it left, or all of it was refused"""
    EXPIRED = "expired"
    """the service said that it had let it go by itself; nothing has shown it"""
    REFUSED = "clear_refused"
    """clearing is switched off for this deployment"""
    RATE_LIMITED = "clear_rate_limited"
    UNANSWERED = "clear_unanswered"
    UNCONFIRMED = "clear_unconfirmed"
    """SessionClearedEvent came, but neither the echo of our Clear nor ConnectionClosedEvent: it
    may have been another session's"""
    CUT = "cut"
    """the connection was lost before the proof"""
    UNREACHABLE = "unreachable"
    """no connection could be made"""
    SIGNED_IN = "signed_in"
    """it is a signed-in guest's, and no sign-in was given that the service takes for it"""
    ERROR = "service_error"
    """the service answered with another error"""

    @property
    def proof(self) -> bool:
        """Whether it is certain that no session is left."""
        return self in (Ending.CLEARED, Ending.GONE, Ending.ENDED, Ending.NEVER)


def ending_of(error: ServiceError) -> Ending:
    """The word for an error answer to the ending of a session."""
    if isinstance(error, Forbidden):
        return Ending.REFUSED
    if isinstance(error, SessionExpired):
        return Ending.EXPIRED
    if isinstance(error, SessionNotFound):
        return Ending.CUT  # the connection is none of the session's, if there still is one
    if isinstance(error, RateLimited):
        return Ending.RATE_LIMITED
    return Ending.ERROR


def connect_outcome(error: TransportError) -> Outcome:
    """The word by which a connection that could not be made is counted."""
    if isinstance(error, UpgradeRejected):
        return Outcome.RATE_LIMITED if error.status == 429 else Outcome.REFUSED
    if isinstance(error, ConnectFailed) and "within" in error.why:
        return Outcome.TIMEOUT
    return Outcome.REFUSED


def sign_in_outcome(error: Exception) -> Outcome:
    """The word by which a guest is counted who could not be signed in."""
    if isinstance(error, ServiceError):
        return outcome_of(error)
    if isinstance(error, TransportError):
        return connect_outcome(error)
    return Outcome.REFUSED


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


STORY_ENDS: tuple[type[HarnessError], ...] = (
    TransportError,
    ServiceError,
    ReplyTimeout,
    RemoteProtocolError,
    NotPossible,
)
"""What may end a guest's story without being an error of the harness: it is measured already."""


CLEARABLE = frozenset({State.OPEN, State.READ_ONLY, State.CLEARING})
"""In these a Clear can be sent on the connection that there is."""
UNSETTLED = frozenset({Ending.CUT, Ending.UNREACHABLE, Ending.EXPIRED, Ending.UNCONFIRMED})
"""After these a new connection may still tell what became of the session."""

_PROVED = {
    Ending.CLEARED: (Stage.CLEARED, ""),
    Ending.GONE: (Stage.CLEARED, str(Ending.GONE)),
    Ending.ENDED: (Stage.ENDED, str(Ending.EXPIRED)),
    Ending.NEVER: (Stage.NEVER_CONFIGURED, ""),
}


def ending_of_state(session: SessionState) -> Ending | None:
    """The ending that the state alone tells; None where Clear has to be sent to know one."""
    if session.never_existed:
        return Ending.NEVER
    if session.state is State.CLEARED:
        return Ending.CLEARED
    if session.state is State.EXPIRED:
        return Ending.EXPIRED
    return None if session.state in CLEARABLE else Ending.CUT


def settled(before: Ending, resumed: Ending) -> Ending:
    """The ending of a session that ended ``before`` so and was then resumed, with that result."""
    return Ending.ENDED if before is Ending.EXPIRED and resumed is Ending.GONE else resumed


def stage_of(ending: Ending) -> tuple[Stage, str]:
    """Ledger stage and reason. Whatever is no proof leaves the session on the list."""
    return _PROVED.get(ending, (Stage.LOST, str(ending)))
