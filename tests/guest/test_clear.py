"""The way out, whatever happens on it (each fault by name: tests/run/test_faults_and_guests.py)."""

import logging
from pathlib import Path
from typing import Any

import gevent
import pytest
from guest_rig import Rig
from processes import Simulator

from harness.errors import HarnessError, SessionExpired
from harness.guest.clear import shielded
from harness.ledger.ledger import Stage, guest_tag

pytestmark = pytest.mark.process


@pytest.mark.parametrize(
    "fault",
    ["drop_frame", "no_class", "invalid_json", "wrong_types", "oversized_frame"],
)
def test_mangled_frames_may_cost_the_proof_but_never_the_record(rig: Any, fault: str) -> None:
    rig.simulator.faults(**{fault: 0.3})
    for _ in range(8):
        try:
            with rig.guest(open_within_s=0.1, clear_within_s=0.1, reconnect_within_s=0.2) as guest:
                guest.say("hello")
                guest.await_reply(within="0.1s")
        except HarnessError:
            pass
    rig.simulator.faults()
    assert rig.still_open() <= rig.leftovers().keys()


def test_clearing_that_is_switched_off_is_counted_by_its_own_name(rig: Any) -> None:
    rig.simulator.faults(forbid_clear=1)
    with rig.guest() as guest:
        guest.say("hello")
    assert rig.taken().counts["clear_is_off"] == 1


def test_what_a_guest_decides_is_logged_by_its_tag_and_a_usual_end_is_not(
    rig: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "harness.guest")
    with rig.guest():
        pass
    assert caplog.messages == []
    with rig.guest() as guest:
        guest.say("hello")
        guest.drop()
        guest.say("hello again")
        rig.simulator.faults(ignore_clear=1)
    rig.simulator.faults()
    token = guest.connection.token
    reconnecting, left = caplog.messages
    assert reconnecting.startswith(f"guest {guest_tag(token)}: reconnecting: ")
    assert (
        left == f"guest {guest_tag(token)}: its end is clear_unanswered: the session is a leftover"
    )
    assert token not in caplog.text


def test_a_session_that_expires_is_ended_by_the_service(tmp_path: Path) -> None:
    running = Simulator("--limits", "off", "--deployment", "session_duration_s=1")
    try:
        rig = Rig(running, tmp_path)
        with pytest.raises(SessionExpired), rig.guest(health_check_every_s=0.4) as guest:
            guest.say("hello")
            guest.await_reply(within="5s")
            gevent.sleep(1.5)
            guest.idle("3s")
        assert rig.still_open() == set()
        assert rig.leftovers() == {}
        assert rig.ledger.tally[Stage.ENDED] == 1
        rig.ledger.close()
    finally:
        running.stop()


def test_work_that_is_not_to_be_disturbed_outlives_two_kills_and_raises_them_then() -> None:
    done: list[str] = []

    def work() -> None:
        gevent.sleep(0.2)
        done.append("all of it")

    leaver = gevent.spawn(shielded, work)
    gevent.sleep(0.05)
    for _ in range(2):
        leaver.kill(block=False)
        gevent.sleep(0.05)
    assert not done
    leaver.join(5)
    assert done == ["all of it"]
    assert isinstance(leaver.value, gevent.GreenletExit)
