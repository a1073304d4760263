"""Sessions and their deployment: opened, closed, looked up for a request.

configureSession and closeSession are how connections come to a session and leave it. Here too are
the checks that several actions share, and what a deployment tells of itself (getConfiguration, and
the files of the CDN).
"""

from typing import TYPE_CHECKING, Any

from aiohttp import web

from harness.foreign import inner
from harness.simulator import frames
from harness.simulator.guest_api.connection import Refused
from harness.simulator.rest import api_error, guarded, json_response
from harness.simulator.settings import limit_wait_s
from harness.simulator.truth import Deployment, Session, SessionEnd

if TYPE_CHECKING:
    from harness.simulator.guest_api.connection import Connection
    from harness.simulator.service import Service
    from harness.simulator.settings import DeploymentSettings


RATE_TOO_HIGH = "Message rate too high for this session"
NOT_FOUND = "session not found error message"
BLOCKED_EXTENSIONS = [".ade", ".adp", ".bat", ".cmd", ".com", ".exe", ".js", ".msi", ".scr", ".vbs"]


def acceptable_token(connection: "Connection", request: dict[str, Any]) -> str:
    """The token of a configure request. Raises Refused."""
    for key in ("token", "deploymentId"):
        if request.get(key) is None:
            raise Refused(4020, f"Missing parameter: {key}")
    token = request["token"]
    if (
        not isinstance(token, str)
        or not token
        or len(token) > connection.service.limits.token_characters > 0
        or request["deploymentId"] != connection.deployment.id
    ):
        raise Refused(400)
    return token


def configure(connection: "Connection", request: dict[str, Any], tracing_id: str | None) -> None:
    """A new session for a new token, or the existing one; see ``enter``."""
    token = acceptable_token(connection, request)
    if token in connection.deployment.signed_in:
        raise Refused(4017, "Cannot downgrade to unauthenticated session")
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
    limit = service.limits.configures_per_session_per_minute
    if session is not None and (
        wait_s := limit_wait_s(session, "configure_times", limit, 60, service.now())
    ):
        text = "ConfigureSession rate too high for this session"
        raise Refused(429, text, wait_s=wait_s, inner=service.knobs.configure_limit_code)
    if session is not None and request.get("startNew") is True:
        if refused := service.faults.strikes("refuse_new"):
            text = "Too many configure requests for this session"
            raise Refused(429, text, wait_s=refused.seconds)
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
            raise Refused(503)
        session = service.open_session(deployment, token)
        limit_wait_s(session, "configure_times", limit, 60, service.now())
    else:
        service.note(session, "resumed")
    session.authenticated = subject or session.authenticated
    customer_id = inner(request, "journeyContext", "customer", "id")
    if isinstance(customer_id, str):
        session.journey_customer_id = customer_id
    attach(connection, session)
    body = session_body(connection, session, new=new)
    if cleared_existing:
        body["clearedExistingSession"] = True
    answer = frames.response("SessionResponse", body, tracing_id)
    if early := service.faults.strikes("early_error"):
        connection.refuse(Refused(early.code), None)
        service.later(early.seconds, connection.send, answer)
        return
    connection.send(answer)


def attach(connection: "Connection", session: Session) -> None:
    """Add the connection to the session; the oldest one is closed if there are too many."""
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
        raise Refused(4007, NOT_FOUND)
    everyone = request.get("closeAllConnections")
    if not isinstance(everyone, bool):
        raise Refused(4020, "Missing parameter: closeAllConnections")
    body = {"connected": False, "newSession": False, "readOnly": session.read_only}
    connection.send(frames.response("SessionResponse", body, tracing_id))
    if everyone:
        for other in [one for one in session.connections if one is not connection]:
            other.retire()
            leave(other)
    leave(connection)
    service.note(session, "closed by closeSession")


def undocumented(
    _connection: "Connection", _request: dict[str, Any], _tracing_id: str | None
) -> None:
    """disconnectCustomer: the schema lists the name, and nobody knows what it takes or does."""
    raise Refused(400)


def session_for(connection: "Connection", request: dict[str, Any]) -> Session:
    """The session of a request. Raises Refused."""
    session = connection.session
    token = request.get("token")
    if session is None or (token is not None and token != session.token):
        raise Refused(4007, NOT_FOUND)
    if session.ended is None and session.expires <= connection.service.now():
        connection.service.expire(session)
    if session.ended is not None:
        raise Refused(4006, "session has expired")
    return session


def may_speak(connection: "Connection", session: Session) -> bool:
    """Whether a text or a Join is taken; False where it is passed over in silence. Raises Refused.

    Where sign-in is on, guests who have not signed in can't send messages unless their sessions may
    be upgraded (the vendor's definition); in which words they are refused is not known.
    """
    if session.read_only:
        raise Refused(409, "Session is read-only, no new messages allowed")
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
        raise Refused(int(how), "User is unauthorized")
    return False


