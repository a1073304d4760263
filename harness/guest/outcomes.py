"""How requests, sessions, stories and guests end, in the fixed words by which they are counted.

The one place that derives

* from an error, the outcome of the request that it answers;
* from a session's state (the table of :mod:`harness.protocol.session`), its ending, and from that
  its stage in the ledger, where only a proof takes it off the list of leftovers;
* from a story's error, how the story ended, and where in the user's own files.

A guest is *served* if it came in, its story finished, all its questions were answered, every
message that it waited for came, and its session was cleared with proof.
"""

import os
import sysconfig
import traceback
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

from gevent import Timeout

import harness
from harness.errors import (
    ConnectionLost,
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
from harness.ledger.ledger import OPEN_UNANSWERED, Stage
from harness.measure.model import Outcome
from harness.measure.recorder import (
    GUESTS_ASKED_NOTHING,
    GUESTS_CUT,
    GUESTS_FAILED,
    GUESTS_SERVED,
    STORIES_BROKEN,
    STORIES_CUT,
    STORIES_FINISHED,
    Recorder,
)
from harness.protocol.codec import Failure
from harness.protocol.requests import ErrorCode
from harness.protocol.session import CLEARABLE, CLEARED, SessionState, State


class Ending(StrEnum):
    """The result of an attempt to end a session: the one table of endings.

    ``words`` say what became of such sessions, as the predicate of a sentence. ``stage`` is the
    session's stage in the ledger after it (LOST is no proof: the session stays a leftover), and
    ``reason`` is what the ledger keeps with it.
    """

    words: str
    stage: Stage
    reason: str

    CLEARED = "cleared", "were alive and are cleared now", Stage.CLEARED, ""
    """SessionClearedEvent came"""
    GONE = "gone", "were over already: the service no longer knew them", Stage.CLEARED
    ENDED = "ended", "were ended by the service, as a resume has shown", Stage.ENDED, "expired"
    NEVER = "never_configured", "never came to be", Stage.NEVER_CONFIGURED, ""
    """no request that could open a session was sent, or all of them were refused"""
    EXPIRED = "expired", "are said to have expired, but no resume has shown it"
    REFUSED = (
        "clear_refused",
        "could not be cleared: the deployment has Clear Conversation switched off",
    )
    RATE_LIMITED = (
        "clear_rate_limited",
        "were refused by the service's rate limits; sweep again, more slowly",
    )
    UNANSWERED = "clear_unanswered", "did not answer"
    UNCONFIRMED = (
        "clear_unconfirmed",
        "were said to be cleared by an event that may have been another session's",
    )
    """SessionClearedEvent came, but neither the echo of our Clear nor ConnectionClosedEvent"""
    NOT_YET = (
        OPEN_UNANSWERED,
        "do not exist now, but an unanswered request may still open them: sweep again later",
    )
    """a proof came, but a configureSession of ours may be carried out after it"""
    CUT = "cut", "lost their connection before the proof"
    UNREACHABLE = "unreachable", "could not be reached: no connection to the service"
    SIGNED_IN = (
        "signed_in",
        "belong to signed-in guests, whom the service only knows by a valid sign-in: give theirs "
        "with --sign-ins FILE, or end their conversations with --platform",
    )
    ERROR = "service_error", "were answered with an error"

    def __new__(
        cls, word: str, words: str = "", stage: Stage = Stage.LOST, reason: str | None = None
    ) -> Self:
        ending = str.__new__(cls, word)
        ending._value_ = word
        ending.words, ending.stage = words, stage
        ending.reason = word if reason is None else reason
        return ending

    @property
    def proof(self) -> bool:
        """Whether it is certain that no session is left."""
        return self.stage is not Stage.LOST


def connect_outcome(error: BaseException) -> Outcome:
    """The outcome by which a failed connection attempt is counted."""
    if was_cut(error):
        return Outcome.CUT_SHORT
    if isinstance(error, Timeout):  # the story's own
        return Outcome.TIMEOUT
    if isinstance(error, UpgradeRejected):
        return Outcome.RATE_LIMITED if error.status == 429 else Outcome.REFUSED
    timed_out = isinstance(error, TransportError) and error.timed_out
    return Outcome.TIMEOUT if timed_out else Outcome.REFUSED


class _Answer(NamedTuple):
    outcome: Outcome
    ending: Ending
    """if it answers the attempt to end a session"""
    words: str = ""
    """why a story broke off"""


_ANSWERS: Mapping[type[ServiceError], _Answer] = {
    RateLimited: _Answer(Outcome.RATE_LIMITED, Ending.RATE_LIMITED, "rate limited"),
    SessionExpired: _Answer(Outcome.EXPIRED, Ending.EXPIRED, "the session expired"),
    # The connection no longer belongs to the session, if that still exists.
    SessionNotFound: _Answer(
        Outcome.SERVICE_ERROR, Ending.CUT, "the service no longer knew the session"
    ),
    Forbidden: _Answer(Outcome.FORBIDDEN, Ending.REFUSED),
    ServiceError: _Answer(Outcome.SERVICE_ERROR, Ending.ERROR),
}
"""The one table of error answers."""


def ending_of(error: ServiceError) -> Ending:
    """The ending for an error that answers the attempt to end a session."""
    return _ANSWERS[type(error)].ending


def outcome_of(error: Exception) -> Outcome:
    """The outcome by which a request is counted that ended with this error."""
    if isinstance(error, ServiceError):
        return _ANSWERS[type(error)].outcome
    if isinstance(error, ReplyTimeout):
        return Outcome.TIMEOUT
    if isinstance(error, TransportError):
        return Outcome.TIMEOUT if error.timed_out else Outcome.LOST
    return Outcome.PROTOCOL


def sign_in_outcome(error: Exception) -> Outcome:
    """The outcome by which a guest is counted who could not be signed in."""
    if isinstance(error, TransportError):
        return connect_outcome(error)
    return outcome_of(error) if isinstance(error, ServiceError) else Outcome.REFUSED


def service_error(failure: Failure) -> ServiceError:
    """The exception that an error answer stands for."""
    code, text, tracing_id = failure.code, failure.text, failure.tracing_id
    if code in (ErrorCode.TOO_MANY_REQUESTS, ErrorCode.REQUEST_RATE_TOO_HIGH):
        return RateLimited(code, text, tracing_id, retry_after_s=failure.retry_after_s or 1.0)
    kinds: Mapping[int, type[ServiceError]] = {
        ErrorCode.SESSION_EXPIRED: SessionExpired,
        ErrorCode.SESSION_NOT_FOUND: SessionNotFound,
        ErrorCode.FORBIDDEN: Forbidden,
    }
    return kinds.get(code, ServiceError)(code, text, tracing_id)


STORY_ENDS: tuple[type[HarnessError], ...] = (
    TransportError,
    ServiceError,
    ReplyTimeout,
    RemoteProtocolError,
    NotPossible,
)
"""Exceptions that end a guest's story and are measured already: no errors of the harness."""


UNSETTLED = frozenset({Ending.CUT, Ending.UNREACHABLE, Ending.EXPIRED, Ending.UNCONFIRMED})
"""After these endings a new connection may still show what became of the session."""


def ending_of_state(session: SessionState) -> Ending | None:
    """The ending that follows from the state alone; None if Clear must be sent first."""
    if session.never_existed:
        return Ending.NEVER
    if session.state in CLEARED:
        return Ending.CLEARED
    if session.state is State.EXPIRED:
        return Ending.EXPIRED
    return None if session.state in CLEARABLE else Ending.CUT


def settled(before: Ending, resumed: Ending) -> Ending:
    """The final ending of a session: ``before`` is that of the first attempt, ``resumed`` the
    result of the resume after it."""
    return Ending.ENDED if before is Ending.EXPIRED and resumed is Ending.GONE else resumed


class Story(StrEnum):
    """How far a guest has come."""

    ARRIVED = "arrived"
    CONNECTED = "connected"
    BEGUN = "begun"
    """its session is configured"""
    TALKING = "talking"
    """it has joined or said something: there may be a conversation"""
    LEFT = "left"
    """its session was ended (or could not be), and the guest was counted"""


class Why(StrEnum):
    """Why a guest was not served: the first of these that happened."""

    NOT_SIGNED_IN = "not_signed_in"
    NOT_CONNECTED = "not_connected"
    NOT_CONFIGURED = "not_configured"
    """connected, but no session was opened"""
    BROKEN_OFF = "broken_off"
    """its story broke off"""
    NO_ANSWER = "no_answer"
    """its story finished, but an answer that it asked for or waited for did not come"""
    NOT_CLEARED = "not_cleared"
    """there is no proof that its session ended"""


class Killed(Exception):
    """The locustfile itself has killed a story during the run."""


def was_cut(error: BaseException | None) -> bool:
    """Whether this error means that the end of the run killed the story.

    Gevent's Timeout does not: that is a time limit of the locustfile.
    """
    return error is not None and not isinstance(error, Exception | Timeout)


STALL_NS = 1_000_000_000
"""A wait in vain is longer than any before it by this much: our own loop may stall, and of a few
waits the newest is often a little longer than all others."""


def in_vain(waited_ns: int, slowest_ns: int) -> bool:
    """Whether a wait that the end of the run cut had lasted too long already; ``slowest_ns`` is the
    longest wait of its kind that was met, 0 if there was none."""
    return slowest_ns > 0 and waited_ns > slowest_ns + STALL_NS


def question_outcome(error: BaseException | None, *, connected: bool) -> Outcome:
    """The outcome of a story's open questions if the story ends with this error.

    ``connected``: the guest's own connection is still there, so that an answer could have come. A
    TransportError is then that of an HTTP request, such as an upload.
    """
    if was_cut(error):
        return Outcome.CUT_SHORT
    if isinstance(error, TransportError) and connected:
        return Outcome.UNANSWERED
    if isinstance(error, TransportError | SessionExpired | SessionNotFound):
        return Outcome.LOST
    return Outcome.UNANSWERED


def reason_of(error: BaseException) -> str:
    """Why a story broke off: a few fixed words, never the error's own text."""
    if isinstance(error, NotPossible):
        return error.what
    if isinstance(error, ReplyTimeout):
        return f"no {error.waited_for} in time"
    if isinstance(error, Killed):
        return "the locustfile killed it"
    if isinstance(error, Timeout):
        return "the locustfile's own time limit was over"
    if isinstance(error, ServiceError):
        if error.code == ErrorCode.READ_ONLY:  # also where nothing was sent that it could answer
            return "the other side had ended the conversation"
        return _ANSWERS[type(error)].words or f"the service answered {error.code}"
    if isinstance(error, ConnectionLost):
        return "no answer in time" if error.timed_out else "the connection was lost"
    if isinstance(error, TransportError):
        return "no connection could be made again"
    if isinstance(error, RemoteProtocolError):
        return "an answer that could not be understood"
    return f"an error of its own, {type(error).__name__}"


def count_story(recorder: Recorder, error: BaseException | None, place: str) -> None:
    """Count the end of a story that had begun."""
    if error is None:
        recorder.count(STORIES_FINISHED)
    elif was_cut(error):
        recorder.count(STORIES_CUT)
    else:
        recorder.count_place(STORIES_BROKEN, f"{place}: {reason_of(error)}")


def count_guest(
    recorder: Recorder,
    story: Story,
    *,
    error: BaseException | None,
    missed: Outcome | None,
    ending: Ending,
    asked_nothing: bool,
) -> None:
    """Count what became of a guest, once. ``missed``: the outcome of its first missed answer."""
    if story is Story.LEFT:
        return
    cut = was_cut(error)
    if cut and missed is None:
        recorder.count(GUESTS_CUT)
        return
    why: Why | None = None
    if story is Story.ARRIVED:
        why = Why.NOT_CONNECTED
    elif story is Story.CONNECTED:
        why = Why.NOT_CONFIGURED
    elif error is not None and not cut:
        why = Why.BROKEN_OFF
    elif missed is not None:
        why = Why.NO_ANSWER
    elif not ending.proof:
        why = Why.NOT_CLEARED
    if why is None and asked_nothing:
        recorder.count(GUESTS_ASKED_NOTHING)
    recorder.count(GUESTS_SERVED if why is None else GUESTS_FAILED + why)


NOT_THEIRS = tuple(
    folder + os.sep
    for folder in (
        str(Path(harness.__file__).parent),
        *(sysconfig.get_path(name) for name in ("stdlib", "purelib", "platlib")),
        # gevent's compiled code names its sources by their paths on the machine that built it.
        os.path.join("src", "gevent"),
    )
)
"""Folders whose code is not the user's."""


def own_place(frames: traceback.StackSummary) -> str:
    """The innermost file and line of the user's own code in a stack (outermost call first)."""
    own = [frame for frame in frames if not frame.filename.startswith(NOT_THEIRS)] or frames
    return f"{Path(own[-1].filename).name}, line {own[-1].lineno}" if own else ""


def place_of(trace: TracebackType | None) -> str:
    """The same in the trace of an error; empty without a trace."""
    frames = traceback.StackSummary.extract(traceback.walk_tb(trace), lookup_lines=False)
    return own_place(frames)
