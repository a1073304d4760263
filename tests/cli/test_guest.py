"""``harness guest`` as a user runs it: what goes to and fro is shown, no secret is."""

import fcntl
import os
import pty
import re
import signal
import subprocess
import sys
import termios
from pathlib import Path
from typing import Any

import pytest
from processes import Simulator, harness, start_harness
from sessions import settings_for

from harness.guest.rest import exchange_sign_in

pytestmark = pytest.mark.process


def guest(
    directory: Path, *words: str, typed: str = "", target: str = ""
) -> "subprocess.CompletedProcess[str]":
    at = ["--target", target] if target else []
    return harness("guest", *at, *words, within_s=60, input=typed, cwd=directory)


def test_by_hand(simulator: Any, tmp_path: Path) -> None:
    typed = "hello\n/typing\n/history\n/choose nothing\n/drop\nback\n/what\n/quit\n"
    done = guest(tmp_path, typed=typed, target=simulator.url)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert all(re.match(r" *\d+\.\d{3} s ", line) for line in lines)
    assert any("→" in line and "configureSession" in line for line in lines)
    assert any("←" in line and "SessionClearedEvent" in line for line in lines)
    assert "Outbound You said: hello" in done.stdout
    assert "the choice was not offered: 'nothing'; there is nothing" in done.stdout
    assert "known: /join" in done.stdout
    tokens = set(re.findall(r'"token":"([^"]+)"', done.stdout))
    assert len(tokens) == 1
    assert len(tokens.pop()) == 9  # eight characters and an ellipsis
    assert set(re.findall(r'"jwt":"([^"]+)"', done.stdout)) == {"…"}


def test_from_a_script_at_the_embedded_simulator(tmp_path: Path) -> None:
    (tmp_path / "s.yaml").write_text(
        "scenarios:\n  good:\n    - say: hi\n    - waitForReplyContaining: hi\n"
        "  bad:\n    - say: hi\n    - waitForReplyContaining: no\n      within: 200ms\n"
    )
    good = guest(tmp_path, "--script", "s.yaml", "--scenario", "good", "--quiet")
    assert (good.returncode, good.stdout.count("\n")) == (0, 2), good.stderr
    assert list((tmp_path / "reports").iterdir()) == []
    bad = guest(tmp_path, "--script", "s.yaml", "--scenario", "bad")
    assert bad.returncode == 3
    assert "no reply within 0.2 s" in bad.stderr
    wrong = guest(tmp_path, "--script", "s.yaml", "--scenario", "ugly")
    assert wrong.returncode == 8
    assert "it has: good, bad" in wrong.stderr
    for words, why in (
        (("--script", "s.yaml", "--row", "-1"), "--row: expected zero or more, got -1"),
        (("--row", "2"), "--scenario and --row go with --script"),
        (("--scenario", "good"), "--scenario and --row go with --script"),
    ):
        wrong = guest(tmp_path, *words)
        code = 2 if "go with" in why else 8
        assert (wrong.returncode, wrong.stderr) == (code, f"error: {why}\n")


def test_a_recording_is_redacted_understood_and_makes_a_script(
    simulator: Any, tmp_path: Path
) -> None:
    typed = (
        "/join\nI am Ada Lovelace, my order is 4711-2299\n/history\nmail me: ada@example.org\n"
        "/drop\nback again\n"
    )
    done = guest(tmp_path, "--record", "chat.jsonl", typed=typed, target=simulator.url)
    assert done.returncode == 0, done.stderr
    assert "chat.jsonl: " in done.stdout
    assert "frames, redacted; read it before you pass it on" in done.stdout
    file = tmp_path / "chat.jsonl"
    assert file.stat().st_mode & 0o777 == 0o600
    written = file.read_text()
    shown = re.findall(r'"token":"([^"…]{8})…"', done.stdout)
    for secret in ("Ada", "Lovelace", "4711", "ada@", "eyJ", shown[0]):
        assert secret not in written, secret
    assert "back again" in written
    again = guest(tmp_path, "--record", "chat.jsonl", target=simulator.url)
    assert (again.returncode, again.stderr.count("\n")) == (8, 1)
    assert list((tmp_path / "reports").iterdir()) == []

    conform = harness("conform", "chat.jsonl", cwd=tmp_path)
    assert conform.returncode == 0, conform.stdout + conform.stderr
    assert "1 guest" in conform.stdout
    made = harness("script", "from-har", "chat.jsonl", cwd=tmp_path)
    assert made.returncode == 0, made.stderr
    script = (tmp_path / "chat.yaml").read_text()
    assert 'say: "I am {{name}}, my order is {{order_number}}"' in script
    played = guest(tmp_path, "--script", "chat.yaml", target=simulator.url)
    assert played.returncode == 0, played.stdout + played.stderr


def test_an_unredacted_recording_has_to_be_asked_for(simulator: Any, tmp_path: Path) -> None:
    words = ("--record", "chat.jsonl", "--unredacted", "--quiet")
    done = guest(tmp_path, *words, typed="I am Ada\n", target=simulator.url)
    assert done.returncode == 0, done.stderr
    assert "with the guest's token and all texts in it" in done.stdout
    assert "I am Ada" in (tmp_path / "chat.jsonl").read_text()
    alone = guest(tmp_path, "--unredacted", target=simulator.url)
    assert (alone.returncode, alone.stderr) == (2, "error: --unredacted goes with --record\n")


