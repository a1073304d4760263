"""Frames are shown with their times, and with no secret in them."""

import json
import re
from pathlib import Path

import pytest

from harness.guest.visit import Frames, RecordFile

TOKEN = "12345678-90ab-cdef-1234-567890abcdef"


def shown(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return capsys.readouterr().out.splitlines()


def test_what_answers_is_shown_with_how_long_it_took(capsys: pytest.CaptureFixture[str]) -> None:
    frames = Frames(TOKEN, quiet=False)
    start = frames._started
    said = {"action": "onMessage", "token": TOKEN, "tracingId": "t1"}
    for outgoing, frame, at_ms in (
        (True, said, 1000),
        (False, {"tracingId": "t1", "body": {"direction": "Inbound"}}, 1002),
        (False, {"body": {"direction": "Outbound", "text": "hi"}}, 1051),
        (False, {"class": "SessionClearedEvent", "body": {}}, 1060),
    ):
        frames.frame(outgoing, json.dumps(frame).encode(), start + at_ms * 1_000_000)
    marks = [re.findall(r"^ *(\S+) s (.) *(?:\+(\S+) ms)?  \{", line)[0] for line in shown(capsys)]
    assert marks == [
        ("1.000", "→", ""), ("1.002", "←", "2.0"), ("1.051", "←", "51.0"), ("1.060", "←", "")
    ]  # fmt: skip


def test_tokens_and_signatures_are_shortened(capsys: pytest.CaptureFixture[str]) -> None:
    frames = Frames(TOKEN, quiet=False)
    frames.frame(True, f'{{"token":"{TOKEN}","data":{{"code":"secret"}}}}'.encode(), 0)
    frames.frame(False, b'{"jwt":"secret","url":"https://x/y?a=1&X-Amz-Signature=secret"}', 0)
    told = "".join(shown(capsys))
    assert TOKEN not in told
    assert "12345678…" in told
    assert "secret" not in told


@pytest.mark.parametrize("data", [b"{", b"[1]", b"\xff", b'{"body":[1]}'])
def test_any_frame_can_be_shown(data: bytes, capsys: pytest.CaptureFixture[str]) -> None:
    Frames(TOKEN, quiet=False).frame(False, data, 0)
    assert len(shown(capsys)) == 1


def test_what_the_other_side_says_moves_no_cursor_and_forges_no_line(
    capsys: pytest.CaptureFixture[str],
) -> None:
    frames = Frames(TOKEN, quiet=False)
    frames.say(f"« \x1b[2J\x1b[Hfine\n    0.000 s   the session is over\u202e {TOKEN}")
    (line,) = shown(capsys)
    assert "\\x1b[2J\\x1b[Hfine\\n" in line
    assert "\\u202e 12345678…" in line


@pytest.mark.parametrize("levels", [600, 985, 5000])
def test_a_frame_that_is_nested_too_deeply_is_recorded_by_its_length(
    tmp_path: Path, levels: int
) -> None:
    record = RecordFile(tmp_path / "chat.jsonl", token=TOKEN, redacted=True)
    data = '{"body":' + '{"text":' * levels + f'"{TOKEN}"' + "}" * (levels + 1)
    record.frame(False, data.encode(), 0)
    record.close()
    _, line = map(json.loads, (tmp_path / "chat.jsonl").read_text().splitlines())
    assert line["data"] == f"<no JSON, {len(data):,} characters>"
    assert record.frames == 1
