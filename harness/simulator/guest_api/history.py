"""getJwt, and the history that a guest may read with it over REST."""

from collections import deque
from typing import TYPE_CHECKING, Any

import orjson
from aiohttp import web

from harness.simulator.guest_api import frames
from harness.simulator.guest_api.checking import session_for
from harness.simulator.limits import over
from harness.simulator.platform_api.access import fault
from harness.simulator.rest import api_error, json_response, too_many
from harness.simulator.tokens import bearer

if TYPE_CHECKING:
    from harness.simulator.guest_api.connection import Connection
    from harness.simulator.service import Service

JWT_LIFE_S = 60
PAGE_SIZE = 25
MAX_PAGE_SIZE = 100


def give_jwt(connection: "Connection", request: dict[str, Any], tracing_id: str | None) -> None:
    """A token for the REST calls of this session, good for about a minute."""
    session = session_for(connection, request, tracing_id)
    if session is None:
        return
    service = connection.service
    exp = int(service.now()) + JWT_LIFE_S
    jwt = service.signer.sign({"for": "guest", "session": session.serial, "exp": exp})
    connection.send(frames.response("JwtResponse", {"jwt": jwt, "exp": exp}, tracing_id))


def _number(text: str | None, default: int) -> int | None:
    if text is None:
        return default
    return int(text) if text.isdecimal() and len(text) < 10 and int(text) > 0 else None


def add_routes(app: web.Application, service: "Service") -> None:
    """GET /api/v2/webmessaging/messages."""

    async def messages(request: web.Request) -> web.Response:
        claims = service.signer.claims(bearer(request.headers.get("Authorization")), service.now())
        session = service.by_serial.get(claims.get("session", 0)) if claims else None
        if session is None:
            return api_error(401, "bad.credentials", "Invalid login credentials.")
        struck = fault(service)
        if struck is not None:
            return struck
        limit = service.limits.history_per_session_per_minute
        if limit:
            if session.history_times is None:
                session.history_times = deque()
            wait = over(session.history_times, limit, window_s=60, now=service.now())
            if wait:
                return too_many(wait)
        page = _number(request.query.get("pageNumber"), 1)
        size = _number(request.query.get("pageSize"), PAGE_SIZE)
        if page is None or size is None:
            return api_error(400, "invalid.value", "pageNumber and pageSize are whole numbers")
        size = min(size, MAX_PAGE_SIZE)
        newest_first = list(reversed(session.log or ()))
        total = len(newest_first)
        if not total:
            empty = {"entities": [], "pageSize": 0, "pageNumber": 1, "total": 0, "pageCount": 0}
            return json_response(empty)
        start = (page - 1) * size
        body = {
            "entities": [orjson.loads(f)["body"] for f in newest_first[start : start + size]],
            "pageSize": size,
            "pageNumber": page,
            "total": total,
            "pageCount": -(-total // size),
        }
        return json_response(body)

    app.router.add_get("/api/v2/webmessaging/messages", messages)
