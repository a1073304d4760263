"""Master and workers as processes: the same run everywhere, or none at all."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from locusts import ROOT, locustfile

from harness.load.cluster.handshake import compare
from harness.supervise.locust_process import free_port

pytestmark = pytest.mark.process


def start(*words: str) -> Any:
    return subprocess.Popen(
        [sys.executable, "-m", "harness", "run", *words],
        cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip


def distributed(tmp_path: Path, master_file: Path, worker_file: Path, *more: str) -> Any:
    port = free_port()
    out = ["--reports", str(tmp_path / "reports")]
    master = start(
        str(master_file), "--master", "--expect-workers", "2", "--master-port", port,
        "-u", "6", "-t", "3s", *out, *more,
    )  # fmt: skip
    workers = [start(str(worker_file), "--worker", "--master-port", port) for _ in range(2)]
    output, _ = master.communicate(timeout=120)
    for worker in workers:
        worker.communicate(timeout=60)
    return master.returncode, output


@pytest.mark.alone
def test_a_run_with_a_master_and_two_workers(tmp_path: Path) -> None:
    file = locustfile(tmp_path)
    code, output = distributed(tmp_path, file, file)
    assert code == 0, output
    assert "verdict  PASS" in output


def test_a_worker_with_another_locustfile_is_refused(tmp_path: Path) -> None:
    one = locustfile(tmp_path)
    (tmp_path / "other").mkdir()
    other = locustfile(tmp_path / "other", messages=3)
    code, output = distributed(tmp_path, one, other)
    assert code == 8, output
    assert "has a locustfile with the content" in output


def test_differences_are_named() -> None:
    own = {"harness": "2", "locust": "1", "locustfile": "a", "schedule": "none"}
    assert compare("w", dict(own), own) == []
    (why,) = compare("w", own | {"harness": "1"}, own)
    assert why == "worker w has the harness in version '1', the master '2'"
