"""``harness conform``: measured, listed, and the exit code says whether all was understood."""

import json
from pathlib import Path

import pytest
from hars import came, configured, har, left, said, socket

from harness.cli.main import main
from harness.errors import ExitCode
from harness.streams import HowFar


@pytest.fixture
def chat(tmp_path: Path) -> Path:
    frames = [*configured(1), said(2, "Hi"), came(2.8, "Hello"), came(4.1, "And?"), *left(9)]
    file = tmp_path / "chat.har"
    file.write_text(json.dumps(har(socket(frames))))
    return file


def test_what_came_to_each_text_is_told(chat: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["conform", str(chat)]) == ExitCode.PASS
    output = capsys.readouterr().out.splitlines()
    assert output[0] == f"{chat}: 1 guest, 6 frames of the service"
    assert output[1:] == [
        "  session      open after 100ms",
        "  1. text      2 messages after 800ms to 2.1s",
        "  clear        echo, SessionClearedEvent, ConnectionClosedEvent; proof after 200ms",
        "all 6 frames understood",
    ]


def test_what_is_not_understood_is_written_to_be_sent(
    chat: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    frames = tmp_path / "frames"
    frames.mkdir()
    odd = {"type": "message", "class": "MoodEvent", "code": 200, "body": {"mood": "Anna is sad"}}
    (frames / "anna.json").write_text(json.dumps(odd))
    out = tmp_path / "odd.json"
    assert main(["conform", str(chat), str(frames), "--out", str(out)]) == ExitCode.OBJECTIVES
    output = capsys.readouterr().out
    assert "not understood: unknown class: MoodEvent (once, first in frame 1)" in output
    assert f"1 not understood; to be sent: {out}" in output
    sent = json.loads(out.read_text())
    assert sent["frames"] == 7
    (finding,) = sent["not_understood"]
    assert finding["outline"] == odd | {"body": {"mood": "<text of 11>"}}
    assert "nna" not in out.read_text()
    assert main(["conform", str(chat), str(frames), "--json"]) == ExitCode.OBJECTIVES
    facts = json.loads(capsys.readouterr().out)
    assert facts["files"][0]["sessions"][0]["turns"][0]["messages"] == 2


def test_nothing_to_hold_against_is_no_pass(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "chat.har"
    file.write_text(json.dumps(har(socket(configured(1)[:1]))))
    assert main(["conform", str(file)]) == ExitCode.NO_DATA
    assert "no frame of the service" in capsys.readouterr().out
    assert main(["conform", str(tmp_path / "none.har")]) == ExitCode.CONFIG
    assert capsys.readouterr().err.count("\n") == 1


def test_how_far_it_is_is_told_for_what_is_shown_where_it_takes_a_while(
    chat: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []
    monkeypatch.setattr(HowFar, "tell", lambda _, text: told.append(text))
    assert main(["conform", str(chat), str(chat)]) == ExitCode.PASS
    assert told == [f"reading {chat}: 1 of 2", f"reading {chat}: 2 of 2"]
