"""What a guest says to the service: one function per request, each gives the object to encode.

A request is a plain dict: it lives for the microseconds until it is encoded. Shapes follow what
the vendor's mobile SDK sends; every request carries ``action``, ``token`` and ``tracingId``.
"""

from collections.abc import Mapping
from typing import Any

from harness.protocol.names import HEALTH_CHECK_TRACING_ID, Action

Request = dict[str, Any]


def configure_session(
    token: str, deployment_id: str, tracing_id: str, *, start_new: bool = False
) -> Request:
    """Open the session of ``token``, or resume it.

    ``start_new`` orphans a session that is still alive; the vendor's SDK uses it only after a
    Disconnect that made the session read-only, never on a reconnect.
    """
    return {
        "action": Action.CONFIGURE_SESSION,
        "deploymentId": deployment_id,
        "token": token,
        "startNew": start_new,
        "tracingId": tracing_id,
        # The token as customer id makes the conversation findable in analytics afterwards.
        "journeyContext": {
            "customer": {"id": token, "idType": "cookie"},
            "customerSession": {"id": "", "type": "web"},
        },
    }


def text(
    token: str,
    tracing_id: str,
    body: str,
    *,
    custom_attributes: Mapping[str, str] | None = None,
) -> Request:
    """A text of the guest; ``body`` is at most 4096 bytes in UTF-8.

    Custom attributes travel in ``message.channel``: at the top level of the request they have been
    ignored since 5 June 2026 (the vendor's deprecation notice).
    """
    message: Request = {"type": "Text", "text": body, "metadata": {"id": tracing_id}}
    if custom_attributes:
        message["channel"] = {"metadata": {"customAttributes": dict(custom_attributes)}}
    return {
        "action": Action.ON_MESSAGE,
        "token": token,
        "tracingId": tracing_id,
        "message": message,
    }


def join(
    token: str, tracing_id: str, *, custom_attributes: Mapping[str, str] | None = None
) -> Request:
    """Presence Join: the guest enters and the conversation starts without a text."""
    request = _presence(token, tracing_id, "Join")
    if custom_attributes:
        request["message"]["channel"] = {"metadata": {"customAttributes": dict(custom_attributes)}}
    return request


def clear(token: str, tracing_id: str) -> Request:
    """Presence Clear: the only thing a guest can say that ends session and conversation."""
    return _presence(token, tracing_id, "Clear")


def health_check(token: str) -> Request:
    """The echo request; its fixed tracingId tells its answer from every message."""
    return {
        "action": Action.ECHO,
        "token": token,
        "tracingId": HEALTH_CHECK_TRACING_ID,
        "message": {"type": "Text", "text": "ping"},
    }


def _presence(token: str, tracing_id: str, kind: str) -> Request:
    return {
        "action": Action.ON_MESSAGE,
        "token": token,
        "tracingId": tracing_id,
        "message": {
            "type": "Event",
            "events": [{"eventType": "Presence", "presence": {"type": kind}}],
        },
    }
