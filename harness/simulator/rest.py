"""What all REST answers share: their forms, signed tokens, and who may use the Platform API.

Tokens (JWT, HS256) are given to guests and their sign-in; what the real ones claim inside is
unknown, and clients treat them as opaque. The Platform API takes OAuth client credentials, asks for
permissions, and has a rate limit.
"""

import hmac
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Awaitable, Callable
from functools import partial
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import orjson
from aiohttp import BasicAuth, web

from harness.simulator.settings import limit_wait_s

if TYPE_CHECKING:
    from harness.simulator.service import Service
    from harness.simulator.settings import ApiClient
    from harness.simulator.truth import Conversation


def json_response(body: object, status: int = 200) -> web.Response:
    return web.Response(body=orjson.dumps(body), status=status, content_type="application/json")


def api_error(status: int, code: str, message: str) -> web.Response:
    """The vendor's form of an error."""
    body = {
        "message": message,
        "code": code,
        "status": status,
        "contextId": "00000000-0000-4000-8000-000000000000",
        "details": [],
        "errors": [],
    }
    return json_response(body, status)


def too_many(wait_s: float) -> web.Response:
    """429 with Retry-After in whole seconds."""
    after = str(max(1, -int(-wait_s // 1)))
    text = f"Rate limit exceeded the maximum. Retry the request in [{after}] seconds"
    answer = api_error(429, "too.many.requests", text)
    answer.headers["Retry-After"] = after
    return answer


async def json_object(request: web.Request) -> dict[str, object] | None:
    """The request's body if it is a JSON object."""
    try:
        body = orjson.loads(await request.read())
    except orjson.JSONDecodeError:
        return None
    return body if isinstance(body, dict) else None


def _encoded(data: bytes) -> str:
    return urlsafe_b64encode(data).rstrip(b"=").decode()


class Signer:
    """Signs and checks with one secret of this process."""

    __slots__ = ("_secret",)

    def __init__(self, secret: str) -> None:
        self._secret = secret.encode()

    def sign(self, claims: dict[str, Any]) -> str:
        """A JWT; ``exp`` in ``claims`` is when it ends, in epoch seconds."""
        head = _encoded(b'{"alg":"HS256","typ":"JWT"}') + "." + _encoded(orjson.dumps(claims))
        return f"{head}.{self._mark(head)}"

    def _mark(self, head: str) -> str:
        return _encoded(hmac.digest(self._secret, head.encode(), sha256))

    def claims(self, jwt: object, now: float) -> dict[str, Any] | None:
        """What a valid token claims; None if it is not ours or its time has passed."""
        if not isinstance(jwt, str) or not jwt.isascii():
            return None
        head, dot, mark = jwt.rpartition(".")
        if not dot or not hmac.compare_digest(mark, self._mark(head)):
            return None
        body = head.partition(".")[2]
        claims: dict[str, Any] = orjson.loads(urlsafe_b64decode(body + "=" * (-len(body) % 4)))
        return claims if claims["exp"] > now else None


def bearer(header: str | None) -> str | None:
    """The token of an Authorization header, whatever the case of ``bearer``."""
    scheme, _, value = (header or "").partition(" ")
    return value.strip() if scheme.lower() == "bearer" else None


Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]

KEEP_TOKENS = 10_000


def _credentials(request: web.Request, form: dict[str, str]) -> tuple[str, str] | None:
    """From the Basic header, or from the form as some clients send them."""
    header = request.headers.get("Authorization", "")
    if header.lower().startswith("basic "):
        try:
            login = BasicAuth.decode(header, "utf-8")
        except ValueError:
            return None
        return login.login, login.password
    if "client_id" in form and "client_secret" in form:
        return form["client_id"], form["client_secret"]
    return None


def _oauth_error(status: int, error: str, text: str) -> web.Response:
    return json_response({"error": error, "description": text, "error_description": text}, status)


async def token(service: "Service", request: web.Request) -> web.Response:
    """POST /oauth/token."""
    try:
        posted = await request.post()
    except ValueError:
        return _oauth_error(400, "invalid_request", "the form can't be read")
    form = {key: value for key, value in posted.items() if isinstance(value, str)}
    if form.get("grant_type") != "client_credentials":
        return _oauth_error(400, "unsupported_grant_type", "grant type is not supported")
    login = _credentials(request, form)
    client = next((one for one in service.settings.clients if (one.id, one.secret) == login), None)
    if client is None:
        return _oauth_error(401, "invalid_client", "client authentication failed")
    limit, calls = service.limits.token_requests_per_minute, service.api_calls[client.id]
    if wait_s := limit_wait_s(calls, "sign_ins", limit, 60, service.now()):
        return too_many(wait_s)
    value = service.ids.hex() + service.ids.hex()
    service.api_tokens[value] = (client, service.now() + client.token_life_s)
    if len(service.api_tokens) > KEEP_TOKENS:
        service.api_tokens.popitem(last=False)
    return json_response(
        {"access_token": value, "token_type": "bearer", "expires_in": int(client.token_life_s)}
    )


def fault(service: "Service") -> web.Response | None:
    """The error answer of a REST call if a fault strikes; None otherwise."""
    if not service.faults.active:
        return None
    if service.faults.strikes("api_429"):
        return too_many(1)
    if service.faults.strikes("api_503"):
        return api_error(503, "service.unavailable", "Service Unavailable")
    return None


def refused(
    service: "Service", request: web.Request, any_of: tuple[str, ...]
) -> web.Response | None:
    """Why this call may not go on: 401, 403 or 429; None if it may."""
    value = bearer(request.headers.get("Authorization"))
    known = service.api_tokens.get(value or "")
    if known is None or known[1] <= service.now():
        return api_error(401, "bad.credentials", "Invalid login credentials.")
    client: ApiClient = known[0]
    limit, calls = service.limits.api_requests_per_minute, service.api_calls[client.id]
    if wait_s := limit_wait_s(calls, "calls", limit, 60, service.now()):
        return too_many(wait_s)
    struck = fault(service)
    if struck is not None:
        return struck
    if any_of and client.permissions.isdisjoint(any_of):
        several = len(any_of) > 1
        words = "any of the following permissions" if several else "the following permission(s)"
        return api_error(
            403,
            "missing.any.permissions" if several else "missing.permissions",
            f"Unable to perform the requested action. You are missing {words}: {', '.join(any_of)}",
        )
    return None


def may_view(service: "Service", request: web.Request, conversation: "Conversation") -> bool:
    """Whether the caller's divisions include the conversation's."""
    known = service.api_tokens.get(bearer(request.headers.get("Authorization")) or "")
    divisions = known[0].divisions if known is not None else frozenset()
    return not divisions or division_of(service, conversation) in divisions


def division_of(service: "Service", conversation: "Conversation") -> str:
    """The division of a conversation: that of its deployment, or by a knob one that the caller
    can't see."""
    every = service.knobs.foreign_every
    if every and conversation.serial % every == 0:
        return f"division of conversation {conversation.serial}"
    return service.deployments[conversation.deployment_id].settings.division_id


def guarded(service: "Service", any_of: tuple[str, ...], handler: Answer) -> Answer:
    """A handler that first checks whether the call is refused."""

    async def checked(request: web.Request) -> web.StreamResponse:
        refusal = refused(service, request, any_of)
        return refusal if refusal is not None else await handler(request)

    return checked


def add_routes(app: web.Application, service: "Service") -> None:
    app.router.add_post("/oauth/token", partial(token, service))
