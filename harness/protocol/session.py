"""The life of a guest session, as a table.

A session is *configured* by its first answer and ends in one of two ways that we can know of: the
service says it was *cleared*, or it says that it has *expired*. Losing the connection ends nothing:
the session goes on without us and can be resumed with the same token.

Two rules. All transitions stand in :data:`TRANSITIONS`, which is the code and the documentation at
once. What we do and the table does not allow is our own error and changes nothing; what the service
does and the table does not foresee is *unexpected*: it changes nothing either and is only counted,
because the service promises no order of messages.

What counts as proof follows from the table. SessionClearedEvent names no session, so it proves
something only after our own Clear has left (state CLEARING): at any other time it may be another
session's, and so it was if our Clear is refused afterwards. "Expired" is the service's word, not
yet a proof: a resume has to show it. And a token for which a session may ever have been made
(:attr:`SessionState.may_exist`) is never again one that has none: a refusal only speaks of the
request that it answers.
"""

from enum import StrEnum
from types import MappingProxyType

from harness.errors import LocalProtocolError


class State(StrEnum):
    """Where a session is, as far as this guest can know."""

    NEW = "new"
    """nothing was sent yet"""
    OPENING = "opening"
    """configureSession was sent"""
    OPEN = "open"
    """configured; the guest may speak"""
    READ_ONLY = "read_only"
    """the other side ended the conversation for good; the session lives"""
    CLEARING = "clearing"
    """Clear was sent"""
    CLEARED = "cleared"
    """SessionClearedEvent has come: the proof"""
    EXPIRED = "expired"
    """the service says that it has let the session go; only a resume can prove it"""
    REFUSED = "refused"
    """configureSession was refused by name, and nothing else says that there is a session"""
    LOST = "lost"
    """this connection has no session any more, or has ended; the session may live on"""


class Did(StrEnum):
    """What this guest does."""

    CONFIGURE = "configure"
    SPEAK = "speak"
    CHECK = "health check"
    CLEAR = "clear"
    START_NEW = "start anew"
    """configureSession with startNew: only a session that is read-only may be left behind so"""


class Got(StrEnum):
    """What the service or the network does."""

    CONFIGURED = "SessionResponse"
    CONFIGURED_READ_ONLY = "SessionResponse, read-only"
    ANOTHER_CONFIGURED = "SessionResponse to another request"
    """changes no state, but there may be a session"""
    REFUSED = "error answer to configureSession"
    UNCLEAR = "error answer to configureSession that proves nothing"
    """to a resume, or an error of the service's own: there may well be a session"""
    DISCONNECTED_FOR_GOOD = "Disconnect, read-only"
    CLEARED = "SessionClearedEvent"
    CLEAR_REFUSED = "error answer to Clear"
    EXPIRED = "SessionExpiredEvent"
    CONNECTION_LOST = "end of the connection"


TRANSITIONS: MappingProxyType[tuple[State, Did | Got], State] = MappingProxyType(
    {
        (State.NEW, Did.CONFIGURE): State.OPENING,
        (State.OPENING, Got.CONFIGURED): State.OPEN,
        (State.OPENING, Got.CONFIGURED_READ_ONLY): State.READ_ONLY,
        (State.OPENING, Got.REFUSED): State.REFUSED,
        (State.OPENING, Got.UNCLEAR): State.LOST,
        (State.OPENING, Got.EXPIRED): State.EXPIRED,
        (State.OPENING, Got.CONNECTION_LOST): State.LOST,
        # The answer may come after an error that was not its own: then the session lives.
        (State.REFUSED, Got.CONFIGURED): State.OPEN,
        (State.REFUSED, Got.CONFIGURED_READ_ONLY): State.READ_ONLY,
        (State.EXPIRED, Got.CONFIGURED): State.OPEN,
        (State.EXPIRED, Got.CONFIGURED_READ_ONLY): State.READ_ONLY,
        (State.LOST, Got.CONFIGURED): State.OPEN,
        (State.LOST, Got.CONFIGURED_READ_ONLY): State.READ_ONLY,
        (State.OPEN, Did.SPEAK): State.OPEN,
        (State.OPEN, Did.CHECK): State.OPEN,
        (State.OPEN, Did.CLEAR): State.CLEARING,
        (State.OPEN, Got.DISCONNECTED_FOR_GOOD): State.READ_ONLY,
        (State.OPEN, Got.EXPIRED): State.EXPIRED,
        (State.OPEN, Got.CONNECTION_LOST): State.LOST,
        (State.READ_ONLY, Did.CHECK): State.READ_ONLY,
        (State.READ_ONLY, Did.CLEAR): State.CLEARING,
        (State.READ_ONLY, Did.START_NEW): State.OPENING,
        (State.READ_ONLY, Got.EXPIRED): State.EXPIRED,
        (State.READ_ONLY, Got.CONNECTION_LOST): State.LOST,
        (State.CLEARING, Did.CLEAR): State.CLEARING,  # once more, after a 429
        (State.CLEARING, Got.CLEARED): State.CLEARED,
        (State.CLEARING, Got.CLEAR_REFUSED): State.OPEN,
        (State.CLEARING, Got.DISCONNECTED_FOR_GOOD): State.CLEARING,
        (State.CLEARING, Got.EXPIRED): State.EXPIRED,
        (State.CLEARING, Got.CONNECTION_LOST): State.LOST,
        # The event before it was another session's: this one was not cleared.
        (State.CLEARED, Got.CLEAR_REFUSED): State.OPEN,
        (State.LOST, Did.CONFIGURE): State.OPENING,
        (State.LOST, Did.START_NEW): State.OPENING,
    }
)

ENDED = frozenset({State.CLEARED, State.EXPIRED})
"""The service itself has said that the session is over: only the first is a proof."""

_TELL_OF_A_SESSION = frozenset(
    {Got.CONFIGURED, Got.CONFIGURED_READ_ONLY, Got.ANOTHER_CONFIGURED, Got.EXPIRED}
)


class SessionState:
    """One session's place in the table."""

    __slots__ = ("may_exist", "state")

    def __init__(self) -> None:
        self.state = State.NEW
        self.may_exist = False
        """A request that could make the session has left and was not refused, or an answer says
        that there is one. It never becomes false again."""

    @property
    def never_existed(self) -> bool:
        """Nothing that could make the session has left, or all of it was refused."""
        return not self.may_exist and self.state in (State.NEW, State.REFUSED)

    def do(self, what: Did) -> None:
        """Note what we are about to do. Raises LocalProtocolError, state unchanged, if illegal."""
        after = TRANSITIONS.get((self.state, what))
        if after is None:
            raise LocalProtocolError(f"a guest can't {what} while the session is {self.state}")
        self.state = after

    def got(self, what: Got) -> bool:
        """Note what came; False, state unchanged, if the table does not foresee it here."""
        if what is Got.REFUSED and self.may_exist:
            what = Got.UNCLEAR  # refused is this request only, not the session that there is
        elif what in _TELL_OF_A_SESSION:
            self.may_exist = True
        after = TRANSITIONS.get((self.state, what))
        if after is None:
            return False
        if self.state is State.OPENING and after is State.LOST:
            self.may_exist = True
        self.state = after
        return True
