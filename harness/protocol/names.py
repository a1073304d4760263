"""The guest API's own words and documented limits.

Where a fact comes from: SDK = the vendor's mobile transport SDK 2.14 and Java SDK 18.1 with its
published schema; limits page = the vendor's "Web Messaging" limits as of October 2026.
"""

from enum import IntEnum, StrEnum


class Action(StrEnum):
    """``action`` of a request (SDK)."""

    CONFIGURE_SESSION = "configureSession"
    CONFIGURE_AUTHENTICATED_SESSION = "configureAuthenticatedSession"
    ON_MESSAGE = "onMessage"
    ECHO = "echo"
    GET_JWT = "getJwt"
    ON_ATTACHMENT = "onAttachment"
    GET_ATTACHMENT = "getAttachment"
    DELETE_ATTACHMENT = "deleteAttachment"
    CLOSE_SESSION = "closeSession"
    GET_CONFIGURATION = "getConfiguration"


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

HEALTH_CHECK_TRACING_ID = "SGVhbHRoQ2hlY2tNZXNzYWdlSWQ="
"""base64 of "HealthCheckMessageId": what the vendor's SDK marks its echo requests with."""

MAX_TEXT_BYTES = 4096
"""A text longer than this is answered with 4011 (limits page)."""
MAX_CUSTOM_ATTRIBUTE_BYTES = 2048
"""UTF-8 bytes of all keys and values together; more is answered with 4013 (limits page)."""
REQUESTS_PER_CONNECTION_PER_MINUTE = 60
MESSAGES_PER_SESSION_PER_SECOND = 5
CONNECTIONS_PER_DEPLOYMENT_PER_MINUTE = 1000
