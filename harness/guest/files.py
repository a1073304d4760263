"""A guest's files: announced on the socket, uploaded by HTTP PUT, then sent with a message."""

import mimetypes
import uuid
from collections.abc import Callable
from pathlib import Path

from harness.clock import monotonic_ns
from harness.errors import (
    ConfigError,
    HarnessError,
    RemoteProtocolError,
    ReplyTimeout,
    ServiceError,
    TransportError,
)
from harness.guest.connection import Line
from harness.guest.outcomes import outcome_of
from harness.measure.model import Outcome, Sample
from harness.measure.recorder import Recorder
from harness.protocol import requests
from harness.protocol.events import Other
from harness.protocol.names import MessageClass
from harness.transport import http

MOST_HEADERS = 32
"""Of an upload: the service asks for one or two."""


def read(path: Path | str) -> bytes:
    """A file's content. Raises ConfigError when it can't be read."""
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise ConfigError(f"{path}: can't be read ({error.strerror})") from None


def upload(
    line: Line,
    recorder: Recorder,
    *,
    name: str,
    data: bytes,
    mime: str = "",
    within_s: float = 30.0,
    on_progress: Callable[[int, int], None] | None = None,
) -> str:
    """Upload a file; its attachment id, to be sent with a message. Counted as ``upload``.

    ``on_progress`` hears of (bytes written, bytes in all). Raises ServiceError when the service
    refuses the name, type, size or content, TransportError, ReplyTimeout, or RemoteProtocolError
    when it names no place that can be uploaded to.
    """
    mime = mime or mimetypes.guess_type(name)[0] or "application/octet-stream"
    started = monotonic_ns()
    arrived, outcome = 0, Outcome.OK
    try:
        found = _upload(line, name, mime, data, within_s, on_progress)
        arrived = line.inbox.answered_ns
        return found
    except HarnessError as error:
        outcome = _outcome(error)
        raise
    finally:
        now = monotonic_ns()
        recorder.add(Sample("upload", started, started, arrived or now, now, outcome))


def _upload(
    line: Line,
    name: str,
    mime: str,
    data: bytes,
    within_s: float,
    on_progress: Callable[[int, int], None] | None,
) -> str:
    attachment_id = str(uuid.uuid4())
    request = requests.announce_file(
        line.token, line.next_id(), attachment_id, name, mime, len(data)
    )
    place = line.ask(request, "PresignedUrlResponse", within_s)
    _refuse_failure(place)
    url, headers = _upload_place(line, place)
    if not any(name.lower() == "content-type" for name in headers):
        headers["Content-Type"] = mime  # what was announced
    line.inbox.want(attachment_id)
    try:
        answer = http.request(
            "PUT",
            url,
            headers=headers,
            body=data,
            tls=line.settings.tls,
            way=line.settings.address,
            timeout_s=within_s,
            on_sent=None if on_progress is None else lambda sent: on_progress(sent, len(data)),
        )
        if not 200 <= answer.status < 300:
            raise ServiceError(answer.status, f"the upload of {name!r} was refused")
    except ConfigError as error:  # the request was made of what the service has said
        line.inbox.forget(attachment_id)
        raise RemoteProtocolError(f"the service named no place to upload to: {error}") from None
    except BaseException:
        line.inbox.forget(attachment_id)
        raise
    _refuse_failure(line.await_answer(attachment_id, "UploadSuccessEvent", within_s))
    return attachment_id


def _upload_place(line: Line, answer: Other) -> tuple[str, dict[str, str]]:
    """Where to, and the headers that the signature asks for. Raises RemoteProtocolError."""
    url, headers = answer.body.get("url"), answer.body.get("headers") or {}
    if type(url) is not str or type(headers) is not dict or len(headers) > MOST_HEADERS:
        raise RemoteProtocolError("the service named no place to upload to: no url, or odd headers")
    if line.settings.tls is not None and not url.startswith("https:"):
        raise RemoteProtocolError("the service named a place to upload to that has no TLS")
    if not all(type(value) is str for value in headers.values()):
        raise RemoteProtocolError("the service named odd headers for an upload")
    return url, dict(headers)


def download_url(line: Line, attachment_id: str, *, within_s: float = 10.0) -> str:
    """A fresh address of an uploaded file; these are good for about ten minutes."""
    request = requests.refresh_file(line.token, line.next_id(), attachment_id)
    answer = line.ask(request, "PresignedUrlResponse", within_s)
    return str(answer.body.get("url", ""))


def delete(line: Line, attachment_id: str, *, within_s: float = 10.0) -> None:
    """Forget an uploaded file that was not sent. Raises ServiceError 4009 for any other."""
    request = requests.delete_file(line.token, line.next_id(), attachment_id)
    line.ask(request, "AttachmentDeletedResponse", within_s)


def _refuse_failure(answer: Other) -> None:
    if answer.message_class in (MessageClass.GENERATE_URL_ERROR, MessageClass.UPLOAD_FAILURE_EVENT):
        code, text = answer.body.get("errorCode"), answer.body.get("errorMessage")
        raise ServiceError(code if type(code) is int else 400, str(text or "the file was refused"))


def _outcome(error: HarnessError) -> Outcome:
    if isinstance(error, ServiceError):
        return outcome_of(error)
    if isinstance(error, ReplyTimeout):
        return Outcome.TIMEOUT
    return Outcome.LOST if isinstance(error, TransportError) else Outcome.PROTOCOL
