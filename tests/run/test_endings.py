"""Every road that Locust has to the end of a run, in every mode: nothing left, all recorded."""

import json
import os
import signal
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from locusts import environment_for, finish, in_session, launch, locustfile, undecided

from harness.ledger.reader import read_account
from harness.supervise.children import free_port

pytestmark = pytest.mark.process

LOCAL, PROCESSES, MASTER = "local", "processes", "master"


def longer(mode: str) -> Any:
    """A mode in which another ending is tried in ``make test``."""
    return pytest.param(mode, marks=pytest.mark.long)


class Locust:
    """Plain Locust with its web UI, in one of the modes."""

    def __init__(self, mode: str, file: Path, directory: Path, target: str, *more: str) -> None:
        self._web = f"http://127.0.0.1:{(port := free_port())}"
        self._environment = environment_for(directory, target)
        words = ["--web-host", "127.0.0.1", "--web-port", port, *more]
        if mode == PROCESSES:
            bus = free_port()
            words += ["--processes", "2", "--master-bind-host", "127.0.0.1"]
            words += ["--master-bind-port", bus, "--master-port", bus]
        self.workers: list[Any] = []
        if mode == MASTER:
            bus = free_port()
            words += ["--master", "--master-bind-host", "127.0.0.1", "--master-bind-port", bus]
            words += ["--expect-workers", "2"]
            self.workers = [self._start(file, "--worker", "--master-port", bus) for _ in range(2)]
        self.process = self._start(file, *words)

    def _start(self, file: Path, *words: str) -> Any:
        return launch(file, self._environment, *words)

    def __enter__(self) -> "Locust":
        return self

    def __exit__(self, *_: object) -> None:
        for process in (self.process, *self.workers):
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
            process.communicate()

    def get(self, path: str, data: bytes | None = None) -> dict[str, Any]:
        deadline = time.monotonic() + 40
        while True:
            try:
                with urllib.request.urlopen(f"{self._web}/{path}", data, timeout=60) as answer:
                    return dict(json.load(answer))
            except urllib.error.HTTPError:
                raise
            except OSError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.2)

    def post(self, path: str, **form: object) -> dict[str, Any]:
        return self.get(path, urllib.parse.urlencode(form).encode())

    def ready(self, workers: int) -> None:
        deadline = time.monotonic() + 40
        while time.monotonic() < deadline:
            found = self.get("stats/requests").get("workers") or []
            if len(found) >= workers:
                return
            time.sleep(0.2)
        raise AssertionError("the workers never came")

    def end(self) -> tuple[int, str]:
        self.process.terminate()
        result = finish(self.process)
        for worker in self.workers:
            finish(worker)
        return result


def runs(directory: Path) -> list[Path]:
    return sorted(p for p in (directory / "reports").iterdir() if p.is_dir() and not p.is_symlink())


@pytest.mark.long
@pytest.mark.parametrize("mode", [LOCAL, PROCESSES, MASTER])
def test_stop_in_the_web_ui_and_a_second_run(simulator: Any, tmp_path: Path, mode: str) -> None:
    before = simulator.open_tokens()
    file = locustfile(tmp_path, messages=500, think="200ms")
    with Locust(mode, file, tmp_path, simulator.url) as locust:
        if mode != LOCAL:
            locust.ready(2)
        for _ in range(2):
            locust.post("swarm", user_count=6, spawn_rate=6)
            in_session(tmp_path, 6)
            locust.post("stop")
            account = read_account(runs(tmp_path)[-1])
            assert (account.intended, account.cleared, account.workers_lost) == (6, 6, 0)
            assert simulator.open_tokens() <= before
            record = json.loads((runs(tmp_path)[-1] / "run.json").read_text())
            reasons = str(record["reasons"])  # all of its guests were cut by the end
            assert undecided(record["exit_code"], reasons), reasons
            assert record["operations"]["clear"]["outcomes"] == {"ok": 6}
        assert len(runs(tmp_path)) == 2
        code, output = locust.end()
        assert undecided(code, output), output


@pytest.mark.parametrize("mode", [LOCAL, longer(PROCESSES), longer(MASTER)])
def test_autostart_to_its_time_limit(simulator: Any, tmp_path: Path, mode: str) -> None:
    before = simulator.open_tokens()
    file = locustfile(tmp_path, messages=500, think="200ms")
    options = ("--autostart", "--autoquit", "1", "-u", "6", "-r", "6", "-t", "4s")
    with Locust(mode, file, tmp_path, simulator.url, *options) as locust:
        code, output = finish(locust.process, within_s=90)
        assert undecided(code, output), output
        for worker in locust.workers:
            finish(worker)
    (directory,) = runs(tmp_path)
    account = read_account(directory)
    assert (account.intended, account.cleared, account.workers_lost) == (6, 6, 0)
    assert simulator.open_tokens() <= before
    assert "intended 6 = cleared 6 + ended by the service 0" in output
