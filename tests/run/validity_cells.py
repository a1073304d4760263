"""The cells of the validity matrix: a real run each, set beside the simulator's truth."""

import contextlib
import json
import os
import re
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import product
from pathlib import Path
from threading import Event
from typing import Any

import psutil

ROOT = Path(__file__).parent.parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from commits import COMMIT  # noqa: E402 - found by the path set above, or by pytest's
from plants import (  # noqa: E402
    CLOSED,
    GOES_ON,
    LENGTH_S,
    MODES,
    OPEN,
    OVERTAKEN,
    PLANTS,
    STORIES,
    TWO,
    WAITS,
    WORKLOADS,
    YAML,
    Plant,
)
from processes import command, harness, start_simulator  # noqa: E402 - as above
from validity_truth import judge, read_truth, reasons  # noqa: E402 - as above

BY_NAME = {plant.name: plant for plant in PLANTS}
PATIENCE_S = 90
GRACE_S = 0.5
SHUT_S = 0.6
TRIES = 3
"""A generator that lags makes a run void: that is the machine's load, and the cell is run again."""
STORY = """\
from locust import constant
from locust import task
from harness.load import ArrivalShape, GuestUser, ScriptUser, objective, steady
{top}
{shape}

class Guest({kind}):
    wait_time = constant(0.3)
    think_time = {think!r}
{attributes}{body}

objective({objectives})
"""
SHAPE = """
class Arriving(ArrivalShape):
    arrivals = steady(per_minute={rate}, over="{length}s")
    slots = {slots}
"""
TASK = """
    @task
    def talk(self):
        {before}with self.guest() as guest:
{steps}
"""
SCRIPT = """\
within: 3s
scenarios:
  story:
{join}    - say: one
    - waitForReplyMatching: "."
    - think: 200ms
    - say: two
    - waitForReplyMatching: "."
"""


@dataclass(frozen=True)
class Cell:
    plant: str
    workload: str
    mode: str
    story: str

    @property
    def makes_sense(self) -> bool:
        plant = BY_NAME[self.plant]
        return (
            self.workload in plant.workloads
            and self.mode in plant.modes
            and self.story in plant.stories
        )

    def __str__(self) -> str:
        return f"{self.plant} | {self.workload} | {self.mode} | {self.story}"


@dataclass
class Outcome:
    cell: Cell
    broken: list[str] = field(default_factory=list)
    verdict: str = ""
    code: int = 0
    asked: int = 0
    took_s: float = 0.0
    told: str = ""
    reasons: str = ""
    commit: str = COMMIT
    when: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))


CELLS = [
    cell
    for plant, workload, mode, story in product(PLANTS, WORKLOADS, MODES, STORIES)
    if (cell := Cell(plant.name, workload, mode, story)).makes_sense
]


def write_story(cell: Cell, plant: Plant, folder: Path) -> Path:
    """The locustfile of a cell."""
    shape = body = ""
    if cell.workload == OPEN:
        shape = SHAPE.format(rate=plant.rate, length=LENGTH_S, slots=plant.slots)
    if cell.story == YAML:
        script = folder / "story.yaml"
        script.write_text(SCRIPT.format(join="    - join\n    - think: 100ms\n" * plant.joins))
        body = f"    script = {str(script)!r}\n"
    else:
        body = TASK.format(before=plant.before, steps=_steps(cell.story, plant))
    path = folder / "guests.py"
    path.write_text(
        STORY.format(
            top=plant.top,
            shape=shape,
            kind="ScriptUser" if cell.story == YAML else "GuestUser",
            think={WAITS: "200ms", GOES_ON: "1s", OVERTAKEN: "300ms", YAML: "200ms"}[cell.story],
            attributes=plant.attributes,
            body=body,
            objectives=", ".join(repr(text) for text in plant.objectives),
        )
    )
    return path


def _steps(story: str, plant: Plant) -> str:
    steps = []
    if plant.joins:
        steps += ["guest.join()", "guest.think('100ms')"]
    for text in ("one", "two", "three")[: 3 if story == OVERTAKEN else 2]:
        steps.append(f"guest.say({text!r})")
        if story == WAITS:
            turn = ", turn=True" if plant.turns else ""
            steps.append(f"guest.await_reply(within='3s'{turn})")
        steps.append("guest.think()")
    if plant.last:
        steps.append(plant.last)
    return "\n".join(" " * 12 + step for step in steps)


