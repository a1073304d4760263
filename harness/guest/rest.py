"""What a guest asks over REST: its own history, with the JWT that its socket gives it."""

import re
from urllib.parse import urlencode

import gevent
import orjson

from harness.clock import monotonic_ns
from harness.config.target import Target
from harness.errors import RemoteProtocolError, ServiceError, TransportError
from harness.guest.connection import Line
from harness.guest.settings import GuestSettings
from harness.measure.model import Outcome, Sample
from harness.measure.recorder import Recorder
from harness.protocol import requests
from harness.protocol.codec import decode_history
from harness.protocol.events import Message
from harness.transport import http

RETRIED = frozenset({500, 502, 503, 504})
_BEARER = re.compile(r"[\w.~+/=-]{1,8000}", re.ASCII)
PAGE_SIZE = 25
MAX_PAGES = 4
"""Pages read of one history: the service allows 10 requests a minute for a session."""


def api_origin(target: Target, *, host: str = "api") -> str:
    """Where the REST calls of a deployment go: ``https://api.REGION``, or the socket's own server.

    ``host`` names the sibling of ``webmessaging.REGION`` that is meant.
    """
    scheme = "https" if target.scheme == "wss" else "http"
    if target.host.startswith("webmessaging."):
        return f"{scheme}://{host}.{target.host.removeprefix('webmessaging.')}"
    return f"{scheme}://{target.netloc}"


def fetch_history(
    line: Line,
    recorder: Recorder,
    *,
    within_s: float = 10.0,
    retry_after_s: tuple[float, ...] = (3.0, 9.0, 27.0),
) -> list[Message]:
    """The session's messages, oldest first; counted and timed as ``history``.

    Errors of the server's own (5xx) are tried again after 3, 9 and 27 seconds, as the vendor's
    mobile SDK does. Raises ServiceError, TransportError, ReplyTimeout or RemoteProtocolError.
    """
    found: list[Message] = []
    for page in range(1, MAX_PAGES + 1):
        messages, pages = _page(line, recorder, page, within_s, retry_after_s)
        found += messages
        if page >= pages:
            break
    found.reverse()
    return found


def _page(
    line: Line, recorder: Recorder, page: int, within_s: float, retry_after_s: tuple[float, ...]
) -> tuple[list[Message], int]:
    target = line.settings.target
    query = urlencode({"pageNumber": page, "pageSize": PAGE_SIZE})
    url = f"{api_origin(target)}/api/v2/webmessaging/messages?{query}"
    due = monotonic_ns()
    for attempt in range(len(retry_after_s) + 1):
        jwt = line.ask(requests.get_jwt(line.token, line.next_id()), "JwtResponse", within_s)
        bearer = jwt.body.get("jwt")
        if type(bearer) is not str or not _BEARER.fullmatch(bearer):
            raise RemoteProtocolError("a JwtResponse holds no 'jwt'")
        headers = {
            "Authorization": f"bearer {bearer}",
            "Origin": target.origin or f"https://{target.host}",
        }
        try:
            answer = http.request(
                "GET",
                url,
                headers=headers,
                tls=line.settings.tls,
                way=line.settings.address,
                timeout_s=within_s,
            )
        except TransportError:
            now = monotonic_ns()
            recorder.add(Sample("history", due, due, now, now, Outcome.LOST))
            raise
        seen = monotonic_ns()
        ok = answer.status == 200
        limited = answer.status == 429
        outcome = Outcome.OK if ok else Outcome.RATE_LIMITED if limited else Outcome.SERVICE_ERROR
        recorder.add(Sample("history", due, answer.sent_ns, answer.arrived_ns, seen, outcome))
        if ok:
            return decode_history(answer.body)
        if answer.status not in RETRIED or attempt == len(retry_after_s):
            raise ServiceError(answer.status, "the history can't be read")
        gevent.sleep(retry_after_s[attempt])
    raise RemoteProtocolError("unreachable")  # the loop returns or raises


def exchange_sign_in(
    settings: GuestSettings, code: str, redirect_uri: str, *, code_verifier: str = ""
) -> str:
    """The JWT for an authorization code of the customer's identity provider.

    It goes into :attr:`GuestSettings.sign_in` and lives for 15 minutes at most. Raises ServiceError
    when the code is refused, TransportError, or RemoteProtocolError.
    """
    oauth = {"code": code, "redirectUri": redirect_uri}
    if code_verifier:
        oauth["codeVerifier"] = code_verifier
    answer = http.request(
        "POST",
        f"{api_origin(settings.target)}/api/v2/webdeployments/token/oauthcodegrantjwtexchange",
        headers={"Content-Type": "application/json"},
        body=orjson.dumps({"deploymentId": settings.target.deployment_id, "oauth": oauth}),
        tls=settings.tls,
        way=settings.address,
    )
    if answer.status != 200:
        raise ServiceError(answer.status, "the sign-in was refused")
    try:
        found = orjson.loads(answer.body)
    except orjson.JSONDecodeError:
        found = None
    jwt = found.get("jwt") if type(found) is dict else None
    if type(jwt) is not str:
        raise RemoteProtocolError("the answer to a sign-in holds no 'jwt'")
    return jwt
