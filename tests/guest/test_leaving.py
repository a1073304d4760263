"""After each of the simulator's faults: the outcome has its word, and the ledger knows it all."""

from pathlib import Path
from typing import Any

import gevent
import pytest
from conftest import Simulator
from guest_rig import Rig

from harness.errors import HarnessError, SessionExpired
from harness.ledger.store import Stage
from harness.measure.sample import Outcome

pytestmark = pytest.mark.process

ENDED: list[str] = []
CASES = [
    # fault, what the leftovers say, the outcomes of one operation
    ({"cut": "#1,at=clear,when=before"}, ENDED, "clear", {"lost", "ok"}),
    ({"cut": "#1,at=clear,when=answered"}, ENDED, "clear", {"ok"}),
    ({"cut": "#1,at=clear,when=after"}, ENDED, "resume", {"ok"}),
    ({"go_away": "#1,at=clear,when=before"}, ENDED, "clear", {"lost", "ok"}),
    ({"limit_clear": "#1,seconds=0.1"}, ENDED, "clear", {"rate_limited", "ok"}),
    ({"limit_clear": "1,seconds=60"}, ["clear_rate_limited"], "clear", {"rate_limited"}),
    ({"limit_any": "#1,at=clear,seconds=0.1"}, ENDED, "clear", {"rate_limited", "ok"}),
    ({"forbid_clear": 1}, ["clear_refused"], "clear", {"forbidden"}),
    ({"ignore_clear": 1}, ["clear_unanswered"], "clear", {"timeout"}),
    ({"lose_clear_reply": 1}, ["clear_unanswered"], "clear", {"timeout"}),
    ({"delay_clear": "1,seconds=0.1"}, ENDED, "clear", {"ok"}),
    ({"delay_clear": "1,seconds=2"}, ["clear_unanswered"], "clear", {"timeout"}),
    ({"no_connection_closed": 1}, ENDED, "clear", {"ok"}),
    ({"late_connection_closed": "1,seconds=0.1"}, ENDED, "clear_to_close", {"ok"}),
    ({"fail": "1,at=clear,code=5000"}, ["service_error"], "clear", {"service_error"}),
    ({"fail": "1,at=configure,code=400"}, ENDED, "session_open", {"service_error"}),
    ({"fail": "1,at=configure,code=5000"}, ["service_error"], "session_open", {"service_error"}),
    ({"fail": "#1,at=text,code=5000"}, ENDED, "delivered", {"service_error"}),
    ({"limit_any": "#1,at=text"}, ENDED, "delivered", {"rate_limited"}),
    ({"refuse_403": 1}, ENDED, "connect", {"refused"}),
    ({"refuse_429": 1}, ENDED, "connect", {"rate_limited"}),
    ({"refuse_503": 1}, ENDED, "connect", {"refused"}),
    ({"slow_upgrade": "1,seconds=2"}, ENDED, "connect", {"timeout"}),
    ({"half_open": "1,at=configure"}, ["clear_unanswered"], "session_open", {"timeout"}),
    ({"cut": "1,at=configure,when=after"}, ["cut"], "session_open", {"lost"}),
    ({"no_reply": 1}, ENDED, "reply", {"timeout"}),
    ({"duplicate_frame": 1}, ENDED, "reply", {"ok"}),
    ({"reorder_frame": "every:2,seconds=0.02"}, ENDED, "reply", {"ok"}),
    ({"delay_frame": "1,seconds=0.02"}, ENDED, "reply", {"ok"}),
    ({"unknown_class": 1}, ENDED, "reply", {"ok"}),
    ({"stall": "#3,seconds=0.2"}, ENDED, "reply", {"ok"}),
    ({"late_reply": "1,seconds=0"}, ENDED, "clear", {"ok"}),
]


def _named(value: Any) -> str:
    """The same name in every process: a set has no order of its own."""
    return " or ".join(sorted(value)) if isinstance(value, set) else str(value)


@pytest.mark.parametrize(("fault", "reasons", "operation", "outcomes"), CASES, ids=_named)
def test_each_fault_has_its_word_and_is_accounted_for(
    rig: Any, fault: Any, reasons: list[str], operation: str, outcomes: set[str]
) -> None:
    rig.simulator.faults(**fault)
    ended = False
    try:
        with rig.guest(
            connect_within_s=0.5, open_within_s=0.3, reconnect_within_s=0.3, clear_within_s=1.5
        ) as guest:
            guest.say("hello")
            guest.await_reply(within="0.5s", containing="hello")
            ended = True
    except HarnessError:
        assert not ended
    found = rig.outcomes(operation)
    assert set(found) == {Outcome(word) for word in outcomes}
    assert list(rig.leftovers().values()) == reasons
    if reasons == ENDED:
        assert rig.still_open() == set()


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
