"""Files of a guest: announced on the socket, uploaded by HTTP PUT, then sent with a message."""

from base64 import b64encode
from hashlib import md5
from typing import TYPE_CHECKING, Any

from aiohttp import web

from harness.foreign import inner
from harness.simulator import frames
from harness.simulator.guest_api.connection import Refused
from harness.simulator.guest_api.sessions import BLOCKED_EXTENSIONS, session_for
from harness.simulator.truth import Attachment, Session

if TYPE_CHECKING:
    from harness.simulator.guest_api.connection import Connection
    from harness.simulator.service import Service

URL_LIFE_S = 600
"""A pre-signed address is good for ten minutes (vendor's mobile SDK)."""
FORBIDDEN_IN_NAMES = frozenset('/\\:*?"<>|\x00')


def announce(connection: "Connection", request: dict[str, Any], tracing_id: str | None) -> None:
    """onAttachment: an address to upload to, or GenerateUrlError."""
    session = session_for(connection, request)
    service = connection.service
    chosen_id = request.get("attachmentId")
    attachment_id = chosen_id if isinstance(chosen_id, str) and chosen_id else service.ids.uuid()
    name, kind, size = (request.get(key) for key in ("fileName", "fileType", "fileSize"))
    for key, value in (("fileName", name), ("fileType", kind), ("fileSize", size)):
        if value is None:
            raise Refused(4020, f"Missing parameter: {key}")
    if not isinstance(name, str) or not isinstance(kind, str) or type(size) is not int:
        raise Refused(400)
    refusal = _objection(connection, session, name, size)
    if refusal is not None:
        _url_error(connection, attachment_id, *refusal, tracing_id)
        return
    md5 = request.get("fileMd5")
    attachment = Attachment(attachment_id, name, kind, size, signature=service.ids.hex())
    attachment.md5 = md5 if isinstance(md5, str) else None
    if session.attachments is None:
        session.attachments = {}
    session.attachments[attachment_id] = attachment
    _send_address(connection, session, attachment, "upload", tracing_id)


def _send_address(
    connection: "Connection",
    session: Session,
    attachment: Attachment,
    verb: str,
    tracing_id: str | None,
) -> None:
    """PresignedUrlResponse; empty headers tell a download's from an upload's."""
    attachment.expires = connection.service.now() + URL_LIFE_S
    tag = {"x-amz-tagging": f"attachmentId={attachment.id}"}
    body = {
        "attachmentId": attachment.id,
        "headers": tag if verb == "upload" else {},
        "url": address(connection.base, session, attachment, verb),
        "fileName": attachment.name,
        "fileSize": attachment.size,
        "fileType": attachment.type,
    }
    connection.send(frames.response("PresignedUrlResponse", body, tracing_id))


def _objection(
    connection: "Connection", session: Session, name: str, size: int
) -> tuple[int, str] | None:
    limits = connection.service.limits
    if not session.deployment.settings.attachments:
        return 4000, "Feature unavailable"
    if limits.attachment_name_characters and len(name) >= limits.attachment_name_characters:
        return 4005, "File name is too long"
    stem, dot, extension = name.rpartition(".")
    if not stem or not dot or not extension or not FORBIDDEN_IN_NAMES.isdisjoint(name):
        return 4004, "File name is invalid"
    if f".{extension.lower()}" in BLOCKED_EXTENSIONS:
        return 4001, "File type is not supported"
    if size <= 0:
        return 4102, "File size is zero"
    if limits.attachment_bytes and size > limits.attachment_bytes:
        return 4002, "File size is too large"
    return None


def _url_error(
    connection: "Connection", attachment_id: str, code: int, text: str, tracing_id: str | None
) -> None:
    body = {
        "attachmentId": attachment_id,
        "errorCode": code,
        "errorMessage": text,
        "name": "GenerateUrlError",
        "message": text,
    }
    connection.service.truth.count(f"error_{code}")
    form = connection.service.knobs.generate_url_error_form
    status = 400 if form == "response" else 200
    connection.send(
        frames.envelope(form, "GenerateUrlError", body, code=status, tracing_id=tracing_id)
    )


def address(base: str, session: Session, attachment: Attachment, verb: str) -> str:
    """A pre-signed address; knowing it is the right to use it, as with the real store."""
    return f"{base}/{verb}/{session.serial}/{attachment.id}?signature={attachment.signature}"


def fetch(connection: "Connection", request: dict[str, Any], tracing_id: str | None) -> None:
    """getAttachment: a fresh download address."""
    session = session_for(connection, request)
    attachment = _find(connection, session, request.get("attachmentId"))
    _send_address(connection, session, attachment, "download", tracing_id)