def test_a_session_that_may_be_open_is_told(simulator: Any, tmp_path: Path) -> None:
    simulator.faults(forbid_clear=1)
    done = guest(tmp_path, typed="hi\n", target=simulator.url)
    assert done.returncode == 4
    (command,) = re.findall(r"harness (sweep reports/guest-\S+)", done.stderr)
    assert "Clear Conversation is switched off" in done.stdout
    simulator.faults()
    swept = harness(*command.split(), within_s=60, cwd=tmp_path)
    assert swept.returncode == 0, swept.stdout + swept.stderr


def test_a_target_that_is_not_there_leaves_nothing_behind(tmp_path: Path) -> None:
    nowhere = "ws://127.0.0.1:1/v1?deploymentId=12345678-90ab-cdef-1234-567890abcdef"
    done = guest(tmp_path, typed="hi\n", target=nowhere)
    assert done.returncode == 3
    assert "the story ended: could not connect (tcp): nothing listens" in done.stderr
    assert "no session was opened" in done.stdout
    assert list((tmp_path / "reports").iterdir()) == []


@pytest.mark.parametrize(
    ("number", "script"),
    [
        (signal.SIGINT, False),
        (signal.SIGTERM, False),
        (signal.SIGHUP, False),
        (signal.SIGTERM, True),
    ],
)
def test_who_is_stopped_clears_on_the_way_out(
    simulator: Any, tmp_path: Path, number: signal.Signals, script: bool
) -> None:
    (tmp_path / "s.yaml").write_text("scenarios:\n  a:\n    - say: hi\n    - idle: 1h\n")
    before = simulator.open_tokens()
    words = ["--script", "s.yaml"] if script else []
    process = start_harness(
        "guest", "--target", simulator.url, *words,
        stdin=subprocess.PIPE, stderr=subprocess.PIPE, cwd=tmp_path,
    )  # fmt: skip
    assert process.stdout is not None
    output = ""
    while "SessionResponse" not in output:
        output += process.stdout.readline()
    process.send_signal(number)
    rest, errors = process.communicate(timeout=30)
    assert process.returncode == 130, errors
    assert errors == ""
    assert "stopped by hand" in rest
    assert "the service has said so" in rest
    assert simulator.open_tokens() <= before
    assert list((tmp_path / "reports").iterdir()) == []


def test_a_closed_input_ends_the_visit(simulator: Any, tmp_path: Path) -> None:
    done = subprocess.run(
        ["/bin/sh", "-c", 'exec "$@" <&-', "sh",
         sys.executable, "-m", "harness", "guest", "--target", simulator.url],
        cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")


def test_a_fault_of_the_embedded_simulator_is_told_over_tls(tmp_path: Path) -> None:
    words = ("--sim-tls", "--sim-fault", "cut=#1,when=answered", "--quiet")
    done = guest(tmp_path, *words, typed="one\n")
    assert done.returncode == 0, done.stderr
    assert "the connection was lost: trying to come back" in done.stdout
    assert "« You said: one" in done.stdout
    refused = guest(tmp_path, "--sim-tls", target="ws://127.0.0.1:1/v1")
    assert (refused.returncode, refused.stderr.count("\n")) == (2, 1)


def test_a_terminal_that_goes_away_leaves_no_session(simulator: Any, tmp_path: Path) -> None:
    before = simulator.open_tokens()
    leader, follower = pty.openpty()
    process = start_harness(
        "guest", "--target", simulator.url,
        stdin=follower, stdout=follower, stderr=follower, cwd=tmp_path, start_new_session=True,
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
    )  # fmt: skip
    os.close(follower)
    seen = b""
    while b"SessionResponse" not in seen:
        seen += os.read(leader, 65_536)
    os.close(leader)
    assert process.wait(30) == 130
    assert simulator.open_tokens() <= before
    assert list((tmp_path / "reports").iterdir()) == []


def test_a_sweep_finds_the_sign_in_of_a_guest_who_was_killed(tmp_path: Path) -> None:
    running = Simulator("--limits", "off", "--deployment", "authentication=on")
    try:
        jwt = exchange_sign_in(settings_for(running), "customer 1", "https://shop")
        (tmp_path / "jwt").write_text(f"{jwt}\n")
        words = ("--target", running.url, "--sign-in", "jwt")
        process = start_harness("guest", *words, stdin=subprocess.PIPE, cwd=tmp_path)
        assert process.stdout is not None
        assert any("SessionResponse" in line for line in process.stdout)
        process.kill()
        process.communicate(timeout=30)
        assert running.truth()["sessions"]["open"] == 1
        (directory,) = (tmp_path / "reports").glob("guest-*")
        swept = harness("sweep", str(directory), within_s=60, cwd=tmp_path)
        assert swept.returncode == 0, swept.stdout + swept.stderr
        assert running.truth()["sessions"]["open"] == 0
        assert jwt not in (directory / "start.json").read_text()
    finally:
        running.stop()
