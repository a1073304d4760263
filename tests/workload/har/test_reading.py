"""Exports of every browser: read, or refused in a sentence that says what to do instead."""

import json
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hars import TOKEN, came, configured, har, left, said, sent, socket
from hypothesis import given
from hypothesis import strategies as st

from harness.conform.check import check_recording
from harness.errors import ConfigError
from harness.workload.har.reading import Kind, moments, read_recording


def written(folder: Path, value: Any, name: str = "chat.har") -> Path:
    file = folder / name
    file.write_text(value if isinstance(value, str) else json.dumps(value))
    return file


CHAT = [*configured(100), said(101, "Hello"), came(102, "Hi"), *left(110)]


@pytest.mark.parametrize("status", [101, 200, 0])
def test_chromes_export_is_read(tmp_path: Path, status: int) -> None:
    ping = {"type": "receive", "time": 103, "opcode": 9, "data": ""}
    close = {"type": "receive", "time": 111, "opcode": 8, "code": 1001}
    file = written(tmp_path, har(socket([*CHAT[:4], ping, *CHAT[4:], close], status=status)))
    found = read_recording(file)
    (session,) = found.sessions
    assert session.token == TOKEN
    frames = session.connections[0].frames
    assert [frame.outgoing for frame in frames] == [1, 0, 1, 0, 1, 0, 0, 0, 0]
    assert (frames[0].at_s, frames[-1].code) == (100, 1001)
    assert found.left_out[0] == "1 other requests of the page with their cookies and headers"


def test_sockets_of_one_token_are_one_session_and_strangers_are_left_out(tmp_path: Path) -> None:
    chat = {"type": "send", "time": 1, "opcode": 1, "data": '{"hello": "other service"}'}
    later = [*configured(200, new=False), said(201, "Back")]
    other = [*configured(150, token="another-token-of-somebody"), said(151, "Me too")]
    sockets = (socket([chat]), socket(later), socket(CHAT[:4]), socket(other), socket([]))
    found = read_recording(written(tmp_path, har(*sockets)))
    assert [len(session.connections) for session in found.sessions] == [2, 1]
    assert "2 websockets that are no guest's" in found.left_out
    kinds = [one.kind for one in moments(found.sessions[0])]
    assert kinds == [
        Kind.CONFIGURE, Kind.READY, Kind.TEXT, Kind.REPLY, Kind.LOST,
        Kind.CONFIGURE, Kind.READY, Kind.TEXT,
    ]  # fmt: skip


def test_times_in_milliseconds_and_missing_ones(tmp_path: Path) -> None:
    frames = [{**one, "time": one["time"] * 1000 + 1.7e12} for one in CHAT]
    del frames[3]["time"]
    (session,) = read_recording(written(tmp_path, har(socket(frames)))).sessions
    times = [frame.at_s - 1.7e9 for frame in session.connections[0].frames]
    assert times[:4] == pytest.approx([100, 100.1, 101, 101])


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (har(), "1 requests and no websocket among them; in Chrome or Edge: open the developer"),
        (har(socket(None)), "1 websocket and no message: a sanitized export, or a program that"),
        (har(socket(None), creator="Firefox"), "no message: Firefox exports none; in Chrome or"),
        (har(socket(None), creator="WebKit Web Inspector"), "no message: Safari exports none"),
        (har(socket([])), "1 websocket: their messages are missing"),
        (har(socket([], status=403)), "1 websocket: the upgrade was refused with 403"),
        (
            har(socket([said(1, "Hi")])),
            "none begins with configureSession, so none is a guest's, or the export began after",
        ),
        (har(socket([sent(1, "configureSession", token=7)])), "none begins with configureSession"),
        ({"log": {"entries": 5}}, "0 requests and no websocket"),
        ({"log": {"entries": [1, None, {"request": 3}]}}, "1 requests and no websocket"),
        ([], "no recording, and no frame"),
        ("{", r"neither a HAR nor a recording: Expecting .* \(line 1, column 2\)"),
        ("", "neither a HAR nor a recording"),
        ("[" * 100_000, "nested too deeply"),
        ('{"class":"x","body":' + "[" * 600 + "]" * 600 + "}", "nested too deeply"),
        ('{"class":"x","body":' + '{"a":' * 980 + "1" + "}" * 981, "nested too deeply"),
        ("9" * 5_000, "a number is too long"),
        ('{"recording": "x"}\n{"type": "send"', "a recording without a guest's session"),
    ],
)
def test_what_cannot_be_read_is_told_with_what_to_do(
    tmp_path: Path, value: Any, reason: str
) -> None:
    with pytest.raises(ConfigError, match=reason) as refused:
        read_recording(written(tmp_path, value))
    assert str(refused.value).startswith(str(tmp_path / "chat.har"))
    assert "\n" not in str(refused.value)


