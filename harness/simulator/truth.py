"""The service's state, and a record of what really happened: the truth to check a client against.

The truth of each question: what a guest sent that can be answered, and every message that did.

A text, a choice and a Join are questions here, whether or not the guest expects an answer. Each row
records when the question came, what error refused it, when each message of its answer was due and
when it was written, and the greeting that the flow sent because of it. So every figure of a run can
be checked against what really happened, question by question.

Slots throughout: fifteen thousand idle sessions should cost little.
"""

from collections import OrderedDict, defaultdict, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from harness.simulator.frames import dashed

if TYPE_CHECKING:
    from harness.simulator.guest_api.connection import Connection
    from harness.simulator.service import Service
    from harness.simulator.settings import DeploymentSettings


KINDS = ("text", "choice", "join")
Write = Callable[[dict[str, Any]], object]


@dataclass(slots=True)
class Question:
    """One question. ``came_s`` is monotonic; the lists hold seconds after it."""

    number: int
    kind: str
    tracing_id: str | None
    came: float
    """Epoch seconds."""
    came_s: float
    guest: int | None = None
    """The serial number of its session; tokens are keys and are not shown here."""
    run_id: str | None = None
    refused: int | None = None
    """The code of the error that answered it."""
    due: list[float] = field(default_factory=list)
    answers: list[float] = field(default_factory=list)
    greetings: list[float] = field(default_factory=list)
    unheard: int = 0
    """Messages of its answer for which nobody was there any more, or that a fault lost."""

    def row(self) -> dict[str, Any]:
        """The row as it is served, times in milliseconds after the question came."""
        return {
            "question": self.number,
            "guest": self.guest,
            "run_id": self.run_id,
            "kind": self.kind,
            "tracing_id": self.tracing_id,
            "came": self.came,
            "refused": self.refused,
            "due_ms": [_ms(at) for at in self.due],
            "answers_ms": [_ms(at) for at in self.answers],
            "greetings_ms": [_ms(at) for at in self.greetings],
            "unheard": self.unheard,
        }


@dataclass(slots=True)
class Unasked:
    """A message that answers no question: an agent who comes in, or interrupts."""

    guest: int
    run_id: str | None
    what: str
    at: float
    """Epoch seconds."""

    def row(self) -> dict[str, Any]:
        return {"unasked": self.what, "guest": self.guest, "run_id": self.run_id, "at": self.at}


class Questions:
    """The newest ``keep`` rows; older ones go to ``write``, and so do all when it ends."""

    def __init__(
        self, keep: int, write: Callable[[dict[str, Any]], object] = lambda _: None
    ) -> None:
        self.by_kind = dict.fromkeys(KINDS, 0)
        self.unasked = 0
        self.forgotten = 0
        self._keep = keep
        self._write = write
        self._rows: deque[Question | Unasked] = deque()

    def add(
        self, kind: str, tracing_id: str | None, *, came: float, came_s: float, guest: int | None
    ) -> Question:
        self.by_kind[kind] += 1
        number = sum(self.by_kind.values())
        question = Question(number, kind, tracing_id, came, came_s, guest)
        self._add(question)
        return question

    def add_unasked(self, what: str, guest: int, run_id: str | None, at: float) -> None:
        self.unasked += 1
        self._add(Unasked(guest, run_id, what, at))

    def _add(self, row: Question | Unasked) -> None:
        rows = self._rows
        rows.append(row)
        if len(rows) > self._keep:
            self._forget(rows.popleft())

    def _forget(self, row: Question | Unasked) -> None:
        self.forgotten += 1
        self._write(row.row())

    def end(self) -> None:
        """Write the rows that are still in memory."""
        while self._rows:
            self._forget(self._rows.popleft())

    def rows(self, run_id: str | None = None) -> list[dict[str, Any]]:
        """The rows in memory, oldest first; of one run or of all."""
        return [row.row() for row in self._rows if run_id is None or row.run_id == run_id]

    def figures(self) -> dict[str, Any]:
        """The number of all questions, and what became of those still in memory."""
        questions = [row for row in self._rows if isinstance(row, Question)]
        return {
            "asked": sum(self.by_kind.values()),
            "by_kind": dict(self.by_kind),
            "unasked": self.unasked,
            "forgotten": self.forgotten,
            "held": len(questions),
            "refused": sum(row.refused is not None for row in questions),
            "answered": sum(bool(row.answers) for row in questions),
            "greeted": sum(bool(row.greetings) for row in questions),
            "unheard": sum(bool(row.unheard) for row in questions),
            "messages": sum(len(row.answers) for row in questions),
        }


