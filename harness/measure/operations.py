"""The operations that are timed, each with its definition written once.

Reports, objectives and the command line all take names and definitions from here.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from types import MappingProxyType

from harness.measure.model import Outcome


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """A named thing we time: what starts its clock and what ends it."""

    name: str
    many: str
    """several of them, in a sentence"""
    starts: str
    ends: str
    afterwards: bool = False
    """Whether no guest measures it: an audit learns it after the run."""

    @property
    def definition(self) -> str:
        """What starts and what ends its clock, in a sentence."""
        return f"From when {self.starts} until {self.ends}."


_ALL = (
    Operation(
        name="dns",
        many="look-ups of the host's name",
        starts="the host name is looked up",
        ends="its addresses are known",
    ),
    Operation(
        name="tcp",
        many="TCP connects",
        starts="the TCP connect begins",
        ends="the connection is established",
    ),
    Operation(
        name="proxy",
        many="ways through the proxy",
        starts="the proxy is asked to connect",
        ends="it has said that it is connected",
    ),
    Operation(
        name="tls",
        many="TLS handshakes",
        starts="the TLS handshake begins",
        ends="the handshake is complete",
    ),
    Operation(
        name="upgrade",
        many="upgrades to a websocket",
        starts="the HTTP upgrade is written",
        ends="the 101 answer has arrived",
    ),
    Operation(
        name="connect",
        many="connects",
        starts="the host name is looked up",
        ends="the 101 answer has arrived",
    ),
    Operation(
        name="session_open",
        many="openings of a session",
        starts="configureSession is written",
        ends="its SessionResponse has arrived",
    ),
    Operation(
        name="join",
        many="joins",
        starts="the Presence Join is written",
        ends="its Inbound echo has arrived",
    ),
    Operation(
        name="delivered",
        many="deliveries of a guest's message",
        starts="a message of the guest is written",
        ends="its Inbound echo with the same tracingId has arrived",
    ),
    Operation(
        name="reply",
        many="replies",
        starts="a message of the guest is written that expects an answer",
        ends="the first message of its answer has arrived (or the first that fits what the "
        "script waits for)",
    ),
    Operation(
        name="turn",
        many="whole answers",
        starts="a message of the guest is written that expects an answer",
        ends="the last message of its answer has arrived, after which the other side was silent",
    ),
    Operation(
        name="greeting",
        many="greetings",
        starts="the Presence Join is written, or the first message where the deployment greets",
        ends="the first message of the greeting has arrived",
    ),
    Operation(
        name="clear",
        many="clearings",
        starts="the Presence Clear is written",
        ends="the SessionClearedEvent has arrived",
    ),
    Operation(
        name="clear_to_close",
        many="closings after Clear",
        starts="the SessionClearedEvent has arrived",
        ends="the ConnectionClosedEvent has arrived",
    ),
    Operation(
        name="resume",
        many="resumptions of a session",
        starts="the connection is lost",
        ends="the SessionResponse on a new connection has arrived",
    ),
    Operation(
        name="health_check",
        many="health checks",
        starts="the echo request is written",
        ends="its answer has arrived",
    ),
    Operation(
        name="upload",
        many="uploads",
        starts="the attachment is announced",
        ends="its UploadSuccessEvent has arrived",
    ),
    Operation(
        name="history",
        many="requests for the history",
        starts="the history request is written",
        ends="its answer has arrived",
    ),
    Operation(
        name="conversation_end",
        many="ends of a conversation",
        starts="the SessionClearedEvent was seen (our clock)",
        ends="the guest's part of the conversation was over, as 'harness audit' finds it recorded "
        "by the service (the service's clock)",
        afterwards=True,
    ),
)

ALWAYS_OK = frozenset(
    {"dns", "tcp", "proxy", "tls", "upgrade", "clear_to_close", "conversation_end"}
)
"""Operations that are measured only when they end well: one that fails is counted elsewhere (of a
connection as ``connect``, of a session as ``clear``)."""
QUESTIONS = frozenset({"reply", "turn", "greeting"})
"""Operations that may end without an answer."""
CONNECT_ENDS = (Outcome.OK, Outcome.TIMEOUT, Outcome.REFUSED, Outcome.RATE_LIMITED)
WITHOUT_ANSWER = (Outcome.UNANSWERED, Outcome.CUT_SHORT)


def outcomes_of(operation: str) -> tuple[Outcome, ...]:
    """The outcomes in which an operation can end at all."""
    if operation in ALWAYS_OK:
        return (Outcome.OK,)
    if operation == "connect":
        return CONNECT_ENDS
    left_out: set[Outcome] = set() if operation in QUESTIONS else {*WITHOUT_ANSWER}
    if operation != "upload":
        left_out.add(Outcome.PROTOCOL)
    return tuple(outcome for outcome in Outcome if outcome not in left_out)


OPERATIONS: MappingProxyType[str, Operation] = MappingProxyType({op.name: op for op in _ALL})

FIRST = ("reply", "turn", "greeting", "delivered", "session_open", "join", "clear")
"""What a reader looks for first."""


def ordered(names: Iterable[str]) -> list[str]:
    """Names in the order in which a reader looks for them; those that we don't know are last."""
    there = set(names)
    known = [name for name in dict.fromkeys((*FIRST, *OPERATIONS)) if name in there]
    return known + sorted(there - set(known))
