"""The Sessions tab as people use it: in a real browser, on a real run, stopped by its button."""

import json
import os
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from browser import Browser
from locusts import environment_for, launch, locustfile, only_run
from processes import Simulator

from harness.supervise.children import free_port

pytestmark = [pytest.mark.process, pytest.mark.browser]

SEEN = (
    Path(os.environ.get("HARNESS_SCREENSHOTS", "")) if "HARNESS_SCREENSHOTS" in os.environ else None
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of the one run that all of them look at."""
    return tmp_path_factory.mktemp("web")


@pytest.fixture(scope="module")
def running(shared_simulator: Simulator, folder: Path) -> Iterator[tuple[Any, str]]:
    """Locust with its web UI, eight guests in session, some already left over."""
    port = free_port()
    shared_simulator.faults(ignore_clear=0.3)
    file = locustfile(folder, messages=4, think="150ms")
    options = ("--autostart", "-u", "8", "-r", "8", "--web-port", port)
    process = launch(file, environment_for(folder, shared_simulator.url), *options)
    url = f"http://127.0.0.1:{port}"
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            if ask(f"{url}/sessions/state")["sessions"]["leftover"] > 0:
                break
        except (OSError, ValueError):
            pass
        time.sleep(0.2)
    else:
        process.kill()
        raise AssertionError(process.communicate()[0])
    shared_simulator.faults()
    yield process, url
    process.terminate()
    process.communicate(timeout=60)


def ask(url: str, **headers: str) -> Any:
    with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=5) as answer:
        return json.load(answer)


def test_the_target_is_named_and_cannot_be_changed_in_the_form(
    running: tuple[Any, str], simulator: Any
) -> None:
    _, url = running
    target = simulator.url.split("/")[2]
    assert ask(f"{url}/sessions/state")["target"] == target
    other = b"user_count=1&spawn_rate=1&host=http://elsewhere.example"
    with urllib.request.urlopen(f"{url}/swarm", data=other, timeout=5) as answer:
        told = json.load(answer)
    assert told["success"] is False
    assert target in told["message"]
    with urllib.request.urlopen(f"{url}/", timeout=5) as answer:
        assert f'"host": "{target}"' in answer.read().decode()


@pytest.mark.parametrize(
    ("width", "dark"), [pytest.param(1280, False, marks=pytest.mark.long), (390, True)]
)
def test_the_page_alone_fits_and_has_no_complaint(
    browser: Browser, running: tuple[Any, str], width: int, dark: bool
) -> None:
    _, url = running
    browser.open(f"{url}/sessions/", width=width, height=1200, dark=dark)
    browser.until("document.documentElement.dataset.ready === 'yes'")
    assert browser.console == []
    assert all(request.startswith(url) for request in browser.requests)
    assert browser.run("document.documentElement.scrollWidth") <= width
    names = [node["name"] for node in browser.accessible() if node["role"] == "image"]
    assert any(name.startswith("Chart: Left over, by reason, now") for name in names)
    assert any(name.startswith("Chart: Guests in session, now") for name in names)
    if SEEN is not None:
        browser.screenshot(SEEN / f"sessions-{width}.png")


def test_other_sites_and_other_machines_stay_out(running: tuple[Any, str]) -> None:
    process, url = running
    with pytest.raises(urllib.error.HTTPError) as caught:
        ask(f"{url}/sessions/state", Origin="https://elsewhere.example")
    assert caught.value.code == 403
    caught.value.close()
    request = urllib.request.Request(f"{url}/stop", headers={"Origin": "https://elsewhere.example"})
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(request, timeout=5)
    caught.value.close()
    with urllib.request.urlopen(f"{url}/sessions/state", timeout=5) as answer:
        assert answer.headers.get("Access-Control-Allow-Origin") is None
    listening = [
        connection.laddr.ip
        for connection in psutil.Process(process.pid).net_connections()
        if connection.status == psutil.CONN_LISTEN
    ]
    assert listening == ["127.0.0.1"]


def test_the_tab_shows_the_run_and_its_button_drains(
    browser: Browser, running: tuple[Any, str], folder: Path
) -> None:
    _, url = running
    browser.open(f"{url}/?tab=sessions", width=1280, height=1400)
    inside = "document.getElementById('harness-sessions')?.contentDocument"
    browser.until(f"{inside}?.documentElement?.dataset.ready === 'yes'")
    tabs = browser.run("[...document.querySelectorAll('[role=tab]')].map(t => t.textContent)")
    assert any("Sessions" in tab or "SESSIONS" in tab for tab in tabs)
    numbers = browser.run(f"{inside}.getElementById('numbers').textContent")
    assert "in session" in numbers
    assert browser.run(f"{inside}.querySelectorAll('#operations tr').length") >= 5
    assert browser.run(f"{inside}.querySelectorAll('#leftovers tr').length") >= 1
    token = browser.run(f"{inside}.querySelector('#leftovers td').textContent")
    assert len(token) == 9, "a token is a credential: no more than its beginning is shown"
    browser.until(f"[...{inside}.querySelectorAll('path')].every(p => p.getAttribute('d'))")
    if SEEN is not None:
        browser.screenshot(SEEN / "sessions-tab.png")
    browser.run(f"{inside}.getElementById('stop').click()")
    deadline = time.monotonic() + 60
    while not (only_run(folder) / "run.json").exists():
        assert time.monotonic() < deadline, "the button did not end the run"
        time.sleep(0.2)
    record = json.loads((only_run(folder) / "run.json").read_text())
    sessions = record["sessions"]
    assert sessions["opened"] == sessions["cleared"] + sessions["leftover"]
    assert sessions["leftover"] > 0
