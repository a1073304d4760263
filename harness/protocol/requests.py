"""What a guest says to the service: one function per request, each gives the object to encode.

A request is a plain dict: it lives for the microseconds until it is encoded. Shapes follow what
the vendor's mobile SDK sends; every request carries ``action``, ``token`` and ``tracingId``.

The guest API's own words: SDK = the vendor's mobile transport SDK 2.14 and Java SDK 18.1 with its
published schema.
"""

import hmac
import uuid
from collections.abc import Mapping, Sequence
from enum import IntEnum, StrEnum
from typing import Any


class Action(StrEnum):
    """``action`` of a request (SDK)."""

    CONFIGURE_SESSION = "configureSession"
    CONFIGURE_AUTHENTICATED_SESSION = "configureAuthenticatedSession"
    ON_MESSAGE = "onMessage"
    ECHO = "echo"
    GET_JWT = "getJwt"
    ON_ATTACHMENT = "onAttachment"
    CLOSE_SESSION = "closeSession"


class MessageClass(StrEnum):
    """``class`` of a server message (SDK). Clients dispatch on this and not on ``type``, because
    the vendor's own sources disagree on ``type`` for several classes."""

    STRING = "string"
    SESSION_RESPONSE = "SessionResponse"
    STRUCTURED_MESSAGE = "StructuredMessage"
    PRESIGNED_URL_RESPONSE = "PresignedUrlResponse"
    ATTACHMENT_DELETED_RESPONSE = "AttachmentDeletedResponse"
    UPLOAD_FAILURE_EVENT = "UploadFailureEvent"
    UPLOAD_SUCCESS_EVENT = "UploadSuccessEvent"
    CONNECTION_CLOSED_EVENT = "ConnectionClosedEvent"
    LOGOUT_EVENT = "LogoutEvent"
    SESSION_EXPIRED_EVENT = "SessionExpiredEvent"
    JWT_RESPONSE = "JwtResponse"
    GET_CONFIGURATION_RESPONSE = "GetConfigurationResponse"
    GENERATE_URL_ERROR = "GenerateUrlError"
    TOO_MANY_REQUESTS = "TooManyRequestsErrorMessage"
    RESUME_TOKEN_RESPONSE = "ResumeTokenResponse"
    SESSION_CLEARED_EVENT = "SessionClearedEvent"
    ERROR = "Error"


class ErrorCode(IntEnum):
    """Codes with a meaning of their own for a guest (SDK)."""

    UNAUTHORIZED = 401
    FORBIDDEN = 403
    READ_ONLY = 409
    TOO_MANY_REQUESTS = 429
    SESSION_EXPIRED = 4006
    SESSION_NOT_FOUND = 4007
    CANNOT_DOWNGRADE = 4017
    REQUEST_RATE_TOO_HIGH = 4029


CLOSE_GOING_AWAY = 1001
"""Ends a connection that is idle or too old."""


Request = dict[str, Any]
Attributes = Mapping[str, str] | None


class Button(StrEnum):
    """``buttonResponse.type``: what the guest has chosen from (the published schema, whose forms no
    guest fills in)."""

    QUICK_REPLY = "QuickReply"
    BUTTON = "Button"
    DATE_PICKER = "DatePicker"
    LIST_PICKER = "ListPicker"


def journey_id(token: str) -> str:
    """The customer id of a guest's journey context: a hash with the token as its key, as a UUID.

    Analytics shows it to everyone who may read there, so it must not be the token, which is the key
    to the conversation. Who has the token can make it again.
    """
    digest = hmac.digest(token.encode(), b"journey context customer id", "sha256")
    return str(uuid.UUID(bytes=digest[:16], version=4))


def configure_session(
    token: str,
    deployment_id: str,
    tracing_id: str,
    *,
    start_new: bool = False,
    sign_in: str = "",
) -> Request:
    """Open the session of ``token``, or resume it; ``sign_in`` is an authenticated guest's JWT.

    ``start_new`` orphans a session that is still alive; the vendor's SDK uses it only after a
    Disconnect that made the session read-only, never on a reconnect.
    """
    request = {
        "action": Action.CONFIGURE_SESSION,
        "deploymentId": deployment_id,
        "token": token,
        "startNew": start_new,
        "tracingId": tracing_id,
        # It makes the conversation findable in analytics afterwards.
        "journeyContext": {
            "customer": {"id": journey_id(token), "idType": "cookie"},
            "customerSession": {"id": "", "type": "web"},
        },
    }
    if sign_in:
        request["action"] = Action.CONFIGURE_AUTHENTICATED_SESSION
        request["data"] = {"code": sign_in}
    return request


