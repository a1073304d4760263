"""Settings, limits and sign-ins that all guests of a run share.

Sign-ins of authenticated guests are a file of JWTs; each is the key to a customer's account.

A guest stays under the service's documented limits by waiting before it would break one. The limits
are sliding windows: at most so many events in any window of that length. A window is kept as the
times of its newest events, so it is exact; an event without room is booked for the moment when
there is room.
"""

import re
import ssl
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import gevent

from harness.clock import monotonic_ns
from harness.config.run_config import TURN_SILENCE
from harness.config.target import Target
from harness.errors import ConfigError, ReplyTimeout, ServiceError, TransportError
from harness.foreign import read_text
from harness.guest.inbox import Seen
from harness.guest.questions import Listening
from harness.limits import (
    CONNECTIONS_PER_DEPLOYMENT_PER_MINUTE,
    HEALTH_CHECK_EVERY_S,
    MESSAGES_PER_SESSION_PER_SECOND,
    REQUESTS_PER_CONNECTION_PER_MINUTE,
)
from harness.protocol.requests import ErrorCode
from harness.transport.dial import Address
from harness.units import seconds

SECOND_NS = 1_000_000_000
MINUTE_NS = 60 * SECOND_NS
KEPT_FOR_LEAVING = 2
"""Requests of each minute that a story may not use: one for Clear, one to repeat it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """The limits of one guest; 0 removes a limit."""

    requests_per_minute: int = REQUESTS_PER_CONNECTION_PER_MINUTE
    """of one connection, of all kinds"""
    messages_per_s: int = MESSAGES_PER_SESSION_PER_SECOND
    """texts, events and answers of one session"""


DOCUMENTED = Budget()
UNLIMITED = Budget(requests_per_minute=0, messages_per_s=0)


@dataclass(slots=True, eq=False)
class Pace:
    """Counts how much of its budget a guest has used."""

    _budget: Budget
    _requests: deque[int] = field(default_factory=deque)
    _messages: deque[int] = field(default_factory=deque)

    def begin(self) -> None:
        """A new connection begins: requests are counted from 0, the session's messages go on."""
        self._requests.clear()

    def book(self, now_ns: int, *, message: bool) -> int:
        """Nanoseconds to wait before the next request may be sent (it is booked for then)."""
        at = now_ns
        limit = self._budget.requests_per_minute
        if limit:
            at = _book(self._requests, max(1, limit - KEPT_FOR_LEAVING), MINUTE_NS, at)
        if message and self._budget.messages_per_s:
            at = _book(self._messages, self._budget.messages_per_s, SECOND_NS, at)
        return at - now_ns


def _book(times: deque[int], limit: int, window_ns: int, now_ns: int) -> int:
    at = now_ns
    if len(times) >= limit:
        at = max(now_ns, times.popleft() + window_ns)
    times.append(at)
    return at


class ConnectionBudget:
    """New connections per minute: a limit of the whole deployment.

    One for all guests of a process; ``share`` is this process's part when several load the same
    deployment (1/4 for each of four workers). 0 per minute: no limit.
    """

    def __init__(
        self, per_minute: int = CONNECTIONS_PER_DEPLOYMENT_PER_MINUTE, *, share: float = 1.0
    ) -> None:
        self.limit = max(1, int(per_minute * share)) if per_minute else 0
        self._times: deque[int] = deque()

    def acquire(self) -> float:
        """Wait for room for one more connection; returns the seconds waited."""
        if not self.limit:
            return 0.0
        now = monotonic_ns()
        wait_s = (_book(self._times, self.limit, MINUTE_NS, now) - now) / 1e9
        if wait_s:
            gevent.sleep(wait_s)
        return wait_s


