"""Frames that the service sends: envelope, bodies, and the websocket header around them.

Shapes follow the vendor's mobile SDK and captured frames; ``FIDELITY.md`` names the source of each.
Every function returns the JSON of one frame as bytes.

Identifiers that the service hands out, from one seeded source.

Message ids look opaque (32 hexadecimal characters, as in live frames) but hide which conversation
they belong to, so that the Platform API can map any message id ever sent to its conversation
without an index that grows with every message.
"""

from random import Random
from struct import Struct
from time import gmtime
from typing import Any

import orjson

_MASK128 = (1 << 128) - 1
_MULTIPLIER = 0x9E3779B97F4A7C15F39CC0605CEDC835  # odd, so it can be inverted modulo 2**128
_INVERSE = pow(_MULTIPLIER, -1, 1 << 128)
_OURS = 1 << 64
"""Our ids decode to a number below this; an invented id hardly ever does."""


def dashed(text: str) -> str:
    """A message id in UUID form, as ``channel.messageId`` shows it."""
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


class Ids:
    """All random values in the service's frames; the same seed yields the same ones in order."""

    __slots__ = ("_bits", "_correlated", "_mask", "_prefix")

    def __init__(self, seed: int | None) -> None:
        source = Random(seed) if seed is None else Random(f"{seed}:ids")
        self._bits = source.getrandbits
        self._mask = self._bits(128)
        self._prefix = self.uuid()[:24]
        self._correlated = 0

    def correlation(self) -> str:
        """An identifier in UUID form that no other message has; cheap, for every message."""
        self._correlated = number = self._correlated + 1
        return f"{self._prefix}{number:012x}"

    def uuid(self) -> str:
        """A random identifier in UUID form, version 4."""
        value = self._bits(128)
        value = (value & ~(0xF << 76) | (4 << 76)) & ~(0x3 << 62) | (0x2 << 62)
        return dashed(f"{value:032x}")

    def hex(self) -> str:
        """A random identifier as 32 hexadecimal characters, tied to no conversation."""
        return f"{self._bits(128):032x}"

    def message(self, conversation: int, number: int) -> str:
        """The id of message ``number`` of the conversation with this serial number."""
        value = (conversation << 24) + (number & 0xFFFFFF)
        return "%032x" % (value * _MULTIPLIER + self._mask & _MASK128)

    def conversation_of(self, message_id: str) -> tuple[int, int] | None:
        """(serial of the conversation, number of the message); None for an id we never gave.

        Accepts the plain and the dashed form.
        """
        text = message_id.replace("-", "").lower()
        if len(text) != 32:
            return None
        try:
            value = (int(text, 16) - self._mask) * _INVERSE & _MASK128
        except ValueError:
            return None
        if value >= _OURS or not text.isalnum():
            return None
        return value >> 24, value & 0xFFFFFF


dumps = orjson.dumps
_START = b'{"type":"message","class":"StructuredMessage","code":200,"body":{"text":'
_SHORT = Struct(">BB").pack
_MEDIUM = Struct(">BBH").pack
_LONG = Struct(">BBQ").pack


def iso_ms(at: float) -> str:
    """Epoch seconds as ISO 8601 UTC with milliseconds."""
    whole = int(at)
    t = gmtime(whole)
    return (
        f"{t.tm_year:04d}-{t.tm_mon:02d}-{t.tm_mday:02d}T"
        f"{t.tm_hour:02d}:{t.tm_min:02d}:{t.tm_sec:02d}.{int((at - whole) * 1000):03d}Z"
    )


def text_frame(payload: bytes) -> bytes:
    """One unfragmented, unmasked websocket text frame (RFC 6455 section 5.2)."""
    size = len(payload)
    if size < 126:
        return _SHORT(0x81, size) + payload
    if size < 65536:
        return _MEDIUM(0x81, 126, size) + payload
    return _LONG(0x81, 127, size) + payload


