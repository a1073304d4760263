"""What the twin sends is understood; what is changed is found, and shown without anybody's data."""

import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hars import TOKEN, came, configured, got, har, left, said, sent, socket
from hypothesis import given
from hypothesis import strategies as st

from harness.conform.check import Checked, check_recording
from harness.workload.har.reading import Recording, read_recording
from harness.workload.har.redaction import Redactor, personal_of

GOLDEN = Path(__file__).parents[1] / "golden" / "frames"
ODD_ON_PURPOSE = {
    "gateway_forbidden": "an answer of the gateway has no class",
    "unknown_class": "stands for a class of the future",
    "rich_form": "has a title that the vendor's schema does not know",
}
STAND_INS = {
    "<time>": "2026-01-31T12:00:00.000Z",
    "<epoch>": 1791139139,
    "<epoch as text>": "1791139139",
}


def checked(folder: Path, *sockets: Any) -> Checked:
    file = folder / "chat.har"
    file.write_text(json.dumps(har(*[socket(list(messages)) for messages in sockets])))
    return check_recording(read_recording(file), key=b"k")


def sentences(folder: Path, *sockets: Any) -> list[str]:
    return [finding.sentence for finding in checked(folder, *sockets).findings]


def filled(value: Any) -> Any:
    """A golden frame as it was before its changing parts were masked."""
    if isinstance(value, dict):
        return {key: filled(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [filled(inner) for inner in value]
    return STAND_INS.get(value, value) if isinstance(value, str) else value


@pytest.mark.parametrize("file", sorted(GOLDEN.glob("*.json")), ids=lambda file: file.stem)
def test_every_frame_of_the_twin_is_known(file: Path, tmp_path: Path) -> None:
    frame = filled(json.loads(file.read_text())["frame"])
    (tmp_path / file.name).write_text(json.dumps(frame))
    found = check_recording(read_recording(tmp_path), key=b"k")
    assert found.frames == 1
    assert bool(found.findings) == (file.stem in ODD_ON_PURPOSE), found.findings


def test_a_whole_chat_is_measured(tmp_path: Path) -> None:
    presence = {"eventType": "Presence", "presence": {"type": "Join"}}
    join = {"type": "Event", "events": [presence]}
    echo = {"type": "Text", "direction": "Inbound", "text": "Hi", "id": "e1"}
    close = {"type": "receive", "time": 13, "opcode": 8, "code": 1000}
    found = checked(
        tmp_path,
        [
            *configured(1),
            sent(2, message=join),
            came(3, "Welcome"),
            said(5, "Hi"),
            got(5.5, "StructuredMessage", echo, tracingId="t-5"),
            came(7, "Hello"),
            came(9.25, "How are you?"),
            *left(12),
            close,
        ],
    )
    assert found.findings == ()
    assert found.frames == 8
    (session,) = found.sessions
    assert session.opened_s == pytest.approx(0.1)
    assert session.delivered_s == pytest.approx([0.5])
    assert [(len(turn.replies), turn.first_s, turn.last_s) for turn in session.turns] == [
        (1, 1, 1),
        (2, 2, 4.25),
    ]
    assert session.clear == ("echo", "SessionClearedEvent", "ConnectionClosedEvent")
    assert session.clear_s == pytest.approx(0.2)
    assert session.closes == ("service 1000",)


def odd(**body: Any) -> dict[str, Any]:
    """A message with something in it that nobody knows."""
    return got(2, "StructuredMessage", {"type": "Text", **body})


def raw(data: str, **more: Any) -> dict[str, Any]:
    """Any frame of the service."""
    return {"type": "receive", "time": 2, "opcode": 1, "data": data, **more}


M = "StructuredMessage"
NOT_KNOWN = [
    (got(2, "SurveyOfferEvent", {}), "unknown class: SurveyOfferEvent (once, first in frame 3)"),
    (odd(mood=3), f"unknown field: {M}.body.mood: a number (once"),
    (odd(text=["a"]), f"another type: {M}.body.text: a list in place of a text"),
    (odd(text=7), f"the decoder refuses it: {M}: 'text' of a message is not a string"),
    (odd(type="Poll"), f"unknown value: {M}.body.type: Poll"),
    (odd(direction="Anna is here"), f"unknown value: {M}.body.direction: <text of 12>"),
    (odd(channel={"time": "2026-01-01T10:00:00+01:00"}), "form: 9999-99-99x99:99:99+99:99"),
    (got(2, M, {}), f"missing field: {M}.body.type: nothing"),
    (odd(events=[{"eventType": "Wave"}]), f"unknown value: {M}.body.events[].eventType: Wave"),
    (got(2, "string", "Anna, no", code=4444), "unknown value: string.code: 4444"),
    (got(2, "Error", {"errorCode": 4999}, code=400), "value: Error.body.errorCode: 4999"),
    (
        got(2, "JwtResponse", {"jwt": "x", "exp": 1}, type="response", tracingId="t-other"),
        "order: JwtResponse.tracingId: an answer to what was not asked here",
    ),
    (got(2, "SessionExpiredEvent", [1]), "another type: SessionExpiredEvent.body: a list in"),
    (
        raw('{"class":"SessionResponse","code":NaN,"body":{}}'),
        "code: a fraction in place of a whole",
    ),
    (raw('{"class":"SessionResponse","code":-Infinity,"body":{}}'), "code: a fraction in place of"),
    (raw('{"class":"SessionResponse","code":1e400,"body":{}}'), "code: a fraction in place of"),
    (odd(order_4711222=1), f"unknown field: {M}.body.<text of 13>: a number"),
    (raw("Anna {"), "another type: frame: not JSON: "),
    (raw("[1]"), "frame: a list in place of an object"),
    (raw('{"message":"Anna"}'), "no class: frame: an object with message"),
    (raw("QW5uYQ==", opcode=2), "frame: a binary frame"),
    (raw("", opcode=8, code=4321), "unknown value: close code: 4321"),
]


@pytest.mark.parametrize(("frame", "told"), NOT_KNOWN)
def test_what_is_not_known_is_told(tmp_path: Path, frame: dict[str, Any], told: str) -> None:
    found = sentences(tmp_path, [*configured(1), frame, *left(3)])
    assert any(told in sentence for sentence in found), found
    assert not any("Anna" in sentence for sentence in found)


@pytest.mark.parametrize(
    ("order", "told"),
    [
        ((0, 2, 1, 3), "answered by SessionClearedEvent, echo, ConnectionClosedEvent"),
        ((0, 3, 1, 2), "answered by ConnectionClosedEvent, echo, SessionClearedEvent"),
        ((0, 1, 3, 2), "answered by echo, ConnectionClosedEvent, SessionClearedEvent"),
        ((0, 2, 3), "was answered without an echo"),
        ((0, 1, 2), ""),  # the guest may have closed first
    ],
)
def test_the_order_at_clear(tmp_path: Path, order: tuple[int, ...], told: str) -> None:
    frames = left(5)
    found = sentences(tmp_path, [*configured(1), *[frames[index] for index in order]])
    assert [told in sentence for sentence in found] == ([True] if told else [])


def test_what_comes_after_the_end_is_told(tmp_path: Path) -> None:
    found = sentences(tmp_path, [*configured(1), *left(5), came(9, "One more thing")])
    (told,) = found
    assert told.startswith("order: StructuredMessage: after ConnectionClosedEvent")


def test_one_finding_is_there_once_with_its_outline(tmp_path: Path) -> None:
    odd = [came(2.0 + i, f"Dear Anna, {i}", mood="sad Anna", id=f"{i}" * 32) for i in range(3)]
    (finding,) = checked(tmp_path, [*configured(1), *odd]).findings
    assert (finding.times, finding.first_frame) == (3, 3)
    assert finding.outline["body"]["mood"] == "<text of 8>"
    assert finding.outline["body"]["text"] == "<text of 12>"
    assert finding.outline["class"] == "StructuredMessage"


def redacted(recording: Recording) -> Any:
    """The same as our own recordings are written."""
    redactor = Redactor(personal_of(recording), key=b"q")
    for frame in recording.frames():
        kind = "send" if frame.outgoing else "receive"
        yield {"type": kind, "time": frame.at_s, "opcode": 1, "data": redactor.frame(frame.data)}


def test_a_redacted_recording_tells_the_same(tmp_path: Path) -> None:
    frames = [
        *configured(1),
        said(2, "I am Anna Smith, order 4711-22"),
        came(3, "Dear Anna", mood=3, channel={"time": "yesterday", "from": {"nickname": "Bob"}}),
        got(4, "SurveyOfferEvent", {"token": TOKEN}),
        *left(5),
    ]
    whole = checked(tmp_path, frames)
    original = read_recording(tmp_path / "chat.har")
    lines = [{"recording": "x", "version": 1}, *redacted(original)]
    file = tmp_path / "guest.jsonl"
    file.write_text("\n".join(map(json.dumps, lines)))
    again = check_recording(read_recording(file), key=b"k")
    assert [one.sentence for one in again.findings if "another form" not in one.sentence] == [
        one.sentence for one in whole.findings if "another form" not in one.sentence
    ]
    assert len(again.findings) == len(whole.findings) == 3
    assert again.sessions[0].clear == whole.sessions[0].clear
    for secret in (TOKEN, "Anna", "Smith", "4711", "Bob"):
        assert secret not in file.read_text()


SECRETS = ("ada@example.org", "+44 20 7946 0991", TOKEN, "eyJhbGciOiJIUzI1NiJ9.eyJhIjoxfQ.c2ln")
keys = st.sampled_from(
    ["type", "class", "text", "id", "channel", "from", "nickname", "metadata", "customAttributes",
     "events", "content", "errorMessage", "url", "jwt", "data", "mood", "message", "direction",
     "time", "contentType", "fileName", "name", *SECRETS]
)  # fmt: skip
values = st.recursive(
    st.sampled_from([*SECRETS, 1, True, None, "Text"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=4),
    max_leaves=10,
)


def test_a_word_that_the_recording_knows_as_somebodys_is_not_told(tmp_path: Path) -> None:
    """A name that stands as a field, as a class or as a word of the protocol, too."""
    people = got(2, "StructuredMessage", {"channel": {"from": {"nickname": "Schroedinger"}}})
    told = [
        odd(Schroedinger=3),
        odd(type="Schroedinger"),
        got(3, "Schroedinger", {}),
        raw('{"Schroedinger":1}'),
    ]
    found = checked(tmp_path, [*configured(1), people, *told, *left(4)]).findings
    assert len(found) >= len(told)
    assert "Schroedinger" not in json.dumps([[one.sentence, one.outline] for one in found])


@given(st.lists(st.tuples(st.sampled_from(["StructuredMessage", "string", *SECRETS]), values)))
def test_no_secret_of_a_frame_is_in_what_is_told(bodies: list[tuple[str, Any]]) -> None:
    told = [got(2.0 + i, name, body) for i, (name, body) in enumerate(bodies)]
    frames = [*configured(1), *told]
    recording = Recording(name="x", sessions=read_frames(frames))
    found = check_recording(recording, key=b"k")
    shown = json.dumps([[one.sentence, one.outline] for one in found.findings], ensure_ascii=False)
    for secret in SECRETS:
        assert secret not in shown


def read_frames(frames: list[dict[str, Any]]) -> Any:
    with TemporaryDirectory() as folder:
        file = Path(folder) / "chat.har"
        file.write_text(json.dumps(har(socket(frames))))
        return read_recording(file).sessions
