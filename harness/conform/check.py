"""A recording held against what is known: each frame of the service, and their order.

What is not understood is listed with the outline of a frame in which it stood; nothing that
a guest or an agent said, and no id, is in it.
"""

import statistics
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from harness.conform import known
from harness.conform.known import Odd, kind_of, shown
from harness.errors import RemoteProtocolError
from harness.foreign import inner, objects, text
from harness.protocol.codec import decode
from harness.units import duration_text
from harness.workload.har.reading import (
    CLOSE,
    TEXT,
    UPGRADED,
    Frame,
    Kind,
    Recording,
    Turn,
    moments,
    turns,
)
from harness.workload.har.redaction import Redactor, personal_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """Something that is not understood, wherever it stood."""

    kind: str
    where: str
    there: str
    times: int
    first_frame: int
    """counted from 1 over the file's frames, both ways"""
    outline: Any = None
    """the first frame of it, without anybody's data; None where it is about no one frame"""

    @property
    def sentence(self) -> str:
        many = "once" if self.times == 1 else f"{self.times:,} times"
        parts = [part for part in (self.kind, self.where, self.there) if part]
        return f"{': '.join(parts)} ({many}, first in frame {self.first_frame:,})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Observed:
    """What one session showed of the service's behaviour. Times in seconds; None if not seen."""

    opened_s: float | None = None
    delivered_s: tuple[float, ...] = ()
    turns: tuple[Turn, ...] = ()
    clear: tuple[str, ...] = ()
    """what answered Clear, in its order"""
    clear_s: float | None = None
    closes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    name: str
    frames: int
    """frames of the service"""
    findings: tuple[Finding, ...]
    sessions: tuple[Observed, ...]


@dataclass(slots=True)
class _Findings:
    redactor: Redactor
    by_key: dict[tuple[str, str, str], Finding] = field(default_factory=dict)

    def plain(self, word: str) -> str:
        """What is shown, without words that the recording knows as somebody's."""
        return known.WORD_IN.sub(
            lambda at: f"<text of {len(at[0])}>" if self.redactor.knows(at[0]) else at[0], word
        )

    def add(self, kind: str, where: str, there: str, number: int, frame: Frame | None) -> None:
        key = (kind, where, there)
        if before := self.by_key.get(key):
            self.by_key[key] = replace(before, times=before.times + 1)
            return
        value = None if frame is None else frame.value
        outline = None if value is None else self.redactor.value(value)
        self.by_key[key] = Finding(
            kind=kind, where=where, there=there, times=1, first_frame=number, outline=outline
        )


def check_recording(recording: Recording, *, key: bytes) -> Checked:
    """Compare all frames with what is known. ``key`` seeds the replacement of ids in outlines."""
    redactor = Redactor(personal_of(recording), key=key, texts=False)
    findings = _Findings(redactor)
    number = many = 0
    for frames, sent_ids in _runs(recording):
        for frame in frames:
            number += 1
            if not frame.outgoing:
                many += frame.opcode == TEXT
                for odd in _odd(frame, sent_ids):
                    where = ".".join(map(findings.plain, odd.path))
                    findings.add(odd.kind, where, findings.plain(odd.there), number, frame)
        _check_order(frames, number - len(frames), findings, whole=sent_ids is not None)
    for session in recording.sessions:
        for connection in session.connections:
            if connection.status not in (None, *UPGRADED):
                findings.add(
                    "unknown value", "status of the upgrade", str(connection.status), 1, None
                )
    return Checked(
        name=recording.name,
        frames=many,
        findings=tuple(sorted(findings.by_key.values(), key=lambda one: one.first_frame)),
        sessions=tuple(_observed(recording)),
    )


def _runs(recording: Recording) -> Iterator[tuple[tuple[Frame, ...], set[str] | None]]:
    """Frames that belong in one order, and the tracingIds that were asked on them, if known."""
    for session in recording.sessions:
        for connection in session.connections:
            sent_ids = {
                text(frame.fields.get("tracingId")) for frame in connection.frames if frame.outgoing
            }
            yield connection.frames, sent_ids
    for frames in recording.loose:
        yield frames, None


# One frame.


