"""A guest's REST calls: its history, with the JWT that it gets over its socket, and its files.

A file is announced on the socket, uploaded by HTTP PUT, then sent with a message.
"""

import mimetypes
import re
import uuid
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlencode

import gevent
import orjson

from harness.clock import monotonic_ns
from harness.config.target import Target
from harness.errors import (
    ConfigError,
    HarnessError,
    RemoteProtocolError,
    ServiceError,
)
from harness.foreign import read_bytes
from harness.guest.connection import Connection
from harness.guest.outcomes import STORY_ENDS, outcome_of, was_cut
from harness.guest.settings import GuestSettings
from harness.measure.model import Outcome, Sample
from harness.measure.recorder import Recorder
from harness.protocol import requests
from harness.protocol.codec import Message, Other, decode_history
from harness.protocol.requests import MessageClass
from harness.transport import http

RETRIED = frozenset({500, 502, 503, 504})
RETRY_AFTER_S = (3.0, 9.0, 27.0)
HISTORY_WITHIN_S = 10.0
"""Time limit of each request for the history."""
_BEARER = re.compile(r"[\w.~+/=-]{1,8000}", re.ASCII)
PAGE_SIZE = 25
MAX_PAGES = 4
"""How many pages of a history are read: the service allows 10 requests a minute for a session."""


def api_origin(target: Target) -> str:
    """The origin of a deployment's REST calls: ``https://api.REGION``, or the socket's server."""
    scheme = "https" if target.scheme == "wss" else "http"
    if target.host.startswith("webmessaging."):
        return f"{scheme}://api.{target.host.removeprefix('webmessaging.')}"
    return f"{scheme}://{target.netloc}"


def fetch_history(connection: Connection, recorder: Recorder) -> list[Message]:
    """The session's messages, oldest first; counted and timed as ``history``.

    After a 5xx the request is repeated after 3, 9 and 27 seconds, as the vendor's mobile SDK does.
    Raises ServiceError, TransportError, ReplyTimeout or RemoteProtocolError.
    """
    newest_first: list[Message] = []
    for page in range(1, MAX_PAGES + 1):
        messages, pages = _page(connection, recorder, page)
        newest_first += messages
        if page >= pages:
            break
    newest_first.reverse()
    return newest_first


def _page(connection: Connection, recorder: Recorder, page: int) -> tuple[list[Message], int]:
    target = connection.settings.target
    query = urlencode({"pageNumber": page, "pageSize": PAGE_SIZE})
    url = f"{api_origin(target)}/api/v2/webmessaging/messages?{query}"
    due = monotonic_ns()
    pauses_s = iter(RETRY_AFTER_S)
    while True:
        try:
            answer = http.request(
                "GET",
                url,
                headers={
                    "Authorization": f"bearer {_bearer(connection)}",
                    "Origin": target.origin or f"https://{target.host}",
                },
                way=connection.settings.address,
                timeout_s=HISTORY_WITHIN_S,
            )
        except STORY_ENDS as error:
            now = monotonic_ns()
            recorder.add(Sample("history", due, due, now, now, outcome_of(error)))
            raise
        stamps = due, answer.sent_ns, answer.arrived_ns, monotonic_ns()
        if answer.status == 200:
            try:
                page_and_pages = decode_history(answer.body)
            except RemoteProtocolError as error:
                recorder.add(Sample("history", *stamps, outcome_of(error)))
                raise
            recorder.add(Sample("history", *stamps))
            return page_and_pages
        limited = answer.status == 429
        outcome = Outcome.RATE_LIMITED if limited else Outcome.SERVICE_ERROR
        recorder.add(Sample("history", *stamps, outcome))
        pause_s = next(pauses_s, None)
        if answer.status not in RETRIED or pause_s is None:
            raise ServiceError(answer.status, "the history can't be read")
        gevent.sleep(pause_s)


def _bearer(connection: Connection) -> str:
    """A JWT for the guest's own REST calls."""
    request = requests.get_jwt(connection.token, connection.next_id())
    bearer = connection.ask(request, "JwtResponse", HISTORY_WITHIN_S).body.get("jwt")
    if type(bearer) is not str or not _BEARER.fullmatch(bearer):
        raise RemoteProtocolError("a JwtResponse holds no 'jwt'")
    return bearer


