"""One request: parse it, charge it to the limits, and hand it to what handles its action.

The service is as tolerant here as the real one is known to be: unknown fields and any order of
fields are fine, and a token may be missing once the connection has configured a session.
"""

import traceback
from collections import deque
from collections.abc import Callable
from time import monotonic, time
from typing import TYPE_CHECKING, Any

import orjson

from harness.simulator.guest_api import (
    attachments,
    authentication,
    configuration,
    frames,
    history,
    messages,
    sessions,
)
from harness.simulator.guest_api.connection import Connection
from harness.simulator.guest_api.presence import presence_type
from harness.simulator.limits import over
from harness.simulator.truth.truth import Question

if TYPE_CHECKING:
    pass

Handler = Callable[[Connection, dict[str, Any], str | None], None]

HANDLERS: dict[str, Handler] = {
    "configureSession": sessions.configure,
    "configureAuthenticatedSession": authentication.configure,
    "closeSession": sessions.close,
    "onMessage": messages.on_message,
    "echo": messages.echo,
    "getJwt": history.give_jwt,
    "getConfiguration": configuration.give,
    "onAttachment": attachments.announce,
    "getAttachment": attachments.fetch,
    "deleteAttachment": attachments.delete,
    "resumeToken": authentication.resume_token,
    "disconnectCustomer": sessions.undocumented,
}


def _handle_held(connection: Connection, data: bytes, arrived_s: float) -> None:
    service = connection.service
    service.arrived_s = arrived_s  # its own, not that of what came last meanwhile
    handle(connection, data)
    service.arrived_s = 0.0


def handle(connection: Connection, data: bytes) -> None:
    """Answer one message of the client. Never raises."""
    service = connection.service
    if service.stall.on:
        service.stall.hold(_handle_held, connection, data, service.arrived_s or monotonic())
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
    if service.request_limit and _too_many(connection, now, tracing_id):
        return
    try:
        handler = HANDLERS[request["action"]]
    except (KeyError, TypeError):  # no action, an unknown one, or one that is no text
        _malformed(connection, b"")
        return
    question = None
    if handler is messages.on_message:
        question = service.question = _question(connection, request, tracing_id, now)
    try:
        if not service.faults.active or not _struck(connection, request, handler, tracing_id):
            handler(connection, request, tracing_id)
    except Exception:  # noqa: BLE001  one bad request must not end the service; it is counted
        service.truth.count("internal_errors")
        last = traceback.format_exc().strip().splitlines()[-3:]
        service.log("internal error: " + " | ".join(line.strip() for line in last))
        connection.refuse(5000, "Request failed.", tracing_id)
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
    return service.truth.questions.ask(
        kind,
        tracing_id,
        came=now,
        came_s=service.arrived_s or monotonic(),
        guest=None if session is None else session.serial,
    )


def _too_many(connection: Connection, now: float, tracing_id: str | None) -> bool:
    """Whether the connection has used up its requests of the minute; says so if it has."""
    if connection.request_times is None:
        connection.request_times = deque()
    limit = connection.service.request_limit
    wait = over(connection.request_times, limit, window_s=60, now=now)
    if wait:
        connection.refuse_rate(wait, "Too many requests on this connection", tracing_id)
    return wait > 0


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
    stall = strikes("stall", step)
    if stall:
        service.stall.begin(stall.seconds)
    if strikes("half_open", step):
        connection.muted = True
    limited = strikes("limit_any", step)
    if limited:
        connection.refuse_rate(
            limited.seconds, "Message rate too high for this session", tracing_id
        )
        return True
    failed = strikes("fail", step)
    if failed:
        connection.refuse(failed.code, "Request failed.", tracing_id)
        return True
    cut = strikes("cut", step)
    away = None if cut else strikes("go_away", step)
    blow = cut or away
    if blow is None:
        return connection.muted
    if connection.session is not None:
        service.note(connection.session, f"{blow.name} (fault)", f"{blow.when} {step}")
    connection.muted = blow.when == "after"
    if blow.when != "before":
        handler(connection, request, tracing_id)
    connection.muted = False
    if cut:
        connection.cut(blow.how)
    else:
        connection.close(1001, "Going away")
    return True


def _malformed(connection: Connection, data: bytes) -> None:
    """What cannot be routed: the gateway's answer, or the service's, as the knob says."""
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
        connection.refuse(400, "Request failed.", None)