class Service:
    """The simulator of one cell, perhaps behind a door that does not always open."""

    def __init__(self, plant: Plant, seed: int) -> None:
        words = ["--limits", "off", "--seed", str(seed), *plant.bot]
        for fault in plant.faults:
            words += ["--fault", fault]
        if plant.door == "tls":
            words.append("--tls")
        self.process, ready = start_simulator(*words)
        self.ca_file: str | None = ready.get("ca_file")
        self._base = ready["url"].removesuffix("/v1")
        port = int(self._base.rpartition(":")[2])
        self._door = Door(port, plant.door) if plant.door else None
        url = ready["url"]
        if self._door is not None:
            url = url.replace(f":{port}/", f":{self._door.port}/")
        self.url = f"{url}?deploymentId={ready['deployment_id']}"

    def ask(self, path: str) -> Any:
        tls = ssl.create_default_context(cafile=self.ca_file) if self.ca_file else None
        url = f"{self._base.replace('ws', 'http', 1)}/sim/{path}"
        with urllib.request.urlopen(url, timeout=20, context=tls) as answer:
            return json.load(answer)

    @property
    def turned_away(self) -> int:
        """Connections that the door did not let through, as far as it can see them."""
        return self._door.turned_away if self._door else 0

    def stop(self) -> None:
        if self._door is not None:
            self._door.close()
        self.process.terminate()
        self.process.communicate(timeout=20)


class Door:
    """Hands connections on to a port; ``tcp``: after every second connection nobody listens for
    0.6 s; ``tls``: every other one ends in the middle of its handshake."""

    def __init__(self, port: int, kind: str) -> None:
        self._to = port
        self._kind = kind
        self._listener: socket.socket | None = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port = int(self._listener.getsockname()[1])
        self.turned_away = 0
        self._came = 0
        self._opened: float | None = None
        """When the first came: the run's own look at its target, which is let through."""
        self._over = Event()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        shut_at, before = 0.0, 0
        while not self._over.is_set():
            if self._listener is None and time.monotonic() - shut_at > SHUT_S:
                self._listener = self._listen_again()
            elif self._listener and self._kind == "tcp" and self._came - before >= 2:
                shut_at, before = time.monotonic(), self._came
                self._listener.close()
                self._listener = None
            if self._listener is None:
                time.sleep(0.01)
                continue
            self._listener.settimeout(0.02)
            with contextlib.suppress(OSError):
                self._take(self._listener.accept()[0])
        if self._listener is not None:
            self._listener.close()

    def _listen_again(self) -> socket.socket:
        return socket.create_server(("127.0.0.1", self.port), backlog=64)

    def _take(self, guest: socket.socket) -> None:
        self._opened = self._opened or time.monotonic()
        if time.monotonic() - self._opened > GRACE_S:
            self._came += 1
        if self._kind == "tls" and self._came % 2:
            self.turned_away += 1
            with contextlib.suppress(OSError):
                guest.recv(16)
            guest.close()
            return
        service = socket.create_connection(("127.0.0.1", self._to))
        for source, sink in ((guest, service), (service, guest)):
            source.settimeout(None)
            threading.Thread(target=_hand_on, args=(source, sink), daemon=True).start()

    def close(self) -> None:
        self._over.set()
        self._thread.join(5)


