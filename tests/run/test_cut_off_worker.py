"""A worker on another machine is cut off from the master and the service, and comes back."""

import json
import os
import re
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from locusts import environment_for, finish, in_session, launch, locustfile, only_run
from namespaces import NEAR, Network, Twin
from processes import harness

from harness.ledger.reader import read_account, read_leftovers, read_process
from harness.rundir.layout import RunDirectory

pytestmark = [pytest.mark.process, pytest.mark.timeout(240)]

BUS = "5557"  # nobody else is in the namespace
GUESTS = 8


class Cluster:
    """A master and a worker at the near end, a worker at the far end with a disk of its own."""

    def __init__(self, network: Network, twin: Twin, folder: Path) -> None:
        self._network = network
        self._targets = twin.targets(folder / "targets.toml")
        self.near, self.far = folder / "near", folder / "far"
        for place in (self.near, self.far):
            (place / "reports").mkdir(parents=True)
        self.file = locustfile(folder, messages=500, think="150ms")
        self.harness("preflight", "--target", "beyond", "--targets", str(self._targets))
        self.workers = [
            self._locust(inside, "--worker", "--master-host", NEAR, "--master-port", BUS)
            for inside in (
                network.near(),
                network.far(self.far / "reports", self.near / "reports"),
            )
        ]
        words = ("--master", "--expect-workers", "2", "--master-bind-host", NEAR)
        words += ("--headless", "--only-summary", "--stop-timeout", "1", "-t", "10m")
        words += ("-u", str(GUESTS), "-r", str(GUESTS))
        self.master = self._locust(network.near(), *words, "--master-bind-port", BUS)

    def _locust(self, inside: list[str], *words: str) -> Any:
        environment = environment_for(self.near, "beyond", HARNESS_TARGETS=str(self._targets))
        return launch(self.file, environment, *words, inside=inside)

    def harness(self, command: str, *words: str, expect: int = 0) -> str:
        """A command at the near end, with its exit code."""
        if command == "preflight":
            words = (*words, "--reports", str(self.near / "reports"))
        done = harness(command, *words, within_s=90, inside=self._network.near())
        assert done.returncode == expect, done.stdout + done.stderr
        return done.stdout

    def in_session(self) -> None:
        for place in (self.near, self.far):
            in_session(place, GUESTS // 2)

    def close(self) -> None:
        for process in (self.master, *self.workers):
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
            process.communicate()


@pytest.fixture
def cluster(network: Network, twin: Twin, tmp_path: Path) -> Iterator[Cluster]:
    running = Cluster(network, twin, tmp_path)
    yield running
    running.close()


def reasons(directory: Path) -> str:
    record = json.loads((directory / "run.json").read_text())
    assert record["verdict"] == "INVALID"
    return "\n".join(record["reasons"])


def test_it_comes_back_during_the_run(network: Network, twin: Twin, cluster: Cluster) -> None:
    cluster.in_session()
    network.cut()
    time.sleep(7)  # Locust's master misses a worker after four
    network.mend()
    time.sleep(9)  # after seven seconds of silence TCP tries again within another seven
    cluster.master.send_signal(signal.SIGTERM)
    code, output = finish(cluster.master, within_s=120)
    for worker in cluster.workers:
        finish(worker, within_s=120)
    directory = (cluster.near / "reports" / "latest").resolve()
    assert re.search(
        r"(1 worker was|2 workers were) not heard of for a time", reasons(directory)
    ), output
    assert code in (4, 6), output
    assert "did not end properly" not in reasons(directory)  # it was drained like all
    account = read_account(directory)
    assert account.balanced
    assert account.workers_lost == 0, output
    listed = {left.token for left in read_leftovers(directory)}
    assert twin.open_tokens() <= listed
    cluster.harness("sweep", str(directory), "--rate", "100/s", "--late-within", "2s")
    assert twin.open_tokens() == set()


@pytest.mark.long
def test_the_run_ends_while_it_is_away(network: Network, twin: Twin, cluster: Cluster) -> None:
    cluster.in_session()
    time.sleep(1.5)  # the master's copy is complete to within a second
    network.cut()
    time.sleep(6)
    cluster.master.send_signal(signal.SIGINT)  # SIGTERM leaves no time to wait for a late open
    code, output = finish(cluster.master, within_s=120)
    assert code == 6, output
    directory, far = (cluster.near / "reports" / "latest").resolve(), only_run(cluster.far)
    assert "clearing at once" not in output
    assert "1 worker did not end properly" in reasons(directory)
    # Nothing was heard of it for long enough: its sessions were swept from the master's copy.
    account = read_account(directory)
    assert (account.leftover, account.settled) == (0, GUESTS // 2), output
    assert account.balanced
    (copy,) = [p for p in RunDirectory(directory).ledgers() if "far-away" in p.name]
    assert not read_process(copy).here
    network.mend()
    time.sleep(2)
    everything = {left.token for place in (directory, far) for left in read_leftovers(place)}
    assert twin.open_tokens() <= everything
    cluster.workers[1].send_signal(signal.SIGTERM)
    for worker in cluster.workers:
        finish(worker, within_s=120)
    listed = {left.token for left in read_leftovers(far)}
    assert twin.open_tokens() <= listed
    cluster.harness("sweep", str(directory), str(far), "--rate", "100/s", "--late-within", "2s")
    assert twin.open_tokens() == set()
