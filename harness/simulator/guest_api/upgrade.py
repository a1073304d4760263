"""The websocket upgrade: who is let in, and what happens to a connection from then to its end.

A request is parsed, charged to the limits, and handed to what handles its action. The service is as
tolerant here as the real one is known to be: unknown fields and any order of fields are fine, and a
token may be missing once the connection has configured a session. The cross-origin rules for a
widget in a browser are here too: which headers the real hosts allow is not published, so any are,
for the origins that the deployments allow.
"""

import asyncio
import traceback
from collections.abc import Callable
from time import monotonic, time
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import orjson
from aiohttp import web

from harness.simulator import frames
from harness.simulator.guest_api import attachments, authentication, messages, sessions
from harness.simulator.guest_api.connection import Connection, Refused, cut_transport
from harness.simulator.guest_api.messages import presence_type
from harness.simulator.rest import Answer
from harness.simulator.settings import DeploymentSettings, limit_wait_s
from harness.simulator.truth import Question

if TYPE_CHECKING:
    from harness.simulator.service import Service


Handler = Callable[[Connection, dict[str, Any], str | None], None]

HANDLERS: dict[str, Handler] = {
    "configureSession": sessions.configure,
    "configureAuthenticatedSession": authentication.configure,
    "closeSession": sessions.close,
    "onMessage": messages.on_message,
    "echo": messages.echo,
    "getJwt": messages.send_jwt,
    "getConfiguration": sessions.send_configuration,
    "onAttachment": attachments.announce,
    "getAttachment": attachments.fetch,
    "deleteAttachment": attachments.delete,
    "resumeToken": authentication.resume_token,
    "disconnectCustomer": sessions.undocumented,
}


def _handle_after_stall(connection: Connection, data: bytes, arrived_s: float) -> None:
    service = connection.service
    service.arrived_s = arrived_s  # its own, not that of what came last meanwhile
    handle(connection, data)
    service.arrived_s = 0.0


def handle(connection: Connection, data: bytes) -> None:
    """Answer one message of the client. Never raises."""
    service = connection.service
    if service.stall.on:
        service.stall.defer(_handle_after_stall, connection, data, service.arrived_s or monotonic())
        return
    if connection.closing or connection.muted:
        return
    connection.last_active = now = time()
    if len(data) > service.largest_frame:
        connection.close(1009, "Message too big")
        return
    try:
        request = orjson.loads(data)
    except orjson.JSONDecodeError:
        _malformed(connection, data)
        return
    if not isinstance(request, dict):
        _malformed(connection, data)
        return
    tracing_id = request.get("tracingId")
    if type(tracing_id) is not str:
        tracing_id = None
    question = None
    try:
        if service.request_limit and (
            wait_s := limit_wait_s(connection, "request_times", service.request_limit, 60, now)
        ):
            raise Refused(429, "Too many requests on this connection", wait_s=wait_s)
        try:
            handler = HANDLERS[request["action"]]
        except (KeyError, TypeError):  # no action, an unknown one, or one that is no text
            _malformed(connection, b"")
            return
        if handler is messages.on_message:
            question = service.question = _question(connection, request, tracing_id, now)
        if not service.faults.active or not _struck(connection, request, handler, tracing_id):
            handler(connection, request, tracing_id)
    except Refused as error:
        connection.refuse(error, tracing_id)
    except Exception:  # noqa: BLE001  one bad request must not end the service; it is counted
        service.truth.count("internal_errors")
        last = traceback.format_exc().strip().splitlines()[-3:]
        service.log("internal error: " + " | ".join(line.strip() for line in last))
        connection.refuse(Refused(5000), tracing_id)
    if question is not None:
        service.question = None
        if connection.session is not None:
            question.run_id = connection.session.run_id


def _question(
    connection: Connection, request: dict[str, Any], tracing_id: str | None, now: float
) -> Question | None:
    """The row of a message that can be answered; None for any other."""
    kind = messages.question_kind(request.get("message"))
    if kind is None:
        return None
    service, session = connection.service, connection.session
    return service.truth.questions.add(
        kind,
        tracing_id,
        came=now,
        came_s=service.arrived_s or monotonic(),
        guest=None if session is None else session.serial,
    )