def exchange_sign_in(
    settings: GuestSettings, code: str, redirect_uri: str, *, code_verifier: str = ""
) -> str:
    """The JWT for an authorization code of the customer's identity provider.

    It is a value for :attr:`GuestSettings.sign_in` and is valid for 15 minutes at most. Raises
    ServiceError if the code is refused, TransportError, or RemoteProtocolError.
    """
    oauth = {"code": code, "redirectUri": redirect_uri}
    if code_verifier:
        oauth["codeVerifier"] = code_verifier
    answer = http.request(
        "POST",
        f"{api_origin(settings.target)}/api/v2/webdeployments/token/oauthcodegrantjwtexchange",
        headers={"Content-Type": "application/json"},
        body=orjson.dumps({"deploymentId": settings.target.deployment_id, "oauth": oauth}),
        way=settings.address,
    )
    if answer.status != 200:
        raise ServiceError(answer.status, "the sign-in was refused")
    try:
        answered = orjson.loads(answer.body)
    except orjson.JSONDecodeError:
        answered = None
    jwt = answered.get("jwt") if type(answered) is dict else None
    if type(jwt) is not str:
        raise RemoteProtocolError("the answer to a sign-in holds no 'jwt'")
    return jwt


MOST_HEADERS = 32
"""Most headers that an upload may need: the service asks for one or two."""


def read(path: Path | str) -> bytes:
    """A file's content. Raises ConfigError when it can't be read."""
    try:
        return read_bytes(Path(path))
    except OSError as error:
        raise ConfigError(f"{path}: can't be read ({error.strerror})") from None


def upload(
    connection: Connection,
    recorder: Recorder,
    *,
    name: str,
    data: bytes,
    mime: str = "",
    within_s: float = 30.0,
    on_progress: Callable[[int, int], None] | None = None,
) -> str:
    """Upload a file; returns its attachment id, to be sent with a message. Counted as ``upload``.

    ``on_progress`` is called with (bytes written, bytes in total). Raises ServiceError if the
    service refuses the name, type, size or content, TransportError, ReplyTimeout, or
    RemoteProtocolError if its answer has no usable upload address.
    """
    mime = mime or mimetypes.guess_type(name)[0] or "application/octet-stream"
    started = monotonic_ns()
    arrived, outcome = 0, Outcome.OK
    try:
        with connection.waiting("upload"):
            attachment_id = _upload(connection, name, mime, data, within_s, on_progress)
        arrived = connection.inbox.answered_ns
        return attachment_id
    except HarnessError as error:
        outcome = outcome_of(error)
        raise
    except BaseException as error:  # the end of the run, or a time limit of the story
        outcome = Outcome.CUT_SHORT if was_cut(error) else Outcome.TIMEOUT
        raise
    finally:
        now = monotonic_ns()
        recorder.add(Sample("upload", started, started, arrived or now, now, outcome))


def _upload(
    connection: Connection,
    name: str,
    mime: str,
    data: bytes,
    within_s: float,
    on_progress: Callable[[int, int], None] | None,
) -> str:
    attachment_id = str(uuid.uuid4())
    request = requests.announce_file(
        connection.token, connection.next_id(), attachment_id, name, mime, len(data)
    )
    place = connection.ask(request, "PresignedUrlResponse", within_s)
    _refuse_failure(place)
    url, headers = _upload_place(connection, place)
    if not any(name.lower() == "content-type" for name in headers):
        headers["Content-Type"] = mime  # as it was announced
    connection.inbox.want(attachment_id)
    try:
        answer = http.request(
            "PUT",
            url,
            headers=headers,
            body=data,
            way=connection.settings.address,
            timeout_s=within_s,
            on_sent=None if on_progress is None else lambda sent: on_progress(sent, len(data)),
        )
        if not 200 <= answer.status < 300:
            raise ServiceError(answer.status, f"the upload of {name!r} was refused")
    except BaseException as error:
        connection.inbox.forget(attachment_id)
        if isinstance(error, ConfigError):  # the request's address and headers are the service's
            raise RemoteProtocolError(f"the service named no place to upload to: {error}") from None
        raise
    _refuse_failure(connection.await_answer(attachment_id, "UploadSuccessEvent", within_s))
    return attachment_id


def _upload_place(connection: Connection, answer: Other) -> tuple[str, dict[str, str]]:
    """The upload's address, and the headers that its signature needs. Raises
    RemoteProtocolError."""
    url, headers = answer.body.get("url"), answer.body.get("headers") or {}
    if type(url) is not str or type(headers) is not dict or len(headers) > MOST_HEADERS:
        raise RemoteProtocolError("the service named no place to upload to: no url, or odd headers")
    if connection.settings.tls is not None and not url.startswith("https:"):
        raise RemoteProtocolError("the service named a place to upload to that has no TLS")
    if not all(type(value) is str for value in headers.values()):
        raise RemoteProtocolError("the service named odd headers for an upload")
    return url, dict(headers)


def _refuse_failure(answer: Other) -> None:
    if answer.message_class in (MessageClass.GENERATE_URL_ERROR, MessageClass.UPLOAD_FAILURE_EVENT):
        code, text = answer.body.get("errorCode"), answer.body.get("errorMessage")
        raise ServiceError(code if type(code) is int else 400, str(text or "the file was refused"))
