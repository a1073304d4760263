"""A recorded session as what happened in it: what the guest did, what came, and when."""

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

from harness.workload.har.reading import CONFIGURES, TEXT, Connection, Frame, Session


class Kind(StrEnum):
    """What happened. The guest's deeds first."""

    CONFIGURE = "configure"
    JOIN = "join"
    TEXT = "text"
    CHOICE = "choice"
    FILE = "file"
    TYPING = "typing"
    CLEAR = "clear"
    LOST = "lost"
    """the connection has ended and another one follows"""
    REPLY = "reply"
    READY = "ready"
    """SessionResponse"""
    ECHO = "echo"
    """the service has taken in a deed of the guest"""
    CLEARED = "cleared"
    CLOSED = "closed"
    """ConnectionClosedEvent"""
    DISCONNECTED = "disconnected"


DEEDS = (Kind.JOIN, Kind.TEXT, Kind.CHOICE, Kind.FILE)
"""What an answer may come to."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """One of them. ``text`` is what was said, chosen or shown; ``name`` that of a file."""

    kind: Kind
    at_s: float
    text: str = ""
    name: str = ""
    size: int = 0
    body: Mapping[str, Any] = field(default_factory=dict)
    tracing_id: str = ""
    refused: int = 0
    """the code with which the service refused the deed; 0 for none"""


def moments(session: Session) -> list[Moment]:
    """All of a session in the order of time.

    A message that came on several connections is there once; what another tab said is not there.
    """
    found: list[Moment] = []
    seen: set[str] = set()
    frames = [frame for connection in session.connections for frame in connection.frames]
    refusals = _refusals(frames)
    files = _files(frames)
    for connection, following in _followed(session.connections):
        for frame in connection.frames:
            if frame.opcode != TEXT:
                continue
            for moment in _sent(frame, files) if frame.outgoing else _received(frame, seen):
                code = refusals.get(moment.tracing_id, 0) if frame.outgoing else 0
                found.append(replace(moment, refused=code) if code else moment)
        if following is not None and connection.frames:
            last_s = connection.frames[-1].at_s
            if last_s <= following.begins_s:
                found.append(Moment(kind=Kind.LOST, at_s=last_s))
    return sorted(found, key=lambda moment: moment.at_s)


def _followed(
    connections: tuple[Connection, ...],
) -> Iterator[tuple[Connection, Connection | None]]:
    for index, connection in enumerate(connections):
        yield connection, connections[index + 1] if index + 1 < len(connections) else None


def _refusals(frames: Iterable[Frame]) -> dict[str, int]:
    """The codes of errors by the tracingId of what they answer."""
    found = {}
    for frame in frames:
        code, tracing_id = frame.fields.get("code"), frame.fields.get("tracingId")
        if frame.outgoing or not isinstance(code, int) or 200 <= code < 300:
            continue
        if isinstance(tracing_id, str):
            found[tracing_id] = code
    return found


def _files(frames: Iterable[Frame]) -> dict[str, tuple[str, int]]:
    """Name and size of each file by the id under which it was sent."""
    announced: dict[str, tuple[str, int]] = {}
    found = {}
    for frame in frames:
        fields, tracing_id = frame.fields, str(frame.fields.get("tracingId"))
        if frame.outgoing and fields.get("action") == "onAttachment":
            name, size = fields.get("fileName"), fields.get("fileSize")
            announced[tracing_id] = (str(name or "file"), size if isinstance(size, int) else 0)
        elif fields.get("class") == "PresignedUrlResponse":
            body = fields.get("body")
            attachment_id = body.get("attachmentId") if isinstance(body, dict) else None
            if tracing_id in announced and isinstance(attachment_id, str):
                found[attachment_id] = announced[tracing_id]
    return found


def _sent(frame: Frame, files: Mapping[str, tuple[str, int]]) -> Iterator[Moment]:
    action, message = frame.fields.get("action"), frame.fields.get("message")
    tracing_id = _string(frame.fields.get("tracingId"))
    at_s = frame.at_s
    if action in CONFIGURES:
        yield Moment(kind=Kind.CONFIGURE, at_s=at_s, tracing_id=tracing_id, body=frame.fields)
    if action != "onMessage" or not isinstance(message, dict):
        return
    for event in _dicts(message.get("events")):
        presence, kind = event.get("presence"), event.get("eventType")
        named = presence.get("type") if isinstance(presence, dict) else None
        if kind == "Typing":
            yield Moment(kind=Kind.TYPING, at_s=at_s)
        elif named == "Join":
            yield Moment(kind=Kind.JOIN, at_s=at_s, body=message, tracing_id=tracing_id)
        elif named == "Clear":
            yield Moment(kind=Kind.CLEAR, at_s=at_s, tracing_id=tracing_id)
    text = _string(message.get("text"))
    common: dict[str, Any] = {"at_s": at_s, "body": message, "tracing_id": tracing_id}
    choices = [one.get("buttonResponse") for one in _dicts(message.get("content"))]
    chosen = [choice for choice in choices if isinstance(choice, dict)]
    for choice in chosen:
        shown = text if len(chosen) == 1 and text else _string(choice.get("text"))
        yield Moment(kind=Kind.CHOICE, text=shown or _string(choice.get("payload")), **common)
    for part in _dicts(message.get("content")):
        attachment = part.get("attachment")
        if isinstance(attachment, dict):
            name, size = files.get(_string(attachment.get("id")), ("file", 0))
            yield Moment(kind=Kind.FILE, name=name, size=size, **common)
            text = "" if text == name else text
    if text and not chosen:
        yield Moment(kind=Kind.TEXT, text=text, **common)


def _received(frame: Frame, seen: set[str]) -> Iterator[Moment]:
    fields = frame.fields
    name, body, at_s = fields.get("class"), fields.get("body"), frame.at_s
    tracing_id = _string(fields.get("tracingId"))
    if name == "SessionClearedEvent":
        yield Moment(kind=Kind.CLEARED, at_s=at_s)
    elif name == "ConnectionClosedEvent":
        yield Moment(kind=Kind.CLOSED, at_s=at_s)
    elif not isinstance(body, dict):
        return
    elif name == "SessionResponse":
        yield Moment(kind=Kind.READY, at_s=at_s, body=body, tracing_id=tracing_id)
    elif name == "StructuredMessage" and body.get("direction") == "Inbound":
        yield Moment(kind=Kind.ECHO, at_s=at_s, body=body, tracing_id=tracing_id)
    elif name == "StructuredMessage":
        number = _string(body.get("id"))
        if number and number in seen:
            return
        seen.add(number)
        events = _dicts(body.get("events"))
        if any(_presence(event) == "Disconnect" for event in events):
            yield Moment(kind=Kind.DISCONNECTED, at_s=at_s, body=body)
        elif _string(body.get("text")) or body.get("content"):
            yield Moment(kind=Kind.REPLY, at_s=at_s, text=_string(body.get("text")), body=body)


def _presence(event: Mapping[str, Any]) -> str:
    presence = event.get("presence")
    return _string(presence.get("type")) if isinstance(presence, dict) else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """What came to one deed of the guest: the greeting to a join, the answer to a text.

    ``asked`` is None for what came before the guest had done anything.
    """

    asked: Moment | None
    replies: tuple[Moment, ...]
    ended: bool = False
    """whether the other side then ended the conversation"""

    @property
    def first_s(self) -> float:
        """Seconds from the deed to the first message; nan for none."""
        return self._after(0)

    @property
    def last_s(self) -> float:
        """Seconds from the deed to the last message; nan for none."""
        return self._after(-1)

    def _after(self, index: int) -> float:
        if self.asked is None or not self.replies:
            return math.nan
        return max(self.replies[index].at_s - self.asked.at_s, 0.0)


def turns(found: Iterable[Moment]) -> list[Turn]:
    """What came to each deed that the service took in, in the order of the deeds.

    No field of the service says what a message answers: it is the newest deed before it.
    """
    made: list[Turn] = []
    for moment in found:
        if moment.kind in DEEDS and not moment.refused:
            made.append(Turn(asked=moment, replies=()))
        elif moment.kind is Kind.REPLY:
            last = made.pop() if made else Turn(asked=None, replies=())
            made.append(replace(last, replies=(*last.replies, moment)))
        elif moment.kind is Kind.DISCONNECTED and made:
            made.append(replace(made.pop(), ended=True))
    return made


def offered_in(body: Mapping[str, Any]) -> set[str]:
    """The texts of all choices that a message shows."""
    found: set[str] = set()
    pending: list[Any] = list(_dicts(body.get("content")))
    while pending:
        part = pending.pop()
        if isinstance(part, dict):
            quick = part.get("contentType") == "QuickReply"
            if quick or part.get("type") == "Postback" or "dateTime" in part:
                inner = part.get("quickReply") if quick else part
                shown = inner if isinstance(inner, dict) else {}
                found |= {_string(shown.get(key)) for key in ("text", "dateTime")}
            pending += part.values()
        elif isinstance(part, list):
            pending += part
    return found - {""}


def _dicts(value: Any) -> list[dict[str, Any]]:
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []


def _string(value: Any) -> str:
    return value if isinstance(value, str) else ""