def set_attributes(connection: "Connection", session: Session, message: dict[str, Any]) -> None:
    """Custom attributes of ``message.channel``. Raises Refused.

    Later values overwrite earlier ones. A ``runId`` names the run whose account the session is in.
    """
    wanted = inner(message, "channel", "metadata", "customAttributes")
    if wanted is None:
        return
    if not isinstance(wanted, dict) or not all(isinstance(v, str) for v in wanted.values()):
        raise Refused(400)
    service = connection.service
    size = sum(len(key.encode()) + len(value.encode()) for key, value in wanted.items())
    limit = service.limits.attribute_bytes
    if limit and size > limit:
        raise Refused(4013, f"Custom Attributes in channel metadata is larger than {limit} bytes")
    session.attributes = {**(session.attributes or {}), **wanted}
    if session.conversation is not None:
        session.conversation.attributes.update(wanted)
    run_id = wanted.get("runId", wanted.get("run_id"))
    if run_id is not None:
        service.assign_run(session, run_id)


DISCONNECT_TYPES = {"off": "Send", "send": "Send", "read_only": "ReadOnly"}


def send_configuration(
    connection: "Connection", request: dict[str, Any], tracing_id: str | None
) -> None:
    """getConfiguration; needs no session, only the deployment."""
    if request.get("deploymentId") is None:
        raise Refused(4020, "Missing parameter: deploymentId")
    if request["deploymentId"] != connection.deployment.id:
        raise Refused(400)
    limits = connection.service.limits
    body = {
        "allowedMedia": allowed_media(connection.deployment, limits.attachment_bytes),
        "blockedExtensions": BLOCKED_EXTENSIONS,
        "maxCustomDataBytes": limits.attribute_bytes,
        "messageRoutingEnabled": True,
        "sessionDurationSeconds": int(connection.deployment.settings.session_duration_s),
    }
    connection.send(frames.response("GetConfigurationResponse", body, tracing_id))


def config_json(settings: "DeploymentSettings", http: str) -> dict[str, Any]:
    """The deployment's configuration file; ``http`` is the origin of this service."""
    return {
        "id": settings.id,
        "version": "1",
        "languages": ["en-us"],
        "defaultLanguage": "en-us",
        "apiEndpoint": http,
        "status": "Active" if settings.active else "Inactive",
        "headlessMode": {"enabled": False},
        "messenger": {
            "enabled": True,
            "apps": {
                "conversations": {
                    "enabled": True,
                    "messagingEndpoint": http.replace("http", "ws", 1),
                    "showAgentTypingIndicator": True,
                    "showUserTypingIndicator": settings.typing,
                    "autoStart": {"enabled": settings.auto_start},
                    "markdown": {"enabled": False},
                    "conversationDisconnect": {
                        "enabled": settings.disconnect != "off",
                        "type": DISCONNECT_TYPES[settings.disconnect],
                    },
                    "conversationClear": {"enabled": settings.conversation_clear},
                    "notifications": {
                        "enabled": False,
                        "notificationContentType": "ExcludeMessagesContent",
                    },
                    "humanize": {"enabled": False},
                    "sessionDurationSeconds": int(settings.session_duration_s),
                }
            },
            "styles": {"primaryColor": "#336699"},
            "launcherButton": {"visibility": "On"},
            "homeScreen": {"enabled": False},
            "fileUpload": {
                "enableAttachments": settings.attachments,
                "modes": [{"fileTypes": ["*/*"], "maxFileSizeKB": 10240}],
            },
        },
        "position": {"alignment": "Auto", "sideSpace": 20, "bottomSpace": 12},
        "journeyEvents": {"enabled": False},
        "cobrowse": {"enabled": False},
        "auth": {
            "enabled": settings.authentication,
            "allowSessionUpgrade": settings.session_upgrade,
        },
    }


def web_deployment(settings: "DeploymentSettings") -> dict[str, Any]:
    """GET /api/v2/webdeployments/deployments/{id}: what operators see of it."""
    return {
        "id": settings.id,
        "name": "simulated",
        "status": "Active" if settings.active else "Inactive",
        "allowAllDomains": settings.allow_all_domains,
        "allowedDomains": list(settings.allowed_domains),
        "flow": {"id": settings.flow_id, "name": "simulated"},
        "configuration": {"id": settings.id, "version": "1"},
    }


def add_routes(app: web.Application, service: "Service") -> None:
    """config.json and domains.json, without credentials; 403 for an unknown id as at the CDN.

    And the deployment itself, for clients of the Platform API.
    """

    async def config(request: web.Request) -> web.Response:
        deployment = service.deployments.get(request.match_info["id"])
        if deployment is None:
            return web.Response(status=403, text="Forbidden")
        return json_response(config_json(deployment.settings, f"{request.scheme}://{request.host}"))

    async def domains(request: web.Request) -> web.Response:
        deployment = service.deployments.get(request.match_info["id"])
        if deployment is None:
            return web.Response(status=403, text="Forbidden")
        body = {
            "allowAllDomains": deployment.settings.allow_all_domains,
            "allowedDomains": list(deployment.settings.allowed_domains),
        }
        return json_response(body)

    async def view(request: web.Request) -> web.Response:
        deployment = service.deployments.get(request.match_info["id"])
        if deployment is None:
            return api_error(404, "not.found", "The requested resource was not found.")
        return json_response(web_deployment(deployment.settings))

    may = ("webDeployments:deployment:view",)
    app.router.add_get("/api/v2/webdeployments/deployments/{id}", guarded(service, may, view))
    base = "/webdeployments/v1/deployments/{id}"
    app.router.add_get(f"{base}/config.json", config)
    app.router.add_get(f"{base}/domains.json", domains)
