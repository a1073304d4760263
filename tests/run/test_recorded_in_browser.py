"""From a chat in a real browser: a script that runs, and what was not known; nothing secret."""

import json
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from browser import Browser
from guest_page import guest_page
from processes import Simulator

from harness.workload.script.file import read_script
from harness.workload.script.model import StepKind, walk

pytestmark = [pytest.mark.browser, pytest.mark.process]

BOT = """
greeting = "Welcome"
fallback = "You said: {text}"
[[answer]]
to = "(?i)menu"
say = ["One moment.", {text = "Which?", quick_replies = ["First", "Second"]}]
"""
SECRETS = ("ada.secret@example.org", "+49 170 7654321", "ORD-99887766", "gold-customer-7")
STORY = [
    ["connect"],
    ["jwt"],
    ["join"],
    ["reply"],
    ["pause", 1200],
    ["say", f"My mail is {SECRETS[0]}, my phone {SECRETS[1]}"],
    ["reply"],
    ["echo"],
    ["typing"],
    ["pause", 700],
    ["say", "The menu, please"],
    ["reply"],
    ["reply"],
    ["choose", "First", "first-payload"],
    ["reply"],
    ["upload", "ada-invoice.txt", "one bicycle"],
    ["reply"],
    ["drop"],
    ["connect"],
    ["say", f"And where is {SECRETS[2]}?"],
    ["reply"],
    ["clear"],
]


def shop_in(folder: Path) -> Simulator:
    (folder / "bot.toml").write_text(BOT)
    return Simulator("--limits", "off", "--bot", "script", str(folder / "bot.toml"))


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Simulator]:
    running = shop_in(tmp_path)
    yield running
    running.stop()


def recorded(browser: Browser, simulator: Any, folder: Path) -> tuple[Path, str]:
    """The HAR of a whole chat, and the guest's token."""
    token = str(uuid.uuid4())
    page = guest_page(folder, simulator.url, token, STORY, {"level": SECRETS[3]})
    browser.open(page)
    browser.until("window.state !== 'running'")
    assert browser.run("window.failure") == ""
    file = folder / "chat.har"
    file.write_text(json.dumps(browser.har()))
    return file, token


@pytest.fixture(scope="module")
def chat(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The HAR of a whole chat with a shop of its own, and the guest's token."""
    folder = tmp_path_factory.mktemp("chat")
    running = shop_in(folder)
    try:
        return recorded(browser, running, folder)
    finally:
        running.stop()


def harness(folder: Path, *words: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "harness", *words],
        cwd=folder, capture_output=True, text=True, timeout=90, check=False,
        stdin=subprocess.DEVNULL,
    )  # fmt: skip


def secrets_in(whole: str, token: str) -> set[str]:
    """Everything of a HAR that must not be in what is made of it."""
    frames = [
        json.loads(message["data"])
        for entry in json.loads(whole)["log"]["entries"]
        for message in entry.get("_webSocketMessages", ())
    ]
    ids = {frame["tracingId"] for frame in frames if "tracingId" in frame}
    jwts = {frame["body"]["jwt"] for frame in frames if frame.get("class") == "JwtResponse"}
    assert jwts
    return {token, "visitor-cookie-5512", "ada-invoice", *SECRETS, *ids, *jwts}


def test_a_chat_in_a_browser_becomes_a_script_that_passes(
    chat: tuple[Path, str], shop: Simulator, tmp_path: Path
) -> None:
    file, token = chat
    (tmp_path / "chat.har").write_bytes(file.read_bytes())
    made = harness(tmp_path, "script", "from-har", "chat.har", "--out", "made/shop.yaml")
    assert made.returncode == 8, made.stdout  # there is no such folder
    (tmp_path / "made").mkdir()
    made = harness(tmp_path, "script", "from-har", "chat.har", "--out", "made/shop.yaml")
    assert made.returncode == 0, made.stderr
    loaded = read_script(tmp_path / "made" / "shop.yaml")
    (scenario,) = loaded.script.scenarios.values()
    kinds = [step.kind for step in walk(scenario.steps) if step.kind is not StepKind.THINK]
    wait, say = StepKind.WAIT_ANY, StepKind.SAY
    assert kinds == [
        StepKind.JOIN, wait, say, wait, StepKind.TYPING, say, StepKind.WAIT_MATCHING,
        StepKind.CHOOSE, wait, StepKind.ATTACH, wait, StepKind.DROP, StepKind.RECONNECT, say, wait,
    ]  # fmt: skip
    before = shop.truth()
    done = harness(tmp_path, "guest", "--target", shop.url, "--script", "made/shop.yaml")
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr
    after = shop.truth()
    assert after["open_tokens"] == before["open_tokens"]
    again = harness(tmp_path, "script", "from-har", "chat.har", "--out", "made/shop.yaml")
    assert (again.returncode, again.stderr.count("\n")) == (8, 1)
    whole = file.read_text()
    written = "".join(path.read_text() for path in (tmp_path / "made").iterdir())
    for secret in secrets_in(whole, token):
        assert secret in whole, secret
        assert secret not in written + made.stdout, secret
    for sentence in (
        "1 guest token",
        "values of custom attributes: level",
        "email in the guest's texts",
    ):
        assert f"not carried over: {sentence}" in made.stdout


