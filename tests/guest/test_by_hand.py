"""What is typed is said or done, and what the service refuses does not end the talk."""

import os
import pty
import sys
from pathlib import Path
from typing import Any

import gevent
import pytest
from guest_rig import Rig
from processes import Simulator, start_harness

from harness.guest.visit import Frames, talk

pytestmark = pytest.mark.process


def typed(
    rig: Rig, text: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> str:
    reading, writing = os.pipe()

    def type_slowly() -> None:
        for line in text.splitlines(keepends=True):
            os.write(writing, line.encode())
            gevent.sleep(0.3)
        os.close(writing)

    gevent.spawn(type_slowly)
    monkeypatch.setattr("harness.guest.visit.HEAR_OUT_S", 0.2)
    with open(reading) as stdin, rig.guest() as guest:
        monkeypatch.setattr(sys, "stdin", stdin)
        talk(guest, Frames(guest.connection.token, quiet=True))
    return capsys.readouterr().out


def test_commands(
    rig_of_faults: Rig, tmp_path: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "order.txt").write_text("one bicycle")
    (tmp_path / "bare").write_text("no extension")
    attached = f"/attach {tmp_path / 'order.txt'}\n/attach {tmp_path / 'bare'}\n/attach gone\n"
    lines = f"/join\n\n/typing\n/health\n{attached}/new\n/help\n/quit\n"
    told = typed(rig_of_faults, lines, capsys, monkeypatch)
    for words in (
        "« ", "the service answered 4004", "gone: can't be read", "has not ended", "known: /join"
    ):  # fmt: skip
        assert words in told
    assert rig_of_faults.outcomes("upload").keys() == {"ok", "service_error"}


def test_a_conversation_ended_for_good_leads_to_a_new_one(
    tmp_path: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "bot.toml").write_text(
        'fallback = "{text}"\n[[answer]]\nto = "bye"\nsay = ["bye"]\nend = true\n'
    )
    bot = ("--bot", "script", str(tmp_path / "bot.toml"))
    running = Simulator("--limits", "off", "--deployment", "disconnect=read_only", *bot)
    try:
        rig = Rig(running, tmp_path)
        told = typed(rig, "bye\n/join\nmore\n/new\nagain\n", capsys, monkeypatch)
        assert "/new begins another conversation" in told
        assert "another conversation begins" in told
        assert "« again" in told
        rig.ledger.close()
    finally:
        running.stop()


def test_a_new_conversation_that_is_refused_leaves_the_old_one_on_the_list(
    tmp_path: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "bot.toml").write_text(
        'fallback = "{text}"\n[[answer]]\nto = "bye"\nsay = ["bye"]\nend = true\n'
    )
    bot = ("--bot", "script", str(tmp_path / "bot.toml"))
    limit = ("--limits", "off", "--limit", "configures_per_session_per_minute=1")
    running = Simulator(*limit, "--deployment", "disconnect=read_only", *bot)
    try:
        rig = Rig(running, tmp_path)
        told = typed(rig, "bye\n/new\n/new\nmore\n", capsys, monkeypatch)
        assert told.count("ConfigureSession rate too high") == 2
        assert "/new begins another conversation" in told
        assert len(rig.still_open()) == 1
        assert rig.still_open() == rig.leftovers().keys()
        rig.ledger.close()
    finally:
        running.stop()


def test_a_person_at_a_terminal_is_told_what_to_do(simulator: Any, tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    words = ("guest", "--target", simulator.url, "--quiet")
    process = start_harness(*words, stdin=theirs, cwd=tmp_path)
    os.close(theirs)
    assert process.stdout is not None
    assert "Ctrl-D or Ctrl-C leaves and clears" in process.stdout.readline()
    os.write(ours, b"hello\n")
    assert "« You said: hello" in process.stdout.readline()
    os.write(ours, b"\x04")
    rest, _ = process.communicate(timeout=30)
    os.close(ours)
    assert process.returncode == 0
    assert "the service has said so" in rest


@pytest.fixture
def rig_of_faults(simulator: Any, tmp_path: Path) -> Any:
    rig = Rig(simulator, tmp_path)
    yield rig
    assert rig.still_open() == set()
    rig.ledger.close()
