"""onMessage and echo: texts, presence events, typing, and the bot's answers."""

from collections import deque
from time import monotonic
from typing import TYPE_CHECKING, Any

from harness.simulator import frames
from harness.simulator.clearing import clear
from harness.simulator.ids import dashed
from harness.simulator.limits import over
from harness.simulator.state import Conversation, Session

if TYPE_CHECKING:
    from harness.simulator.connection import Connection
    from harness.simulator.service import Service


def presence_type(message: object) -> str | None:
    """``Join``, ``Clear``, ... of a message that is a presence event; None for any other."""
    if not isinstance(message, dict):
        return None
    events = message.get("events")
    if not isinstance(events, list) or not events or not isinstance(events[0], dict):
        return None
    presence = events[0].get("presence")
    kind = presence.get("type") if isinstance(presence, dict) else None
    return kind if isinstance(kind, str) else None


def session_for(
    connection: "Connection", request: dict[str, Any], tracing_id: str | None
) -> Session | None:
    """The session of a request; None after saying why there is none."""
    session = connection.session
    token = request.get("token")
    if session is None or (token is not None and token != session.token):
        connection.send(frames.error(4007, "session not found error message", tracing_id))
        return None
    if session.ended is None and session.expires <= connection.service.now():
        connection.service.expire(session)
    if session.ended is not None:
        connection.send(frames.error(4006, "session has expired", tracing_id))
        return None
    return session


def on_message(connection: "Connection", request: dict[str, Any], tracing_id: str | None) -> None:
    """A guest's text, answer or event."""
    session = session_for(connection, request, tracing_id)
    if session is None:
        return
    message = request.get("message")
    if not isinstance(message, dict):
        connection.send(frames.error(4020, "Missing parameter: message", tracing_id))
        return
    kind = presence_type(message)
    if kind == "Clear":
        clear(connection, session, tracing_id)
    elif kind == "Join":
        _join(connection, session, message, tracing_id)
    elif message.get("type") == "Event":
        pass
    else:
        _text(connection, session, message, tracing_id)


def take_attributes(connection: "Connection", session: Session, message: dict[str, Any]) -> None:
    """Custom attributes of ``message.channel``: later values overwrite earlier ones."""
    channel = message.get("channel")
    metadata = channel.get("metadata") if isinstance(channel, dict) else None
    wanted = metadata.get("customAttributes") if isinstance(metadata, dict) else None
    if not isinstance(wanted, dict):
        return
    attributes = {key: value for key, value in wanted.items() if isinstance(value, str)}
    session.attributes = {**(session.attributes or {}), **attributes}
    if session.conversation is not None:
        session.conversation.attributes.update(attributes)
    run_id = attributes.get("runId", attributes.get("run_id"))
    if run_id is not None:
        connection.service.assign_run(session, run_id)


def _join(
    connection: "Connection", session: Session, message: dict[str, Any], tracing_id: str | None
) -> None:
    service = connection.service
    take_attributes(connection, session, message)
    conversation = conversation_of(service, session)
    number, at = service.head(conversation)
    service.note(session, "join")
    service.touch(session)
    head = {
        "id": number,
        "channel": {"time": at, "messageId": dashed(number), "from": {}},
        "metadata": {"correlationId": service.ids.uuid()},
    }
    body = frames.presence("Inbound", "Join", head)
    service.fan_out(session, frames.message("StructuredMessage", body, tracing_id))
    if service.bot.on:
        service.bot.work(lambda arrival: _say(service, session, conversation, GREETING, arrival))


GREETING = "Welcome. What can I do for you?"


def conversation_of(service: "Service", session: Session) -> Conversation:
    """The conversation that a guest's message belongs to; a new one where none is open."""
    conversation = session.conversation
    if conversation is None or not conversation.open:
        return service.start_conversation(session)
    return conversation


def _text(
    connection: "Connection", session: Session, message: dict[str, Any], tracing_id: str | None
) -> None:
    service = connection.service
    text = message.get("text", "")
    if not isinstance(text, str):
        connection.send(frames.error(400, "Request failed.", tracing_id))
        return
    take_attributes(connection, session, message)
    conversation = conversation_of(service, session)
    conversation.guest_texts += 1
    for tally in service.tallies(session.run_id):
        tally.texts += 1
    number, at = service.head(conversation)
    service.touch(session)
    body: dict[str, Any] = {
        "text": text,
        "type": message.get("type", "Text"),
        "direction": "Inbound",
        "id": number,
        "channel": {"time": at, "messageId": dashed(number), "from": {}},
        "originatingEntity": "",
        "metadata": {"correlationId": service.ids.uuid()},
    }
    service.note(session, "text", number)
    service.fan_out(session, frames.message("StructuredMessage", body, tracing_id))
    if service.bot.on and not service.faults.strikes("no_reply"):
        answer = f"You said: {text[:500]}"
        service.bot.work(lambda arrival: _say(service, session, conversation, answer, arrival))


def _say(
    service: "Service", session: Session, conversation: Conversation, text: str, arrival: float
) -> None:
    """The bot's turn; nothing if the guest has gone for good meanwhile."""
    if session.ended is not None or not conversation.open:
        return
    number, at = service.head(conversation)
    body = {
        "text": text,
        "type": "Text",
        "direction": "Outbound",
        "id": number,
        "channel": {"time": at, "type": "Private", "from": {"nickname": "Bot"}},
        "originatingEntity": "Bot",
        "metadata": {"correlationId": service.ids.uuid()},
    }
    for tally in service.tallies(session.run_id):
        tally.replies += 1
    service.note(session, "reply", number)
    service.touch(session)
    service.fan_out(session, frames.message("StructuredMessage", body))
    service.truth.delay("reply", monotonic() - arrival)


def echo(connection: "Connection", request: dict[str, Any], tracing_id: str | None) -> None:
    """A health check: answered to this connection only, with the session's expiry as strings."""
    session = session_for(connection, request, tracing_id)
    if session is None:
        return
    service = connection.service
    limit = service.limits.health_checks_per_connection_per_minute
    if limit:
        if connection.echo_times is None:
            connection.echo_times = deque()
        wait = over(connection.echo_times, limit, window_s=60, now=service.now())
        if wait:
            service.truth.count("refused_429")
            text = "Too many health checks on this connection"
            connection.send(frames.too_many(max(1, -int(-wait // 1)), text, tracing_id))
            return
    message = request.get("message")
    said = message.get("text") if isinstance(message, dict) else None
    body = {
        "text": said if isinstance(said, str) else "ping",
        "type": "Text",
        "direction": "Inbound",
        "id": service.ids.hex(),
        "metadata": {
            "durationSeconds": str(int(session.deployment.settings.session_duration_s)),
            "expirationDate": str(int(session.expires)),
        },
    }
    connection.send(frames.response("StructuredMessage", body, tracing_id))