def _ms(seconds: float) -> float:
    return round(seconds * 1000, 3)


@dataclass(slots=True)
class Tally:
    """Counters of the whole service or of one run."""

    sessions_opened: int = 0
    sessions_cleared: int = 0
    sessions_expired: int = 0
    sessions_replaced: int = 0
    conversations_opened: int = 0
    conversations_ended: int = 0
    texts: int = 0
    replies: int = 0

    def figures(self) -> dict[str, object]:
        """As ``/sim/truth`` gives it: open = opened - every way of ending."""
        closed = self.sessions_cleared + self.sessions_expired + self.sessions_replaced
        return {
            "sessions": {
                "opened": self.sessions_opened,
                "cleared": self.sessions_cleared,
                "expired": self.sessions_expired,
                "replaced": self.sessions_replaced,
                "open": self.sessions_opened - closed,
            },
            "conversations": {
                "opened": self.conversations_opened,
                "ended": self.conversations_ended,
                "open": self.conversations_opened - self.conversations_ended,
            },
            "messages": {"texts": self.texts, "replies": self.replies},
        }


class Delays:
    """Delays in seconds, in buckets of four significant digits: bounded, and exact to 0.05 %."""

    __slots__ = ("_buckets", "_fresh", "count", "highest", "total")

    def __init__(self) -> None:
        self._buckets: dict[int, int] = {}
        self._fresh: list[float] = []
        self.count = 0
        self.total = 0.0
        self.highest = 0.0

    def add(self, delay_s: float) -> None:
        fresh = self._fresh
        fresh.append(delay_s)
        if len(fresh) >= 1000:
            self._sort_in()

    def _sort_in(self) -> None:
        fresh, self._fresh = self._fresh, []
        buckets = self._buckets
        for delay_s in fresh:
            microseconds = max(round(delay_s * 1e6), 0)
            if microseconds > 10_000:
                step = 10 ** (len(str(microseconds)) - 4)
                microseconds = (microseconds + step // 2) // step * step
            buckets[microseconds] = buckets.get(microseconds, 0) + 1
        if fresh:
            self.count += len(fresh)
            self.total += sum(fresh)
            self.highest = max(self.highest, *fresh)

    @property
    def buckets(self) -> dict[int, int]:
        """Microseconds → how many."""
        self._sort_in()
        return self._buckets

    def percentile(self, share: float) -> float:
        """The smallest recorded delay (ms) that at least ``share`` (0..1) of all do not exceed."""
        buckets = self.buckets
        wanted, seen = share * self.count, 0
        for microseconds in sorted(buckets):
            seen += buckets[microseconds]
            if seen >= wanted:
                return microseconds / 1000
        return 0.0

    def figures(self) -> dict[str, object]:
        """Count, mean, percentiles and the buckets themselves, in milliseconds."""
        buckets = self.buckets
        return {
            "count": self.count,
            "mean_ms": self.total / self.count * 1000 if self.count else 0.0,
            "p50_ms": self.percentile(0.5),
            "p95_ms": self.percentile(0.95),
            "p99_ms": self.percentile(0.99),
            "max_ms": self.highest * 1000,
            "buckets_ms": {str(us / 1000): n for us, n in sorted(buckets.items())},
        }


MOST_NAMES = 1000
OTHERS = "others"


@dataclass(slots=True)
class Truth:
    whole: Tally = field(default_factory=Tally)
    runs: dict[str, Tally] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)
    """Anything worth counting by name: misplaced attributes, refused upgrades, errors sent."""
    delays: defaultdict[str, Delays] = field(default_factory=lambda: defaultdict(Delays))
    questions: Questions = field(default_factory=lambda: Questions(0))
    addresses: dict[str, int] = field(default_factory=dict)
    """Connections by the address that they came from."""
    origins: dict[str, int] = field(default_factory=dict)
    """Connections by the Origin header of their upgrade; empty for none."""

    def connected(self, address: str, origin: str) -> None:
        """One more connection. Past a thousand names of a kind the rest are ``others``."""
        self.count("connections_opened")
        for known, name in ((self.addresses, address), (self.origins, origin)):
            kept = name if name in known or len(known) < MOST_NAMES else OTHERS
            known[kept] = known.get(kept, 0) + 1

    def count(self, name: str) -> None:
        self.counts[name] = self.counts.get(name, 0) + 1

    def delay(self, operation: str, delay_s: float) -> None:
        """A delay that the service really added to an operation."""
        self.delays[operation].add(delay_s)


