"""A first night, rehearsed: whatever the service is like, run, audit and sweep tell what is true.

Each world is the simulator's preset ``live`` with one thing more; what is open is asked of the
simulator itself.
"""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from locusts import locustfile
from processes import Simulator, harness

from harness.errors import ExitCode
from harness.ledger.reader import read_leftovers, read_rows

pytestmark = pytest.mark.process

FAST = ("--like", "live", "--bot-delay", "20ms", "--bot-gap", "10ms", "--greeting-delay", "10ms")
FAST += ("--limits", "off", "--knob", "conversation_end_lag_s=0.2", "--knob", "search_lag_s=1")
HOME = '[[client]]\nid = "simulated-client"\nsecret = "simulated-secret"\ndivisions = ["home"]\n'
DIVISION = "one division"
WORLDS = {
    "external": ("--knob", "platform_lag_s=1", "--knob", "purpose_in_conversation=external"),
    "no direct view": ("--knob", "platform_lag_s=2", "--knob", "direct_view=missing"),
    "delayed patch": ("--knob", "platform_lag_s=1", "--knob", "disconnect_lag_s=4"),
    "lagging analytics": (
        "--knob",
        "platform_lag_s=12",
    ),
    DIVISION: (
        *("--knob", "platform_lag_s=1", "--knob", "foreign_every=2"),
        *("--deployment", "division_id=home"),
    ),
}


class Night:
    """A target with credentials, and the commands as a user gives them."""

    def __init__(self, simulator: Simulator, folder: Path) -> None:
        self.simulator = simulator
        self.folder = folder
        self.reports = folder / "reports"
        (folder / "targets.toml").write_text(
            f'[targets.twin]\nurl = "{simulator.url}"\nclient_id_env = "T_ID"\n'
            'client_secret_env = "T_SECRET"\n'
        )

    def harness(self, *words: str) -> Any:
        done = harness(*words, "--reports", str(self.reports), env={**os.environ, **CLIENT})
        assert "Traceback" not in done.stdout + done.stderr, done.stderr
        return done

    def run(self) -> Any:
        """A few guests; those of them who can't clear are left open."""
        target = ("--target", "twin", "--targets", str(self.folder / "targets.toml"))
        return self.harness(
            "run", str(locustfile(self.folder, messages=1, think="100ms")), *target,
            "-u", "4", "-t", "3s", "--stop-timeout", "3s", "--pace", "off",
        )  # fmt: skip

    @property
    def directory(self) -> Path:
        (path,) = self.reports.glob("2*")
        return path

    def open(self) -> int:
        """Conversations that are open, by the service's own account."""
        found: int = self.simulator.truth()["conversations"]["open"]
        return found

    def audit(self, deadline: str) -> tuple[int, dict[str, Any]]:
        done = self.harness("audit", self.directory.name, "--json", "--deadline", deadline)
        return done.returncode, json.loads(done.stdout)


@pytest.fixture
def night(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Night]:
    options = WORLDS[request.param]
    if request.param == DIVISION:
        (tmp_path / "client.toml").write_text(HOME)
        options = (*options, "--profile", str(tmp_path / "client.toml"))
    simulator = Simulator(*FAST, *options)
    yield Night(simulator, tmp_path)
    simulator.stop()


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    "night",
    [
        pytest.param(name, marks=[] if name == "external" else pytest.mark.long)
        for name in WORLDS
        if name != DIVISION
    ],
    indirect=True,
)
def test_run_audit_and_sweep_tell_what_is_true(night: Night) -> None:
    night.simulator.faults(forbid_clear=0.5)
    ran = night.run()
    left = night.open()
    assert left > 0
    assert ran.returncode == ExitCode.LEFTOVERS, ran.stdout
    assert len(list(read_leftovers(night.directory))) == left
    code, block = night.audit("5s")
    assert code == ExitCode.LEFTOVERS
    assert (len(block["leftovers"]), block["cleared_yet_open"], block["unknown"]) == (left, [], [])
    night.simulator.faults(forbid_clear=1)  # the guest's side can end nothing
    swept = night.harness("sweep", night.directory.name, "--rate", "50/s", "--platform")
    assert swept.returncode == ExitCode.PASS, swept.stdout + swept.stderr
    assert night.open() == 0
    assert list(read_leftovers(night.directory)) == []
    code, block = night.audit("60s")
    assert (code, block["unknown"], block["refused"]) == (ExitCode.PASS, [], {})
    assert block["visible"] == block["conversations"] > left


