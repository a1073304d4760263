"""Two runs, one after the other, from the same web UI: each has its own figures and its own record.

In a real browser; alone and with workers, one of whom comes in the middle of the first run.
"""

import json
import os
import re
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from browser import Browser
from locusts import environment_for, launch, locustfile, passed

from harness.supervise.children import free_port

pytestmark = [pytest.mark.process, pytest.mark.browser]

SHOTS = os.environ.get("HARNESS_SCREENSHOTS", "")
INSIDE = "document.getElementById('harness-sessions')?.contentDocument"


class Web:
    """Locust with its web UI, and workers if it is a master."""

    def __init__(self, folder: Path, target: str, *options: str, more: str = "") -> None:
        self._file = locustfile(folder, messages=2, think="150ms", more=more)
        self._environment = environment_for(folder, target)
        self.reports = folder / "reports"
        self._processes: list[Any] = []
        self._log = (folder / "locust.log").open("wb")
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        self.start("--web-port", port, *options)
        self.state()

    def start(self, *options: str) -> Any:
        """One more process of Locust."""
        process = launch(self._file, self._environment, *options, stdout=self._log)
        self._processes.append(process)
        return process

    def end(self) -> None:
        """All of them, in order."""
        for process in self._processes:
            process.terminate()
        for process in self._processes:
            process.wait(60)
        self._log.close()

    def state(self) -> dict[str, Any]:
        """What the Sessions tab is told."""
        return self._get("/sessions/state")

    def locust(self) -> dict[str, Any]:
        """What Locust's own page is told, which is a few seconds old."""
        return self._get("/stats/requests")

    def _get(self, path: str) -> dict[str, Any]:
        """The answer, as soon as there is one: a busy machine may take its time."""
        answers: list[dict[str, Any]] = []

        def answered() -> bool:
            try:
                with urllib.request.urlopen(f"{self.url}{path}", timeout=5) as answer:
                    answers.append(json.load(answer))
            except (OSError, ValueError):
                return False
            return True

        self.until(answered)
        return answers[0]

    def ask(self, path: str, **form: str) -> None:
        """Post a form, as the page does."""
        data = urlencode(form).encode()
        request = urllib.request.Request(f"{self.url}{path}", data=data, method="POST")
        urllib.request.urlopen(request, timeout=10).close()

    def runs(self) -> bool:
        """Whether the page would show a run when it is opened now, and not its form."""
        return bool(self.locust()["state"] == "running")

    def until(self, met: Callable[[], bool], within_s: float = 60) -> None:
        """Wait for something to be so."""
        deadline = time.monotonic() + within_s
        while not met():
            assert time.monotonic() < deadline, Path(self._log.name).read_text()
            time.sleep(0.2)

    def record(self, run_id: str) -> dict[str, Any]:
        """Of a run that has just been stopped."""
        path = self.reports / run_id / "run.json"
        self.until(path.exists)
        self.until(lambda: path.stat().st_size > 0)
        found: dict[str, Any] = json.loads(path.read_text())
        return found


@pytest.fixture
def folder(simulator: Any, tmp_path: Path) -> tuple[Path, Any]:
    simulator.faults()
    return tmp_path, simulator


def begin(browser: Browser, users: int) -> None:
    """Fill in Locust's form and start."""
    browser.until("document.querySelector('input[name=userCount]') !== null")
    browser.run(
        "(() => { for (const name of ['userCount', 'spawnRate']) {"
        " const field = document.querySelector(`input[name=${name}]`);"
        " Object.getOwnPropertyDescriptor(HTMLInputElement.prototype, 'value')"
        f".set.call(field, '{users}');"
        " field.dispatchEvent(new Event('input', {bubbles: true})); }"
        " document.querySelector('button[type=submit]').click(); })()"
    )


def again(browser: Browser) -> None:
    """Ask for the form once more, after a run."""
    button = (
        "[...document.querySelectorAll('button')].find(b => /^new$/i.test(b.textContent.trim()))"
    )
    browser.until(f"{button} !== undefined")
    browser.run(f"{button}.click()")


def numbers(browser: Browser) -> str:
    text: str = browser.run(f"{INSIDE}.getElementById('numbers').textContent")
    return text


def stop_by_the_button(browser: Browser, web: Web) -> dict[str, Any]:
    """The Sessions tab's own; the record of the run."""
    browser.until(f"{INSIDE}?.documentElement?.dataset.ready === 'yes'")
    run_id = web.state()["run"]
    browser.run(f"{INSIDE}.getElementById('stop').click()")
    return web.record(run_id)


def show(browser: Browser, name: str) -> None:
    if SHOTS:
        browser.screenshot(Path(SHOTS) / f"{name}.png")


