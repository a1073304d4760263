"""What all guests of a run share.

The sign-ins of authenticated guests: a file of JWTs, each the key to a customer's account.

Keeps a guest under the service's documented limits, by waiting before it would break one.

The limits are sliding windows: at most so many events in any window of that length. A window is
kept as the times of its newest events, so it is exact; an event that has no room yet is booked for
the moment when it has.
"""

import re
import ssl
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import gevent

from harness.clock import monotonic_ns
from harness.config.target import Target
from harness.errors import ConfigError, ReplyTimeout, ServiceError, TransportError
from harness.guest.inbox import Seen
from harness.guest.questions import Listening
from harness.limits import (
    CONNECTIONS_PER_DEPLOYMENT_PER_MINUTE,
    MESSAGES_PER_SESSION_PER_SECOND,
    REQUESTS_PER_CONNECTION_PER_MINUTE,
)
from harness.protocol.requests import ErrorCode
from harness.transport.dial import Address
from harness.workload.data import read_text

SECOND_NS = 1_000_000_000
MINUTE_NS = 60 * SECOND_NS
KEPT_FOR_LEAVING = 2
"""Requests of each minute that a story may not use up: one for Clear, one to repeat it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """What one guest may use; 0 takes a limit away."""

    requests_per_minute: int = REQUESTS_PER_CONNECTION_PER_MINUTE
    """all requests of one connection"""
    messages_per_s: int = MESSAGES_PER_SESSION_PER_SECOND
    """texts, events and answers of one session"""


DOCUMENTED = Budget()
UNLIMITED = Budget(requests_per_minute=0, messages_per_s=0)


@dataclass(slots=True, eq=False)
class Pace:
    """How much of its budget a guest has used lately."""

    _budget: Budget
    _requests: deque[int] = field(default_factory=deque)
    _messages: deque[int] = field(default_factory=deque)

    def begin(self) -> None:
        """A new connection: its requests are counted anew, the session's messages are not."""
        self._requests.clear()

    def book(self, now_ns: int, *, message: bool) -> int:
        """Nanoseconds to wait before the next request may leave (it counts as sent then)."""
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
        """Wait for room for one more connection; the seconds that it took."""
        if not self.limit:
            return 0.0
        now = monotonic_ns()
        wait_s = (_book(self._times, self.limit, MINUTE_NS, now) - now) / 1e9
        if wait_s:
            gevent.sleep(wait_s)
        return wait_s


LATE_WITHIN_S = 60.0
"""Nothing is published. The gateway that the service seems to use (protocol: close codes) gives a
request up after 29 s, and a guest waits 10 s for its session: twice, and six times as long."""
REPLY_WITHIN_S = 30.0
"""How long a wait for a reply lasts that names no time of its own."""
Observer = Callable[[bool, bytes, int], None]
SignIn = str | Callable[[], str]
"""A JWT lives for 15 minutes: who may reconnect later gives a function, asked each time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GuestBehaviour:
    """What all guests of a run do alike; an option of the run names each of these."""

    history: bool = False
    """After a reconnect, fetch what was missed over REST."""
    auto_join: bool = False
    """Send Presence Join when a new session opens, as a widget does with autoStart on."""
    replies: bool = True
    """Whether what a guest says expects an answer, where the story does not say otherwise."""
    turns: bool = False
    """Whether a wait for a reply is one for the whole turn, where the story doesn't say."""
    turn_silence_s: float = 1.0
    """After so long without a message the other side has said all."""
    library: bool = False
    """Whether the websockets library itself makes the upgrade and reads and writes the frames."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GuestSettings(GuestBehaviour):
    """The target and how long to wait for what (seconds).

    ``custom_attributes`` go with the first message of each conversation; they carry the run's id,
    by which its conversations can be found at the service afterwards. What ``tag_of`` makes of a
    token goes with them as ``guest``, if it is given.
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
    """After a lost connection: the first attempt at once, then one in so many seconds."""
    reconnect_within_s: float = 300.0
    """For so long (the vendor's mobile SDK: every 5 s, up to 300 s). 0: the story ends at once."""
    max_connection_age_s: float = 0.0
    """A connection so old is replaced in the guest's next silence, before the service ends it
    (after 2 h, it is thought: protocol, close codes); 0: it is used until the service does."""
    health_check_every_s: float = 45.0
    """An idle guest asks for an echo so often, as the vendor's client does; 0: never."""
    greets: bool | None = None
    """Whether the flow says something by itself after Join, or else before its first answer;
    None: it is not known."""
    listening: Listening | None = None
    """Who stays silent before Clear; None: nobody."""
    budget: Budget = DOCUMENTED
    connections: ConnectionBudget | None = None
    """New connections per minute, shared by all guests of the process."""
    custom_attributes: Mapping[str, str] = field(default_factory=dict)
    tag_of: Callable[[str], str] | None = None
    sign_in: SignIn = field(default="", repr=False)
    """The JWT of an authenticated guest, or what gives the one of now; empty: anonymous."""
    observer: Observer | None = None
    """Sees every frame: whether it goes out, its bytes, its time (monotonic nanoseconds). It has
    no say: what it raises is lost."""
    seen: Seen = field(default_factory=Seen)
    """Message ids, shared by all guests of the process."""

    def jwt(self) -> str:
        """What to sign in with now; empty for a stranger. Raises a ServiceError if that fails."""
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
        """What goes with the first message of a conversation."""
        if self.tag_of is None:
            return self.custom_attributes
        return {**self.custom_attributes, "guest": self.tag_of(token)}

    @property
    def address(self) -> Address:
        """Where to dial."""
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
