"""onMessage: how the service checks and handles what a guest sends.

Checks come in a fixed order: session (4007, 4006), rate (429), read-only (409), shape (400, 4020),
size (4011), custom attributes (4013), attachments (4008 to 4010). A refused message has no effect.

With getJwt a guest may read the history over REST.

Events of a guest: Join, Clear and other presences, and typing.

Presence Clear: the guest ends the conversation and the session for good.

The sequence is the vendor's own design for its mobile SDK: echo, SessionClearedEvent, all session
data wiped, ConnectionClosedEvent to every connection; the conversation ends afterwards.
"""

from typing import TYPE_CHECKING, Any

import orjson
from aiohttp import web

from harness.foreign import inner, objects
from harness.simulator import frames
from harness.simulator.conversing import conversation_of
from harness.simulator.frames import dashed
from harness.simulator.guest_api import attachments
from harness.simulator.guest_api.connection import Refused
from harness.simulator.guest_api.sessions import (
    RATE_TOO_HIGH,
    may_speak,
    session_for,
    set_attributes,
)
from harness.simulator.rest import api_error, bearer, fault, json_response, too_many
from harness.simulator.settings import limit_wait_s
from harness.simulator.truth import Session, SessionEnd

if TYPE_CHECKING:
    from harness.simulator.guest_api.connection import Connection
    from harness.simulator.service import Service


BUTTON_RESPONSES = ("QuickReply", "Button", "DatePicker", "ListPicker", "Form")


def on_message(connection: "Connection", request: dict[str, Any], tracing_id: str | None) -> None:
    """A guest's text, answer or event."""
    session = connection.session
    if (
        session is None
        or session.ended is not None
        or session.expires <= connection.last_active
        or request.get("token") != session.token
    ):  # perhaps not in order: look closer
        session = session_for(connection, request)
    service = connection.service
    limit = service.message_limit
    if limit and (wait_s := limit_wait_s(session, "message_times", limit, 1, service.now())):
        raise Refused(429, RATE_TOO_HIGH, wait_s=wait_s)
    message = request.get("message")
    if not isinstance(message, dict):
        raise Refused(4020, "Missing parameter: message")
    if "channel" in request and inner(request["channel"], "metadata", "customAttributes"):
        service.truth.count("misplaced_attributes")  # the service ignores them since June 2026
    kind = message.get("type", "Text")
    limit = service.text_limit
    if limit and kind != "Event" and kind != "Receipt":
        wait_s = limit_wait_s(service, "text_times", limit, 1, service.now())
        if wait_s:
            raise Refused(429, "Message rate too high", wait_s=wait_s)
    if kind == "Text" or kind == "Structured" or kind is None:
        _text(connection, session, message, tracing_id)
    elif kind == "Event":
        on_event(connection, session, message, tracing_id)
    elif kind == "Receipt":
        service.note(session, "receipt")
    else:
        raise Refused(400)


def _text(
    connection: "Connection", session: Session, message: dict[str, Any], tracing_id: str | None
) -> None:
    service = connection.service
    if not may_speak(connection, session):
        return
    text = message.get("text")
    if type(text) is not str:
        if text is not None:
            raise Refused(400)
        if not message.get("content"):
            raise Refused(4020, "Missing parameter: text")
        text = ""
    limit = service.limits.text_bytes
    if len(text) * 4 > limit > 0 and (size := len(text.encode())) > limit:
        raise Refused(4011, f"Message length {size} is larger than {limit}")
    own = message.get("metadata")
    if own is not None and not _all_strings(own):
        raise Refused(400)
    content = message.get("content")
    sent = None if content is None else _content(connection, session, content)
    if "channel" in message:
        set_attributes(connection, session, message)
    conversation = session.conversation
    if conversation is None or conversation.end is not None:
        conversation = conversation_of(service, session)
    conversation.guest_texts += 1
    for tally in session.tallies:
        tally.texts += 1
    number, at, correlation = service.spoken(session, conversation, "text")
    kind = message.get("type") or "Text"
    frame = frames.inbound_text(text, kind, number, at, correlation, tracing_id, own, sent)
    service.add_to_history(session, frame)
    service.fan_out(session, frame)
    service.bot.answer(session, conversation, _meant(text, content) if content else text)


