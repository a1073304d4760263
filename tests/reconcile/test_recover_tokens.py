"""A lost ledger: the secret alone leads to every session that was open."""

import shutil
from pathlib import Path
from typing import Any

import pytest
from sessions import leave_open, settings_for

from harness.cli.main import main
from harness.clock import wall_ns
from harness.errors import ExitCode, LedgerError
from harness.ledger.ledger import Stage, Store, Tokens
from harness.ledger.reader import read_account, read_leftovers
from harness.ledger.runs import listed_runs
from harness.reconcile import recover_tokens
from harness.reconcile.recover_tokens import sweep_derived
from harness.rundir.layout import RunDirectory, begin_run

pytestmark = pytest.mark.process


def run(simulator: Any, directory: Path, **more: Any) -> Any:
    options = {"per_second": 200.0, "deadline_s": 60.0, **more}
    return sweep_derived(directory, settings_for(simulator), **options)


def test_all_sessions_of_a_lost_ledger_are_found_and_ended(
    simulator: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recover_tokens, "MAX_GAP", 15)
    tokens = {name: Tokens.of(tmp_path, name) for name in ("a", "b")}
    made = [[of.next() for _ in range(12)] for of in tokens.values()]
    opened = [made[0][3], made[0][11], made[1][0], made[1][10]]
    before = simulator.open_tokens()
    leave_open(simulator, 4, opened)
    assert set(opened) <= simulator.open_tokens()
    result = run(simulator, tmp_path)
    assert (result.alive, result.unproved, result.stopped) == (4, 0, False)
    assert simulator.open_tokens() <= before  # nor what trying the others has made
    account = read_account(tmp_path)
    assert (account.intended, account.settled, account.leftover) == (4, 4, 0)
    again = run(simulator, tmp_path)
    assert again.alive == 0


def test_what_the_ledger_knows_is_not_tried(
    simulator: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recover_tokens, "MAX_GAP", 3)
    tokens = Tokens.of(tmp_path, "a")
    store = Store(tmp_path / "ledger-a.sqlite", {"worker": "a", "ended_ns": "9"})
    known = [tokens.next() for _ in range(5)]
    store.write([(n, token, Stage.CLEARED, 1, 1) for n, token in enumerate(known, 1)], [], {})
    store.close()
    leave_open(simulator, 2, known[:2])
    result = run(simulator, tmp_path)
    assert result.alive == 0
    assert set(known[:2]) <= simulator.open_tokens()
    assert result.tried < 30


def copy_of_lost_worker(master: Path, worker: Path, name: str, *rows: str, **meta: str) -> Tokens:
    """What a master has of a worker whose disk is gone: the first of its sessions."""
    worker.mkdir()
    tokens = Tokens.of(worker, name)
    found = {"worker": name, "copy_of": name, **tokens.meta(), **meta}
    store = Store(master / f"ledger-{name}.sqlite", found)
    store.write([(n, row, Stage.CLEARED, 1, 1) for n, row in enumerate(rows, 1)], [], {})
    store.close()
    return tokens


def test_what_a_worker_opened_last_is_found_though_its_disk_and_its_secret_are_gone(
    simulator: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recover_tokens, "MAX_GAP", 5)
    master = tmp_path / "master"
    master.mkdir()
    tokens = copy_of_lost_worker(master, tmp_path / "worker", "far")
    assert read_account(master).cut_off == ["far"]
    (why,) = read_account(master).unsure
    assert why.startswith("far was lost on another machine: sessions of its last seconds may")
    last = [tokens.next() for _ in range(2)]
    leave_open(simulator, 2, last)
    shutil.rmtree(tmp_path / "worker")
    result = run(simulator, master)
    assert result.alive == 2
    assert set(last) & simulator.open_tokens() == set()
    assert read_account(master).cut_off == []


def test_the_tokens_that_a_lost_worker_had_reserved_are_all_tried(
    simulator: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recover_tokens, "MAX_GAP", 3)
    master = tmp_path / "master"
    master.mkdir()
    tokens = copy_of_lost_worker(master, tmp_path / "worker", "far", reserved="12")
    last = [tokens.next() for _ in range(12)][-1:]  # the others are cleared, and unknown by now
    leave_open(simulator, 2, last)
    result = run(simulator, master)
    assert result.alive == 1
    assert not set(last) & simulator.open_tokens()


def test_a_worker_is_given_the_time_that_it_may_have_worked_unheard(
    simulator: Any, tmp_path: Path
) -> None:
    Tokens.of(tmp_path, "a")
    Store(tmp_path / "ledger-a.sqlite", {"worker": "a", "heartbeat_ns": str(wall_ns())}).close()
    waits: list[float] = []
    result = sweep_derived(
        tmp_path,
        settings_for(simulator, late_within_s=0.0),
        per_second=200.0,
        deadline_s=0.2,
        on_wait=waits.append,
    )
    assert (waits, result.tried, result.stopped) == ([0.2], 0, True)