@dataclass(slots=True)
class ApiCalls:
    """When an OAuth client has called, and when it has signed in, of late (epoch seconds)."""

    calls: deque[float] | None = None
    sign_ins: deque[float] | None = None


class SessionEnd(StrEnum):
    CLEARED = "cleared"
    EXPIRED = "expired"
    REPLACED = "replaced"
    """startNew made it unreachable; its conversation lives on."""


class Leg(StrEnum):
    """State of a conversation's participant, in the Platform API's words."""

    CONNECTED = "connected"
    DISCONNECTED = "disconnected"


@dataclass(slots=True)
class Participant:
    """One party of a conversation: ``customer``, ``workflow`` (flow or bot), ``acd``, ``agent``."""

    id: str
    purpose: str
    start: float
    state: Leg = Leg.CONNECTED
    end: float | None = None
    disconnect_type: str | None = None
    name: str | None = None


@dataclass(slots=True)
class Conversation:
    """What the platform holds once a guest has joined or spoken. Times in epoch seconds."""

    serial: int
    id: str
    token: str = field(repr=False)
    deployment_id: str
    start: float
    run_id: str | None = None
    tallies: tuple[Tally, ...] = ()
    customer: Participant | None = None
    participants: list[Participant] = field(default_factory=list)
    attributes: dict[str, str] = field(default_factory=dict)
    journey_customer_id: str | None = None
    messages: int = 0
    guest_texts: int = 0
    greeted: bool = False
    early: object = None
    """The answer whose timer came early: those after it wait for it."""
    cleared: bool = False
    end: float | None = None
    """When the customer's leg ended; None while the conversation is open."""
    agent: str | None = None
    """Nickname of the agent who has it."""
    agent_number: int | None = None
    agent_texts: int = 0
    waiting: bool = False
    """In the agents' queue."""
    called_by: "Question | None" = None
    """What the guest asked that put it there, where nothing has answered it yet."""
    typing_times: deque[float] | None = None

    @property
    def open(self) -> bool:
        """Whether the customer is still in it: what a leftover is."""
        return self.end is None

    @property
    def over(self) -> float | None:
        """When the last participant left (what the platform calls its end); None until then."""
        if self.end is None:
            return None
        ends = [one.end for one in self.participants]
        return None if None in ends else max(end for end in ends if end is not None)

    def leave(self, now: float, disconnect_type: str, *purposes: str) -> None:
        """The legs of these purposes end, where they have not yet."""
        for one in self.participants:
            if one.purpose in purposes and one.state is not Leg.DISCONNECTED:
                one.state, one.end, one.disconnect_type = Leg.DISCONNECTED, now, disconnect_type


@dataclass(slots=True)
class Attachment:
    """A file of a guest: announced, then uploaded, then perhaps sent."""

    id: str
    name: str
    type: str
    size: int
    md5: str | None = None
    signature: str = ""
    complete: bool = False
    """Uploaded and found to be what was announced."""
    uploaded: bytes | None = None
    sent: bool = False
    expires: float = 0.0


