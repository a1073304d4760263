"""A closed workload's cap on sessions holds when a worker comes in the middle."""

import json
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from locusts import locustfile
from processes import start_harness

from harness.supervise.children import free_port

pytestmark = pytest.mark.process

CAP = 40


@pytest.mark.long
def test_a_worker_that_joins_does_not_raise_the_cap(simulator: Any, tmp_path: Path) -> None:
    file = locustfile(tmp_path, messages=2, think="300ms")
    now = datetime.now(UTC)
    opens, ends = now - timedelta(hours=2), now + timedelta(hours=2)
    (tmp_path / "targets.toml").write_text(
        f'[targets.twin]\nurl = "{simulator.url}"\ntreat_as_real = true\ntime_zone = "UTC"\n'
        f'window = "{opens:%H:%M}-{ends:%H:%M}"\napproval = "case 1"\nmax_sessions = {CAP}\n'
    )
    before = simulator.truth()["sessions"]["opened"]
    port = free_port()
    log = (tmp_path / "harness.log").open("wb")

    def start(*words: str) -> Any:
        return start_harness("run", str(file), *words, "--master-port", port, stdout=log)

    def opened() -> int:
        return int(simulator.truth()["sessions"]["opened"]) - before

    master = start(
        "--master", "--expect-workers", "1", "-u", "6", "-t", "30s", "--target", "twin",
        "--targets", str(tmp_path / "targets.toml"), "--reports", str(tmp_path / "reports"),
        "--override", "preflight=test",
    )  # fmt: skip
    workers = [start("--worker")]
    try:
        deadline = time.monotonic() + 60
        while opened() < 6:
            assert time.monotonic() < deadline, (tmp_path / "harness.log").read_text()
            time.sleep(0.1)
        workers.append(start("--worker"))
        code = master.wait(120)
    finally:
        for process in (master, *workers):
            process.terminate()
            process.wait(60)
        log.close()
    told = (tmp_path / "harness.log").read_text()
    (path,) = (tmp_path / "reports").glob("2*/run.json")
    record = json.loads(path.read_text())
    assert code == 6, told
    assert f"the cap of {CAP} sessions was reached at second " in " ".join(record["reasons"])
    assert len(list(path.parent.glob("ledger-*.sqlite"))) == 2, "the second worker was not there"
    assert opened() == record["sessions"]["opened"] == record["sessions"]["cleared"]
    assert record["sessions"]["opened"] == CAP
    assert "sent home" not in told
