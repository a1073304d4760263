"""Workers restarted in place, at random moments: what the service has open is on a list, or told.

``python tests/run/restarts.py [RESTARTS]`` kills workers of running runs with kill -9 and starts
each anew as a container is: the same host name, process 1 again, on an empty disk or its old one,
one alone or two at once. Then the run is ended, and the service's own account is compared with what
``harness leftovers`` and ``harness sweep`` list.
"""

import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cells import KNOWN_AFTER_S, ROOT, LostDisks, Twin, container, kill_family, sweep
from locusts import environment_for, launch, locustfile

from harness.ledger.reader import HEARTBEAT_FRESH_S, read_account, read_leftovers
from harness.supervise.children import free_port

EACH_RUN = 10
"""Restarts of one run."""
GIVES_UP_AFTER = 5
"""faults"""
LIVES_S = (0.5, 9.0)
"""So long after its start a worker is killed: while it imports, joins, opens, talks, clears."""
ENDS_WITHIN_S = 120


@dataclass
class Restarts:
    """What came of all of them."""

    restarts: int = 0
    at_kills: int = 0
    """sessions open at the service when workers were killed"""
    older: int = 0
    """of killed workers, and open long enough to be in the master's copy"""
    open: int = 0
    """sessions open at the service when their runs had ended"""
    listed: int = 0
    """of these, on the list of the master's directory or of an old disk"""
    last_second: int = 0
    """of these, on none: opened by a worker that was lost with its disk before it could tell"""
    unlisted: int = 0
    """not on a list though they were older than that, or not told of: there must be none"""
    swept: int = 0
    faults: list[str] = field(default_factory=list)

    @property
    def text(self) -> str:
        return (
            f"{self.restarts} restarts in place with {self.at_kills} sessions open at the kills, "
            f"{self.older} of them of killed workers and older than {KNOWN_AFTER_S} s: "
            f"{self.open} open at the service after the runs, "
            f"{self.listed} listed, {self.last_second} of a last second told of and swept with "
            f"--derive, {self.unlisted} unlisted; {len(self.faults)} faults"
        )


class Containers:
    """A run with a master, a worker that stays, and two that are restarted in place."""

    def __init__(self, folder: Path, twin: Twin) -> None:
        self._folder, self._twin = folder, twin
        self._file = locustfile(folder, messages=15, think="200ms")
        self._environment = environment_for(folder, twin.url)
        self._log = (folder / "output.log").open("w")
        self._bus = free_port()
        self._disks = 0
        self.old_disks: list[Path] = []
        bind = ["--master-bind-host", "127.0.0.1", "--master-bind-port", self._bus]
        self.stays = self._start(self._new_disk())
        self.restarted = [self._start(disk) for disk in (self._new_disk(), self._new_disk())]
        self.master = launch(
            self._file, self._environment, "--headless", "--only-summary", "--master",
            "--expect-workers", "3", *bind, "-u", "9", "-r", "9", "-t", "20m",
            "--stop-timeout", "1", stdout=self._log,
        )  # fmt: skip

    def _new_disk(self) -> Path:
        self._disks += 1
        return self._folder / f"disk-{self._disks}"

    def _start(self, disk: Path) -> tuple[Any, Path]:
        process = launch(
            self._file,
            self._environment,
            *("--worker", "--master-port", self._bus),
            stdout=self._log,
            inside=container(disk, self._folder / "reports"),
        )
        return process, disk

    def kill(self, lost: LostDisks, which: Sequence[int]) -> None:
        """Them all."""
        workers = [self.restarted[number] for number in which]
        with lost.losing(*(disk for _, disk in workers)):
            for process, _ in workers:
                kill_family(process)

    def start_anew(self, which: Sequence[int], *, empty: Sequence[bool]) -> None:
        """Those that were killed, each as it was started."""
        for number, on_empty in zip(which, empty, strict=True):
            disk = self.restarted[number][1]
            self.restarted[number] = self._start(self._new_disk() if on_empty else disk)

    def kept_runs(self) -> list[Path]:
        """Run directories on the disks that are still there."""
        assert list(self._folder.glob("disk-*/2*/ledger-*")), "no worker wrote to a disk of its own"
        disks = [self.stays[1], *(disk for _, disk in self.restarted)]
        return [run for disk in disks for run in disk.glob("2*") if run.is_dir()]

    @property
    def directory(self) -> Path:
        return (self._folder / "reports" / "latest").resolve()

    def end(self) -> None:
        """Every worker is killed with the rest of its guests; the master is told to stop."""
        self.master.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + ENDS_WITHIN_S
        for process in (self.master, self.stays[0], *(one for one, _ in self.restarted)):
            process.wait(max(1.0, deadline - time.monotonic()))

    def close(self) -> None:
        for process in (self.master, self.stays[0], *(one for one, _ in self.restarted)):
            kill_family(process)
        self._log.close()