def _odd(frame: Frame, sent_ids: set[str] | None) -> Iterator[Odd]:
    if frame.opcode == CLOSE:
        if frame.code is not None and frame.code not in known.CLOSE_CODES:
            yield Odd(("close code",), "unknown value", str(frame.code))
        return
    if frame.problem:
        yield Odd(("frame",), "another type", frame.problem)
        return
    if not isinstance(frame.value, dict):
        yield Odd(("frame",), "another type", f"{kind_of(frame.value)} in place of an object")
        return
    fields = frame.fields
    name, code, body = fields.get("class"), fields.get("code"), fields.get("body")
    if name is None and "type" not in fields:  # a gateway's own answer has no class, for one
        keys = ", ".join(shown(key) for key in fields)
        yield Odd(("frame",), "no class", f"an object with {keys or 'nothing'}")
        return
    top = shown(name) if isinstance(name, str) else "a frame without class"
    yield from known.ENVELOPE.check(frame.value, (top,))
    if isinstance(code, int) and not 200 <= code < 300:
        yield from _odd_error(top, code, body)
    elif isinstance(name, str):
        form = known.BODIES.get(name)
        if form is None:
            yield Odd((top,), "unknown class", "")
        elif body is not None:
            yield from form.check(body, (top, "body"))
    if sent_ids is not None and fields.get("type") == "response":
        tracing_id = text(fields.get("tracingId"))
        if tracing_id and tracing_id not in sent_ids:
            yield Odd((top, "tracingId"), "order", "an answer to what was not asked here")
    try:
        decode(frame.data.encode("utf-8", "replace"))
    except RemoteProtocolError as error:
        yield Odd((top,), "the decoder refuses it", str(error))


def _odd_error(top: str, code: int, body: Any) -> Iterator[Odd]:
    if code not in known.ERROR_CODES:
        yield Odd((top, "code"), "unknown value", str(code))
    if isinstance(body, str) or body is None:
        return
    yield from known.FAILED.check(body, (top, "body"))
    within = inner(body, "errorCode")
    if isinstance(within, int) and within not in known.ERROR_CODES:
        yield Odd((top, "body", "errorCode"), "unknown value", str(within))


# Their order.


def _check_order(
    frames: tuple[Frame, ...], before: int, findings: _Findings, *, whole: bool
) -> None:
    """Check the order of frames at Clear and after ConnectionClosedEvent, on one connection or a
    part of one."""
    answers: list[str] = []
    last, closed = before + 1, False
    for number, frame in enumerate(frames, before + 1):
        if frame.opcode != TEXT or frame.outgoing:
            continue
        name = frame.fields.get("class")
        answer = _answers_clear(frame)
        if answer is not None:
            answers.append(answer)
            last = number
        elif closed:
            where = shown(name) if isinstance(name, str) else "a frame without class"
            findings.add("order", where, "after ConnectionClosedEvent", number, frame)
        closed = closed or name == known.CLEAR_ORDER[2]
    if known.CLEAR_ORDER[1] not in answers:
        return
    if known.CLEAR_ORDER[0] not in answers and whole:
        findings.add("order", "Clear", "was answered without an echo", last, None)
    elif answers != [name for name in known.CLEAR_ORDER if name in answers]:
        findings.add("order", "Clear", f"was answered by {', '.join(answers)}", last, None)


def _answers_clear(frame: Frame) -> str | None:
    name, body = frame.fields.get("class"), frame.fields.get("body")
    if name in known.CLEAR_ORDER:
        return str(name)
    if name != "StructuredMessage" or not isinstance(body, dict):
        return None
    cleared = any(inner(one, "presence", "type") == "Clear" for one in objects(body.get("events")))
    return known.CLEAR_ORDER[0] if cleared else None


# What the service did, to be compared with what the simulator does.


