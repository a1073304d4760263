"""Answers over HTTP in the forms of the Platform API."""

import orjson
from aiohttp import web


def json_response(
    body: object, status: int = 200, *, headers: dict[str, str] | None = None
) -> web.Response:
    """JSON by orjson."""
    return web.Response(
        body=orjson.dumps(body), status=status, content_type="application/json", headers=headers
    )


def api_error(
    status: int, code: str, message: str, *, headers: dict[str, str] | None = None
) -> web.Response:
    """The vendor's form of an error."""
    body = {
        "message": message,
        "code": code,
        "status": status,
        "contextId": "00000000-0000-4000-8000-000000000000",
        "details": [],
        "errors": [],
    }
    return json_response(body, status, headers=headers)


def too_many(wait_s: float) -> web.Response:
    """429 with Retry-After in whole seconds."""
    after = str(max(1, -int(-wait_s // 1)))
    text = f"Rate limit exceeded the maximum. Retry the request in [{after}] seconds"
    return api_error(429, "too.many.requests", text, headers={"Retry-After": after})


async def json_object(request: web.Request) -> dict[str, object] | None:
    """The request's body if it is a JSON object."""
    try:
        body = orjson.loads(await request.read())
    except orjson.JSONDecodeError:
        return None
    return body if isinstance(body, dict) else None