def changed(whole: str, change: Any) -> str:
    """The HAR with each frame of the service as ``change`` makes it (a list of frames)."""
    found = json.loads(whole)
    for entry in found["log"]["entries"]:
        frames = entry.get("_webSocketMessages", [])
        entry["_webSocketMessages"] = change(frames)
    return json.dumps(found)


def as_frames(frames: list[dict[str, Any]], change: Any) -> list[dict[str, Any]]:
    return [{**one, "data": json.dumps(change(json.loads(one["data"])))} for one in frames]


def another_class(frame: dict[str, Any]) -> dict[str, Any]:
    return frame | {"class": "MoodEvent"} if frame.get("class") == "JwtResponse" else frame


def another_type(frame: dict[str, Any]) -> dict[str, Any]:
    if frame.get("class") == "SessionResponse":
        frame["body"]["durationSeconds"] = "259200"
    return frame


def reversed_clear(frames: list[dict[str, Any]]) -> list[dict[str, Any]]:
    at = [index for index, one in enumerate(frames) if '"SessionClearedEvent"' in one["data"]]
    for index in at:
        frames[index - 1 : index + 1] = reversed(frames[index - 1 : index + 1])
    return frames


PLANTED = [
    (lambda frames: as_frames(frames, another_class), "unknown class: MoodEvent"),
    (
        lambda frames: as_frames(frames, another_type),
        "another type: SessionResponse.body.durationSeconds: a text in place of a number",
    ),
    (reversed_clear, "order: Clear: was answered by SessionClearedEvent, echo, ConnectionClosed"),
]


def test_conform_finds_what_was_planted_and_nothing_else(
    chat: tuple[Path, str], tmp_path: Path
) -> None:
    file, token = chat
    whole = file.read_text()
    clean = harness(tmp_path, "conform", str(file))
    assert clean.returncode == 0, clean.stdout + clean.stderr
    frames = [line for line in clean.stdout.splitlines() if line.startswith("all ")]
    assert len(frames) == 1
    assert frames[0].endswith(" frames understood")
    outputs = clean.stdout
    for number, (change, told) in enumerate(PLANTED):
        planted = tmp_path / f"planted-{number}.har"
        planted.write_text(changed(whole, change))
        done = harness(tmp_path, "conform", str(planted), "--out", f"odd-{number}.json")
        assert done.returncode == 3, done.stdout + done.stderr
        assert done.stdout.count("not understood: ") == 1, done.stdout
        assert f"not understood: {told}" in done.stdout
        outputs += done.stdout + (tmp_path / f"odd-{number}.json").read_text()
    for secret in secrets_in(whole, token):
        assert secret not in outputs.replace(str(file), ""), secret


def test_a_rehearsal_answers_as_the_recording_and_the_script_passes_there(
    chat: tuple[Path, str], tmp_path: Path
) -> None:
    file, token = chat
    made = harness(tmp_path, "script", "from-har", str(file), "--out", "shop.yaml")
    assert made.returncode == 0, made.stderr
    rehearsal = Simulator("--limits", "off", "--seed", "3", "--from", str(file))
    try:
        words = ("--target", rehearsal.url, "--script", "shop.yaml", "--record", "again.jsonl")
        done = harness(tmp_path, "guest", *words)
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr
        assert "One moment." in done.stdout
        assert "Welcome" in done.stdout
        for secret in secrets_in(file.read_text(), token):
            assert secret not in done.stdout, secret
        assert rehearsal.truth()["open_tokens"] == []
    finally:
        rehearsal.stop()
    first, again = (
        json.loads(harness(tmp_path, "conform", str(one), "--json").stdout)["files"][0]
        for one in (file, tmp_path / "again.jsonl")
    )
    many = [[turn["messages"] for turn in one["sessions"][0]["turns"]] for one in (first, again)]
    assert many[0] == many[1]