TURN_SILENCE_S = seconds(TURN_SILENCE.default)
"""What a run takes for the end of a turn, unless it is told otherwise (``--turn-silence``)."""
LATE_WITHIN_S = 60.0
"""The vendor publishes no figure. This is twice the 29 s after which the gateway that the service
seems to use gives a request up (protocol: close codes), and six times the 10 s that a guest waits
for its session."""
REPLY_WITHIN_S = 30.0
"""How long a wait for a reply lasts by default."""
Observer = Callable[[bool, bytes, int], None]
SignIn = str | Callable[[], str]
"""A JWT, or a function that is called for one at each connection: a JWT is valid for 15 minutes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GuestBehaviour:
    """The behaviour that all guests of a run share; the run has an option for each field."""

    history: bool = False
    """After a reconnect, fetch the missed messages over REST."""
    auto_join: bool = False
    """Send Presence Join when a new session opens, as a widget does with autoStart on."""
    replies: bool = True
    """Whether a text expects an answer, unless the story says otherwise."""
    turns: bool = False
    """Whether a wait for a reply lasts for the whole turn, unless the story says otherwise."""
    turn_silence_s: float = TURN_SILENCE_S
    """A turn of the other side is over after this silence."""
    library: bool = False
    """Let the websockets library do the upgrade, and read and write the frames."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GuestSettings(GuestBehaviour):
    """The target and the time limits of guests (seconds).

    ``custom_attributes`` are sent with the first message of each conversation. They hold the run's
    id, by which its conversations can be found at the service afterwards. If ``tag_of`` is given,
    its value for the guest's token is sent with them as ``guest``.
    """

    target: Target
    tls: ssl.SSLContext | None = None
    connect_within_s: float = 10.0
    open_within_s: float = 10.0
    late_within_s: float = LATE_WITHIN_S
    """How long after it was sent an unanswered configureSession may still open a session."""
    deliver_within_s: float = 30.0
    reply_within_s: float = REPLY_WITHIN_S
    clear_within_s: float = 5.0
    close_within_s: float = 1.0
    end_attempts: int = 3
    """How often a new connection is made to end a session whose connection was lost."""
    end_backoff_s: float = 0.5
    """Pause before the second of these attempts; it doubles each time."""
    reconnect_every_s: float = 5.0
    """Interval of the attempts after a lost connection; the first one is made at once."""
    reconnect_within_s: float = 300.0
    """How long to try (the vendor's mobile SDK: every 5 s, up to 300 s). 0: the story ends at
    once."""
    max_connection_age_s: float = 0.0
    """Age at which a connection is replaced in the guest's next silence, before the service ends it
    (probably after 2 h: protocol, close codes); 0: it is used until the service ends it."""
    health_check_every_s: float = HEALTH_CHECK_EVERY_S
    """Interval of an idle guest's echo requests, as the vendor's client sends them; 0: none."""
    greets: bool | None = None
    """Whether the flow says something by itself after Join, or otherwise before its first answer;
    None: unknown."""
    listening: Listening | None = None
    """Chooses the guests who stay silent before Clear; None: no guest does."""
    budget: Budget = DOCUMENTED
    connections: ConnectionBudget | None = None
    """New connections per minute, shared by all guests of the process."""
    custom_attributes: Mapping[str, str] = field(default_factory=dict)
    tag_of: Callable[[str], str] | None = None
    sign_in: SignIn = field(default="", repr=False)
    """The JWT of an authenticated guest, or a function that returns it; empty: anonymous."""
    observer: Observer | None = None
    """Called for every frame: whether it is outgoing, its bytes, its time (monotonic nanoseconds).
    Exceptions that it raises are ignored."""
    seen: Seen = field(default_factory=Seen)
    """Message ids, shared by all guests of the process."""

    def jwt(self) -> str:
        """The JWT to sign in with now; empty for an anonymous guest. Raises ServiceError,
        TransportError or ReplyTimeout if the sign-in fails."""
        if not callable(self.sign_in):
            return self.sign_in
        try:
            return self.sign_in()
        except (ServiceError, TransportError, ReplyTimeout):
            raise
        except Exception as error:  # whatever a locustfile's own code may raise
            why = f"the sign-in failed: {type(error).__name__}"
            raise ServiceError(ErrorCode.UNAUTHORIZED, why) from error

    def first_attributes(self, token: str) -> Mapping[str, str]:
        """The custom attributes of the first message of a conversation."""
        if self.tag_of is None:
            return self.custom_attributes
        return {**self.custom_attributes, "guest": self.tag_of(token)}

    @property
    def address(self) -> Address:
        """The address to connect to."""
        return Address.of(self.target, self.tls)


_JWT = re.compile(r"[\w-]+\.[\w-]+\.[\w-]*")


def read_sign_ins(file: Path) -> tuple[str, ...]:
    """The JWTs of a file. ConfigError names file and line and shows no secret."""
    lines = read_text(file).splitlines()
    for number, line in enumerate(lines, 1):
        if line.strip() and not _JWT.fullmatch(line.strip()):
            raise ConfigError(f"{file}, line {number}: expected a JWT (three parts with dots)")
    sign_ins = tuple(line.strip() for line in lines if line.strip())
    if not sign_ins:
        raise ConfigError(f"{file}: empty; expected JWTs, one a line")
    return sign_ins