def test_files_that_are_not_there_or_no_text(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.har: No such file"):
        read_recording(tmp_path / "none.har")
    (tmp_path / "x.har").write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match=r"x\.har, line 1: not UTF-8 text \(byte 0\)"):
        read_recording(tmp_path / "x.har")
    with pytest.raises(ConfigError, match="a directory without"):
        read_recording(tmp_path)


def test_a_directory_of_frames(tmp_path: Path) -> None:
    written(tmp_path, {"class": "SessionClearedEvent"}, "a.json")
    written(tmp_path, [{"frame": {"class": "x"}}, {"action": "echo"}], "b.json")
    written(tmp_path, "{", "c.json")
    found = read_recording(tmp_path).loose
    assert [[frame.outgoing for frame in frames] for frames in found] == [[0], [0, 1], [0]]
    assert found[2][0].problem.startswith("c.json is not JSON")


@pytest.mark.parametrize("levels", [600, 900, 5000])
def test_a_frame_that_is_nested_too_deeply_stops_nothing(tmp_path: Path, levels: int) -> None:
    deep = '{"class":"StructuredMessage","code":200,"body":' + '{"a":' * levels
    written(tmp_path, deep + "1" + "}" * (levels + 1), "a.json")
    recording = read_recording(tmp_path)
    assert recording.loose[0][0].problem == "a.json is not JSON: nested too deeply"
    (finding,) = check_recording(recording, key=b"k").findings
    assert finding.there == "a.json is not JSON: nested too deeply"


def test_our_own_recording_of_a_guest_that_came_back(tmp_path: Path) -> None:
    lines = [{"recording": "harness guest", "version": 1}, *CHAT[:4], *configured(200)]
    text = "\n".join(map(json.dumps, lines)) + '\n{"type": "rece'
    found = read_recording(written(tmp_path, text, "guest.jsonl"))
    assert [len(one.frames) for one in found.sessions[0].connections] == [4, 2]
    assert found.left_out == ("line 8, which is not whole",)


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
        st.sampled_from(["log", "entries", "request", "url", "response", "status", "type", "time",
                         "_webSocketMessages", "data", "opcode", "action", "token", "message",
                         "events", "content", "class", "body", "text", "buttonResponse"]),
        inner, max_size=4,
    ),
    max_leaves=15,
)  # fmt: skip


@given(anything, anything, st.lists(anything, max_size=3))
def test_any_json_is_read_or_refused(message: Any, frame: Any, more: list[Any]) -> None:
    odd = {"type": "receive", "time": 1, "opcode": 1, "data": json.dumps(frame)}
    odd_sent = {**odd, "type": "send"}
    found = har(socket([*configured(1), message, odd, odd_sent, *more]), *[{"x": m} for m in more])
    with TemporaryDirectory() as folder:
        for session in read_recording(written(Path(folder), found)).sessions:
            moments(session)
        with suppress(ConfigError):
            read_recording(written(Path(folder), frame))