def inbound_text(
    text: str,
    kind: str,
    number: str,
    at: str,
    correlation: str,  # positional, as all of them: nearly every frame passes here
    tracing_id: str | None,
    metadata: dict[str, str] | None,
    content: list[Any] | None,
) -> bytes:
    """The echo of a guest's message. Written out because nearly every frame is one of two kinds."""
    middle = (
        f',"type":"{kind}","direction":"Inbound","id":"{number}","channel":{{"time":"{at}",'
        f'"messageId":"{dashed(number)}","from":{{}}}},"originatingEntity":"",'
        f'"metadata":{{"correlationId":"{correlation}"'
    )
    parts = [_START, dumps(text), middle.encode()]
    if metadata:
        own = {key: value for key, value in metadata.items() if key != "correlationId"}
        parts.append(b"," + dumps(own)[1:] if own else b"}")
    else:
        parts.append(b"}")
    if content:
        parts += (b',"content":', dumps(content))
    parts += (b"}}",) if tracing_id is None else (b'},"tracingId":', dumps(tracing_id), b"}")
    return b"".join(parts)


def outbound_text(
    text: str, number: str, at: str, *, correlation: str, sender: str, entity: str
) -> bytes:
    """A plain text of the other side; see ``inbound_text``."""
    return b"".join(
        (
            b'{"type":"message","class":"StructuredMessage","code":200,"body":{"type":"Text",',
            f'"direction":"Outbound","id":"{number}","channel":{{"time":"{at}","type":"Private",'
            f'"from":{{"nickname":"{sender}"}}}},"originatingEntity":"{entity}","metadata":'
            f'{{"correlationId":"{correlation}"}},"text":'.encode(),
            dumps(text),
            b"}}",
        )
    )


def envelope(
    kind: str, klass: str, body: object, *, code: int = 200, tracing_id: str | None = None
) -> bytes:
    """Any frame. ``kind`` is ``response`` or ``message``."""
    frame = {"type": kind, "class": klass, "code": code, "body": body}
    if tracing_id is not None:
        frame["tracingId"] = tracing_id
    return dumps(frame)


def response(klass: str, body: object, tracing_id: str | None = None) -> bytes:
    """The answer to a request of this connection."""
    return envelope("response", klass, body, tracing_id=tracing_id)


def message(klass: str, body: object, tracing_id: str | None = None) -> bytes:
    """Pushed to every connection of a session."""
    return envelope("message", klass, body, tracing_id=tracing_id)


def error(code: int, text: str, tracing_id: str | None = None) -> bytes:
    return envelope("response", "string", text, code=code, tracing_id=tracing_id)


def too_many(
    retry_after_s: int, text: str, tracing_id: str | None = None, *, code: int = 4029
) -> bytes:
    """429 with errorCode 4029, or with ``code``; ``retryAfter`` in whole seconds.

    A frame with errorCode 429 was seen live: it had neither name nor message.
    """
    body = {"retryAfter": retry_after_s, "errorCode": code, "errorMessage": text}
    if code != 429:
        body |= {"name": "TooManyRequestsError", "message": text}
    return envelope(
        "response", "TooManyRequestsErrorMessage", body, code=429, tracing_id=tracing_id
    )


def gateway_error(connection_id: str, request_id: str) -> bytes:
    """What the gateway in front says of a frame it cannot route: no class, no code, no type."""
    return dumps({"message": "Forbidden", "connectionId": connection_id, "requestId": request_id})


def presence(direction: str, kind: str, ids: dict[str, Any]) -> dict[str, Any]:
    """Body of a presence event; ``ids`` holds id, channel and metadata."""
    return {
        "type": "Event",
        "direction": direction,
        **ids,
        "events": [{"eventType": "Presence", "presence": {"type": kind}}],
    }


def typing(ids: dict[str, Any], duration_ms: int, field: str) -> dict[str, Any]:
    """Body of a typing indicator from the other side; some name its length ``durationMs``."""
    return {
        "type": "Event",
        "direction": "Outbound",
        **ids,
        "events": [{"eventType": "Typing", "typing": {"type": "On", field: duration_ms}}],
    }
