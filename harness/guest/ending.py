"""Ending a session from a new connection, where the old one is gone."""

from collections.abc import Iterable

from harness.errors import (
    ConnectFailed,
    ReplyTimeout,
    ServiceError,
    TransportError,
    UpgradeRejected,
)
from harness.guest.connection import Line
from harness.guest.outcomes import Ending, ending_of
from harness.protocol.events import SessionResponse
from harness.protocol.names import ErrorCode

NOT_THIS_SIGN_IN = frozenset(
    {ErrorCode.CANNOT_DOWNGRADE, ErrorCode.UNAUTHORIZED, ErrorCode.FORBIDDEN}
)
"""Answers to configureSession where the session is a signed-in guest's, and another one's."""


def end_session(line: Line, *, lost_ns: int | None = None, sign_ins: Iterable[str] = ()) -> Ending:
    """Make a new connection for a token and end its session, with proof. Never raises.

    The answer to configureSession tells what is left of it: ``newSession`` true means that the
    service no longer knew the token, so the session in question *was* over; the new, empty one
    that this very question has made is cleared as well. False means that it lives: it is cleared.
    Only an answer with this request's own tracingId tells either.
    Timed as ``resume`` from ``lost_ns`` where that is given. Where the session turns out to be a
    signed-in guest's, ``sign_ins`` (JWTs) are tried one after the other.
    """
    try:
        line.connect()
        response = _resume(line, lost_ns, sign_ins)
    except UpgradeRejected as rejected:
        line.asked_to_wait_s = rejected.retry_after_s or 0.0
        return Ending.UNREACHABLE
    except ConnectFailed:
        return Ending.UNREACHABLE
    except ServiceError as error:
        line.close()
        if error.code == ErrorCode.CANNOT_DOWNGRADE or (
            line.settings.sign_in and error.code in NOT_THIS_SIGN_IN
        ):
            return Ending.SIGNED_IN
        ending = ending_of(error)
        return ending if ending in (Ending.EXPIRED, Ending.RATE_LIMITED) else Ending.ERROR
    except ReplyTimeout:
        line.close()
        return Ending.UNANSWERED
    except TransportError:
        return Ending.CUT
    ending = line.clear(within_s=line.settings.clear_within_s)
    if ending is Ending.CLEARED:
        ending = line.confirm(within_s=line.settings.close_within_s)
    line.close()
    if ending is not Ending.CLEARED:
        return ending  # even if the old session is over, the empty one that we made is not
    told = response.new_session and response.tracing_id == line.inbox.configure_id
    return Ending.GONE if told else ending


def _resume(line: Line, lost_ns: int | None, sign_ins: Iterable[str]) -> SessionResponse:
    try:
        return line.configure(due_ns=lost_ns, operation="resume")
    except ServiceError as error:
        if error.code != ErrorCode.CANNOT_DOWNGRADE:
            raise
        refused = error
    for sign_in in sign_ins:
        try:
            return line.configure(due_ns=lost_ns, operation="resume", sign_in=sign_in)
        except ServiceError as error:
            if error.code not in NOT_THIS_SIGN_IN:
                raise
    raise refused