def step_of(request: dict[str, Any]) -> str:
    """Which step of a guest's life a request is, in the words of the fault plan."""
    action = request.get("action")
    if action == "configureSession" or action == "configureAuthenticatedSession":
        return "configure"
    if action == "echo":
        return "echo"
    if action != "onMessage":
        return "other"
    kind = presence_type(request.get("message"))
    return {"Join": "join", "Clear": "clear"}.get(kind or "", "text")


def _struck(
    connection: Connection, request: dict[str, Any], handler: Handler, tracing_id: str | None
) -> bool:
    """Faults of the step at hand; True if the request has been dealt with."""
    service = connection.service
    strikes = service.faults.strikes
    step = step_of(request)
    if stall := strikes("stall", step):
        service.stall.begin(stall.seconds)
    if strikes("half_open", step):
        connection.muted = True
    if limited := strikes("limit_any", step):
        raise Refused(429, sessions.RATE_TOO_HIGH, wait_s=limited.seconds)
    if failed := strikes("fail", step):
        raise Refused(failed.code)
    cut = strikes("cut", step)
    away = None if cut else strikes("go_away", step)
    blow = cut or away
    if blow is None:
        return connection.muted
    if connection.session is not None:
        service.note(connection.session, f"{blow.name} (fault)", f"{blow.when} {step}")
    connection.muted = blow.when == "after"
    if blow.when != "before":
        try:
            handler(connection, request, tracing_id)
        except Refused as error:
            connection.refuse(error, tracing_id)
    connection.muted = False
    if cut:
        connection.cut(blow.how)
    else:
        connection.close(1001, "Going away")
    return True


def _malformed(connection: Connection, data: bytes) -> None:
    """Answer what cannot be routed as the gateway or as the service does, as the knob sets."""
    service = connection.service
    service.truth.count("malformed")
    try:
        data.decode()
    except UnicodeDecodeError:
        connection.close(1007, "Invalid UTF-8")
        return
    if service.knobs.malformed_reply == "gateway":
        connection.send(frames.gateway_error(connection.id, service.ids.uuid()))
    elif service.knobs.malformed_reply == "error":
        connection.refuse(Refused(400), None)


CLOSE_PATIENCE_S = 2.0
"""How long the server waits for a client's half of the closing handshake."""


def origin_allowed(settings: DeploymentSettings, origin: str | None) -> bool:
    """The vendor's own client-side rule: the host equals an entry or lies below it.

    Scheme and port don't matter; an absent Origin is only fine where all domains are.
    """
    if settings.allow_all_domains:
        return True
    if not origin:
        return False
    try:
        host = urlsplit(origin if "//" in origin else f"//{origin}").hostname or ""
    except ValueError:
        return False
    return any(host == entry or host.endswith(f".{entry}") for entry in settings.allowed_domains)


