"""Frames that the service sends: envelope, bodies, and the websocket header around them.

Shapes follow the vendor's mobile SDK and captured frames; ``FIDELITY.md`` names the source of each.
Every function gives the JSON of one frame as bytes.
"""

from time import gmtime
from typing import Any

import orjson

dumps = orjson.dumps


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
        return b"\x81" + size.to_bytes(1, "big") + payload
    if size < 65536:
        return b"\x81\x7e" + size.to_bytes(2, "big") + payload
    return b"\x81\x7f" + size.to_bytes(8, "big") + payload


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
    """An error with a string body."""
    return envelope("response", "string", text, code=code, tracing_id=tracing_id)


def too_many(retry_after_s: int, text: str, tracing_id: str | None = None) -> bytes:
    """429 with errorCode 4029; ``retryAfter`` in whole seconds."""
    body = {
        "retryAfter": retry_after_s,
        "errorCode": 4029,
        "errorMessage": text,
        "name": "TooManyRequestsError",
        "message": text,
    }
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


def typing(ids: dict[str, Any], duration_ms: int, field: str = "duration") -> dict[str, Any]:
    """Body of a typing indicator from the other side; some name its length ``durationMs``."""
    return {
        "type": "Event",
        "direction": "Outbound",
        **ids,
        "events": [{"eventType": "Typing", "typing": {"type": "On", field: duration_ms}}],
    }
