"""What the service remembers: deployments, sessions, conversations. Data, hardly any behaviour.

Slots throughout: fifteen thousand idle sessions should cost little.
"""

from collections import OrderedDict, deque
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

from harness.simulator.truth.truth import Tally

if TYPE_CHECKING:
    from harness.simulator.guest_api.connection import Connection
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
