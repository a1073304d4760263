"""Events of a guest: Join, Clear and other presences, and typing.

Presence Clear: the guest ends the conversation and the session for good.

The sequence is the vendor's own design for its mobile SDK: echo, SessionClearedEvent, all session
data wiped, ConnectionClosedEvent to every connection; the conversation ends afterwards.
"""

from typing import TYPE_CHECKING, Any

from harness.simulator import frames
from harness.simulator.behaviour.conversing import conversation_of
from harness.simulator.frames import dashed
from harness.simulator.guest_api.sessions import may_speak, take_attributes
from harness.simulator.truth.state import Session, SessionEnd

if TYPE_CHECKING:
    from harness.simulator.guest_api.connection import Connection


REFUSED = "Presence events Conversation Clear are not supported"


def clear(connection: "Connection", session: Session, tracing_id: str | None) -> None:
    """Handle a Clear, with whatever the fault plan has in store for it."""
    service = connection.service
    strikes = service.faults.strikes
    service.note(session, "clear asked")
    if not session.deployment.settings.conversation_clear or strikes("forbid_clear"):
        service.note(session, "clear refused")
        connection.refuse(403, REFUSED, tracing_id)
        return
    limited = strikes("limit_clear")
    if limited:
        text = "Message rate too high for this session"
        connection.refuse_rate(limited.seconds, text, tracing_id)
        return
    if strikes("ignore_clear"):
        service.note(session, "clear ignored (fault)")
        return
    delayed = strikes("delay_clear")
    if delayed:
        service.truth.delay("clear", delayed.seconds)
        service.later(delayed.seconds, _carry_out, connection, session, tracing_id)
    else:
        _carry_out(connection, session, tracing_id)


def _carry_out(connection: "Connection", session: Session, tracing_id: str | None) -> None:
    if session.ended is not None:
        return
    service = connection.service
    knobs = service.knobs
    strikes = service.faults.strikes
    everyone = list(session.connections)
    conversation = session.conversation
    number, at = service.head(conversation)
    service.end_session(session, SessionEnd.CLEARED)
    for one in everyone:
        one.session = None
    session.connections.clear()
    if conversation is not None:
        conversation.cleared = True
        service.later(
            knobs.conversation_end_lag_s, service.conversations.end, conversation, "client"
        )
    if strikes("lose_clear_reply"):
        service.note(session, "clear answer lost (fault)")
        return
    body = frames.presence(
        "Inbound",
        "Clear",
        {
            "id": number,
            "channel": {"time": at, "messageId": dashed(number), "from": {}},
            "metadata": {"correlationId": service.ids.uuid()},
        },
    )
    sequence = {
        "echo": frames.envelope(
            knobs.clear_echo_type, "StructuredMessage", body, tracing_id=tracing_id
        ),
        "cleared": frames.message("SessionClearedEvent", {}),
        "closed": frames.message("ConnectionClosedEvent", {}),
    }
    if strikes("no_connection_closed"):
        del sequence["closed"]
    late = strikes("late_connection_closed")
    for name in knobs.clear_order.split(","):
        frame = sequence.get(name)
        if frame is None:
            continue
        for one in everyone:
            if late and name == "closed":
                service.later(late.seconds, one.send, frame)
            else:
                one.send(frame)
    if strikes("proof_cross_talk"):
        _tell_another(connection, sequence["cleared"])
    rest = strikes("late_reply")
    if rest:
        service.later(rest.seconds, _late_reply, everyone, frames.iso_ms(service.now()))
    if knobs.close_after_clear:
        for one in everyone:
            service.later(knobs.close_after_clear_s, one.close, knobs.close_after_clear)


def _tell_another(connection: "Connection", proof: bytes) -> None:
    """The fault: somebody else gets this session's proof too (the longest connected one)."""
    others = [one for one in connection.service.connections if one.session is not None]
    if others:
        min(others, key=lambda one: (one.opened, one.id)).send(proof)


def _late_reply(everyone: "list[Connection]", at: str) -> None:
    """An answer that was under way when the guest cleared."""
    for one in everyone:
        body = {
            "text": "One more thing.",
            "type": "Text",
            "direction": "Outbound",
            "id": one.service.ids.hex(),
            "channel": {"time": at, "type": "Private", "from": {"nickname": "Bot"}},
            "originatingEntity": "Bot",
            "metadata": {"correlationId": one.service.ids.uuid()},
        }
        one.send(frames.message("StructuredMessage", body))


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
