"""What ``harness deploy`` writes is done: each command as it stands there, in a network of its own.

Each pod is a process with a host name and a disk of its own; only the container is missing.
"""

import contextlib
import os
import re
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml
from locusts import ROOT, in_session
from namespaces import Network, Twin
from processes import start_harness

from harness.cli.main import main
from harness.errors import ExitCode
from harness.ledger.reader import HEARTBEAT_FRESH_S

pytestmark = [pytest.mark.process, pytest.mark.timeout(240)]


class Cluster:
    """Runs what stands in the manifests, and keeps the disks."""

    def __init__(self, network: Network, written: Path, folder: Path) -> None:
        self._network = network
        self._folder = folder
        self._written = written
        hosts = folder / "hosts"
        hosts.write_text("127.0.0.1 localhost\n127.0.0.1 shop-master\n")
        self._hosts = hosts
        self._lives = 0
        self.claim = folder / "claim"
        self.claim.mkdir()
        self.running: list[Any] = []
        self._said: dict[int, Path] = {}

    def container(self, name: str, *, host: str = "", claim: bool = False) -> Any:
        """A container of that name, started; without the claim on an empty disk."""
        (found,) = (c for c in self._containers() if c["name"] == name)
        self._lives += 1
        home = self._folder / f"life-{self._lives}"
        home.mkdir()
        (home / "files").symlink_to(self._written / "prepare" / "files")
        disk = self.claim if claim else home / "disk"
        disk.mkdir(exist_ok=True)
        (home / "reports").symlink_to(disk)
        script = 'hostname "$0" && mount --bind "$1" /etc/hosts && shift && exec "$@"'
        inside = ("unshare", "--uts", "--mount", "sh", "-c", script, host or name)
        environment = {one["name"]: one["value"] for one in found["env"]}
        with (home / "said.log").open("wb") as log:
            process = start_harness(
                *found["args"],
                inside=self._network.near(*inside, str(self._hosts)),
                cwd=home,
                env={**os.environ, **environment, "PYTHONPATH": str(ROOT)},
                stdin=subprocess.DEVNULL,
                stdout=log,
                start_new_session=True,
            )
        self._said[process.pid] = home / "said.log"
        self.running.append(process)
        return process

    def kill(self, process: Any) -> None:
        """All processes of a container at once, as when its machine is lost."""
        whole = [*psutil.Process(process.pid).children(recursive=True), process]
        for one in whole:
            with contextlib.suppress(psutil.NoSuchProcess):
                one.kill()
        process.wait()

    def end(self, process: Any, *, within_s: float = 90) -> tuple[int, str]:
        """Its exit code, and all that it has said."""
        process.wait(within_s)
        return process.returncode, self._said[process.pid].read_text()

    def _containers(self) -> Iterator[dict[str, Any]]:
        for path in self._written.rglob("*.yaml"):
            for manifest in yaml.safe_load_all(path.read_text()):
                if manifest["kind"] == "Job":
                    pod = manifest["spec"]["template"]["spec"]
                    yield from (*pod.get("initContainers", ()), *pod["containers"])

    def disk(self, life: int) -> Path:
        """Where the reports of a life are."""
        return self._folder / f"life-{life}"

    def close(self) -> None:
        for process in self.running:
            if process.poll() is None:
                self.kill(process)


@pytest.fixture
def cluster(network: Network, twin: Twin, tmp_path: Path) -> Iterator[Cluster]:
    """Deployed, its preflight passed; nothing else runs yet."""
    targets, written = twin.targets(tmp_path / "targets.toml"), tmp_path / "written"
    words = ["deploy", "kubernetes", str(ROOT / "locustfiles/load.py"), "--name", "shop"]
    words += ["--target", "beyond", "--targets", str(targets), "--image", "harness:1"]
    words += ["--workers", "2", "--rate", "6/s", "--over", "20s", "--out", str(written)]
    assert main([*words, "--", "--stop-timeout", "5s"]) == ExitCode.PASS
    made = Cluster(network, written, tmp_path)
    try:
        code, said = made.end(made.container("preflight", claim=True))
        assert code == ExitCode.PASS, said
        yield made
    finally:
        made.close()


@pytest.mark.long
def test_a_worker_is_killed_and_started_anew_and_nothing_stays_open(
    twin: Twin, cluster: Cluster
) -> None:
    master = cluster.container("master", claim=True)
    workers = [cluster.container("worker", host=f"shop-worker-{n}") for n in range(2)]
    for life in (3, 4):
        in_session(cluster.disk(life), 5)
    time.sleep(1.5)  # the master's copy of its ledger is complete to within a second
    cluster.kill(workers[0])
    assert twin.open_tokens(), "it had guests in session"
    anew = cluster.container("worker", host="shop-worker-0")
    code, said = cluster.end(master, within_s=150)
    # One worker was lost: the run can't be a pass, whatever else it is.
    assert code in (ExitCode.INVALID, ExitCode.LEFTOVERS), said
    for process in (workers[1], anew):
        code, said = cluster.end(process)
        assert code == ExitCode.PASS, said
    code, said = cluster.end(cluster.container("sweep", claim=True))
    assert code == ExitCode.PASS, said
    assert twin.open_tokens() == set()
    latest = (cluster.claim / "latest").resolve()
    assert re.match(r"\d{8}-", latest.name)
    assert (latest / "report.html").stat().st_size > 10_000


@pytest.mark.long
def test_all_machines_are_lost_at_once_but_the_claim(twin: Twin, cluster: Cluster) -> None:
    containers = [cluster.container("master", claim=True)]
    containers += [cluster.container("worker", host=f"shop-worker-{n}") for n in range(2)]
    for life in (3, 4):
        in_session(cluster.disk(life), 5)
    for one in containers:
        cluster.kill(one)
    before = twin.open_tokens()
    assert len(before) >= 10
    time.sleep(HEARTBEAT_FRESH_S + 1)  # until then workers elsewhere may still be at work
    code, said = cluster.end(cluster.container("sweep", claim=True), within_s=120)
    assert code == ExitCode.PASS, said
    # What was opened in the last second was on the workers' disks alone: it was derived.
    assert twin.open_tokens() == set(), said