def two_runs(browser: Browser, web: Web, meanwhile: Callable[[], None], name: str) -> None:
    browser.open(web.url, width=1280, height=1400)
    begin(browser, 4)
    web.until(lambda: web.state()["sessions"]["cleared"] >= 4)
    meanwhile()
    web.until(web.runs)
    browser.open(f"{web.url}/?tab=sessions", width=1280, height=1400)
    browser.until(f"{INSIDE}?.documentElement?.dataset.ready === 'yes'")
    show(browser, f"{name}-first")
    first = stop_by_the_button(browser, web)
    shown = web.state()["sessions"]
    assert (shown["opened"], shown["occupancy"]) == (first["sessions"]["opened"], 0)

    again(browser)
    begin(browser, 6)
    web.until(lambda: web.state()["run"] != first["run_id"])
    early = web.state()
    assert early["sessions"]["opened"] <= 30, "the second run's figures begin with the first's"
    readings = re.search(r'data-readings="in session([0-9|.]*)', early["charts"])
    assert readings is None or readings[1].count("|") <= 5, early["charts"]
    web.until(lambda: web.state()["sessions"]["cleared"] >= 12)
    web.until(web.runs)
    browser.open(f"{web.url}/?tab=sessions", width=1280, height=1400)
    browser.until(f"{INSIDE}?.documentElement?.dataset.ready === 'yes'")
    browser.until(f"{INSIDE}.getElementById('numbers').textContent.includes('6')")
    show(browser, f"{name}-second")
    second = stop_by_the_button(browser, web)
    web.until(lambda: web.state()["sessions"]["occupancy"] == 0)
    shown = web.state()["sessions"]
    assert (shown["opened"], shown["cleared"]) == (
        second["sessions"]["opened"],
        second["sessions"]["cleared"],
    )
    for record in (first, second):
        sessions = record["sessions"]
        assert sessions["opened"] == sessions["cleared"] > 0
        assert sessions["balanced"]
        assert passed(record["exit_code"], str(record["reasons"])), record["reasons"]


def test_alone(browser: Browser, folder: tuple[Path, Any]) -> None:
    directory, simulator = folder
    before = simulator.truth()["sessions"]["opened"]
    web = Web(directory, simulator.url)
    try:
        two_runs(browser, web, lambda: None, "alone")
    finally:
        web.end()
    told = [json.loads(path.read_text()) for path in web.reports.glob("2*/run.json")]
    opened = sum(record["sessions"]["opened"] for record in told)
    assert (len(told), opened) == (2, simulator.truth()["sessions"]["opened"] - before)


@pytest.mark.long
def test_with_a_worker_who_comes_in_the_middle(browser: Browser, folder: tuple[Path, Any]) -> None:
    directory, simulator = folder
    before = simulator.truth()["sessions"]["opened"]
    port = free_port()
    web = Web(
        directory, simulator.url,
        "--master", "--master-bind-host", "127.0.0.1", "--master-bind-port", port,
    )  # fmt: skip
    worker = ("--worker", "--master-host", "127.0.0.1", "--master-port", port)

    def join() -> None:
        web.start(*worker)
        web.until(lambda: len(web.state()["processes"]) == 2)

    try:
        web.start(*worker)
        web.until(lambda: len(web.locust().get("workers", [])) == 1)
        two_runs(browser, web, join, "workers")
    finally:
        web.end()
    told = [json.loads(path.read_text()) for path in web.reports.glob("2*/run.json")]
    opened = sum(record["sessions"]["opened"] for record in told)
    assert (len(told), opened) == (2, simulator.truth()["sessions"]["opened"] - before)
    assert all(len(list(run.glob("ledger-*.sqlite"))) == 2 for run in web.reports.glob("2*"))


@pytest.mark.long
def test_what_went_wrong_in_one_run_is_not_told_of_the_next(folder: tuple[Path, Any]) -> None:
    directory, simulator = folder
    port = free_port()
    web = Web(
        directory, simulator.url,
        "--master", "--master-bind-host", "127.0.0.1", "--master-bind-port", port,
    )  # fmt: skip
    worker = ("--worker", "--master-host", "127.0.0.1", "--master-port", port)
    try:
        lost, _ = web.start(*worker), web.start(*worker)
        web.until(lambda: len(web.locust().get("workers", [])) == 2)
        records = []
        for number in range(2):
            before = web.state()["run"]
            web.ask("/swarm", user_count="4", spawn_rate="4")
            web.until(lambda known=before: web.state()["run"] != known)
            web.until(lambda: web.state()["sessions"]["cleared"] >= 4)
            if not number:
                lost.kill()
                lost.wait(10)
                web.until(lambda: "missing" in [one["state"] for one in web.locust()["workers"]])
            web.ask("/sessions/stop")
            records.append(web.record(web.state()["run"]))
    finally:
        web.end()
    first, second = records
    assert first["verdict"] == "INVALID"
    assert any("did not end properly" in reason for reason in first["reasons"])
    assert not any("orderly" in reason for reason in second["reasons"]), second["reasons"]
    assert passed(second["exit_code"], str(second["reasons"])), second["reasons"]
