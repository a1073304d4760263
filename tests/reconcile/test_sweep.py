"""Sweeping ends what is open, settles what was over, and a second sweep has nothing to do."""

import uuid
from dataclasses import replace
from pathlib import Path
from typing import Any

import gevent
import pytest
from processes import Simulator

from harness.clock import wall_ns
from harness.config.target import parse_target
from harness.errors import ConfigError, LedgerError
from harness.guest.connection import Connection
from harness.guest.outcomes import Ending
from harness.guest.rest import exchange_sign_in
from harness.guest.settings import GuestSettings
from harness.ledger.ledger import Stage, Store
from harness.ledger.reader import read_leftovers
from harness.measure.recorder import Recorder
from harness.reconcile.sweep import find_leftovers, refuse_while_running, sweep

pytestmark = pytest.mark.process


def settings_for(simulator: Any) -> GuestSettings:
    return GuestSettings(target=parse_target(simulator.url), clear_within_s=0.5, close_within_s=0.2)


def leave(simulator: Any, directory: Path, *, alive: int, over: int) -> set[str]:
    """Open sessions and walk away from them; some more only stand in the ledger."""
    store = Store(directory / "ledger-w.sqlite", {"worker": "w"})
    tokens = [str(uuid.uuid4()) for _ in range(alive + over)]
    for number, token in enumerate(tokens, start=1):
        if number <= alive:
            line = Connection(settings_for(simulator), token, Recorder())
            line.connect()
            line.configure()
            line.say("hello")
            gevent.sleep(0.02)
            line.drop()
        stage = Stage.JOINED if number <= alive else Stage.INTENDED
        store.write([(number, token, stage, 1, 1)], [], {})
    store.write((), (), {"ended_ns": "9"})
    store.close()
    return set(tokens[:alive])


def run_sweep(simulator: Any, directory: Path, **more: Any) -> Any:
    seen: list[None] = []
    found = find_leftovers(directory)
    options = {"per_second": 500.0, "deadline_s": 30.0, **more}
    result = sweep(found, settings_for(simulator), on_ending=lambda: seen.append(None), **options)
    assert sum(result.endings.values()) == len(seen)
    return result


def test_a_sweep_ends_all_and_a_second_has_nothing_to_do(simulator: Any, tmp_path: Path) -> None:
    before = simulator.open_tokens()
    left = leave(simulator, tmp_path, alive=5, over=3)
    assert left <= simulator.open_tokens()
    assert [leftover.state for leftover in find_leftovers(tmp_path)] == [
        *["joined"] * 5,
        *["intended"] * 3,
    ]
    result = run_sweep(simulator, tmp_path)
    assert result.endings == {Ending.CLEARED: 5, Ending.GONE: 3}
    assert (result.settled, result.left) == (8, 0)
    assert simulator.open_tokens() <= before
    assert list(read_leftovers(tmp_path)) == []


def test_what_will_not_end_stays_on_the_list(simulator: Any, tmp_path: Path) -> None:
    leave(simulator, tmp_path, alive=2, over=0)
    simulator.faults(ignore_clear=1)
    result = run_sweep(simulator, tmp_path)
    assert result.endings == {Ending.UNANSWERED: 2}
    assert (result.settled, result.left) == (0, 2)
    simulator.faults()
    assert run_sweep(simulator, tmp_path).left == 0


def test_the_deadline_leaves_the_rest_for_another_time(simulator: Any, tmp_path: Path) -> None:
    leave(simulator, tmp_path, alive=3, over=0)
    result = run_sweep(simulator, tmp_path, per_second=2.0, deadline_s=0.3)
    assert result.unreached >= 1
    assert result.left >= result.unreached
    assert run_sweep(simulator, tmp_path).left == 0


def test_a_run_at_work_is_not_swept(tmp_path: Path) -> None:
    store = Store(
        tmp_path / "ledger-w.sqlite", {"worker": "w", "host": "", "heartbeat_ns": str(wall_ns())}
    )
    store.close()
    with pytest.raises(ConfigError, match=r"still going on \(w\)"):
        refuse_while_running([tmp_path], force=False)
    refuse_while_running([tmp_path], force=True)


def test_a_ledger_that_takes_no_more_ends_the_sweep_without_a_traceback(
    simulator: Any, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    leave(simulator, tmp_path, alive=0, over=30)
    found = find_leftovers(tmp_path)
    (tmp_path / "ledger-w.sqlite").unlink()
    with pytest.raises(LedgerError, match=r"ledger-w\.sqlite"):
        sweep(found, settings_for(simulator), deadline_s=30.0)
    assert "Traceback" not in capfd.readouterr().err


def test_a_signed_in_guests_session_needs_its_sign_in(tmp_path: Path) -> None:
    running = Simulator("--limits", "off", "--deployment", "authentication=on")
    try:
        settings = settings_for(running)
        jwts = tuple(exchange_sign_in(settings, f"customer {n}", "https://shop") for n in range(4))
        store = Store(tmp_path / "ledger-w.sqlite", {"worker": "w", "ended_ns": "9"})
        for number, jwt in enumerate((*jwts[2:], ""), start=1):
            token = str(uuid.uuid4())
            line = Connection(replace(settings, sign_in=jwt), token, Recorder())
            line.connect()
            line.configure()
            line.drop()
            store.write([(number, token, Stage.CONFIGURED, 1, 1)], [], {})
        store.close()
        result = run_sweep(running, tmp_path)
        assert result.endings == {Ending.SIGNED_IN: 2, Ending.CLEARED: 1}
        assert running.truth()["sessions"]["open"] == 2
        result = run_sweep(running, tmp_path, sign_ins=jwts[:2])  # other customers'
        assert result.endings == {Ending.SIGNED_IN: 2}
        result = run_sweep(running, tmp_path, sign_ins=jwts)
        assert result.endings == {Ending.CLEARED: 2}
        assert running.truth()["sessions"]["open"] == 0
    finally:
        running.stop()


def test_a_refused_connection_is_tried_again_when_the_service_says(tmp_path: Path) -> None:
    running = Simulator("--limits", "off")
    try:
        leave(running, tmp_path, alive=2, over=0)
        running.faults(refuse_429="#1,seconds=1")
        began = wall_ns()
        result = run_sweep(running, tmp_path)
        assert (result.settled, result.left) == (2, 0)
        assert (wall_ns() - began) / 1e9 >= 1
        assert running.truth()["faults"]["refuse_429"] == 1
    finally:
        running.stop()
