"""Typing is told as the vendor's clients tell it, and no more where it is switched off."""

from pathlib import Path
from typing import Any

import pytest
from guest_rig import Rig
from processes import Simulator

from harness.guest import connection as typing
from harness.guest.session import GuestSession

pytestmark = pytest.mark.process


def told(rig: Any, guest: GuestSession) -> int:
    return str(rig.timeline(guest.connection.token)).count("typing")


def test_typing_is_told_at_most_once_in_five_seconds(
    rig: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    with rig.guest() as guest:
        guest.say("hello")
        for _ in range(3):
            guest.typing()
        guest.await_reply(within="5s")
        assert told(rig, guest) == 1
        monkeypatch.setattr(typing, "TYPING_EVERY_NS", 0)
        guest.typing()
        guest.health_check()
        assert told(rig, guest) == 2


def test_where_typing_is_switched_off_the_refusal_is_counted_once_and_believed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(typing, "TYPING_EVERY_NS", 0)
    running = Simulator("--limits", "off", "--deployment", "typing=false")
    try:
        rig = Rig(running, tmp_path)
        with rig.guest() as guest:
            guest.say("hello")
            guest.await_reply(within="5s")
            for _ in range(4):
                guest.typing()
                guest.health_check()
            guest.say("still here")
            guest.await_reply(within="5s")
        assert rig.taken().counts["typing_is_off"] == 1
        rig.ledger.close()
    finally:
        running.stop()
