"""Every documented frame is read, and any JSON at all gives an event or a RemoteProtocolError."""

import contextlib

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import RemoteProtocolError
from harness.protocol import codec, requests
from harness.protocol.codec import (
    ConnectionClosed,
    Event,
    Failure,
    LoggedOut,
    Message,
    Other,
    SessionCleared,
    SessionExpired,
    SessionResponse,
    Unknown,
)
from harness.protocol.requests import MessageClass

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)
FIELD = st.sampled_from(
    ["text", "type", "direction", "id", "events", "channel", "metadata", "content", "connected"]
)


def frame(cls: str | None, body: object, code: object = 200, **more: object) -> bytes:
    return orjson.dumps({"type": "message", "class": cls, "code": code, "body": body, **more})


ECHO = frame(
    "StructuredMessage",
    {
        "text": "Hello",
        "type": "Text",
        "direction": "Inbound",
        "id": "5bef",
        "channel": {"time": "2026-11-22T12:00:00.123Z", "messageId": "9f1c", "from": {}},
        "originatingEntity": "",
        "metadata": {"correlationId": "c"},
    },
    tracingId="X",
)


def test_the_echo_of_a_text() -> None:
    event = codec.decode(ECHO)
    assert isinstance(event, Message)
    assert (event.direction, event.text, event.tracing_id) == ("Inbound", "Hello", "X")
    assert event.time == "2026-11-22T12:00:00.123Z"


@pytest.mark.parametrize("code", [400, 429, 500, 4029, 0])
@pytest.mark.parametrize("direction", ["Inbound", "Outbound"])
def test_a_message_with_the_code_of_an_error_is_no_message(direction: str, code: int) -> None:
    body = {
        "text": "Hi",
        "type": "Text",
        "direction": direction,
        "id": "m",
        "channel": {"time": ""},
    }
    whole = frame("StructuredMessage", body, code, tracingId="X")
    assert codec.decode(whole) == Failure(code, "", "X")
    assert isinstance(codec.decode(frame("StructuredMessage", body, 202)), Message)


def test_disconnect_that_makes_the_session_read_only() -> None:
    event = codec.decode(
        frame(
            "StructuredMessage",
            {
                "direction": "Outbound",
                "type": "Event",
                "metadata": {"readOnly": "true"},
                "events": [{"eventType": "Presence", "presence": {"type": "Disconnect"}}],
            },
        )
    )
    assert isinstance(event, Message)
    assert (event.presence, event.read_only, event.typing) == ("Disconnect", True, False)


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (frame("SessionClearedEvent", {}), SessionCleared()),
        (frame("SessionClearedEvent", {}, tracingId="a"), SessionCleared("a")),
        (frame("SessionClearedEvent", {"token": "t"}), SessionCleared(token="t")),
        (frame("SessionClearedEvent", {"reason": "said more one day"}), SessionCleared()),
        (frame("ConnectionClosedEvent", {"reason": "signedIn"}), ConnectionClosed("signedIn")),
        (frame("ConnectionClosedEvent", {"reasonCode": "x"}), ConnectionClosed("x")),
        (frame("SessionExpiredEvent", {}), SessionExpired()),
        (frame("LogoutEvent", {}), LoggedOut()),
        (frame("string", "not found", 4007), Failure(4007, "not found")),
        (
            frame(
                "TooManyRequestsErrorMessage",
                {"retryAfter": 3, "errorCode": 4029, "errorMessage": "too high"},
                429,
                tracingId="X",
            ),
            Failure(4029, "too high", "X", 3.0),
        ),
        (frame("TooManyRequestsErrorMessage", None, 429), Failure(429, "", None, 1.0)),
        (
            frame("JwtResponse", {"jwt": "j", "exp": 1}),
            Other("JwtResponse", {"jwt": "j", "exp": 1}),
        ),
        (frame("NewThing", {}), Unknown("NewThing")),
        (
            b'{"message":"Forbidden","connectionId":"c","requestId":"r"}',
            Unknown(None, "Forbidden"),
        ),
        (
            b'{"type":"response","class":"Error","code":403,"message":"not you"}',
            Failure(403, "not you"),
        ),
        (
            frame("ErrorMessage", {"errorCode": 4011, "errorMessage": "too long"}),
            Failure(4011, "too long"),
        ),
        (b'{"class":"ErrorMessage","message":"no"}', Failure(0, "no")),
        (
            frame("SessionResponse", {"connected": True, "newSession": True}),
            SessionResponse(connected=True, new_session=True, read_only=False),
        ),
    ],
)
def test_classes(data: bytes, expected: Event) -> None:
    assert codec.decode(data) == expected


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xff",
        b"[]",
        b"null",
        b"{",
        frame("SessionResponse", {}),
        frame("StructuredMessage", {"text": 5}),
        frame("StructuredMessage", {"events": [3]}),
        frame("string", "x", "two hundred"),
    ],
)
def test_what_contradicts_the_protocol_is_a_remote_error(data: bytes) -> None:
    with pytest.raises(RemoteProtocolError):
        codec.decode(data)


