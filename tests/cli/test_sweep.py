"""The sweep's command line: exit codes, dry run, and refusals. (What it does: tests/reconcile.)"""

import re
import signal
import socket
import subprocess
import uuid
from pathlib import Path
from typing import Any

import pytest
from processes import start_harness

from harness.cli.main import main
from harness.clock import wall_ns
from harness.errors import ExitCode
from harness.guest.outcomes import Ending
from harness.judge.reading import ending_words
from harness.ledger.ledger import OPEN_UNANSWERED, OVER, Stage, Store
from harness.reconcile.sweep import find_leftovers, only_sweep
from harness.rundir.layout import write_start


def make_run(directory: Path, target: str | None) -> Path:
    store = Store(directory / "ledger-w.sqlite", {"worker": "w", "ended_ns": "9"})
    store.write([(1, "token-1", Stage.INTENDED, 1, 1)], [], {})
    store.close()
    write_start(directory, **({} if target is None else {"target": target}))
    return directory


@pytest.mark.process
def test_a_dry_run_changes_nothing_and_a_sweep_settles(
    simulator: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = str(make_run(tmp_path, simulator.url))
    assert main(["sweep", run, "--dry-run"]) == ExitCode.LEFTOVERS
    assert "would end 1 sessions" in capsys.readouterr().out
    assert main(["sweep", run]) == ExitCode.PASS
    assert "1 of 1 proved ended, 0 left" in capsys.readouterr().out
    assert main(["sweep", run]) == ExitCode.PASS
    assert "nothing to do" in capsys.readouterr().out


@pytest.mark.process
def test_of_two_sweeps_at_once_the_second_is_refused(
    simulator: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = str(make_run(tmp_path, simulator.url))
    with only_sweep(tmp_path):
        assert main(["sweep", run, "--dry-run"]) == ExitCode.LEFTOVERS
        assert main(["sweep", run]) == ExitCode.CONFIG
        assert "is being swept already" in capsys.readouterr().err
        assert len(find_leftovers(tmp_path)) == 1
    assert main(["sweep", run]) == ExitCode.PASS


@pytest.mark.process
def test_what_may_be_opened_still_is_waited_for(
    simulator: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = Store(tmp_path / "ledger-w.sqlite", {"worker": "w", "ended_ns": "9"})
    store.write([(1, "token-1", Stage.LOST, 1, 1)], [], {})
    store.write([], [(Stage.LOST, OPEN_UNANSWERED, "", wall_ns(), 1)], {})
    store.close()
    write_start(tmp_path, target=simulator.url)
    run = str(tmp_path)
    assert main(["sweep", run, "--deadline", "1s"]) == ExitCode.LEFTOVERS
    said = " ".join(capsys.readouterr().out.split())
    assert Ending.NOT_YET.words in said
    assert re.search(r"sweep again in [\d.]+s", said)
    assert main(["sweep", run, "--late-within", "2s"]) == ExitCode.PASS
    assert "an unanswered open request and may still open" in " ".join(
        capsys.readouterr().out.split()
    )


@pytest.mark.process
def test_a_log_is_told_how_far_it_has_come(
    simulator: Any,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("harness.reconcile.sweep.TELL_EVERY_S", 0.0)
    run = make_run(tmp_path, simulator.url)
    assert main(["sweep", str(run)]) == ExitCode.PASS
    assert f"sweeping {tmp_path.name}: 1 of 1" in capsys.readouterr().out


def test_a_service_that_can_not_be_reached(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    url = "ws://127.0.0.1:9/v1?deploymentId=12345678-90ab-cdef-1234-567890abcdef"
    assert main(["sweep", str(make_run(tmp_path, url))]) == ExitCode.LEFTOVERS
    assert "could not be reached" in capsys.readouterr().out


@pytest.mark.parametrize("words", [["--rate", "fast"], ["--rate", "0/s"], ["--deadline", "soon"]])
def test_nonsense_is_refused(tmp_path: Path, words: list[str]) -> None:
    assert main(["sweep", str(make_run(tmp_path, None)), *words]) == ExitCode.CONFIG


def test_a_run_that_does_not_say_where_its_guests_went(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["sweep", str(make_run(tmp_path, None))]) == ExitCode.CONFIG
    assert "does not say where" in capsys.readouterr().err


def test_every_ending_has_its_words() -> None:
    words = [ending.words for ending in Ending]
    assert len(set(words)) == len(words)
    assert [ending for ending in Ending if ending_words(str(ending)) != ending.words] == []
    assert ending_words("of a later harness") == "of a later harness"
    proved = {ending for ending in Ending if ending.proof}
    assert proved == {ending for ending in Ending if ending.stage in OVER}


@pytest.mark.process
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_one_that_is_interrupted_says_so_and_no_more(tmp_path: Path, number: int) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"ws://127.0.0.1:{silent.getsockname()[1]}/v1?deploymentId={uuid.uuid4()}"
        directory = make_run(tmp_path, url)
        process = start_harness("sweep", str(directory), stderr=subprocess.PIPE)
        silent.settimeout(60)
        peer, _ = silent.accept()
        with peer:
            process.send_signal(number)
            _, errors = process.communicate(timeout=60)
    assert process.returncode == ExitCode.INTERRUPTED
    assert errors.splitlines()[1:] == ["stopped by hand"]