@dataclass(slots=True)
class Session:
    """A configured guest session; the token is the key to it. Times in epoch seconds."""

    serial: int
    token: str = field(repr=False)
    deployment: "Deployment"
    opened: float
    expires: float
    duration: float
    """Seconds that each message of either side gives it to live."""
    connections: list["Connection"] = field(default_factory=list)
    read_only: bool = False
    authenticated: str | None = None
    """The subject, for a session configured with a guest's sign-in."""
    attributes: dict[str, str] | None = None
    journey_customer_id: str | None = None
    conversation: Conversation | None = None
    ended: SessionEnd | None = None
    run_id: str | None = None
    tallies: tuple[Tally, ...] = ()
    """The accounts that what happens here is counted in."""
    log: deque[bytes] | None = None
    """Frames of the history, as sent."""
    attachments: dict[str, Attachment] | None = None
    timeline: list[tuple[float, str, str]] = field(default_factory=list)
    message_times: deque[float] | None = None
    configure_times: deque[float] | None = None
    history_times: deque[float] | None = None


@dataclass(slots=True)
class Deployment:
    """A Messenger deployment: its settings, and the sessions of its tokens."""

    settings: "DeploymentSettings"
    sessions: dict[str, Session] = field(default_factory=dict)
    connect_times: deque[float] | None = None
    signed_in: OrderedDict[str, str] = field(default_factory=OrderedDict)
    """Token → subject of those that were authenticated once: they can't go back to anonymous."""

    @property
    def id(self) -> str:
        """The deployment id of the upgrade's query."""
        return self.settings.id


class Conversations(dict[int, Conversation]):
    """By serial number: every open one; ended ones up to the knob ``keep_conversations``."""

    def __init__(self, service: "Service") -> None:
        self._service = service
        self._serial = 0
        self._forget_at = int(service.knobs.keep_conversations * 1.1) + 10

    def start(self, session: Session) -> Conversation:
        """A new one of the session's guest, in the bot's hands."""
        service = self._service
        now = service.now()
        self._serial += 1
        conversation = Conversation(
            self._serial,
            dashed(service.ids.message(self._serial, 0)),
            session.token,
            session.deployment.id,
            now,
            run_id=session.run_id,
            tallies=session.tallies,
            attributes=dict(session.attributes or {}),
            journey_customer_id=session.journey_customer_id,
        )
        conversation.customer = Participant(service.ids.uuid(), "customer", now)
        conversation.participants = [
            conversation.customer,
            Participant(service.ids.uuid(), "workflow", now),
        ]
        session.conversation = conversation
        self[conversation.serial] = conversation
        for tally in session.tallies:
            tally.conversations_opened += 1
        service.note(session, "conversation opened", conversation.id)
        if len(self) > self._forget_at:
            self._forget()
        return conversation

    def _forget(self) -> None:
        """Ended ones beyond the limit go, oldest first; open ones are never forgotten."""
        keep = self._service.knobs.keep_conversations
        surplus = len(self) - keep
        gone = [serial for serial, item in self.items() if not item.open][:surplus]
        for serial in gone:
            del self[serial]
        # look again only when a tenth more have come: open ones alone may be more than the limit
        self._forget_at = max(keep, len(self)) + keep // 10 + 10
        self._service.log(
            f"more than {keep} conversations: the oldest ended ones are forgotten from now on "
            "(knob keep_conversations)",
            once=True,
        )

    def find(self, some_id: str) -> tuple[Conversation, int] | None:
        """(conversation, message number) of a message id or, with number 0, a conversation id."""
        known = self._service.ids.conversation_of(some_id)
        conversation = self.get(known[0]) if known else None
        if known is None or conversation is None or known[1] > conversation.messages:
            return None
        return conversation, known[1]

    def end(self, conversation: Conversation, disconnect_type: str) -> None:
        """The customer's leg ends, and with it the bot's; an agent still has to wrap up."""
        if not conversation.open:
            return
        now = self._service.now()
        conversation.end = now
        conversation.leave(now, disconnect_type, "customer", "workflow", "acd")
        for tally in conversation.tallies:
            tally.conversations_ended += 1
        self._service.agents.guest_left(conversation)

    def reopen(self, session: Session, conversation: Conversation) -> None:
        """A message within the threading time continues one that was disconnected."""
        conversation.end = None
        customer = conversation.customer
        if customer is not None:
            customer.state, customer.end, customer.disconnect_type = Leg.CONNECTED, None, None
        for tally in conversation.tallies:
            tally.conversations_ended -= 1
        self._service.truth.count("conversations_reopened")
        self._service.note(session, "conversation reopened", conversation.id)