def restart_in_place(count: int, *, seed: int) -> Restarts:
    """So many restarts, some of each run's one after the other."""
    result, draw, twin = Restarts(), random.Random(seed), Twin()
    try:
        while result.restarts < count and len(result.faults) < GIVES_UP_AFTER:
            _one_run(min(EACH_RUN, count - result.restarts), twin, draw, result)
            print("\n".join([result.text, *result.faults]), flush=True)
    finally:
        twin.stop()
    return result


def _one_run(count: int, twin: Twin, draw: random.Random, result: Restarts) -> None:
    twin.ask("reset", "POST", {})
    with tempfile.TemporaryDirectory(prefix="restarts-") as name:
        containers = Containers(Path(name), twin)
        try:
            _await_guests(containers, twin)
            lost, done = LostDisks(twin), 0
            while done < count:
                time.sleep(draw.uniform(*LIVES_S))
                which = draw.choice([[0], [1], [0, 1]])[: count - done]
                containers.kill(lost, which)
                result.at_kills += len(twin.open_tokens())
                containers.start_anew(which, empty=[draw.random() < 0.5 for _ in which])
                done += len(which)
            time.sleep(draw.uniform(*LIVES_S))
            containers.kill(lost, range(len(containers.restarted)))
            containers.end()
            result.restarts += done
            result.older += lost.older
            if not lost.older:
                result.faults.append("no session was open long enough when workers were killed")
            _judge(containers, twin, lost, result)
        except Exception as error:  # noqa: BLE001 - a run that breaks is a finding
            log = (Path(name) / "output.log").read_text()[-1500:]
            result.faults.append(f"{type(error).__name__}: {error}: {log}")
        finally:
            containers.close()


def _await_guests(containers: Containers, twin: Twin) -> None:
    deadline = time.monotonic() + 120
    while len(twin.open_tokens()) < 6:
        assert time.monotonic() < deadline, "the guests never came"
        assert containers.master.poll() is None, "the master has ended"
        time.sleep(0.1)


def _judge(containers: Containers, twin: Twin, lost: LostDisks, result: Restarts) -> None:
    directory = containers.directory
    opened = twin.open_tokens()
    listed = {
        left.token for run in (directory, *containers.kept_runs()) for left in read_leftovers(run)
    }
    missing = opened - listed
    result.open += len(opened)
    result.listed += len(opened & listed)
    result.unlisted += len(missing - lost.too_new)
    told = subprocess.run(
        [sys.executable, "-m", "harness", "leftovers", str(directory)],
        cwd=ROOT, capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    if too_new := missing & lost.too_new:
        if "there may be more (harness sweep --derive)" in told.stderr:
            result.last_second += len(too_new)
        else:
            result.unlisted += len(too_new)
    if told.returncode == 0 and opened:
        result.faults.append("leftovers: exit code 0 with sessions open")
    if not read_account(directory).balanced:
        result.faults.append("the account does not add up")
    time.sleep(HEARTBEAT_FRESH_S + 1)  # until then a node elsewhere may be alive
    code, _ = sweep(directory, *map(str, containers.kept_runs()))
    if code == 0 and (left := len(twin.open_tokens())):
        result.faults.append(f"sweep: exit code 0 with {left} sessions open")
    code, text = sweep(directory, "--derive")
    if code != 0 or twin.open_tokens():
        left = len(twin.open_tokens())
        result.faults.append(f"sweep --derive: exit code {code}, {left} open: {text[-300:]}")
    result.swept += len(opened - twin.open_tokens())


if __name__ == "__main__":
    found = restart_in_place(int(sys.argv[1]) if len(sys.argv) > 1 else 100, seed=20_261_128)
    print("\n".join([found.text, *found.faults]))
    sys.exit(bool(found.unlisted or found.faults))
