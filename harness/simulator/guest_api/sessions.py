"""configureSession and closeSession: how connections come to a session and leave it."""

from collections import deque
from typing import TYPE_CHECKING, Any

from harness.simulator.guest_api import frames
from harness.simulator.limits import over
from harness.simulator.truth.state import Deployment, Session, SessionEnd

if TYPE_CHECKING:
    from harness.simulator.guest_api.connection import Connection

BLOCKED_EXTENSIONS = [".ade", ".adp", ".bat", ".cmd", ".com", ".exe", ".js", ".msi", ".scr", ".vbs"]


def acceptable_token(
    connection: "Connection", request: dict[str, Any], tracing_id: str | None
) -> str | None:
    """The token of a configure request; None after refusing the request."""
    token = request.get("token")
    deployment_id = request.get("deploymentId")
    if token is None or deployment_id is None:
        missing = "token" if token is None else "deploymentId"
        connection.refuse(4020, f"Missing parameter: {missing}", tracing_id)
        return None
    if (
        not isinstance(token, str)
        or not token
        or len(token) > connection.service.limits.token_characters > 0
        or deployment_id != connection.deployment.id
    ):
        connection.refuse(400, "Request failed.", tracing_id)
        return None
    return token


def configure(connection: "Connection", request: dict[str, Any], tracing_id: str | None) -> None:
    """A new session for a new token, or the existing one; see ``enter``."""
    token = acceptable_token(connection, request, tracing_id)
    if token is None:
        return
    if token in connection.deployment.signed_in:
        connection.refuse(4017, "Cannot downgrade to unauthenticated session", tracing_id)
        return
    enter(connection, request, token, tracing_id)


def enter(
    connection: "Connection",
    request: dict[str, Any],
    token: str,
    tracing_id: str | None,
    *,
    subject: str | None = None,
    cleared_existing: bool = False,
) -> None:
    """Join the connection to the token's session, opening one where there is none."""
    service = connection.service
    deployment = connection.deployment
    session = service.find_session(deployment, token)
    if session is not None and _too_often(connection, session, tracing_id):
        return
    if session is not None and request.get("startNew") is True:
        if refused := service.faults.strikes("refuse_new"):
            connection.refuse_rate(
                refused.seconds, "Too many configure requests for this session", tracing_id
            )
            return
        for other in session.connections:
            other.session = None
        session.connections.clear()
        service.end_session(session, SessionEnd.REPLACED)
        session = None
    new = session is None
    if session is None:
        most = service.knobs.max_sessions
        if len(service.by_serial) >= most:
            service.log(
                f"{most} sessions are open: no more is opened (knob max_sessions)", once=True
            )
            connection.refuse(503, "Request failed.", tracing_id)
            return
        session = service.open_session(deployment, token)
        if service.limits.configures_per_session_per_minute:
            session.configure_times = deque((service.now(),))
    else:
        service.note(session, "resumed")
    session.authenticated = subject or session.authenticated
    journey = request.get("journeyContext")
    if isinstance(journey, dict) and isinstance(journey.get("customer"), dict):
        customer_id = journey["customer"].get("id")
        if isinstance(customer_id, str):
            session.journey_customer_id = customer_id
    attach(connection, session)
    body = session_body(connection, session, new=new)
    if cleared_existing:
        body["clearedExistingSession"] = True
    answer = frames.response("SessionResponse", body, tracing_id)
    if early := service.faults.strikes("early_error"):
        connection.refuse(early.code, "Request failed.", None)
        service.later(early.seconds, connection.send, answer)
        return
    connection.send(answer)


def _too_often(connection: "Connection", session: Session, tracing_id: str | None) -> bool:
    service = connection.service
    limit = service.limits.configures_per_session_per_minute
    if not limit:
        return False
    if session.configure_times is None:
        session.configure_times = deque()
    wait = over(session.configure_times, limit, window_s=60, now=service.now())
    if wait:
        text = "ConfigureSession rate too high for this session"
        code = service.knobs.configure_limit_code
        connection.refuse_rate(wait, text, tracing_id, code=code)
    return wait > 0


def attach(connection: "Connection", session: Session) -> None:
    """Make it a connection of the session; the oldest one goes if there are too many."""
    leave(connection)
    connection.session = session
    session.connections.append(connection)
    service = connection.service
    limit = service.limits.connections_per_session
    while limit and len(session.connections) > limit:
        oldest = session.connections.pop(0)
        oldest.session = None
        service.note(session, "connection retired")
        oldest.retire()


def leave(connection: "Connection") -> None:
    """The connection no longer belongs to a session; the session lives on."""
    session = connection.session
    if session is not None:
        connection.session = None
        if connection in session.connections:
            session.connections.remove(connection)


def session_body(connection: "Connection", session: Session, *, new: bool) -> dict[str, Any]:
    """Body of a SessionResponse for a configured session."""
    service = connection.service
    body: dict[str, Any] = {
        "connected": True,
        "newSession": new,
        "readOnly": session.read_only,
        "clearedExistingSession": False,
        "maxCustomDataBytes": service.limits.attribute_bytes,
        "allowedMedia": allowed_media(session.deployment, service.limits.attachment_bytes),
        "blockedExtensions": BLOCKED_EXTENSIONS,
        "durationSeconds": int(session.deployment.settings.session_duration_s),
        "expirationDate": int(session.expires),
    }
    if service.knobs.max_custom_data_bytes_absent and new:
        del body["maxCustomDataBytes"]
    return body


def allowed_media(deployment: Deployment, limit_bytes: int) -> dict[str, Any]:
    """The Supported Content Profile: what a guest may upload."""
    types = [{"type": "*/*"}] if deployment.settings.attachments else []
    return {"inbound": {"fileTypes": types, "maxFileSizeKB": limit_bytes // 1024}}


def close(connection: "Connection", request: dict[str, Any], tracing_id: str | None) -> None:
    """closeSession: this connection, or all of the session, leave it. The session stays."""
    service = connection.service
    session = connection.session
    if session is None:
        connection.refuse(4007, "session not found error message", tracing_id)
        return
    everyone = request.get("closeAllConnections")
    if not isinstance(everyone, bool):
        connection.refuse(4020, "Missing parameter: closeAllConnections", tracing_id)
        return
    body = {"connected": False, "newSession": False, "readOnly": session.read_only}
    connection.send(frames.response("SessionResponse", body, tracing_id))
    if everyone:
        for other in [one for one in session.connections if one is not connection]:
            other.retire()
            leave(other)
    leave(connection)
    service.note(session, "closed by closeSession")


def undocumented(
    connection: "Connection", _request: dict[str, Any], tracing_id: str | None
) -> None:
    """disconnectCustomer: the schema lists the name, and nobody knows what it takes or does."""
    connection.refuse(400, "Request failed.", tracing_id)
