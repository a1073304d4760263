"""HAR exports made by hand: sockets with messages, in the form in which browsers write them."""

import json
from typing import Any

TOKEN = "3f1c7c1e-9a0b-4d2e-8f00-5a5a5a5a5a5a"
DEPLOYMENT = "0b1d2c3e-1111-4222-8333-444455556666"


def har(*sockets: dict[str, Any], creator: str = "WebInspector", pages: int = 1) -> dict[str, Any]:
    """A whole export."""
    page = {"request": {"url": "https://shop.example/"}, "response": {"status": 200}}
    entries = [*([page] * pages), *sockets]
    return {"log": {"version": "1.2", "creator": {"name": creator}, "entries": entries}}


def socket(messages: list[Any] | None, *, status: int = 101, url: str = "") -> dict[str, Any]:
    """One websocket; ``None`` as messages leaves their field out."""
    entry: dict[str, Any] = {
        "_resourceType": "websocket",
        "request": {"url": url or f"wss://webmessaging.example/v1?deploymentId={DEPLOYMENT}"},
        "response": {"status": status},
    }
    return entry if messages is None else entry | {"_webSocketMessages": messages}


def sent(at_s: float, action: str = "onMessage", **fields: Any) -> dict[str, Any]:
    """A frame of the guest."""
    frame = {"action": action, "token": TOKEN, "tracingId": f"t-{at_s}", **fields}
    return {"type": "send", "time": at_s, "opcode": 1, "data": json.dumps(frame)}


def got(at_s: float, name: str, body: Any, **fields: Any) -> dict[str, Any]:
    """A frame of the service."""
    frame = {"type": "message", "class": name, "code": 200, "body": body, **fields}
    return {"type": "receive", "time": at_s, "opcode": 1, "data": json.dumps(frame)}


def configured(at_s: float, *, new: bool = True, token: str = TOKEN) -> list[dict[str, Any]]:
    """How each connection begins."""
    return [
        sent(at_s, "configureSession", deploymentId=DEPLOYMENT, startNew=False, token=token),
        got(at_s + 0.1, "SessionResponse", {"connected": True, "newSession": new}),
    ]


def said(at_s: float, text: str, **more: Any) -> dict[str, Any]:
    """A text of the guest."""
    return sent(at_s, message={"type": "Text", "text": text, **more})


def came(at_s: float, text: str, **more: Any) -> dict[str, Any]:
    """A text of the bot."""
    body = {
        "type": "Text", "direction": "Outbound", "id": f"{int(at_s * 1000):032x}", "text": text,
        "originatingEntity": "Bot", **more,
    }  # fmt: skip
    return got(at_s, "StructuredMessage", body)


def left(at_s: float) -> list[dict[str, Any]]:
    """Clear, and how the service proves it."""
    presence = {"eventType": "Presence", "presence": {"type": "Clear"}}
    body = {"type": "Event", "direction": "Inbound", "events": [presence]}
    return [
        sent(at_s, message={"type": "Event", "events": [presence]}),
        got(at_s + 0.1, "StructuredMessage", body, tracingId=f"t-{at_s}"),
        got(at_s + 0.2, "SessionClearedEvent", {}),
        got(at_s + 0.3, "ConnectionClosedEvent", {}),
    ]
