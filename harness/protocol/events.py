"""What the service says to a guest, as values. Made by :mod:`harness.protocol.codec`.

These are not subclassed and not changed. Fields the service may leave out have a value for that.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, NamedTuple


class Direction(StrEnum):
    """Whose message it is: Inbound are the guest's own, Outbound the bot's or the agent's."""

    INBOUND = "Inbound"
    OUTBOUND = "Outbound"


class Message(NamedTuple):
    """A StructuredMessage: text, event or rich content (a tuple: one is made for every frame).

    ``presence`` is the first presence event's type (Join, Clear, Disconnect, SignIn) or None;
    ``typing`` says that it holds a typing event; ``read_only`` that its event has made the session
    read-only; ``is_response`` that the envelope's type was ``response``, which only the answer to
    an echo has for certain.
    """

    direction: str
    kind: str
    text: str
    message_id: str
    tracing_id: str | None
    presence: str | None
    typing: bool
    read_only: bool
    is_response: bool
    time: str | None
    content: Sequence[Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionResponse:
    """The answer to configureSession (and, with ``connected`` false, to closeSession).

    ``new_session``: the token had no session before, or it had been cleared or had expired.
    ``duration_s`` and ``expires_at_s`` (seconds since the epoch) may be unknown.
    """

    connected: bool
    new_session: bool
    read_only: bool
    max_custom_data_bytes: int | None = None
    duration_s: int | None = None
    expires_at_s: int | None = None
    tracing_id: str | None = None


@dataclass(frozen=True, slots=True)
class SessionCleared:
    """SessionClearedEvent: the proof that session and conversation were ended."""


@dataclass(frozen=True, slots=True)
class ConnectionClosed:
    """ConnectionClosedEvent: the service retires this connection; the client should close it."""

    reason: str = ""


@dataclass(frozen=True, slots=True)
class SessionExpired:
    """SessionExpiredEvent: the session's time to live has passed."""


@dataclass(frozen=True, slots=True)
class LoggedOut:
    """LogoutEvent: the authenticated guest was logged out."""


@dataclass(frozen=True, slots=True)
class Failure:
    """An error answer. ``retry_after_s`` is set for 429 only."""

    code: int
    text: str
    tracing_id: str | None = None
    retry_after_s: float | None = None


@dataclass(frozen=True, slots=True)
class Other:
    """A known class that guests of this harness take note of but do not act on, with its body."""

    message_class: str
    body: dict[str, Any]
    tracing_id: str | None = None


@dataclass(frozen=True, slots=True)
class Unknown:
    """A well-formed object of a class that is not known, or of none; its text, if it has any."""

    message_class: str | None
    text: str = ""


Event = (
    Message
    | SessionResponse
    | SessionCleared
    | ConnectionClosed
    | SessionExpired
    | LoggedOut
    | Failure
    | Other
    | Unknown
)