def question_kind(message: object) -> str | None:
    """``text``, ``choice`` or ``join`` of a message that can be answered; None for any other."""
    if not isinstance(message, dict):
        return None
    kind = message.get("type") or "Text"
    if kind == "Text" or kind == "Structured":
        content = message.get("content")
        chosen = isinstance(content, list) and any(
            isinstance(part, dict) and part.get("contentType") == "ButtonResponse"
            for part in content
        )
        return "choice" if chosen else "text"
    return "join" if presence_type(message) == "Join" else None


def _all_strings(metadata: object) -> bool:
    return isinstance(metadata, dict) and all(isinstance(v, str) for v in metadata.values())


def _content(connection: "Connection", session: Session, content: object) -> list[Any]:
    """What the echo shows of a message's content. Raises Refused."""
    if not isinstance(content, list):
        raise Refused(400)
    shown = []
    for part in content:
        kind = part.get("contentType") if isinstance(part, dict) else None
        if kind == "Attachment":
            attached = attachments.attach(connection, session, part.get("attachment"))
            shown.append({"contentType": "Attachment", "attachment": attached})
        elif kind == "ButtonResponse":
            button = part.get("buttonResponse")
            if not isinstance(button, dict) or button.get("type") not in BUTTON_RESPONSES:
                raise Refused(400)
            try:
                frames.dumps(part)
            except TypeError:  # nested more deeply than can be written, although it could be read
                raise Refused(400) from None
            shown.append(part)
        else:
            raise Refused(400)
    return shown


def _meant(text: str, content: object) -> str:
    """What the bot hears: a button's payload, else the text."""
    payloads = [inner(part, "buttonResponse", "payload") for part in objects(content)]
    return next((one for one in payloads if isinstance(one, str)), text)


def echo(connection: "Connection", request: dict[str, Any], tracing_id: str | None) -> None:
    """A health check: answered to this connection only, with the session's expiry as strings.

    One that has expired is told so by SessionExpiredEvent, as the vendor's own clients expect.
    """
    service = connection.service
    limit = service.limits.health_checks_per_connection_per_minute
    if wait_s := limit_wait_s(connection, "echo_times", limit, 60, service.now()):
        raise Refused(429, "Too many health checks on this connection", wait_s=wait_s)
    session = connection.session
    if session is not None and session.ended is None and session.expires <= service.now():
        service.expire(session)
    if session is not None and session.ended is not None:
        kind = service.knobs.session_expired_type
        connection.send(frames.envelope(kind, "SessionExpiredEvent", {}, tracing_id=tracing_id))
        return
    session = session_for(connection, request)
    text = inner(request, "message", "text")
    body = {
        "text": text if isinstance(text, str) else "ping",
        "type": "Text",
        "direction": "Inbound",
        "id": service.ids.hex(),
        "metadata": {
            "durationSeconds": str(int(session.deployment.settings.session_duration_s)),
            "expirationDate": str(int(session.expires)),
        },
    }
    connection.send(frames.response("StructuredMessage", body, tracing_id))


JWT_LIFE_S = 60
PAGE_SIZE = 25
MAX_PAGE_SIZE = 100


def send_jwt(connection: "Connection", request: dict[str, Any], tracing_id: str | None) -> None:
    """A token for the REST calls of this session, good for about a minute."""
    session = session_for(connection, request)
    service = connection.service
    exp = int(service.now()) + JWT_LIFE_S
    jwt = service.signer.sign({"for": "guest", "session": session.serial, "exp": exp})
    connection.send(frames.response("JwtResponse", {"jwt": jwt, "exp": exp}, tracing_id))


def _number(text: str | None, default: int) -> int | None:
    if text is None:
        return default
    return int(text) if text.isdecimal() and len(text) < 10 and int(text) > 0 else None


