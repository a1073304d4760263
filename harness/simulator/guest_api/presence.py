"""Events of a guest: Join, Clear and other presences, and typing."""

from typing import TYPE_CHECKING, Any

from harness.simulator.behaviour.conversing import conversation_of
from harness.simulator.guest_api import frames
from harness.simulator.guest_api.checking import may_speak, take_attributes
from harness.simulator.guest_api.clearing import clear
from harness.simulator.guest_api.ids import dashed
from harness.simulator.truth.state import Session

if TYPE_CHECKING:
    from harness.simulator.guest_api.connection import Connection

TYPING_OFF = "Turn on the Feature Toggle or fix the configuration."
ECHOED = frozenset(
    {"Disconnect", "SignIn", "SessionExpired", "Authenticate", "AuthenticateCancel"}
    | {"AuthenticateFailure"}
)
"""Presences that no client is known to send: echoed, and without effect."""


def presence_type(message: object) -> str | None:
    """``Join``, ``Clear``, ... of a message that is a presence event; None for any other."""
    if not isinstance(message, dict):
        return None
    events = message.get("events")
    if not isinstance(events, list) or not events or not isinstance(events[0], dict):
        return None
    found = events[0].get("presence")
    kind = found.get("type") if isinstance(found, dict) else None
    return kind if isinstance(kind, str) else None


def on_event(
    connection: "Connection", session: Session, message: dict[str, Any], tracing_id: str | None
) -> None:
    """The first event of the message decides."""
    kind = presence_type(message)
    if kind == "Clear":
        clear(connection, session, tracing_id)
    elif kind == "Join":
        _join(connection, session, message, tracing_id)
    elif kind in ECHOED:
        say(connection, session, str(kind), tracing_id)
    elif kind is None and _is_typing(message):
        if session.deployment.settings.typing:
            connection.service.note(session, "typing")
        else:
            connection.refuse(403, TYPING_OFF, tracing_id)
    else:
        connection.refuse(400, "Request failed.", tracing_id)


def _is_typing(message: dict[str, Any]) -> bool:
    events = message.get("events")
    event = events[0] if isinstance(events, list) and events else None
    typing = event.get("typing") if isinstance(event, dict) else None
    return isinstance(typing, dict) and typing.get("type") == "On"


def say(connection: "Connection", session: Session, kind: str, tracing_id: str | None) -> None:
    """Echo a presence Inbound to every connection of the session."""
    service = connection.service
    number, at = service.head(session.conversation)
    head = {
        "id": number,
        "channel": {"time": at, "messageId": dashed(number), "from": {}},
        "metadata": {"correlationId": service.ids.uuid()},
    }
    body = frames.presence("Inbound", kind, head)
    frame = frames.message("StructuredMessage", body, tracing_id)
    service.keep(session, frame)
    service.fan_out(session, frame)


def _join(
    connection: "Connection", session: Session, message: dict[str, Any], tracing_id: str | None
) -> None:
    service = connection.service
    if not may_speak(connection, session, tracing_id):
        return
    if not take_attributes(connection, session, message, tracing_id):
        return
    conversation = conversation_of(service, session)
    service.note(session, "join")
    service.touch(session)
    say(connection, session, "Join", tracing_id)
    service.greet(session, conversation)
