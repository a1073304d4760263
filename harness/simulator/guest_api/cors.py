"""Cross-origin rules for what a widget in a browser asks for over HTTP.

The real hosts answer preflights; which headers exactly is not published, so any are allowed, for
the origins that the deployments allow.
"""

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from aiohttp import web

from harness.simulator.guest_api.upgrade import origin_allowed

if TYPE_CHECKING:
    from harness.simulator.service import Service

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