def test_a_sweep_that_can_not_know_all_of_a_lost_worker_is_no_success(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    master, worker = tmp_path / "master", tmp_path / "worker"
    master.mkdir()
    copy_of_lost_worker(master, worker, "far")
    for run_dir in (master, worker):
        begin_run(run_dir, started="2026-01-01T00:00:00Z")
    assert main(["leftovers", str(master)]) == ExitCode.INVALID
    assert main(["sweep", str(master)]) == ExitCode.LEFTOVERS
    assert "far did not end properly" in capsys.readouterr().out
    # The worker's own ledger has all, so that nothing can be hidden.
    Store(worker / "ledger-far.sqlite", {"worker": "far", "ended_ns": "9"}).close()
    assert main(["sweep", str(master), str(worker)]) == ExitCode.PASS


def test_a_copy_that_has_lost_its_secret_is_not_called_complete(
    simulator: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    master = tmp_path / "master"
    master.mkdir()
    begin_run(master, started="2026-01-01T00:00:00Z", target=simulator.url)
    copy_of_lost_worker(master, tmp_path / "one", "one", ended_ns="9")
    tokens = copy_of_lost_worker(master, tmp_path / "two", "two", reserved="12")
    opened = leave_open(simulator, 1, [tokens.next()])
    (master / "ledger-two.sqlite").write_bytes(b"garbage")
    words = ["sweep", str(master), "--derive", "--rate", "100/s", "--late-within", "0s"]
    for _ in range(2):
        assert main(words) == ExitCode.LEFTOVERS
        assert "of two is gone" in capsys.readouterr().out
    assert read_account(master).may_hide
    assert set(opened) <= simulator.open_tokens()


def test_a_worker_that_came_to_its_end_in_order_costs_no_attempt(
    simulator: Any, tmp_path: Path
) -> None:
    master = tmp_path / "master"
    master.mkdir()
    copy_of_lost_worker(master, tmp_path / "worker", "far", ended_ns="9")
    assert run(simulator, master).tried == 0
    assert read_account(master).cut_off == []


def test_what_can_not_be_asked_becomes_a_leftover(
    simulator: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recover_tokens, "MAX_GAP", 2)
    (token,) = leave_open(simulator, 1, [Tokens.of(tmp_path, "a").next()])
    simulator.faults(ignore_clear=1)
    result = run(simulator, tmp_path, deadline_s=0.3)
    assert result.stopped
    simulator.faults()
    assert read_account(tmp_path).leftover == result.unproved > 0
    assert token in simulator.truth()["open_tokens"]


def test_one_that_is_broken_off_lists_what_it_has_left_open(simulator: Any, tmp_path: Path) -> None:
    before = simulator.open_tokens()
    leave_open(simulator, 1, [Tokens.of(tmp_path, "a").next()])

    def break_off(_: Any) -> None:
        raise LedgerError("broken off")

    simulator.faults(ignore_clear=1)
    with pytest.raises(LedgerError, match="broken off"):
        run(simulator, tmp_path, deadline_s=0.3, on_try=break_off)
    simulator.faults()
    listed = {left.token for left in read_leftovers(tmp_path)}
    assert simulator.open_tokens() - before <= listed
    assert listed


def deleted(directory: Path, simulator: Any) -> list[str]:
    """A run of a worker that counted three sessions, two of them open; its ledger is deleted."""
    begin_run(directory, started="2026-01-01T00:00:00Z", target=simulator.url)
    tokens = Tokens.of(directory, "a")
    RunDirectory(directory).intervals("a").write_text('{"sessions": {"intended": 3}}\n')
    made = [tokens.next() for _ in range(3)]
    return leave_open(simulator, 2, made[:2])


def test_a_deleted_ledger_is_no_all_clear_until_its_tokens_were_tried(
    simulator: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(recover_tokens, "MAX_GAP", 5)
    directory = tmp_path / "r"
    directory.mkdir()
    opened = deleted(directory, simulator)
    for words in (
        ["leftovers", str(directory)],
        ["leftovers", "--all", "--reports", str(tmp_path)],
    ):
        assert main(words) == ExitCode.INVALID
        assert "ledger-a.sqlite is gone" in capsys.readouterr().err
    (listed,) = listed_runs(tmp_path)
    assert listed.leftovers is None
    for more in ([], ["--dry-run"]):
        assert main(["sweep", str(directory), *more]) == ExitCode.LEFTOVERS
        assert "damaged or gone" in capsys.readouterr().out
    monkeypatch.setattr("harness.reconcile.sweep.TELL_EVERY_S", 0.0)
    words = ["sweep", str(directory), "--derive", "--rate", "100/s", "--late-within", "2s"]
    assert main(words) == ExitCode.PASS
    assert f"{directory.name}: 1 derived tokens tried" in capsys.readouterr().out
    assert set(opened) & simulator.open_tokens() == set()
    assert main(["leftovers", str(directory)]) == ExitCode.PASS
    assert main(["leftovers", "--all", "--reports", str(tmp_path)]) == ExitCode.PASS
    assert main(["sweep", str(directory)]) == ExitCode.PASS


def test_without_the_secret_nothing_is_tried_and_nothing_is_called_complete(
    simulator: Any, tmp_path: Path
) -> None:
    opened = deleted(tmp_path, simulator)
    RunDirectory(tmp_path).secret.unlink()
    with pytest.raises(LedgerError, match=r"secret .* is gone"):
        run(simulator, tmp_path)
    assert read_account(tmp_path).may_hide
    assert set(opened) <= simulator.open_tokens()


def test_a_damaged_secret_is_told(simulator: Any, tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"")
    with pytest.raises(LedgerError, match="expected 32 bytes, not 0"):
        run(simulator, tmp_path)
