"""Ending a session from a new connection, where the old one is gone."""

from harness.errors import (
    ConnectFailed,
    ReplyTimeout,
    ServiceError,
    TransportError,
    UpgradeRejected,
)
from harness.guest.failures import Ending, ending_of
from harness.guest.line import Line


def end_session(line: Line, *, lost_ns: int | None = None) -> Ending:
    """Make a new connection for a token and end its session, with proof. Never raises.

    The answer to configureSession tells what is left of it: ``newSession`` true means that the
    service no longer knew the token, so the session in question *was* over; the new, empty one
    that this very question has made is cleared as well. False means that it lives: it is cleared.
    Only an answer with this request's own tracingId tells either.
    Timed as ``resume`` from ``lost_ns`` where that is given.
    """
    try:
        line.connect()
        response = line.configure(due_ns=lost_ns, operation="resume")
    except (ConnectFailed, UpgradeRejected):
        return Ending.UNREACHABLE
    except ServiceError as error:
        line.close()
        ending = ending_of(error)
        return ending if ending in (Ending.EXPIRED, Ending.RATE_LIMITED) else Ending.ERROR
    except ReplyTimeout:
        line.close()
        return Ending.UNANSWERED
    except TransportError:
        return Ending.CUT
    ending = line.clear(within_s=line.settings.clear_within_s)
    if ending.proof:
        line.await_retirement(within_s=line.settings.close_within_s)
    line.close()
    if ending is not Ending.CLEARED:
        return ending  # even if the old session is over, the empty one that we made is not
    told = response.new_session and response.tracing_id == line.inbox.configure_id
    return Ending.GONE if told else ending
