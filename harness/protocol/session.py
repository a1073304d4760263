"""The life of a guest session, as a table.

A session is *configured* by its first answer and ends in one of two ways that we can know of: the
service says it was *cleared*, or it says that it has *expired*. Losing the connection ends nothing:
the session goes on without us and can be resumed with the same token.

Two rules. All transitions stand in :data:`TRANSITIONS`, which is the code and the documentation at
once. What we do and the table does not allow is our own error and changes nothing; what the service
does and the table does not foresee is *unexpected*: it changes nothing either and is only counted,
because the service promises no order of messages.

What counts as proof follows from the table. SessionClearedEvent names no session, so it proves
something only after our own Clear has left: at any other time it may be another session's, and so
it was if our Clear is refused afterwards; the echo of our Clear beside it makes it sure. "Expired"
is the service's word, not yet a proof: a resume has to show it. And a session that may exist
(:attr:`SessionState.never_existed`) is never again one that does not: a refusal only speaks of the
request that it answers, so the states of a first configureSession and of a further one differ.
"""

from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType

from harness.errors import LocalProtocolError


class State(StrEnum):
    """Where a session is, as far as this guest can know."""

    NEW = "new"
    """nothing was sent yet"""
    OPENING = "opening"
    """configureSession was sent for a token that has had no session"""
    REOPENING = "reopening"
    """configureSession was sent for one that may have a session"""
    OPEN = "open"
    """configured; the guest may speak"""
    READ_ONLY = "read_only"
    """the other side ended the conversation for good; the session lives"""
    CLEARING = "clearing"
    """Clear was sent"""
    CLEAR_ECHOED = "clear_echoed"
    """and the service has taken it in"""
    CLEARED = "cleared"
    """SessionClearedEvent has come after our Clear"""
    PROVED = "proved"
    """and so has the echo of our Clear"""
    EXPIRED = "expired"
    """the service says that it has let the session go; only a resume can prove it"""
    REFUSED = "refused"
    """configureSession was refused by name, and nothing else says that there is a session"""
    LOST = "lost"
    """this connection has no session any more, or has ended; there may be one, also before the
    first configureSession where the service has spoken of one"""


class ConnectionState(StrEnum):
    """What a session has to speak by."""

    NONE = "none"
    """no connection was made yet"""
    OPEN = "open"
    RETIRED = "retired"
    """the service has asked us to close it: no other follows"""
    LOST = "lost"
    DROPPED = "dropped"
    """cut by the guest on purpose, who may come back"""


class Send(StrEnum):
    """What this guest does."""

    CONFIGURE = "configure"
    SPEAK = "speak"
    CHECK = "health check"
    CLEAR = "clear"
    START_NEW = "start anew"
    """configureSession with startNew: only a session that is read-only may be left behind so"""


class Receive(StrEnum):
    """What the service or the network does."""

    CONFIGURED = "SessionResponse"
    CONFIGURED_READ_ONLY = "SessionResponse, read-only"
    ANOTHER_CONFIGURED = "SessionResponse to another request"
    """or one that is damaged or contradicts itself: there may be a session"""
    REFUSED = "error answer to configureSession"
    UNCLEAR = "error answer to configureSession that proves nothing"
    """to a resume, or an error of the service's own: there may well be a session"""
    DISCONNECTED_FOR_GOOD = "Disconnect, read-only"
    CLEAR_ECHOED = "echo of our Clear"
    CLEARED = "SessionClearedEvent"
    CLEAR_REFUSED = "error answer to Clear"
    EXPIRED = "SessionExpiredEvent"
    CONNECTION_LOST = "end of the connection"


def _answers(state: State, refused: State) -> dict[tuple[State, Send | Receive], State]:
    """What may follow a configureSession."""
    return {
        (state, Receive.CONFIGURED): State.OPEN,
        (state, Receive.CONFIGURED_READ_ONLY): State.READ_ONLY,
        (state, Receive.REFUSED): refused,
        (state, Receive.UNCLEAR): State.LOST,
        (state, Receive.EXPIRED): State.EXPIRED,
        (state, Receive.CONNECTION_LOST): State.LOST,
    }


def _on_the_way_out(state: State) -> dict[tuple[State, Send | Receive], State]:
    """What may follow a Clear but its proof."""
    return {
        (state, Send.CLEAR): State.CLEARING,  # once more, after a 429
        (state, Receive.CLEAR_REFUSED): State.OPEN,
        (state, Receive.DISCONNECTED_FOR_GOOD): state,
        (state, Receive.EXPIRED): State.EXPIRED,
        (state, Receive.CONNECTION_LOST): State.LOST,
    }


