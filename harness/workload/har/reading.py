"""Recordings of guests as values: a browser's HAR export, ``harness guest --record``, or frames.

* A **HAR** (HTTP Archive) of Chrome or Edge holds the messages of each websocket in the field
  ``_webSocketMessages``: ``{"type": "send" | "receive", "time": seconds since 1970, "opcode": 1,
  "data": "..."}``. HAR 1.2 itself knows no websockets, so other programs export none or the same.
* A **recording** of ``harness guest --record`` has one JSON object a line: a head with the key
  ``recording``, then messages of that same form.
* A **directory of frames** holds JSON files, each with one frame or a list of them; a frame with an
  ``action`` is the guest's, any other the service's.

Only sockets are read whose first message configures a guest session; they are joined by its token.
Everything else of a HAR (the page's requests, cookies, headers) is left alone.

:func:`moments` tells what happened in a session: what the guest did, what came, and when.
"""

import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from itertools import zip_longest
from pathlib import Path
from typing import Any

from harness.errors import ConfigError
from harness.foreign import (
    TOO_DEEP,
    all_objects,
    an_object,
    inner,
    is_deep,
    objects,
    parse_json,
    read_text,
)
from harness.foreign import text as string

MAX_BYTES = 1_000_000_000
MOST_LEVELS = 200
"""Of lists and objects within each other; a browser's export has some dozens, a frame a few."""
TEXT, BINARY, CLOSE = 1, 2, 8
CONFIGURES = ("configureSession", "configureAuthenticatedSession")
HEAD_KEY = "recording"
FORM_VERSION = 1
UPGRADED = (101, 200)
"""Statuses of an upgrade that went well; 200 answers the CONNECT of HTTP/2 (RFC 8441)."""
HOW_TO_EXPORT = (
    "in Chrome or Edge: open the developer tools' Network panel before the chat connects, reload "
    "the page, chat, and choose 'Export HAR (with sensitive data)'"
)
MILLISECONDS_FROM = 1e11
"""Seconds since 1970 are below this until the year 5138, milliseconds above since 1973."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """One message of a websocket.

    ``at_s`` counts in seconds from any moment. ``value`` is the parsed JSON; where there is none,
    ``problem`` says why. A close has its ``code``, if that was recorded.
    """

    outgoing: bool
    at_s: float
    data: str = ""
    value: Any = None
    problem: str = ""
    opcode: int = TEXT
    code: int | None = None

    @property
    def fields(self) -> Mapping[str, Any]:
        """The frame's object; empty for anything else."""
        return an_object(self.value)


