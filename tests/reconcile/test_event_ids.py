"""A service that puts tracingIds of its own on SessionClearedEvent.

Its sessions can be proved ended, by guests, by sweeps and from the secret alone.
"""

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from guest_rig import Rig
from processes import Simulator
from sessions import leave_open, settings_for

from harness.guest.outcomes import Ending
from harness.ledger.ledger import Stage, Store, Tokens
from harness.ledger.reader import read_account
from harness.reconcile import recover_tokens
from harness.reconcile.recover_tokens import sweep_derived
from harness.reconcile.sweep import find_leftovers, sweep

pytestmark = pytest.mark.process


@pytest.fixture(scope="module")
def naming() -> Iterator[Simulator]:
    running = Simulator("--limits", "off", "--knob", "cleared_event_id=own")
    yield running
    running.stop()


def test_guests_are_proved_ended(naming: Simulator, tmp_path: Path) -> None:
    rig = Rig(naming, tmp_path)
    for _ in range(3):
        with rig.guest() as guest:
            guest.say("hello")
    assert rig.leftovers() == {}
    assert rig.still_open() == set()
    assert rig.taken().counts["end_resumes"] == 3
    rig.ledger.close()


def test_a_sweep_settles_what_was_open_and_what_was_over(naming: Simulator, tmp_path: Path) -> None:
    before = naming.open_tokens()
    tokens = [*leave_open(naming, 2), str(uuid.uuid4())]
    store = Store(tmp_path / "ledger-w.sqlite", {"worker": "w", "ended_ns": "9"})
    for number, token in enumerate(tokens, start=1):
        store.write([(number, token, Stage.JOINED, 1, 1)], [], {})
    store.close()
    result = sweep(find_leftovers(tmp_path), settings_for(naming), per_second=500.0)
    assert result.endings == {Ending.CLEARED: 2, Ending.GONE: 1}
    assert result.left == 0
    assert naming.open_tokens() <= before


def test_tokens_made_from_the_secret_are_settled(
    naming: Simulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recover_tokens, "MAX_GAP", 3)
    of = Tokens.of(tmp_path, "a")
    opened = [of.next() for _ in range(2)]
    before = naming.open_tokens()
    leave_open(naming, 2, opened)
    result = sweep_derived(tmp_path, settings_for(naming), per_second=200.0, deadline_s=60.0)
    assert (result.alive, result.unproved, result.stopped) == (2, 0, False)
    assert naming.open_tokens() <= before
    assert read_account(tmp_path).leftover == 0
