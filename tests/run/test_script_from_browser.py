"""From a chat in a real browser to a script that runs: nothing that was secret comes along."""

import json
import subprocess
import sys
import uuid
from pathlib import Path
from typing import Any

import pytest
from browser import Browser
from conftest import Simulator
from guest_page import guest_page

from harness.workload.script import StepKind, walk
from harness.workload.script_file import read_script

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


@pytest.fixture
def shop(tmp_path: Path) -> Any:
    (tmp_path / "bot.toml").write_text(BOT)
    running = Simulator("--limits", "off", "--bot", "script", str(tmp_path / "bot.toml"))
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


def harness(folder: Path, *words: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "harness", *words],
        cwd=folder, capture_output=True, text=True, timeout=90, check=False,
        stdin=subprocess.DEVNULL,
    )  # fmt: skip


def test_a_chat_in_a_browser_becomes_a_script_that_passes(
    browser: Browser, shop: Any, tmp_path: Path
) -> None:
    file, token = recorded(browser, shop, tmp_path)
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
    frames = [
        json.loads(message["data"])
        for entry in json.loads(whole)["log"]["entries"]
        for message in entry.get("_webSocketMessages", ())
    ]
    ids = {frame["tracingId"] for frame in frames if "tracingId" in frame}
    jwts = {frame["body"]["jwt"] for frame in frames if frame.get("class") == "JwtResponse"}
    secrets = {token, "visitor-cookie-5512", "ada-invoice", *SECRETS, *ids, *jwts}
    assert jwts
    written = "".join(path.read_text() for path in (tmp_path / "made").iterdir())
    for secret in secrets:
        assert secret in whole, secret
        assert secret not in written + made.stdout, secret
    for sentence in (
        "1 guest token",
        "values of custom attributes: level",
        "email in the guest's texts",
    ):
        assert f"not carried over: {sentence}" in made.stdout