def _refusal(service: "Service", request: web.Request) -> web.Response | None:
    """Why the upgrade is refused; None if it may go on."""
    deployment = service.deployments.get(request.query.get("deploymentId", ""))
    strikes = service.faults.strikes
    if strikes("refuse_403", "connect"):
        return web.Response(status=403, text="Forbidden")
    refused = strikes("refuse_429", "connect")
    if refused:
        headers = {"Retry-After": str(max(1, round(refused.seconds)))}
        return web.Response(status=429, text="Too Many Requests", headers=headers)
    if strikes("refuse_503", "connect"):
        return web.Response(status=503, text="Service Unavailable")
    if deployment is None and service.knobs.unknown_deployment_reply == "in_band":
        return None
    if (
        deployment is None
        or not deployment.settings.active
        or not origin_allowed(deployment.settings, request.headers.get("Origin"))
    ):
        return web.Response(status=403, text="Forbidden")
    limit = service.limits.connections_per_minute
    if wait_s := limit_wait_s(deployment, "connect_times", limit, 60, service.now()):
        headers = {"Retry-After": str(max(1, -int(-wait_s // 1)))}
        status = service.knobs.connection_rate_reply
        return web.Response(status=status, text="Too Many Requests", headers=headers)
    return None


async def _never_answer(request: web.Request, how: str | None) -> web.StreamResponse:
    """Cut the connection instead of answering the upgrade (``fin``, ``rst``), or never answer."""
    transport = request.transport
    if transport is not None and how is not None:
        cut_transport(transport, how)
    while request.transport is not None and not request.transport.is_closing():
        await asyncio.sleep(0.05)
    raise asyncio.CancelledError  # there is nobody to answer


async def accept(service: "Service", request: web.Request) -> web.StreamResponse:
    """One websocket connection, from the upgrade to its end."""
    slow = service.faults.strikes("slow_upgrade", "connect")
    if slow:
        service.truth.delay("connect", slow.seconds)
        await asyncio.sleep(slow.seconds)
    cut = service.faults.strikes("cut", "connect")
    if cut or service.faults.strikes("half_open", "connect"):
        service.truth.count("connections_unanswered")
        return await _never_answer(request, cut.how if cut else None)
    refusal = _refusal(service, request)
    if refusal is not None:
        service.truth.count(f"upgrade_refused_{refusal.status}")
        return refusal
    ws = web.WebSocketResponse(
        timeout=CLOSE_PATIENCE_S,
        compress=service.knobs.compress,
        max_msg_size=service.limits.message_bytes,
        decode_text=False,
        autoping=False,
    )
    await ws.prepare(request)
    transport = request.transport
    if transport is None:  # the client left during the handshake
        return ws
    deployment = service.deployments.get(request.query.get("deploymentId", ""))
    if deployment is None:
        await ws.send_frame(frames.error(400, "Deployment not found"), web.WSMsgType.TEXT)
        await ws.close()
        return ws
    connection = Connection(
        service, deployment, ws, transport, base=f"{request.scheme}://{request.host}"
    )
    service.connections.add(connection)
    service.truth.connected(request.remote or "", request.headers.get("Origin", ""))
    try:
        await connection.read(handle)
    finally:
        service.connections.discard(connection)
        session = connection.session
        if session is not None:
            service.note(session, "connection gone", f"code {ws.close_code}")
        sessions.leave(connection)
        connection.closing = True
        if connection.stamped is not None:
            connection.stamped.close()
    return ws


FOR_GUESTS = (
    "/api/v2/webmessaging/",
    "/api/v2/webdeployments/",
    "/webdeployments/",
    "/upload/",
    "/download/",
)


def allowed_headers(service: "Service", request: web.Request) -> dict[str, str]:
    """What lets the browser have the answer; nothing for an origin that no deployment allows."""
    origin = request.headers.get("Origin")
    if origin is None or not request.path.startswith(FOR_GUESTS):
        return {}
    if not any(origin_allowed(one.settings, origin) for one in service.deployments.values()):
        return {}
    return {"Access-Control-Allow-Origin": origin, "Vary": "Origin"}


def add_rules(app: web.Application, service: "Service") -> None:
    """Answer preflights, and mark answers as readable."""

    @web.middleware
    async def cross_origin(request: web.Request, handler: Answer) -> web.StreamResponse:
        headers = allowed_headers(service, request)
        wanted = request.headers.get("Access-Control-Request-Method")
        if headers and request.method == "OPTIONS" and wanted:
            wanted_headers = request.headers.get("Access-Control-Request-Headers", "")
            headers |= {
                "Access-Control-Allow-Methods": "GET, POST, PUT, DELETE",
                "Access-Control-Allow-Headers": wanted_headers,
                "Access-Control-Max-Age": "600",
            }
            return web.Response(status=204, headers=headers)
        answer = await handler(request)
        if headers and not answer.prepared:
            answer.headers.update(headers)
        return answer

    app.middlewares.append(cross_origin)
