"""How a story ended, and whether its guest was served: each counted once, in fixed words.

A guest is *served* when it came in, its story finished, all its questions were answered, and its
session was cleared with proof.
"""

from enum import StrEnum

from harness.errors import (
    ConnectionLost,
    NotPossible,
    RateLimited,
    RemoteProtocolError,
    ReplyTimeout,
    ServiceError,
    SessionExpired,
    SessionNotFound,
    TransportError,
)
from harness.guest.outcomes import Ending
from harness.measure.model import Outcome
from harness.measure.recorder import (
    GUESTS_CUT,
    GUESTS_FAILED,
    GUESTS_SERVED,
    STORIES_BROKEN,
    STORIES_CUT,
    STORIES_FINISHED,
    Recorder,
)


class Why(StrEnum):
    """Why a guest was not served; the first of these that happened."""

    NOT_SIGNED_IN = "not_signed_in"
    NOT_CONNECTED = "not_connected"
    NOT_CONFIGURED = "not_configured"
    """connected, but no session was opened"""
    BROKEN_OFF = "broken_off"
    """its story broke off"""
    NO_ANSWER = "no_answer"
    """its story finished, but not all its questions were answered"""
    NOT_CLEARED = "not_cleared"
    """there is no proof that its session ended"""


WAYS = ("served", "failed", "cut")
"""What becomes of guests, as an objective names it."""


def question_outcome(error: BaseException | None) -> Outcome:
    """How the open questions of a story end that ends so."""
    if error is not None and not isinstance(error, Exception):
        return Outcome.CUT_SHORT  # killed: the run has ended
    if isinstance(error, TransportError | SessionExpired | SessionNotFound):
        return Outcome.LOST
    return Outcome.UNANSWERED


def reason_of(error: BaseException) -> str:
    """Why a story broke off: few words, never an error's own text."""
    if isinstance(error, NotPossible):
        return error.what
    if isinstance(error, ReplyTimeout):
        return f"no {error.waited_for} in time"
    if isinstance(error, RateLimited):
        return "rate limited"
    if isinstance(error, SessionExpired):
        return "the session expired"
    if isinstance(error, ServiceError):
        return f"the service answered {error.code}"
    if isinstance(error, ConnectionLost):
        return "the connection was lost"
    if isinstance(error, TransportError):
        return "no connection could be made again"
    if isinstance(error, RemoteProtocolError):
        return "an answer that means nothing"
    return f"an error of its own, {type(error).__name__}"


def count_story(recorder: Recorder, error: BaseException | None, place: str) -> None:
    """Count the end of a story that had begun."""
    if error is None:
        recorder.count(STORIES_FINISHED)
    elif isinstance(error, Exception):
        recorder.count_place(STORIES_BROKEN, f"{place}: {reason_of(error)}")
    else:
        recorder.count(STORIES_CUT)


def count_guest(
    recorder: Recorder,
    *,
    error: BaseException | None,
    connected: bool,
    opened: bool,
    missed: Outcome | None,
    ending: Ending,
) -> None:
    """Count what became of a guest. ``missed``: how a question ended that got no answer."""
    if error is not None and not isinstance(error, Exception):
        recorder.count(GUESTS_CUT)
        return
    why: Why | None = None
    if not opened:
        why = Why.NOT_CONFIGURED if connected else Why.NOT_CONNECTED
    elif error is not None:
        why = Why.BROKEN_OFF
    elif missed is not None:
        why = Why.NO_ANSWER
    elif not ending.proof:
        why = Why.NOT_CLEARED
    recorder.count(GUESTS_SERVED if why is None else GUESTS_FAILED + why)
