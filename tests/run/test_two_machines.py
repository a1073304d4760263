"""Two machines with nothing but the package: two commands are all that is typed."""

import json
import os
import signal
import subprocess
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from locusts import ROOT, passed
from namespaces import NEAR, Network, Twin
from processes import start_harness

from harness.ledger.reader import read_account

pytestmark = [pytest.mark.process, pytest.mark.timeout(240)]


@pytest.mark.long
def test_a_master_and_two_workers_in_a_network_of_their_own(
    network: Network, twin: Twin, tmp_path: Path
) -> None:
    homes = {name: tmp_path / name for name in ("master", "near", "far", "nothing")}
    for home in homes.values():
        home.mkdir()
    twin.targets(homes["master"] / "targets.toml")
    # At the far end the master's folder is empty: nothing in it is on that machine's disk.
    far = network.far(homes["nothing"], homes["master"])
    near = network.near()
    started: list[Any] = []

    def start(home: str, inside: list[str], *words: str) -> Any:
        process = start_harness(
            *words,
            inside=inside,
            cwd=homes[home],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )
        started.append(process)
        return process

    try:
        preflight = start("master", near, "preflight", "--target", "beyond")
        said, _ = preflight.communicate(timeout=60)
        assert preflight.returncode == 0, said
        load = str(ROOT / "locustfiles/load.py")
        master = start(
            "master", near, "run", load, "--master", "--expect-workers", "2",
            "--bind", NEAR, "--target", "beyond", "--rate", "4/s", "--over", "10s",
        )  # fmt: skip
        workers = [start(*where, "worker", NEAR) for where in (("near", near), ("far", far))]
        output, _ = master.communicate(timeout=180)
        said = [worker.communicate(timeout=60)[0] for worker in workers]
        assert passed(master.returncode, output), (output, said)
        assert [worker.returncode for worker in workers] == [0, 0], said
    finally:
        for process in started:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
    run = (homes["master"] / "reports" / "latest").resolve()
    record = json.loads((run / "run.json").read_text())
    assert record["generator"]["workers"] == 2
    assert record["arrivals"]["started"] == read_account(run).intended > 20
    assert twin.open_tokens() == set()
    copies = [path.name for path in run.glob("ledger-*.sqlite")]
    assert len(copies) == 2
    assert sum("far-away" in name for name in copies) == 1