@dataclass(frozen=True, slots=True, kw_only=True)
class Connection:
    """One socket. ``status`` is that of the upgrade, if it was recorded."""

    frames: tuple[Frame, ...]
    status: int | None = None

    @property
    def begins_s(self) -> float:
        return self.frames[0].at_s if self.frames else 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """All connections of one token, in the order in which they began."""

    token: str = field(repr=False)
    connections: tuple[Connection, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Recording:
    """One file. ``loose`` are frames of which nobody knows the session, file by file."""

    name: str
    sessions: tuple[Session, ...] = ()
    loose: tuple[tuple[Frame, ...], ...] = ()
    left_out: tuple[str, ...] = field(default=())
    """what of the file was not read, in words"""

    def frames(self) -> Iterator[Frame]:
        """All of them, session by session."""
        for session in self.sessions:
            for connection in session.connections:
                yield from connection.frames
        for frames in self.loose:
            yield from frames


def read_recording(path: Path) -> Recording:
    """A HAR, a recording, or frames. ConfigError says what the file lacks and how to get it."""
    if path.is_dir():
        return _directory(path)
    text = _text(path)
    head, _ = parsed(text.partition("\n")[0])
    if isinstance(head, dict) and HEAD_KEY in head:
        return _lines(text, str(path))
    whole, problem = parsed(text)
    if problem:
        raise ConfigError(
            f"{path}: neither a HAR nor a recording: {problem}; expected a HAR export, a "
            "file of harness guest --record, or a directory of JSON frames"
        )
    if isinstance(whole, dict) and isinstance(whole.get("log"), dict):
        return _har(whole["log"], str(path))
    frames = _loose(whole)
    if not frames:
        raise ConfigError(f"{path}: no HAR (it has no 'log'), no recording, and no frame")
    return Recording(name=str(path), loose=(frames,))


def _text(path: Path) -> str:
    try:
        if path.stat().st_size > MAX_BYTES:
            raise ConfigError(f"{path}: more than {MAX_BYTES:,} bytes")
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from None
    return read_text(path)


def parsed(text: str) -> tuple[Any, str]:
    """The value of a JSON text; or None, and why there is none."""
    try:
        value = parse_json(text)
    except json.JSONDecodeError as error:
        return None, f"{error.msg} (line {error.lineno}, column {error.colno})"
    except ValueError as error:
        return None, str(error)
    # What walks through a value has room for fewer levels than what read it.
    return (None, TOO_DEEP) if is_deep(value, MOST_LEVELS) else (value, "")


# A browser's export.


def _har(log: Mapping[str, Any], name: str) -> Recording:
    entries = objects(log.get("entries"))
    sockets = [entry for entry in entries if _is_socket(entry)]
    if not sockets:
        raise ConfigError(
            f"{name}: {len(entries):,} requests and no websocket among them; {HOW_TO_EXPORT}"
        )
    if not any("_webSocketMessages" in entry for entry in sockets):
        raise ConfigError(f"{name}: {_many(sockets)} and no message: {_why_none(log)}")
    refused = [status for entry in sockets if (status := _status(entry)) not in (None, *UPGRADED)]
    connections = [
        Connection(frames=_messages(entry["_webSocketMessages"]), status=_status(entry))
        for entry in sockets
        if isinstance(entry.get("_webSocketMessages"), list)
    ]
    guests = [one for one in connections if _token(one) is not None]
    if not guests:
        if refused:
            why = f"the upgrade was refused with {', '.join(map(str, refused))}"
        elif not any(connection.frames for connection in connections):
            why = f"their messages are missing: {HOW_TO_EXPORT}"
        else:
            why = (
                "none begins with configureSession, so none is a guest's, or the export began "
                f"after the chat had connected; {HOW_TO_EXPORT}"
            )
        raise ConfigError(f"{name}: {_many(sockets)}: {why}")
    left_out = []
    if others := len(entries) - len(sockets):
        left_out.append(f"{others:,} other requests of the page with their cookies and headers")
    if strangers := len(sockets) - len(guests):
        left_out.append(f"{strangers:,} websockets that are no guest's")
    left_out.append("cookies, headers and addresses of the guest's sockets")
    return Recording(name=name, sessions=_joined(guests), left_out=tuple(left_out))


def _is_socket(entry: Mapping[str, Any]) -> bool:
    named = string(inner(entry, "request", "url")).lower().startswith(("ws://", "wss://"))
    return named or entry.get("_resourceType") == "websocket" or "_webSocketMessages" in entry


def _many(sockets: Sequence[Mapping[str, Any]]) -> str:
    return f"{len(sockets):,} websocket{'s' if len(sockets) > 1 else ''}"


def _why_none(log: Mapping[str, Any]) -> str:
    """Which program exports no messages, as far as it can be told."""
    programs = objects([log.get("creator"), log.get("browser")])
    names = " ".join(str(one.get("name", "")) for one in programs)
    for sign, program in (("firefox", "Firefox"), ("webkit web", "Safari"), ("safari", "Safari")):
        if sign in names.lower():
            return f"{program} exports none; {HOW_TO_EXPORT}"
    return f"a sanitized export, or a program that exports none ({names or 'unnamed'}); " + (
        HOW_TO_EXPORT
    )


def _status(entry: Mapping[str, Any]) -> int | None:
    status = inner(entry, "response", "status")
    return status if isinstance(status, int) and status else None


def _messages(messages: list[Any]) -> tuple[Frame, ...]:
    frames: list[Frame] = []
    for message in objects(messages):
        if message.get("type") in ("send", "receive"):
            frame = _frame(message, frames[-1].at_s if frames else 0.0)
            if frame is not None:
                frames.append(frame)
    return tuple(frames)


def _frame(message: Mapping[str, Any], before_s: float) -> Frame | None:
    """One message; None for a ping or a pong. One without a time has that of the one before."""
    time, data, opcode = message.get("time"), message.get("data"), message.get("opcode", TEXT)
    at_s = float(time) if isinstance(time, int | float) and abs(time) < 1e18 else before_s
    at_s = at_s / 1000 if at_s > MILLISECONDS_FROM else at_s
    outgoing = message["type"] == "send"
    text = data if isinstance(data, str) else ""
    if opcode == CLOSE:
        code = message.get("code")
        code = code if isinstance(code, int) else None
        return Frame(outgoing=outgoing, at_s=at_s, opcode=CLOSE, code=code)
    if opcode == BINARY:
        return Frame(outgoing=outgoing, at_s=at_s, opcode=BINARY, problem="a binary frame")
    if opcode != TEXT:
        return None
    value, problem = parsed(text)
    problem = problem and f"not JSON: {problem}"
    return Frame(outgoing=outgoing, at_s=at_s, data=text, value=value, problem=problem)


def _token(connection: Connection) -> str | None:
    """The token of a guest's socket, None for any other socket."""
    first = next((one for one in connection.frames if one.outgoing and one.opcode == TEXT), None)
    if first is None or first.fields.get("action") not in CONFIGURES:
        return None
    token = first.fields.get("token")
    return token if isinstance(token, str) else None


def _joined(connections: list[Connection]) -> tuple[Session, ...]:
    by_token: dict[str, list[Connection]] = {}
    for connection in sorted(connections, key=lambda one: one.begins_s):
        by_token.setdefault(_token(connection) or "", []).append(connection)
    return tuple(
        Session(token=token, connections=tuple(sockets)) for token, sockets in by_token.items()
    )


# Our own recordings, and frames.


def _lines(text: str, name: str) -> Recording:
    connections: list[list[Frame]] = []
    left_out = []
    for number, line in enumerate(text.splitlines()[1:], 2):
        message, _ = parsed(line)
        if not isinstance(message, dict) or message.get("type") not in ("send", "receive"):
            if line.strip():
                left_out.append(f"line {number}, which is not whole")
            continue
        before_s = connections[-1][-1].at_s if connections else 0.0
        frame = _frame(message, before_s)
        if frame is None:
            continue
        if not connections or (frame.outgoing and frame.fields.get("action") in CONFIGURES):
            connections.append([])
        connections[-1].append(frame)
    sockets = [Connection(frames=tuple(frames)) for frames in connections]
    known = [one for one in sockets if _token(one) is not None]
    if not known:
        raise ConfigError(f"{name}: a recording without a guest's session in it")
    return Recording(name=name, sessions=_joined(known), left_out=tuple(left_out))


def _directory(path: Path) -> Recording:
    frames: list[tuple[Frame, ...]] = []
    for file in sorted(path.glob("*.json")):
        text = _text(file)
        value, problem = parsed(text)
        problem = problem and f"{file.name} is not JSON: {problem}"
        other = Frame(outgoing=False, at_s=0.0, data=text, problem=problem)
        frames.append(_loose(value) or (other,))
    if not frames:
        raise ConfigError(f"{path}: a directory without *.json files")
    return Recording(name=str(path), loose=tuple(frames))


def _loose(value: Any) -> tuple[Frame, ...]:
    """Frames without a socket: one, or a list of them; also within the key ``frame``."""
    items = value if isinstance(value, list) else [value]
    frames = [one["frame"] if isinstance(one, dict) and "frame" in one else one for one in items]
    return tuple(
        Frame(outgoing="action" in one, at_s=0.0, value=one, data=json.dumps(one))
        for one in frames
        if isinstance(one, dict)
    )


class Kind(StrEnum):
    """What happened. The guest's acts first."""

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
    """the service has taken in an act of the guest"""
    CLEARED = "cleared"
    CLOSED = "closed"
    """ConnectionClosedEvent"""
    DISCONNECTED = "disconnected"


ACTS = (Kind.JOIN, Kind.TEXT, Kind.CHOICE, Kind.FILE)
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
    """the code with which the service refused the act; 0 for none"""


def moments(session: Session) -> list[Moment]:
    """All of a session in the order of time.

    A message that came on several connections is there once; what another tab said is not there.
    """
    timeline: list[Moment] = []
    seen: set[str] = set()
    frames = [frame for connection in session.connections for frame in connection.frames]
    refusals = _refusals(frames)
    files = _files(frames)
    for connection, following in zip_longest(session.connections, session.connections[1:]):
        for frame in connection.frames:
            if frame.opcode != TEXT:
                continue
            for moment in _sent(frame, files) if frame.outgoing else _received(frame, seen):
                code = refusals.get(moment.tracing_id, 0) if frame.outgoing else 0
                timeline.append(replace(moment, refused=code) if code else moment)
        if following is not None and connection.frames:
            last_s = connection.frames[-1].at_s
            if last_s <= following.begins_s:
                timeline.append(Moment(kind=Kind.LOST, at_s=last_s))
    return sorted(timeline, key=lambda moment: moment.at_s)


def _refusals(frames: Iterable[Frame]) -> dict[str, int]:
    """The codes of errors by the tracingId of what they answer."""
    codes = {}
    for frame in frames:
        code, tracing_id = frame.fields.get("code"), frame.fields.get("tracingId")
        if frame.outgoing or not isinstance(code, int) or 200 <= code < 300:
            continue
        if isinstance(tracing_id, str):
            codes[tracing_id] = code
    return codes


def _files(frames: Iterable[Frame]) -> dict[str, tuple[str, int]]:
    """Name and size of each file by the id under which it was sent."""
    announced: dict[str, tuple[str, int]] = {}
    files = {}
    for frame in frames:
        fields, tracing_id = frame.fields, str(frame.fields.get("tracingId"))
        if frame.outgoing and fields.get("action") == "onAttachment":
            name, size = fields.get("fileName"), fields.get("fileSize")
            announced[tracing_id] = (str(name or "file"), size if isinstance(size, int) else 0)
        elif fields.get("class") == "PresignedUrlResponse":
            attachment_id = inner(fields, "body", "attachmentId")
            if tracing_id in announced and isinstance(attachment_id, str):
                files[attachment_id] = announced[tracing_id]
    return files


def _sent(frame: Frame, files: Mapping[str, tuple[str, int]]) -> Iterator[Moment]:
    action, message = frame.fields.get("action"), frame.fields.get("message")
    tracing_id = string(frame.fields.get("tracingId"))
    at_s = frame.at_s
    if action in CONFIGURES:
        yield Moment(kind=Kind.CONFIGURE, at_s=at_s, tracing_id=tracing_id, body=frame.fields)
    if action != "onMessage" or not isinstance(message, dict):
        return
    for event in objects(message.get("events")):
        named = inner(event, "presence", "type")
        if event.get("eventType") == "Typing":
            yield Moment(kind=Kind.TYPING, at_s=at_s)
        elif named == "Join":
            yield Moment(kind=Kind.JOIN, at_s=at_s, body=message, tracing_id=tracing_id)
        elif named == "Clear":
            yield Moment(kind=Kind.CLEAR, at_s=at_s, tracing_id=tracing_id)
    text = string(message.get("text"))
    common: dict[str, Any] = {"at_s": at_s, "body": message, "tracing_id": tracing_id}
    chosen = objects([one.get("buttonResponse") for one in objects(message.get("content"))])
    for choice in chosen:
        shown = text if len(chosen) == 1 and text else string(choice.get("text"))
        yield Moment(kind=Kind.CHOICE, text=shown or string(choice.get("payload")), **common)
    for part in objects(message.get("content")):
        attachment = part.get("attachment")
        if isinstance(attachment, dict):
            name, size = files.get(string(attachment.get("id")), ("file", 0))
            yield Moment(kind=Kind.FILE, name=name, size=size, **common)
            text = "" if text == name else text
    if text and not chosen:
        yield Moment(kind=Kind.TEXT, text=text, **common)


def _received(frame: Frame, seen: set[str]) -> Iterator[Moment]:
    fields = frame.fields
    name, body, at_s = fields.get("class"), fields.get("body"), frame.at_s
    tracing_id = string(fields.get("tracingId"))
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
        number = string(body.get("id"))
        if number and number in seen:
            return
        seen.add(number)
        events = objects(body.get("events"))
        if any(inner(event, "presence", "type") == "Disconnect" for event in events):
            yield Moment(kind=Kind.DISCONNECTED, at_s=at_s, body=body)
        elif string(body.get("text")) or body.get("content"):
            yield Moment(kind=Kind.REPLY, at_s=at_s, text=string(body.get("text")), body=body)


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """What came to one act of the guest: the greeting to a join, the answer to a text.

    ``act`` is None for what came before the guest had done anything.
    """

    act: Moment | None
    replies: tuple[Moment, ...]
    ended: bool = False
    """whether the other side then ended the conversation"""

    @property
    def first_s(self) -> float:
        """Seconds from the act to the first message; nan for none."""
        return self._after(0)

    @property
    def last_s(self) -> float:
        """Seconds from the act to the last message; nan for none."""
        return self._after(-1)

    def _after(self, index: int) -> float:
        if self.act is None or not self.replies:
            return math.nan
        return max(self.replies[index].at_s - self.act.at_s, 0.0)


def turns(timeline: Iterable[Moment]) -> list[Turn]:
    """What came to each act that the service took in, in the order of the acts.

    No field of the service says what a message answers: it is the newest act before it.
    """
    made: list[Turn] = []
    for moment in timeline:
        if moment.kind in ACTS and not moment.refused:
            made.append(Turn(act=moment, replies=()))
        elif moment.kind is Kind.REPLY:
            last = made.pop() if made else Turn(act=None, replies=())
            made.append(replace(last, replies=(*last.replies, moment)))
        elif moment.kind is Kind.DISCONNECTED and made:
            made.append(replace(made.pop(), ended=True))
    return made


def offered_in(body: Mapping[str, Any]) -> set[str]:
    """The texts of all choices that a message shows."""
    offers: set[str] = set()
    for part in all_objects(objects(body.get("content"))):
        quick = part.get("contentType") == "QuickReply"
        if quick or part.get("type") == "Postback" or "dateTime" in part:
            shown = an_object(part.get("quickReply")) if quick else part
            offers |= {string(shown.get(key)) for key in ("text", "dateTime")}
    return offers - {""}