def delete(connection: "Connection", request: dict[str, Any], tracing_id: str | None) -> None:
    """deleteAttachment: only one that has not been sent."""
    session = session_for(connection, request)
    wanted, kept = request.get("attachmentId"), session.attachments or {}
    attachment = kept.get(wanted) if isinstance(wanted, str) else None
    if attachment is None or attachment.sent:
        raise Refused(4009, "Attachment not found")
    del kept[attachment.id]
    connection.service.uploaded_bytes -= len(attachment.uploaded or b"")
    body = {"attachmentId": attachment.id}
    connection.send(frames.message("AttachmentDeletedResponse", body, tracing_id))


def _find(connection: "Connection", session: Session, wanted: object) -> Attachment:
    """An uploaded attachment of the session. Raises Refused."""
    attachment = (session.attachments or {}).get(wanted) if isinstance(wanted, str) else None
    if attachment is None:
        raise Refused(4009, "Attachment not found")
    if not attachment.complete and attachment.expires <= connection.service.now():
        raise Refused(4008, "Attachment has expired")
    if not attachment.complete:
        raise Refused(4010, "Attachment has not been uploaded")
    return attachment


def attach(connection: "Connection", session: Session, wanted: object) -> dict[str, Any]:
    """Send an uploaded file with a message: its form in the echo. Raises Refused."""
    attachment = _find(connection, session, inner(wanted, "id"))
    attachment.sent = True
    family = attachment.type.partition("/")[0].capitalize()
    return {
        "id": attachment.id,
        "url": address(connection.base, session, attachment, "download"),
        "filename": attachment.name,
        "fileSize": attachment.size,
        "mediaType": family if family in ("Image", "Video", "Audio") else "File",
        "mime": attachment.type,
    }


def add_routes(app: web.Application, service: "Service") -> None:
    """The store that pre-signed addresses lead to."""

    def find(request: web.Request) -> tuple[Session, Attachment] | None:
        serial = request.match_info["session"]
        session = service.by_serial.get(int(serial)) if serial.isdecimal() else None
        attachment = (session.attachments or {}).get(request.match_info["id"]) if session else None
        if session is None or attachment is None or attachment.expires <= service.now():
            return None
        signed = request.query.get("signature") == attachment.signature
        return (session, attachment) if signed else None

    async def upload(request: web.Request) -> web.Response:
        match = find(request)
        if match is None or request.headers.get("x-amz-tagging") != f"attachmentId={match[1].id}":
            return web.Response(status=403, text="AccessDenied")
        session, attachment = match
        data = await request.read()
        error = _content_error(attachment, data)
        at = frames.iso_ms(service.now())
        if error is not None:
            body = {"attachmentId": attachment.id, "errorCode": 4003}
            body |= {"errorMessage": error, "timestamp": at}
            code = service.knobs.upload_failure_code
            service.fan_out(
                session, frames.envelope("message", "UploadFailureEvent", body, code=code)
            )
            return web.Response(status=200)
        attachment.complete = True
        service.store_upload(attachment, data)
        body = {
            "attachmentId": attachment.id,
            "downloadUrl": address(
                f"{request.scheme}://{request.host}", session, attachment, "download"
            ),
            "timestamp": at,
        }
        service.note(session, "upload", attachment.id)
        service.fan_out(session, frames.message("UploadSuccessEvent", body))
        return web.Response(status=200)

    async def download(request: web.Request) -> web.Response:
        match = find(request)
        if match is None or match[1].uploaded is None:
            return web.Response(status=403, text="AccessDenied")
        return web.Response(body=match[1].uploaded, content_type=_mime(match[1].type))

    app.router.add_put("/upload/{session}/{id}", upload)
    app.router.add_get("/download/{session}/{id}", download)


def _mime(mime: str) -> str:
    """The content type that the guest declared, if it is valid in a header."""
    plain = mime.isascii() and mime.isprintable() and mime.count("/") == 1 and " " not in mime
    return mime if plain and ";" not in mime else "application/octet-stream"


def _content_error(attachment: Attachment, data: bytes) -> str | None:
    if len(data) != attachment.size:
        return f"File has {len(data)} bytes instead of {attachment.size}"
    digest = md5(data, usedforsecurity=False)
    forms = (digest.hexdigest(), b64encode(digest.digest()).decode())
    if attachment.md5 and attachment.md5 not in forms and attachment.md5.lower() not in forms:
        return "File content does not match its MD5"
    return None
