"""Before a distributed run begins: are all workers what the master takes them for?

Each worker says once what it is: versions, locustfile, schedule, and what its machine can carry.
A master that finds a difference, or a share that is too much, refuses the run before a byte is
sent to the target.
"""

import hashlib
import platform
from collections import Counter
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import gevent
from locust.runners import MasterRunner

from harness import __version__
from harness.clock import monotonic_ns
from harness.load.shape import ArrivalShape
from harness.machine import Machine, Share, shortfalls, this_machine

HELLO = "harness_hello"
HELLO_WITHIN_S = 5.0
WORDS = {
    "harness": "the harness in version",
    "locust": "Locust in version",
    "locustfile": "a locustfile with the content",
    "schedule": "the schedule",
}


def describe(locustfile: str, shape: type[ArrivalShape] | None) -> dict[str, Any]:
    """What this process is."""
    digest = hashlib.sha256()
    for name in locustfile.split(","):
        path = Path(name.strip())
        if path.is_file():
            digest.update(path.read_bytes())
    schedule = "none"
    if shape is not None:
        arrivals = shape.arrivals
        last_s = arrivals.due_ns(arrivals.count - 1) / 1e9
        schedule = f"{arrivals.describe()}, {arrivals.count:,} guests, the last at {last_s:.6f} s"
    machine = this_machine()
    return {
        "harness": __version__,
        "locust": version("locust"),
        "locustfile": digest.hexdigest()[:12],
        "schedule": schedule,
        "host": platform.node(),
        "files": machine.files,
        "ports": machine.ports,
        "cores": machine.cores,
    }


class Handshake:
    """The master's list of who is there."""

    def __init__(self, runner: MasterRunner) -> None:
        self._runner = runner
        self._said: dict[str, dict[str, Any]] = {}
        self._own: dict[str, Any] | None = None
        """what the master is, while a run goes on"""
        self._here_at_start: set[str] = set()
        """who was there when it began"""
        self.no_room_because = ""
        """why no worker may join a run that goes on, if so"""
        runner.register_message(HELLO, self._on_hello)

    def problems(self, own: dict[str, Any], everything: Share) -> list[str]:
        """Why the run can't begin, worker by worker; empty when it can.

        ``everything`` is what all workers together are asked to carry.
        """
        ready = [worker.id for worker in self._runner.clients.ready]
        self._own, self._here_at_start = own, set(ready)
        deadline = monotonic_ns() + int(HELLO_WITHIN_S * 1e9)
        while not set(ready) <= self._said.keys() and monotonic_ns() < deadline:
            gevent.sleep(0.05)
        found: list[str] = []
        here = Counter(self._said[worker]["host"] for worker in ready if worker in self._said)
        count = max(1, len(ready))
        per_s = None if everything.per_s is None else everything.per_s / count
        share = replace(everything, at_once=-(-everything.at_once // count), per_s=per_s)
        for worker in ready:
            said = self._said.get(worker)
            if said is None:
                found.append(f"worker {worker} did not say hello: does it import harness.load?")
                continue
            found += compare(worker, said, own)
            machine = Machine(files=said["files"], ports=said["ports"], cores=said["cores"])
            here_s = replace(share, processes=here[said["host"]])
            found += [f"worker {worker}: {why}" for why in shortfalls(machine, here_s)]
        return found

    @property
    def here(self) -> int:
        """Workers that are ready to begin."""
        return len(self._runner.clients.ready)

    def dismiss(self) -> None:
        """Send the workers home; they would wait for a master that has gone."""
        for worker in self._runner.clients.all:
            self._runner.send_message("quit", None, worker.id)
        gevent.sleep(0.2)

    def _on_hello(self, environment: Any, msg: Any) -> None:  # noqa: ARG002 - Locust's form
        self._said[msg.node_id] = dict(msg.data)
        if self._own is not None and msg.node_id not in self._here_at_start:
            self._check_late(msg.node_id, self._own)

    def end(self) -> None:
        """The run is over: who comes now is looked at when the next one begins."""
        self._own = None

    def _check_late(self, worker: str, own: dict[str, Any]) -> None:
        """One that comes while the run goes on is sent home if it can't take part."""
        problems = compare(worker, self._said[worker], own)
        if self.no_room_because:
            problems.append(f"worker {worker} can't join: {self.no_room_because}")
        if problems:
            print(f"sent home: {'; '.join(problems)}", flush=True)
            self._runner.send_message("quit", None, worker)


def compare(worker: str, said: dict[str, Any], own: dict[str, Any]) -> list[str]:
    """In what a worker differs from the master."""
    return [
        f"worker {worker} has {words} {said.get(key)!r}, the master {own[key]!r}"
        for key, words in WORDS.items()
        if said.get(key) != own[key]
    ]
