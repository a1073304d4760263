"""Checks that several actions share: the session of a request, and its custom attributes."""

from typing import TYPE_CHECKING, Any

from harness.simulator.truth.state import Session

if TYPE_CHECKING:
    from harness.simulator.guest_api.connection import Connection


def session_for(
    connection: "Connection", request: dict[str, Any], tracing_id: str | None
) -> Session | None:
    """The session of a request; None after saying why there is none."""
    session = connection.session
    token = request.get("token")
    if session is None or (token is not None and token != session.token):
        connection.refuse(4007, "session not found error message", tracing_id)
        return None
    if session.ended is None and session.expires <= connection.service.now():
        connection.service.expire(session)
    if session.ended is not None:
        connection.refuse(4006, "session has expired", tracing_id)
        return None
    return session


READ_ONLY = "Session is read-only, no new messages allowed"


def may_speak(connection: "Connection", session: Session, tracing_id: str | None) -> bool:
    """Whether a text or a Join is taken; False after refusing it.

    Where sign-in is on, guests who have not signed in can't send messages unless their sessions may
    be upgraded (the vendor's definition); in which words they are refused is not known.
    """
    if session.read_only:
        connection.refuse(409, READ_ONLY, tracing_id)
        return False
    settings, how = session.deployment.settings, connection.service.knobs.strangers
    if (
        not settings.authentication
        or settings.session_upgrade
        or session.authenticated is not None
        or how == "allowed"
    ):
        return True
    connection.service.truth.count("strangers_refused")
    if how != "silence":
        connection.refuse(int(how), "User is unauthorized", tracing_id)
    return False


def count_misplaced(connection: "Connection", channel: object) -> None:
    """Attributes at the top level are ignored by the service since June 2026; tell how many."""
    metadata = channel.get("metadata") if isinstance(channel, dict) else None
    if isinstance(metadata, dict) and metadata.get("customAttributes"):
        connection.service.truth.count("misplaced_attributes")


def take_attributes(
    connection: "Connection", session: Session, message: dict[str, Any], tracing_id: str | None
) -> bool:
    """Custom attributes of ``message.channel``; False after refusing the message for them.

    Later values overwrite earlier ones. A ``runId`` names the run whose account the session is in.
    """
    channel = message.get("channel")
    metadata = channel.get("metadata") if isinstance(channel, dict) else None
    wanted = metadata.get("customAttributes") if isinstance(metadata, dict) else None
    if wanted is None:
        return True
    if not isinstance(wanted, dict) or not all(isinstance(v, str) for v in wanted.values()):
        connection.refuse(400, "Request failed.", tracing_id)
        return False
    service = connection.service
    size = sum(len(key.encode()) + len(value.encode()) for key, value in wanted.items())
    limit = service.limits.attribute_bytes
    if limit and size > limit:
        text = f"Custom Attributes in channel metadata is larger than {limit} bytes"
        connection.refuse(4013, text, tracing_id)
        return False
    session.attributes = {**(session.attributes or {}), **wanted}
    if session.conversation is not None:
        session.conversation.attributes.update(wanted)
    run_id = wanted.get("runId", wanted.get("run_id"))
    if run_id is not None:
        service.assign_run(session, run_id)
    return True