def text(
    token: str,
    tracing_id: str,
    body: str,
    *,
    custom_attributes: Attributes = None,
    attachment_id: str = "",
) -> Request:
    """A text of the guest; ``body`` is at most 4096 bytes in UTF-8 and may be empty with a file.

    Custom attributes travel in ``message.channel``: at the top level of the request they have been
    ignored since 5 June 2026 (the vendor's deprecation notice).
    """
    message: Request = {"type": "Text", "text": body, "metadata": {"id": tracing_id}}
    if attachment_id:
        message["content"] = [{"contentType": "Attachment", "attachment": {"id": attachment_id}}]
    return _on_message(token, tracing_id, message, custom_attributes)


def choices(
    token: str,
    tracing_id: str,
    chosen: Sequence[tuple[str, str]],
    *,
    button: Button = Button.QUICK_REPLY,
    parent_id: str = "",
) -> Request:
    """The answer to a quick reply, a button or a picker, as (text, payload), in one message.

    ``parent_id`` is the picker's message; of one, several may be chosen. As in the vendor's mobile
    SDK of July 2026 (a branch that is not released): a button response for each, all with the
    picker's message.
    """
    shown = ", ".join(text for text, _ in chosen)
    message: Request = {
        "type": "Structured",
        "text": shown,
        "metadata": {"id": tracing_id},
        "content": [
            {
                "contentType": "ButtonResponse",
                "buttonResponse": {"type": button, "text": text, "payload": payload},
            }
            for text, payload in chosen
        ],
    }
    if parent_id:
        message["metadata"]["parentMessageId"] = parent_id
        for part in message["content"]:
            part["buttonResponse"]["originatingMessageId"] = parent_id
    return _on_message(token, tracing_id, message, None)


def join(token: str, tracing_id: str, *, custom_attributes: Attributes = None) -> Request:
    """Presence Join: the guest enters and the conversation starts without a text."""
    presence = {"eventType": "Presence", "presence": {"type": "Join"}}
    return _event(token, tracing_id, presence, custom_attributes)


def clear(token: str, tracing_id: str) -> Request:
    """Presence Clear: the only thing a guest can say that ends session and conversation."""
    presence = {"eventType": "Presence", "presence": {"type": "Clear"}}
    return _event(token, tracing_id, presence, None)


def typing(token: str, tracing_id: str) -> Request:
    """The guest is typing; official clients send it at most once in 5 s. It is not answered."""
    return _event(token, tracing_id, {"eventType": "Typing", "typing": {"type": "On"}}, None)


def health_check(token: str, tracing_id: str) -> Request:
    """The echo request.

    Its own tracingId each time, as in the vendor's Java SDK: by the mobile SDK's fixed one a late
    answer would be taken for that of the next request.
    """
    ping = {"type": "Text", "text": "ping"}
    return _request(Action.ECHO, token, tracing_id, message=ping)


def get_jwt(token: str, tracing_id: str) -> Request:
    """Ask for a JWT for the guest's own REST calls; it lives for about a minute."""
    return _request(Action.GET_JWT, token, tracing_id)


def close_session(token: str, tracing_id: str) -> Request:
    """Close all connections of a session; official clients do it before ``startNew`` only."""
    return _request(Action.CLOSE_SESSION, token, tracing_id, closeAllConnections=True)


def announce_file(
    token: str, tracing_id: str, attachment_id: str, name: str, mime: str, size: int
) -> Request:
    """onAttachment: ask where to upload a file of ``size`` bytes to."""
    file = {"attachmentId": attachment_id, "fileName": name, "fileType": mime, "fileSize": size}
    return _request(Action.ON_ATTACHMENT, token, tracing_id, **file)


def attributes_size(attributes: Mapping[str, str]) -> int:
    """What the service counts of custom attributes: UTF-8 bytes of all keys and values."""
    return sum(len(key.encode()) + len(value.encode()) for key, value in attributes.items())


def _event(token: str, tracing_id: str, event: Request, custom_attributes: Attributes) -> Request:
    return _on_message(token, tracing_id, {"type": "Event", "events": [event]}, custom_attributes)


def _on_message(
    token: str, tracing_id: str, message: Request, custom_attributes: Attributes
) -> Request:
    if custom_attributes:
        message["channel"] = {"metadata": {"customAttributes": dict(custom_attributes)}}
    return _request(Action.ON_MESSAGE, token, tracing_id, message=message)


def _request(action: Action, token: str, tracing_id: str, **fields: object) -> Request:
    return {"action": action, "token": token, "tracingId": tracing_id, **fields}