def add_routes(app: web.Application, service: "Service") -> None:
    """GET /api/v2/webmessaging/messages."""

    async def messages(request: web.Request) -> web.Response:
        claims = service.signer.claims(bearer(request.headers.get("Authorization")), service.now())
        session = service.by_serial.get(claims.get("session", 0)) if claims else None
        if session is None:
            return api_error(401, "bad.credentials", "Invalid login credentials.")
        struck = fault(service)
        if struck is not None:
            return struck
        limit = service.limits.history_per_session_per_minute
        if wait_s := limit_wait_s(session, "history_times", limit, 60, service.now()):
            return too_many(wait_s)
        page = _number(request.query.get("pageNumber"), 1)
        size = _number(request.query.get("pageSize"), PAGE_SIZE)
        if page is None or size is None:
            return api_error(400, "invalid.value", "pageNumber and pageSize are whole numbers")
        size = min(size, MAX_PAGE_SIZE)
        newest_first = list(reversed(session.log or ()))
        total, start = len(newest_first), (page - 1) * size
        body = {
            "entities": [orjson.loads(f)["body"] for f in newest_first[start : start + size]],
            "pageSize": size if total else 0,
            "pageNumber": page if total else 1,
            "total": total,
            "pageCount": -(-total // size),
        }
        return json_response(body)

    app.router.add_get("/api/v2/webmessaging/messages", messages)


def clear(connection: "Connection", session: Session, tracing_id: str | None) -> None:
    """Handle a Clear, with whatever the fault plan has in store for it."""
    service = connection.service
    strikes = service.faults.strikes
    service.note(session, "clear asked")
    if not session.deployment.settings.conversation_clear or strikes("forbid_clear"):
        service.note(session, "clear refused")
        raise Refused(403, "Presence events Conversation Clear are not supported")
    if limited := strikes("limit_clear"):
        raise Refused(429, RATE_TOO_HIGH, wait_s=limited.seconds)
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
    body = _presence(service, "Clear", number, at)
    match knobs.cleared_event_id:
        case "none":
            event_id = None
        case "request":
            event_id = tracing_id
        case "own":
            event_id = service.ids.uuid()
    sequence = {
        "echo": frames.envelope(
            knobs.clear_echo_type, "StructuredMessage", body, tracing_id=tracing_id
        ),
        "cleared": frames.message("SessionClearedEvent", {}, event_id),
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
    if strikes("proof_cross_talk") and (other := service.bystander(session)):
        other.send(sequence["cleared"])
    rest = strikes("late_reply")
    if rest:
        service.later(rest.seconds, _late_reply, everyone, frames.iso_ms(service.now()))
    if knobs.close_after_clear:
        for one in everyone:
            service.later(knobs.close_after_clear_s, one.close, knobs.close_after_clear)


def _late_reply(everyone: "list[Connection]", at: str) -> None:
    """An answer that was under way when the guest cleared."""
    for one in everyone:
        number, correlation = one.service.ids.hex(), one.service.ids.uuid()
        text, bot = "One more thing.", {"sender": "Bot", "entity": "Bot"}
        one.send(frames.outbound_text(text, number, at, correlation=correlation, **bot))


TYPING_IS_OFF = "Turn on the Feature Toggle or fix the configuration."
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
    if not isinstance(events, list) or not events:
        return None
    kind = inner(events[0], "presence", "type")
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
        send_presence(connection, session, str(kind), tracing_id)
    elif kind is None and _is_typing(message):
        if not session.deployment.settings.typing:
            raise Refused(403, TYPING_IS_OFF)
        connection.service.note(session, "typing")
    else:
        raise Refused(400)


def _is_typing(message: dict[str, Any]) -> bool:
    events = message.get("events")
    first = events[0] if isinstance(events, list) and events else None
    return bool(inner(first, "typing", "type") == "On")


def send_presence(
    connection: "Connection", session: Session, kind: str, tracing_id: str | None
) -> None:
    """Echo a presence Inbound to every connection of the session."""
    service = connection.service
    body = _presence(service, kind, *service.head(session.conversation))
    frame = frames.message("StructuredMessage", body, tracing_id)
    service.add_to_history(session, frame)
    service.fan_out(session, frame)


def _presence(service: "Service", kind: str, number: str, at: str) -> dict[str, Any]:
    head = {
        "id": number,
        "channel": {"time": at, "messageId": dashed(number), "from": {}},
        "metadata": {"correlationId": service.ids.uuid()},
    }
    return frames.presence("Inbound", kind, head)


def _join(
    connection: "Connection", session: Session, message: dict[str, Any], tracing_id: str | None
) -> None:
    service = connection.service
    if not may_speak(connection, session):
        return
    set_attributes(connection, session, message)
    conversation = conversation_of(service, session)
    service.note(session, "join")
    session.expires = service.now() + session.duration
    send_presence(connection, session, "Join", tracing_id)
    service.bot.greet(session, conversation)