def _observed(recording: Recording) -> Iterator[Observed]:
    for session in recording.sessions:
        timeline = moments(session)
        frames = [frame for connection in session.connections for frame in connection.frames]
        sent = {one.tracing_id: one for one in timeline if one.kind in (*_SPOKEN, Kind.CLEAR)}
        configured = [one.at_s for one in timeline if one.kind is Kind.CONFIGURE]
        ready = [one.at_s for one in timeline if one.kind is Kind.READY]
        cleared = [one.at_s for one in timeline if one.kind is Kind.CLEARED]
        clears = [one.at_s for one in timeline if one.kind is Kind.CLEAR]
        echoes = [one for one in timeline if one.kind is Kind.ECHO and one.tracing_id in sent]
        yield Observed(
            opened_s=ready[0] - configured[0] if ready and configured else None,
            delivered_s=tuple(
                max(one.at_s - sent[one.tracing_id].at_s, 0.0)
                for one in echoes
                if sent[one.tracing_id].kind is not Kind.CLEAR
            ),
            turns=tuple(turns(timeline)),
            clear=tuple(
                answer
                for frame in frames
                if not frame.outgoing and (answer := _answers_clear(frame)) is not None
            ),
            clear_s=cleared[0] - clears[0] if cleared and clears else None,
            closes=tuple(_close(frame) for frame in frames if frame.opcode == CLOSE),
        )


def _close(frame: Frame) -> str:
    who = "guest" if frame.outgoing else "service"
    return who if frame.code is None else f"{who} {frame.code}"


_SPOKEN = (Kind.TEXT, Kind.CHOICE, Kind.FILE, Kind.JOIN)


TURNS_SHOWN = 12


def to_send(checked: Sequence[Checked]) -> dict[str, Any]:
    """What is not understood, with the outline of a frame for each; no name of a file."""
    return {
        "form": "harness conform 1",
        "frames": sum(one.frames for one in checked),
        "not_understood": [_finding(finding) for one in checked for finding in one.findings],
    }


def _finding(finding: Finding) -> dict[str, Any]:
    names = ("kind", "where", "there", "times", "outline")
    return {name: getattr(finding, name) for name in names}


def facts(checked: Sequence[Checked]) -> dict[str, Any]:
    return {
        "files": [
            {
                "name": one.name,
                "frames": one.frames,
                "not_understood": [_finding(finding) for finding in one.findings],
                "sessions": [_session_facts(session) for session in one.sessions],
            }
            for one in checked
        ]
    }


def _session_facts(session: Observed) -> dict[str, Any]:
    return {
        **asdict(replace(session, turns=())),
        "turns": [
            {
                "to": None if turn.act is None else str(turn.act.kind),
                "messages": len(turn.replies),
                "first_s": turn.first_s if turn.act and turn.replies else None,
                "last_s": turn.last_s if turn.act and turn.replies else None,
            }
            for turn in session.turns
        ],
    }


def show_recording(checked: Checked) -> None:
    many = len(checked.sessions)
    guests = "" if not many else f"{many} guest{'s' if many > 1 else ''}, "
    print(f"{checked.name}: {guests}{checked.frames:,} frames of the service")
    for session in checked.sessions:
        for name, words in _lines(session):
            print(f"  {name:<13}{words}")
    for finding in checked.findings:
        print(f"  not understood: {finding.sentence}")


def _lines(session: Observed) -> list[tuple[str, str]]:
    lines = []
    if session.opened_s is not None:
        lines.append(("session", f"open after {duration_text(max(session.opened_s, 0.0))}"))
    if session.delivered_s:
        middle, most = statistics.median(session.delivered_s), max(session.delivered_s)
        lines.append(
            ("delivered", f"after {duration_text(middle)} (median), {duration_text(most)} (most)")
        )
    for number, turn in enumerate(session.turns[:TURNS_SHOWN], 1):
        lines.append((f"{number}. {_question_kind(turn)}", _came(turn)))
    if len(session.turns) > TURNS_SHOWN:
        lines.append(("", f"and {len(session.turns) - TURNS_SHOWN} more"))
    if session.clear:
        after = "" if session.clear_s is None else f"; proof after {duration_text(session.clear_s)}"
        lines.append(("clear", ", ".join(session.clear) + after))
    if session.closes:
        lines.append(("close", ", ".join(session.closes)))
    return lines


def _question_kind(turn: Turn) -> str:
    return "unasked" if turn.act is None else str(turn.act.kind)


def _came(turn: Turn) -> str:
    many = len(turn.replies)
    if not many:
        return "no message"
    words = "1 message" if many == 1 else f"{many} messages"
    if turn.act is None:
        return words
    words += f" after {duration_text(turn.first_s)}"
    return words if many == 1 else f"{words} to {duration_text(turn.last_s)}"