TRANSITIONS: MappingProxyType[tuple[State, Send | Receive], State] = MappingProxyType(
    {
        (State.NEW, Send.CONFIGURE): State.OPENING,
        # An answer before we have asked: the token is not ours alone.
        (State.NEW, Receive.CONFIGURED): State.LOST,
        (State.NEW, Receive.CONFIGURED_READ_ONLY): State.LOST,
        (State.NEW, Receive.ANOTHER_CONFIGURED): State.LOST,
        (State.NEW, Receive.EXPIRED): State.LOST,
        **_answers(State.OPENING, State.REFUSED),
        (State.OPENING, Receive.ANOTHER_CONFIGURED): State.REOPENING,
        **_answers(State.REOPENING, State.LOST),
        # The answer may come after an error that was not its own: then the session lives.
        (State.REFUSED, Receive.CONFIGURED): State.OPEN,
        (State.REFUSED, Receive.CONFIGURED_READ_ONLY): State.READ_ONLY,
        (State.REFUSED, Receive.ANOTHER_CONFIGURED): State.LOST,
        (State.REFUSED, Receive.EXPIRED): State.LOST,
        (State.EXPIRED, Receive.CONFIGURED): State.OPEN,
        (State.EXPIRED, Receive.CONFIGURED_READ_ONLY): State.READ_ONLY,
        (State.LOST, Receive.CONFIGURED): State.OPEN,
        (State.LOST, Receive.CONFIGURED_READ_ONLY): State.READ_ONLY,
        (State.OPEN, Send.SPEAK): State.OPEN,
        (State.OPEN, Send.CHECK): State.OPEN,
        (State.OPEN, Send.CLEAR): State.CLEARING,
        (State.OPEN, Receive.DISCONNECTED_FOR_GOOD): State.READ_ONLY,
        (State.OPEN, Receive.EXPIRED): State.EXPIRED,
        (State.OPEN, Receive.CONNECTION_LOST): State.LOST,
        (State.READ_ONLY, Send.CHECK): State.READ_ONLY,
        (State.READ_ONLY, Send.CLEAR): State.CLEARING,
        (State.READ_ONLY, Send.START_NEW): State.REOPENING,
        (State.READ_ONLY, Receive.EXPIRED): State.EXPIRED,
        (State.READ_ONLY, Receive.CONNECTION_LOST): State.LOST,
        **_on_the_way_out(State.CLEARING),
        (State.CLEARING, Receive.CLEAR_ECHOED): State.CLEAR_ECHOED,
        (State.CLEARING, Receive.CLEARED): State.CLEARED,
        **_on_the_way_out(State.CLEAR_ECHOED),
        (State.CLEAR_ECHOED, Receive.CLEARED): State.PROVED,
        (State.CLEARED, Receive.CLEAR_ECHOED): State.PROVED,
        # The event before it was another session's: this one was not cleared.
        (State.CLEARED, Receive.CLEAR_REFUSED): State.OPEN,
        (State.PROVED, Receive.CLEAR_REFUSED): State.OPEN,
        (State.LOST, Send.CONFIGURE): State.REOPENING,
        (State.LOST, Send.START_NEW): State.REOPENING,
    }
)

AWAITS_CONFIGURED = frozenset({State.OPENING, State.REOPENING})
AWAITS_CLEARED = frozenset({State.CLEARING, State.CLEAR_ECHOED})
CLEARABLE = frozenset({State.OPEN, State.READ_ONLY, *AWAITS_CLEARED})
"""In these a Clear can be sent on the connection that there is."""
CLEARED = frozenset({State.CLEARED, State.PROVED})
ENDED = frozenset({*CLEARED, State.EXPIRED})
"""The service itself has said that the session is over: only CLEARED is a proof."""


@dataclass(slots=True, eq=False)
class SessionState:
    """One session's place in the table, and what it has to speak by."""

    state: State = State.NEW
    connection: ConnectionState = ConnectionState.NONE

    @property
    def never_existed(self) -> bool:
        """Nothing that could make the session has left, or all of it was refused, and no answer
        says that there is one."""
        return self.state in (State.NEW, State.REFUSED)

    def send(self, what: Send) -> None:
        """Note what we are about to do. Raises LocalProtocolError, state unchanged, if illegal."""
        after = TRANSITIONS.get((self.state, what))
        if after is None:
            raise LocalProtocolError(f"a guest can't {what} while the session is {self.state}")
        self.state = after

    def receive(self, what: Receive) -> bool:
        """Note what came; False, state unchanged, if the table does not foresee it here."""
        after = TRANSITIONS.get((self.state, what))
        if after is None:
            return False
        self.state = after
        return True
