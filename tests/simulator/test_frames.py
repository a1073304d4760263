"""The envelope, times, and the websocket header."""

import json
import os
from pathlib import Path

import orjson
import pytest

from harness.simulator import frames


@pytest.mark.parametrize(
    ("at", "text"),
    [(0, "1970-01-01T00:00:00.000Z"), (1795348800.9996, "2026-11-22T12:00:00.999Z")],
)
def test_times_are_utc_with_milliseconds(at: float, text: str) -> None:
    assert frames.iso_ms(at) == text


@pytest.mark.parametrize("size", [0, 1, 125, 126, 65535, 65536, 200_000])
def test_the_header_states_the_length(size: int) -> None:
    frame = frames.text_frame(b"x" * size)
    assert frame[0] == 0x81
    short = frame[1]
    if short < 126:
        length, rest = short, 2
    elif short == 126:
        length, rest = int.from_bytes(frame[2:4], "big"), 4
    else:
        length, rest = int.from_bytes(frame[2:10], "big"), 10
    assert length == size == len(frame) - rest


def test_the_tracing_id_is_in_the_envelope_and_only_when_there_is_one() -> None:
    with_id = orjson.loads(frames.message("JwtResponse", {}, "t-1"))
    without = orjson.loads(frames.message("JwtResponse", {}))
    assert with_id == {
        "type": "message",
        "class": "JwtResponse",
        "code": 200,
        "body": {},
        "tracingId": "t-1",
    }
    assert "tracingId" not in without


def test_an_error_is_a_string_body_and_429_an_object() -> None:
    assert orjson.loads(frames.error(4007, "session not found"))["body"] == "session not found"
    limited = orjson.loads(frames.too_many(3, "slower"))
    assert (limited["code"], limited["class"]) == (429, "TooManyRequestsErrorMessage")
    assert limited["body"]["retryAfter"] == 3
    assert limited["body"]["errorCode"] == 4029


def test_the_gateways_error_has_no_class() -> None:
    assert set(orjson.loads(frames.gateway_error("c", "r"))) == {
        "message",
        "connectionId",
        "requestId",
    }


GOLDEN = Path(__file__).parents[1] / "golden" / "frames"
CLASSES = {
    *("string", "SessionResponse", "StructuredMessage", "PresignedUrlResponse", "LogoutEvent"),
    *("AttachmentDeletedResponse", "UploadFailureEvent", "UploadSuccessEvent", "JwtResponse"),
    *("ConnectionClosedEvent", "SessionExpiredEvent", "GetConfigurationResponse"),
    *("GenerateUrlError", "TooManyRequestsErrorMessage", "ResumeTokenResponse", "Error"),
    "SessionClearedEvent",
}
"""Every class of the vendor's schema but ``Unknown``, which no source has seen sent."""
CODES = {400, 401, 403, 404, 408, 409, 429, *range(4000, 4012), 4013, 4017, 4020, 4029, 4102, 5000}


def test_every_frame_is_as_written_down(play, golden_frames) -> None:
    """``HARNESS_UPDATE_GOLDEN=1`` writes what is said now; read the difference before a commit."""
    found = golden_frames(play)
    if os.environ.get("HARNESS_UPDATE_GOLDEN"):
        GOLDEN.mkdir(parents=True, exist_ok=True)
        for path in GOLDEN.glob("*.json"):
            path.unlink()
        for name, golden in found.items():
            (GOLDEN / f"{name}.json").write_text(json.dumps(golden, indent=1) + "\n")
    written = {path.stem: json.loads(path.read_text()) for path in GOLDEN.glob("*.json")}
    assert sorted(found) == sorted(written)
    assert {name: golden for name, golden in found.items() if golden != written[name]} == {}


def test_every_class_and_every_error_has_a_golden_frame() -> None:
    written = [json.loads(path.read_text())["frame"] for path in GOLDEN.glob("*.json")]
    bodies = [frame["body"] for frame in written if isinstance(frame.get("body"), dict)]
    assert {frame["class"] for frame in written if "class" in frame} >= CLASSES
    codes = {frame.get("code") for frame in written} | {body.get("errorCode") for body in bodies}
    assert codes >= CODES
