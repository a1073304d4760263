"""The audit's command line: exit codes, the record, and what it refuses."""

import json
from pathlib import Path

import pytest
from sessions import Guest, Simulated, ledger_of

from harness.cli.main import main
from harness.clock import utc_iso
from harness.errors import ExitCode
from harness.ledger.ledger import Stage
from harness.rundir.layout import write_start
from harness.streams import HowFar

RUN = "20261122-101500-ab12"


@pytest.fixture
def credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HARNESS_CLIENT_ID", "simulated-client")
    monkeypatch.setenv("HARNESS_CLIENT_SECRET", "simulated-secret")


@pytest.mark.process
def test_a_service_that_cannot_be_asked_leaves_it_unknown_and_what_is_left_left(
    tmp_path: Path,
    credentials: None,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("HARNESS_CLIENT_SECRET", "mistyped")
    directory = tmp_path / RUN
    directory.mkdir()
    with Simulated() as world:
        write_start(directory, target=world.url, started=utc_iso())
        ledger_of(directory, (Guest(world, RUN), Stage.LOST))
        world.simulator.faults(forbid_clear=1)
        assert main(["audit", str(directory)]) == ExitCode.UNKNOWN
        assert "the sign-in of the Platform API answered HTTP 401" in capsys.readouterr().err
        assert main(["sweep", "--platform", str(directory)]) == ExitCode.LEFTOVERS
        told = " ".join(capsys.readouterr().out.split())
        assert f"{RUN}: the sign-in of the Platform API answered HTTP 401" in told
        assert "1 left" in told


@pytest.mark.process
@pytest.mark.parametrize("words", [["audit", "--deadline", "0.1s"], ["sweep", "--platform"]])
def test_how_far_it_is_is_told_for_what_is_shown_where_it_takes_a_while(
    tmp_path: Path, credentials: None, words: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where a run has many sessions, calls wait for the limit of calls a minute."""
    told: list[str] = []
    monkeypatch.setattr(HowFar, "tell", lambda _, text: told.append(text))
    directory = tmp_path / RUN
    directory.mkdir()
    with Simulated("--fault", "api_503=#2") as world:
        write_start(directory, target=world.url, started=utc_iso())
        ledger_of(directory, *((Guest(world, RUN), Stage.LOST) for _ in range(3)))
        world.simulator.faults(forbid_clear=1, **{"api_503": "#2"})
        main([*words, str(directory)])
    assert any("next call in " in text for text in told)
    for number in (1, 2, 3):
        assert f"Platform API: conversations by their messages: {number} of 3" in told


@pytest.mark.process
def test_found_then_disconnected_then_clean(
    tmp_path: Path, credentials: None, capsys: pytest.CaptureFixture[str]
) -> None:
    directory = tmp_path / RUN
    directory.mkdir()
    with Simulated() as world:
        write_start(directory, target=world.url, started=utc_iso())
        left, cleared = Guest(world, RUN), Guest(world, RUN)
        cleared.clear()
        ledger_of(directory, (left, Stage.LOST), (cleared, Stage.CLEARED))
        words = ["audit", str(directory), "--deadline", "0.1s", "--queue", world.queue_id]
        assert main(words) == ExitCode.LEFTOVERS
        output = capsys.readouterr().out
        assert "1  confirmed leftovers" in output
        assert left.token not in output
        assert main([*words, "--json"]) == ExitCode.LEFTOVERS
        block = json.loads(capsys.readouterr().out)
        assert (len(block["leftovers"]), block["visible"], block["conversations"]) == (1, 2, 2)
        world.simulator.faults(forbid_clear=1)
        assert main(["sweep", str(directory), "--rate", "50/s"]) == ExitCode.LEFTOVERS
        assert main(["sweep", str(directory), "--rate", "50/s", "--platform"]) == ExitCode.PASS
        assert "1  conversations were disconnected" in capsys.readouterr().out
        assert main(words) == ExitCode.PASS
        assert "nothing of this run open" in capsys.readouterr().out
    record = json.loads((directory / "run.json").read_text())
    assert record["audit"]["leftovers"] == []
    assert record["sessions"]["disconnected"] == 1
    assert record["operations"]["conversation_end"]["count"] == 1
    page = (directory / "report.html").read_text()
    assert "conversation_end" in page
    assert "changed or cut short" not in page
    secret = (directory / "run.json").read_text() + (directory / "report.html").read_text()
    assert "simulated-secret" not in secret
    assert left.token not in secret


def test_without_credentials_it_names_the_variables(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("HARNESS_CLIENT_ID", raising=False)
    assert main(["audit", str(tmp_path)]) == ExitCode.CONFIG
    assert "HARNESS_CLIENT_ID is not set" in capsys.readouterr().err
