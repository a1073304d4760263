"""What the service says to a guest, as values: bytes to events, and requests to bytes; one JSON
pass each way.

Tolerant as the vendor's own clients are: unknown fields and classes pass. What contradicts the
protocol (no JSON, no object, a field of the wrong type) is a RemoteProtocolError and nothing else.

The events are neither subclassed nor changed. Fields that the service may leave out have a value
for that.
"""

import contextlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeVar

import orjson

from harness.errors import RemoteProtocolError
from harness.protocol.requests import MessageClass, Request
from harness.units import read_retry_after_s


class Message(NamedTuple):
    """A StructuredMessage: text, event or rich content: ``guest.history()`` lists them.

    ``[message.text for message in guest.history() if message.direction == "Outbound"]`` is what
    the other side has said. It is a tuple, as one is made for every frame.

    ``direction`` is Inbound for the guest's own, Outbound for the bot's or the agent's;
    ``presence`` is the first presence event's type (Join, Clear, Disconnect, SignIn) or None;
    ``typing`` says that it holds a typing event; ``read_only`` that its event has made the session
    read-only; ``is_response`` that the envelope's type was ``response``, which only the answer to
    an echo has for certain. ``time`` is the service's own, in ISO 8601, or None.
    """

    direction: str
    kind: str
    text: str
    message_id: str
    tracing_id: str | None
    presence: str | None
    typing: bool
    read_only: bool
    is_response: bool
    time: str | None
    content: Sequence[Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionResponse:
    """The answer to configureSession (and, with ``connected`` false, to closeSession).

    ``new_session``: the token had no session before, or it had been cleared or had expired.
    ``duration_s`` may be unknown.
    """

    connected: bool
    new_session: bool
    read_only: bool
    max_custom_data_bytes: int | None = None
    duration_s: int | None = None
    tracing_id: str | None = None


@dataclass(frozen=True, slots=True)
class SessionCleared:
    """SessionClearedEvent: the proof that session and conversation were ended."""

    tracing_id: str | None = None
    """the Clear that it answers, where the service says so: usually it names none"""
    token: object = field(default=None, repr=False)
    """the session that has ended, should its body, documented as empty, name one"""


@dataclass(frozen=True, slots=True)
class ConnectionClosed:
    """ConnectionClosedEvent: the service retires this connection; the client should close it."""

    reason: str = ""


@dataclass(frozen=True, slots=True)
class SessionExpired:
    """SessionExpiredEvent: the session's time to live has passed."""


@dataclass(frozen=True, slots=True)
class LoggedOut:
    """LogoutEvent: the authenticated guest was logged out."""


@dataclass(frozen=True, slots=True)
class Failure:
    """An error answer. ``retry_after_s`` is set for 429 only.

    ``of_session``: its class is SessionResponse, so that it contradicts itself.
    """

    code: int
    text: str
    tracing_id: str | None = None
    retry_after_s: float | None = None
    of_session: bool = False


@dataclass(frozen=True, slots=True)
class Other:
    """A known class that guests of this harness take note of but do not act on, with its body."""

    message_class: str
    body: dict[str, Any]
    tracing_id: str | None = None


@dataclass(frozen=True, slots=True)
class Unknown:
    """A well-formed object of a class that is not known, or of none; its text, if it has any."""

    message_class: str | None
    text: str = ""


Event = (
    Message
    | SessionResponse
    | SessionCleared
    | ConnectionClosed
    | SessionExpired
    | LoggedOut
    | Failure
    | Other
    | Unknown
)


T = TypeVar("T")
_new = tuple.__new__  # for each message: a named tuple's own way costs five times as much


def encode_request(request: Request) -> bytes:
    """The request as one compact JSON object in UTF-8."""
    return orjson.dumps(request)


_TEXT, _ID = b'","message":{"type":"Text","text":', b',"metadata":{"id":"'


def text_head(token: str) -> bytes:
    """What every plain text of one guest begins with, for :func:`encode_text`."""
    return b'{"action":"onMessage","token":%b,"tracingId":"' % orjson.dumps(token)


def encode_text(head: bytes, tracing_id: str, body: str) -> bytes:
    """What :func:`encode_request` makes of a text with nothing else, for half the time.

    ``tracing_id`` goes in as it is: ASCII without quotes or backslashes.
    """
    plain_id = tracing_id.encode()
    return b"".join((head, plain_id, _TEXT, orjson.dumps(body), _ID, plain_id, b'"}}}'))


def decode(data: bytes) -> Event:
    """One frame as an event. Raises RemoteProtocolError and nothing else."""
    try:
        envelope = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        envelope = _second_try(data, f"a frame is not JSON: {error}")
    try:  # nearly every frame is a plain text: the short way
        if envelope["class"] == "StructuredMessage" and envelope["code"] == 200:
            body = envelope["body"]
            text, direction, message_id = body["text"], body["direction"], body["id"]
            kind, time = body["type"], body["channel"]["time"]
            tracing_id = envelope.get("tracingId")
            if (
                type(text) is type(direction) is type(message_id) is type(kind) is type(time) is str
                and (tracing_id is None or type(tracing_id) is str)
                and "events" not in body
                and "content" not in body
            ):
                response = envelope["type"] == "response"
                return _new(
                    Message,
                    (
                        direction, kind, text, message_id, tracing_id, None, False, False, response,
                        time, (),
                    ),
                )  # fmt: skip
    except (KeyError, TypeError):
        pass  # another kind of frame, or a broken one
    if type(envelope) is not dict:
        raise RemoteProtocolError(f"a frame is not an object but {_kind(envelope)}")
    body = envelope.get("body")
    if envelope.get("class") == "StructuredMessage" and type(body) is dict and _is_well(envelope):
        return _message(envelope, body)
    return _other(envelope, body)


def _is_well(envelope: dict[str, Any]) -> bool:
    """Whether a frame is no error: a message with an error's code is none, whatever it says."""
    code = envelope.get("code")
    return code is None or (type(code) is int and 200 <= code < 300)


def decode_history(data: bytes) -> tuple[list[Message], int]:
    """One page of the history: its messages (they have no envelope) and how many pages there are.

    Raises RemoteProtocolError and nothing else.
    """
    try:
        page = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        page = _second_try(data, f"a history is not JSON: {error}")
    entities = page.get("entities") if type(page) is dict else None
    if type(entities) is not list or not all(type(entity) is dict for entity in entities):
        raise RemoteProtocolError("a history lacks its list of 'entities'")
    pages = page.get("pageCount")
    return [_message({}, entity) for entity in entities], pages if type(pages) is int else 0


def _second_try(data: bytes, refusal: str) -> Any:
    """What holds half of an emoji (a lone surrogate), which our parser refuses and others take.

    The half is replaced by the sign for what can't be shown. Raises RemoteProtocolError where it is
    no JSON for this reason. (Half an emoji comes of cutting a text, as JavaScript does.)
    """
    if b"\\ud" in data.lower():
        with contextlib.suppress(ValueError, RecursionError):
            return _whole(json.loads(data.decode(), parse_constant=_refuse))
    raise RemoteProtocolError(refusal) from None


def _refuse(name: str) -> None:
    raise ValueError(f"{name} is no JSON")


def _whole(value: Any) -> Any:
    if type(value) is str:
        return value.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    if type(value) is list:
        return [_whole(item) for item in value]
    if type(value) is dict:
        return {_whole(key): _whole(item) for key, item in value.items()}
    return value


def _message(envelope: dict[str, Any], body: dict[str, Any]) -> Message:
    events, metadata, channel = body.get("events"), body.get("metadata"), body.get("channel")
    presence, typing = _events(events)
    time = channel.get("time") if type(channel) is dict else None
    return Message(
        direction=_optional(body.get("direction"), str, "direction") or "",
        kind=_optional(body.get("type"), str, "type") or "",
        text=_optional(body.get("text"), str, "text") or "",
        message_id=_optional(body.get("id"), str, "id") or "",
        tracing_id=_optional(envelope.get("tracingId"), str, "tracingId"),
        presence=presence,
        typing=typing,
        read_only=bool(events) and type(metadata) is dict and metadata.get("readOnly") == "true",
        is_response=envelope.get("type") == "response",
        time=time if type(time) is str else None,
        content=_optional(body.get("content"), list, "content") or [],
    )


def _events(events: object) -> tuple[str | None, bool]:
    presence, typing = None, False
    for event in _optional(events, list, "events") or ():
        if type(event) is not dict:
            raise RemoteProtocolError("an event of a StructuredMessage is not an object")
        kind = event.get("eventType")
        if kind == "Presence":
            inner = event.get("presence")
            if type(inner) is dict and presence is None:
                presence = _optional(inner.get("type"), str, "presence.type") or ""
        elif kind == "Typing":
            typing = True
    return presence, typing


def _other(envelope: dict[str, Any], body: Any) -> Event:
    name = envelope.get("class")
    name = name if type(name) is str else None
    code = envelope.get("code")
    tracing_id = _optional(envelope.get("tracingId"), str, "tracingId")
    if type(code) is not int:
        if code is not None:
            raise RemoteProtocolError(f"the code of a frame is not a number but {_kind(code)}")
        code = 200
    fields = body if type(body) is dict else {}
    if name == MessageClass.TOO_MANY_REQUESTS:
        text = _text_of(body) or _text_of({"message": envelope.get("message")})
        wait_s, inner = read_retry_after_s(fields.get("retryAfter")), fields.get("errorCode")
        code = inner if type(inner) is int else code
        return Failure(code, text, tracing_id, 1.0 if wait_s is None else wait_s)
    text = _text_of(body) or _text_of(envelope)
    if not 200 <= code < 300 and name not in _ABOUT_FILES:
        of_session = name == MessageClass.SESSION_RESPONSE
        return Failure(code, text, tracing_id, of_session=of_session)
    if name == _ERROR_MESSAGE:
        return Failure(_optional_int(fields.get("errorCode")) or 0, text, tracing_id)
    if name == MessageClass.SESSION_RESPONSE:
        return _session_response(fields, tracing_id)
    if name == MessageClass.SESSION_CLEARED_EVENT:
        return SessionCleared(tracing_id, fields.get("token"))
    if name == MessageClass.CONNECTION_CLOSED_EVENT:
        # The field is "reason" in the mobile SDK and "reasonCode" in the published schema.
        reason = fields.get("reason") or fields.get("reasonCode")
        return ConnectionClosed(reason if type(reason) is str else "")
    if name == MessageClass.SESSION_EXPIRED_EVENT:
        return SessionExpired()
    if name == MessageClass.LOGOUT_EVENT:
        return LoggedOut()
    if name in (MessageClass.STRING, MessageClass.ERROR):
        return Other(str(name), {"text": _text_of(body)}, tracing_id)
    if name in _KNOWN:
        return Other(str(name), fields, tracing_id)
    return Unknown(name, text)


_KNOWN = frozenset(MessageClass)
_ERROR_MESSAGE = "ErrorMessage"
"""A class of errors that the Developer Center lists and the schema does not know."""
_ABOUT_FILES = frozenset({MessageClass.UPLOAD_FAILURE_EVENT, MessageClass.GENERATE_URL_ERROR})
"""Their code is 200 in the mobile SDK and an error's elsewhere; the body says the same in both."""


def _session_response(fields: dict[str, Any], tracing_id: str | None) -> SessionResponse:
    connected = fields.get("connected")
    if type(connected) is not bool:
        raise RemoteProtocolError("a SessionResponse lacks 'connected', its only required field")
    return SessionResponse(
        connected=connected,
        new_session=fields.get("newSession") is True,
        read_only=fields.get("readOnly") is True,
        max_custom_data_bytes=_optional_int(fields.get("maxCustomDataBytes")),
        duration_s=_optional_int(fields.get("durationSeconds")),
        tracing_id=tracing_id,
    )


def _text_of(body: Any) -> str:
    if type(body) is str:
        return body
    if type(body) is dict:
        for key in ("errorMessage", "message"):
            if type(body.get(key)) is str:
                return str(body[key])
    return ""


def _optional(value: object, kind: type[T], field: str) -> T | None:
    """A field that may be left out."""
    if value is not None and type(value) is not kind:
        expected = _KINDS[kind]
        raise RemoteProtocolError(f"'{field}' of a message is not {expected} but {_kind(value)}")
    return value


_KINDS = {dict: "an object", list: "a list", str: "a string", bool: "a boolean"}


def _optional_int(value: object) -> int | None:
    return value if type(value) is int else None


def _kind(value: object) -> str:
    return "null" if value is None else _KINDS.get(type(value), "a number")
