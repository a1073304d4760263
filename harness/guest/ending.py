"""Ending a session from a new connection, where the old one is gone."""

from harness.errors import (
    ConnectFailed,
    Forbidden,
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
    Timed as ``resume`` from ``lost_ns`` where that is given.
    """
    try:
        line.connect()
        response = line.configure(due_ns=lost_ns, operation="resume")
    except (ConnectFailed, UpgradeRejected):
        return Ending.UNREACHABLE
    except ServiceError as error:
        line.close()
        return Ending.ERROR if isinstance(error, Forbidden) else ending_of(error)
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