@given(
    JSON | st.sampled_from([*MessageClass, "Strange"]),
    st.dictionaries(FIELD, JSON) | JSON,
    JSON,
    JSON,
)
def test_any_json_gives_an_event_or_a_remote_error(
    cls: str, body: object, code: object, tracing_id: object
) -> None:
    for data in (frame(cls, body, code, tracingId=tracing_id), orjson.dumps(body)):
        with contextlib.suppress(RemoteProtocolError):
            assert isinstance(codec.decode(data), Event)


PLACES = [
    "text",
    "type",
    "direction",
    "id",
    "channel",
    "time",
    "tracingId",
    "class",
    "kind",
    "code",
]


@given(st.dictionaries(st.sampled_from(PLACES), st.just(KeyError) | JSON, max_size=3))
def test_the_short_way_of_a_plain_text_reads_what_the_long_way_reads(wrong: dict) -> None:
    right = {"text": "Hi", "type": "Text", "direction": "Inbound", "id": "m1", "time": "2026-11-24"}
    given = {**right, "tracingId": "t1", "class": "StructuredMessage", "kind": "response"}
    given |= {"code": 200, **wrong}
    body = {name: given[name] for name in ("text", "type", "direction", "id")}
    body["channel"] = given.get("channel", {"time": given["time"]})
    whole = {name: given[name] for name in ("class", "tracingId", "code")}
    whole |= {"type": given["kind"], "body": body}
    for part in (whole, body, body["channel"]):
        if type(part) is dict:
            for name in [name for name, value in part.items() if value is KeyError]:
                del part[name]  # left out
    assert _outcome(whole) == _outcome({**whole, "body": {**body, "content": None}})


def _outcome(frame: object) -> object:
    try:
        event = codec.decode(orjson.dumps(frame))
    except RemoteProtocolError as error:
        return str(error)
    return event._replace(content=tuple(event.content)) if type(event) is Message else event


@given(st.text())
def test_requests_survive_the_trip(text: str) -> None:
    try:
        request = requests.text("T", "X", text)
        assert orjson.loads(codec.encode_request(request))["message"]["text"] == text
    except TypeError:
        assert any("\ud800" <= letter <= "\udfff" for letter in text)


@given(st.text(), st.text())
def test_a_plain_text_is_written_as_any_request_is(token: str, text: str) -> None:
    tracing_id = "0b9f6e0c-4c7a-4a3b-9d5e-000000000001"
    spliced = codec.encode_text(codec.text_head(token), tracing_id, text)
    assert spliced == codec.encode_request(requests.text(token, tracing_id, text))


@given(st.binary(max_size=200) | JSON.map(orjson.dumps))
def test_a_history_is_read_or_refused(data: bytes) -> None:
    with contextlib.suppress(RemoteProtocolError):
        messages, pages = codec.decode_history(data)
        assert isinstance(messages, list)
        assert isinstance(pages, int)


def test_a_page_of_the_history() -> None:
    body = {"type": "Text", "text": "Hi", "direction": "Outbound", "id": "1", "channel": None}
    messages, pages = codec.decode_history(orjson.dumps({"entities": [body], "pageCount": 3}))
    assert (messages[0].text, messages[0].time, pages) == ("Hi", None, 3)


@pytest.mark.parametrize(
    ("written", "text"),
    [
        (r"half \ud83d", "half \ufffd"),
        (r"\ude00 half", "\ufffd half"),
        (r"\ud83d\ude00 \uD83D", "\U0001f600 \ufffd"),
        (r"\ud83d\ude00", "\U0001f600"),
    ],
)
def test_half_an_emoji_is_read_and_shown_as_what_can_not_be_shown(written: str, text: str) -> None:
    data = frame("StructuredMessage", {"direction": "Outbound", "type": "Text", "id": "m"})
    data = data.replace(b'"id":"m"', b'"id":"m","text":"%b"' % written.encode())
    found = codec.decode(data)
    assert isinstance(found, Message)
    assert found.text == text
    found.text.encode()  # it can be written down
    entity = b'{"text":"%b","id":"m"}' % written.encode()
    (told,), _ = codec.decode_history(b'{"entities":[%b],"pageCount":1}' % entity)
    assert told.text == text


@pytest.mark.parametrize(
    "data",
    [
        rb'{"class":"\ud83d"',
        rb'{"class":"\ud83d","code":NaN}',
        rb'"\ud83d" x',
        b'\xff"\\ud83d"',
        b"[" * 5000 + rb'"\ud83d"' + b"]" * 5000,
    ],
)
def test_what_else_is_wrong_with_it_stays_wrong(data: bytes) -> None:
    with pytest.raises(RemoteProtocolError):
        codec.decode(data)