def _hand_on(source: socket.socket, sink: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            sink.sendall(data)
    for one in (source, sink):
        with contextlib.suppress(OSError):
            one.shutdown(socket.SHUT_RDWR)


class Run:
    """``harness run`` of one cell."""

    def __init__(self, cell: Cell, plant: Plant, folder: Path, service: Service) -> None:
        self._reports = folder / "reports"
        self._log = (folder / "output.log").open("w+")
        file = write_story(cell, plant, folder)
        words = ["run", str(file), "--target", service.url, "--reports", str(self._reports)]
        words += ["--stop-timeout", "6s", "--seed", "1"]
        if service.ca_file:
            words += ["--ca-file", service.ca_file]
        if cell.mode == TWO:
            words += ["--processes", "2"]
        if cell.workload == CLOSED:
            words += ["-u", "8", "-r", "8", "-t", f"{LENGTH_S}s"]
        words += plant.run
        self.main = psutil.Popen(
            command(*words),
            cwd=ROOT,
            env={**os.environ, "COLUMNS": "200"},
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    @property
    def alive(self) -> bool:
        return self.main.poll() is None

    def generators(self) -> list[psutil.Process]:
        """Of all that the run has started, those that have started nothing themselves."""
        with contextlib.suppress(psutil.Error):
            family = self.main.children(recursive=True)
            parents = {one.ppid() for one in family}
            return [one for one in family if one.pid not in parents]
        return []

    def command(self, *words: str) -> None:
        head, *rest = words
        run = self.directory.name
        words = (head, run, *rest, "--reports", str(self._reports))
        to_log = {"capture_output": False, "stdout": self._log, "stderr": self._log}
        harness(*words, within_s=30, **to_log)

    @property
    def directory(self) -> Path:
        found = [
            path for path in self._reports.iterdir() if not path.is_symlink() and path.is_dir()
        ]
        return found[0]

    def await_guests(self) -> None:
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline and self.alive:
            for path in self._reports.glob("*/intervals-*.jsonl"):
                lines = path.read_text().splitlines()
                with contextlib.suppress(IndexError, ValueError, KeyError):
                    if json.loads(lines[-1])["sessions"]["occupancy"]:
                        return
            time.sleep(0.1)

    def finish(self) -> tuple[int, str]:
        """Exit code, and everything the run has said."""
        try:
            code = int(self.main.wait(PATIENCE_S))
        except psutil.TimeoutExpired:
            raise TimeoutError(f"the run had not ended after {PATIENCE_S} s") from None
        self._log.flush()
        self._log.seek(0)
        return code, self._log.read()

    def close(self) -> None:
        if self.alive:
            with contextlib.suppress(psutil.Error):
                for one in self.main.children(recursive=True):
                    one.kill()
            self.main.kill()
            self.main.wait(10)
        self._log.close()


def try_cell(cell: Cell, *, seed: int) -> Outcome:
    """Run one cell and judge it; again where the machine's own load made the run void."""
    started = time.monotonic()
    for _ in range(TRIES):
        outcome, lagged = _try_once(cell, seed=seed)
        if not lagged:
            break
    outcome.took_s = time.monotonic() - started
    return outcome


def _try_once(cell: Cell, *, seed: int) -> tuple[Outcome, bool]:
    outcome, plant = Outcome(cell), BY_NAME[cell.plant]
    lagged = False
    service: Service | None = None
    run: Run | None = None
    with tempfile.TemporaryDirectory(prefix="validity-") as folder:
        try:
            service = Service(plant, seed)
            run = Run(cell, plant, Path(folder), service)
            if plant.act is not None:
                run.await_guests()
                plant.act(run)
            outcome.code, words = run.finish()
            record = json.loads((run.directory / "run.json").read_text())
            outcome.verdict = str(record.get("verdict"))
            rows = service.ask("questions")["rows"]
            truth = read_truth(rows, service.ask("truth"), service.turned_away)
            outcome.asked = truth.came
            due = plant.rate * LENGTH_S // 60 if cell.workload == OPEN else None
            end = words[words.rfind("\nopened ") :]
            outcome.broken = judge(plant, due, truth, record, outcome.code, words=end)
            outcome.reasons = reasons(record)
            if "Traceback" in words and not plant.top:
                outcome.broken.append("a traceback")
            lag = re.search(r"generator.{0,40}(lag|late)", reasons(record))
            lagged = bool(lag) and "INVALID" not in plant.verdicts and bool(outcome.broken)
            outcome.told = words[-2500:] if outcome.broken else ""
        except Exception as error:  # noqa: BLE001 - a cell that breaks is a finding, not the end
            outcome.broken = [f"{type(error).__name__}: {error}"]
            log = Path(folder) / "output.log"
            outcome.told = log.read_text()[-2500:] if log.exists() else ""
        finally:
            if run is not None:
                run.close()
            if service is not None:
                service.stop()
    return outcome, lagged
