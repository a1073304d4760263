"""What the service remembers: deployments, sessions, conversations. Data, hardly any behaviour.

Slots throughout: fifteen thousand idle sessions should cost little.
"""

from collections import OrderedDict, deque
from collections.abc import ValuesView
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

from harness.simulator.frames import dashed
from harness.simulator.truth.truth import Tally

if TYPE_CHECKING:
    from harness.simulator.guest_api.connection import Connection
    from harness.simulator.service import Service
    from harness.simulator.settings import DeploymentSettings
    from harness.simulator.truth.truth import Question


class SessionEnd(StrEnum):
    """How a session ended."""

    CLEARED = "cleared"
    EXPIRED = "expired"
    REPLACED = "replaced"
    """startNew made it unreachable; its conversation lives on."""


class Leg(StrEnum):
    """State of a conversation's participant, in the Platform API's words."""

    ALERTING = "alerting"
    CONNECTED = "connected"
    DISCONNECTED = "disconnected"
    TERMINATED = "terminated"


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
    token: str
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
    token: str
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
    connections: int = 0
    connect_times: deque[float] = field(default_factory=deque)
    signed_in: OrderedDict[str, str] = field(default_factory=OrderedDict)
    """Token → subject of those that were authenticated once: they can't go back to anonymous."""

    @property
    def id(self) -> str:
        """The deployment id of the upgrade's query."""
        return self.settings.id


class Conversations:
    """Every open conversation, and the ended ones up to the knob ``keep_conversations``."""

    def __init__(self, service: "Service") -> None:
        self._service = service
        self._held: OrderedDict[int, Conversation] = OrderedDict()
        self._serial = 0
        self._forget_at = int(service.knobs.keep_conversations * 1.1) + 10

    def values(self) -> ValuesView[Conversation]:
        """In the order of their start."""
        return self._held.values()

    def clear(self) -> None:
        """Forget all of them."""
        self._held.clear()

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
        self._held[conversation.serial] = conversation
        for tally in session.tallies:
            tally.conversations_opened += 1
        service.note(session, "conversation opened", conversation.id)
        if len(self._held) > self._forget_at:
            self._forget()
        return conversation

    def _forget(self) -> None:
        """Ended ones beyond the limit go, oldest first; open ones are never forgotten."""
        keep = self._service.knobs.keep_conversations
        surplus = len(self._held) - keep
        gone = [serial for serial, item in self._held.items() if not item.open][:surplus]
        for serial in gone:
            del self._held[serial]
        # look again only when a tenth more have come: open ones alone may be more than the limit
        self._forget_at = max(keep, len(self._held)) + keep // 10 + 10
        self._service.log(
            f"more than {keep} conversations: the oldest ended ones are forgotten from now on "
            "(knob keep_conversations)",
            once=True,
        )

    def find(self, some_id: str) -> tuple[Conversation, int] | None:
        """(conversation, message number) of a message id or, with number 0, a conversation id."""
        known = self._service.ids.conversation_of(some_id)
        conversation = self._held.get(known[0]) if known else None
        if known is None or conversation is None or known[1] > conversation.messages:
            return None
        return conversation, known[1]

    def end(self, conversation: Conversation, disconnect_type: str) -> None:
        """The customer's leg ends, and with it the bot's; an agent still has to wrap up."""
        if not conversation.open:
            return
        now = self._service.now()
        conversation.end = now
        for participant in conversation.participants:
            if participant.state is not Leg.DISCONNECTED and participant.purpose != "agent":
                participant.state = Leg.DISCONNECTED
                participant.end = now
                participant.disconnect_type = disconnect_type
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
