"""The websocket upgrade: who is let in, and what happens to a connection from then to its end.

Cross-origin rules for what a widget in a browser asks for over HTTP.

The real hosts answer preflights; which headers exactly is not published, so any are allowed, for
the origins that the deployments allow.
"""

import asyncio
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from aiohttp import web

from harness.simulator.guest_api import frames, sessions
from harness.simulator.guest_api.actions import handle
from harness.simulator.guest_api.connection import Connection, cut_transport
from harness.simulator.limits import over
from harness.simulator.settings import DeploymentSettings

if TYPE_CHECKING:
    from harness.simulator.service import Service
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from harness.simulator.service import Service


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
    if deployment is None:
        in_band = service.knobs.unknown_deployment_reply == "in_band"
        return None if in_band else web.Response(status=403, text="Forbidden")
    if not deployment.settings.active:
        return web.Response(status=403, text="Forbidden")
    if not origin_allowed(deployment.settings, request.headers.get("Origin")):
        return web.Response(status=403, text="Forbidden")
    limit = service.limits.connections_per_minute
    if limit:
        wait = over(deployment.connect_times, limit, window_s=60, now=service.now())
        if wait:
            headers = {"Retry-After": str(max(1, -int(-wait // 1)))}
            status = service.knobs.connection_rate_reply
            return web.Response(status=status, text="Too Many Requests", headers=headers)
    return None


async def _never_answer(request: web.Request, how: str | None) -> web.StreamResponse:
    """Cut the connection instead of answering the upgrade (``fin``, ``rst``), or say nothing."""
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


Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]

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
            asked = request.headers.get("Access-Control-Request-Headers", "")
            headers |= {
                "Access-Control-Allow-Methods": "GET, POST, PUT, DELETE",
                "Access-Control-Allow-Headers": asked,
                "Access-Control-Max-Age": "600",
            }
            return web.Response(status=204, headers=headers)
        answer = await handler(request)
        if headers and not answer.prepared:
            answer.headers.update(headers)
        return answer

    app.middlewares.append(cross_origin)