@pytest.mark.long
@pytest.mark.timeout(300)
@pytest.mark.parametrize("night", [DIVISION], indirect=True)
def test_a_client_that_may_see_one_division_says_what_it_does_not_know(night: Night) -> None:
    night.simulator.faults(forbid_clear=1)
    ran = night.run()
    left = night.open()
    assert ran.returncode == ExitCode.LEFTOVERS, ran.stdout
    hidden = left // 2  # each second conversation is another division's
    code, block = night.audit("2s")
    assert code == ExitCode.LEFTOVERS
    assert (len(block["leftovers"]), len(block["unknown"])) == (left - hidden, hidden)
    swept = night.harness("sweep", night.directory.name, "--rate", "50/s", "--platform")
    assert swept.returncode == ExitCode.LEFTOVERS
    assert night.open() == hidden == len(list(read_leftovers(night.directory)))
    code, block = night.audit("5s")
    assert (code, len(block["unknown"])) == (ExitCode.UNKNOWN, hidden)
    night.simulator.faults()
    swept = night.harness("sweep", night.directory.name, "--rate", "50/s")
    assert (swept.returncode, night.open()) == (ExitCode.PASS, 0)


CLIENT = {"T_ID": "simulated-client", "T_SECRET": "simulated-secret"}
NO_MORE = 'permissions = ["conversation:webmessaging:view"]\n'


@pytest.mark.timeout(240)
@pytest.mark.parametrize(
    ("client", "env", "told"),
    [
        pytest.param("", {}, "no credentials", marks=pytest.mark.long),
        ("", CLIENT, "its conversation was over"),
        pytest.param(NO_MORE, CLIENT, "it lacks", marks=pytest.mark.long),
    ],
    ids=["without credentials", "with them", "with few permissions"],
)
def test_a_preflight_ends_without_a_failure(
    tmp_path: Path, client: str, env: dict[str, str], told: str
) -> None:
    options = ["--like", "live", "--knob", "platform_lag_s=3"]
    if client:
        named = '[[client]]\nid = "simulated-client"\nsecret = "simulated-secret"\n'
        (tmp_path / "client.toml").write_text(named + client)
        options += ["--profile", str(tmp_path / "client.toml")]
    simulator = Simulator(*options)
    try:
        lines = f'[targets.twin]\nurl = "{simulator.url}"\n'
        if env:
            lines += 'client_id_env = "T_ID"\nclient_secret_env = "T_SECRET"\n'
        (tmp_path / "targets.toml").write_text(lines)
        done = harness(
            "preflight", "--target", "twin", "--targets", str(tmp_path / "targets.toml"),
            "--reports", str(tmp_path / "reports"), env={**os.environ, **env, "COLUMNS": "400"},
        )  # fmt: skip
        assert done.returncode == ExitCode.PASS, done.stdout + done.stderr
        assert "fail " not in done.stdout
        assert told in done.stdout, done.stdout
        assert simulator.truth()["sessions"]["open"] == 0
        (table,) = (tmp_path / "reports").glob("preflight-*/preflight.json")
        found = json.loads(table.read_text())
        assert found["passed"]
        assert found["learned"]["turn_messages"] >= 1
        (ledger,) = (tmp_path / "reports").glob("preflight-*/ledger-*.sqlite")
        token = read_rows(ledger)[0][1]
        stamp = tmp_path / "reports" / ".preflight" / "twin.json"
        for said in (done.stdout, done.stderr, table.read_text(), stamp.read_text()):
            assert token not in said
            assert "simulated-secret" not in said
    finally:
        simulator.stop()
