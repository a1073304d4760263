"""Every fault that the simulator knows, and what becomes of a guest who meets it.

The faults are taken from the simulator itself: a new one without a named outcome fails here. After
each, what the simulator has open is among the ledger's leftovers.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import gevent
import pytest
from guest_rig import Rig

from harness.errors import (
    ConnectFailed,
    ConnectionLost,
    HarnessError,
    RateLimited,
    ReplyTimeout,
    ServiceError,
    SessionExpired,
    UpgradeRejected,
)
from harness.guest.session import GuestSession
from harness.ledger.reader import read_account
from harness.protocol.session import Receive
from harness.simulator.faults import FAULTS

pytestmark = pytest.mark.process

Story = Callable[[GuestSession, Rig], None]


def ask_twice(guest: GuestSession, rig: Rig) -> None:
    del rig
    for text in ("one", "two"):
        guest.say(text)
        guest.await_reply(within="1s", containing=text)


def ride_through_a_tunnel(guest: GuestSession, rig: Rig) -> None:
    """The second answer comes while the guest is away."""
    ask_twice(guest, rig)
    guest.say("three")
    guest.drop()
    guest.idle("50ms")
    guest.reconnect()


def beside_another(guest: GuestSession, rig: Rig) -> None:
    """Two guests at once hear what is said to the other, and take none of it for a reply."""
    with rig.guest() as other:
        other.say("zero")
        other.await_reply(within="1s", containing="zero")
        ask_twice(guest, rig)
        gevent.sleep(0.05)
        with pytest.raises(ReplyTimeout):
            other.await_reply(within="50ms", containing="zero")


def outlive_another(guest: GuestSession, rig: Rig) -> None:
    """Another guest's proof of its end comes to this one, who goes on."""
    with rig.guest() as other:
        other.say("zero")
        other.await_reply(within="1s", containing="zero")
    ask_twice(guest, rig)


def begin_anew(guest: GuestSession, rig: Rig) -> None:
    """The other side ends the conversation for good; the guest would begin another one."""
    guest.say("one")
    guest.await_reply(within="1s", containing="one")
    # As if it had; the shared one never does.
    guest.connection.session.receive(Receive.DISCONNECTED_FOR_GOOD)
    guest.start_new()


@dataclass(frozen=True, kw_only=True)
class Case:
    """What is switched on; what the story ends with; what is counted, exactly, where it is named.

    ``leftovers`` are the reasons in the ledger, and ``open`` is how many of them really are.
    """

    fault: str
    ends: type[HarnessError] | None = None
    outcomes: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    counts: Mapping[str, int] = field(default_factory=dict)
    leftovers: tuple[str, ...] = ()
    open: int = 0
    story: Story = ask_twice
    settings: Mapping[str, Any] = field(default_factory=dict)


WELL = {"reply": {"ok": 2}, "clear": {"ok": 1}}
SILENT = {"session_open": {"timeout": 1}, "clear": {"ok": 1}}
"""the guest hears nothing, and ends what may be there from a new connection"""
AGAIN = {"reply": {"ok": 2}, "clear": {"lost": 1, "ok": 1}, "resume": {"ok": 1}}
"""no proof came: a new connection with the same token tells that the session is gone"""
BACK = {"resume": {"ok": 1}, "reply": {"ok": 2}, "clear": {"ok": 1}}
HISTORY = {"history": True}

CASES: dict[str, list[Case]] = {
    "refuse_403": [
        Case(fault="1", ends=UpgradeRejected, outcomes={"connect": {"refused": 1}, "clear": {}})
    ],
    "refuse_429": [
        Case(
            fault="1", ends=UpgradeRejected, outcomes={"connect": {"rate_limited": 1}, "clear": {}}
        )
    ],
    "refuse_503": [
        Case(fault="1", ends=UpgradeRejected, outcomes={"connect": {"refused": 1}, "clear": {}})
    ],
    "slow_upgrade": [
        Case(fault="1,seconds=0.1", outcomes={**WELL, "connect": {"ok": 1}}),
        Case(fault="1,seconds=2", ends=ConnectFailed, outcomes={"connect": {"timeout": 1}}),
    ],
    "half_open": [
        Case(fault="1", ends=ConnectFailed, outcomes={"connect": {"timeout": 1}}),
        Case(
            fault="1,at=configure",
            ends=ReplyTimeout,
            outcomes={"session_open": {"timeout": 1}},
            leftovers=("clear_unanswered, open_unanswered",),
        ),
    ],
    "stall": [Case(fault="#3,seconds=0.2", outcomes=WELL)],
    "cut": [
        Case(fault="1,at=connect", ends=ConnectFailed, outcomes={"connect": {"refused": 1}}),
        Case(
            fault="1,at=configure",
            ends=ConnectionLost,
            outcomes={"session_open": {"lost": 1}},
            leftovers=("cut, open_unanswered",),
            open=1,
        ),
        Case(
            fault="#1,at=text,how=rst",
            outcomes={**BACK, "delivered": {"lost": 1, "ok": 1}},
            counts={"reconnects": 1},
            settings=HISTORY,
        ),
        Case(fault="#1,at=text,when=answered", outcomes=BACK, settings=HISTORY),
        Case(fault="#1,at=clear,when=before", outcomes=AGAIN, counts={"end_resumes": 1}),
        Case(fault="#1,at=clear,when=answered", outcomes=WELL),
        Case(fault="#1,at=clear,when=after", outcomes=AGAIN),
    ],
    "go_away": [
        Case(fault="#1", outcomes=BACK, counts={"reconnects": 1}, settings=HISTORY),
        Case(fault="#1,at=clear,when=before", outcomes=AGAIN),
    ],
    "fail": [
        Case(fault="#1", ends=ServiceError, outcomes={"delivered": {"service_error": 1}}),
        Case(
            fault="1,at=configure,code=400",
            ends=ServiceError,
            outcomes={"session_open": {"service_error": 1}, "clear": {}},
        ),
        Case(
            fault="1,at=configure",
            ends=ServiceError,
            outcomes={"session_open": {"service_error": 1}},
            leftovers=("service_error, open_unanswered",),
        ),
        Case(
            fault="1,at=clear",
            outcomes={"reply": {"ok": 2}, "clear": {"service_error": 1}},
            leftovers=("service_error",),
            open=1,
        ),
    ],
    "limit_any": [
        Case(fault="#1", ends=RateLimited, outcomes={"delivered": {"rate_limited": 1}}),
        Case(
            fault="#1,at=clear,seconds=0.1",
            outcomes={"reply": {"ok": 2}, "clear": {"rate_limited": 1, "ok": 1}},
        ),
    ],
    "ignore_clear": [
        Case(
            fault="1",
            outcomes={"reply": {"ok": 2}, "clear": {"timeout": 1}},
            leftovers=("clear_unanswered",),
            open=1,
        )
    ],
    "lose_clear_reply": [
        Case(
            fault="1",
            outcomes={"reply": {"ok": 2}, "clear": {"timeout": 1}},
            leftovers=("clear_unanswered",),
        )
    ],
    "forbid_clear": [
        Case(
            fault="1",
            outcomes={"reply": {"ok": 2}, "clear": {"forbidden": 1}},
            counts={"clear_is_off": 1},
            leftovers=("clear_refused",),
            open=1,
        )
    ],
    "limit_clear": [
        Case(
            fault="#1,seconds=0.1",
            outcomes={"reply": {"ok": 2}, "clear": {"rate_limited": 1, "ok": 1}},
            counts={"rate_limited": 1},
        ),
        Case(
            fault="1,seconds=60",
            outcomes={"clear": {"rate_limited": 1}},
            leftovers=("clear_rate_limited",),
            open=1,
        ),
    ],
    "delay_clear": [
        Case(fault="1,seconds=0.1", outcomes=WELL),
        # What the simulator does in the end comes too late to be a proof, and may not be done yet.
        Case(
            fault="1,seconds=30",
            outcomes={"clear": {"timeout": 1}},
            leftovers=("clear_unanswered",),
            open=1,
        ),
    ],
    "no_connection_closed": [Case(fault="1", outcomes={**WELL, "clear_to_close": {}})],
    "late_connection_closed": [
        Case(fault="1,seconds=0.1", outcomes={**WELL, "clear_to_close": {"ok": 1}})
    ],
    "late_reply": [Case(fault="1,seconds=0", outcomes=WELL, counts={"after_clear": 1})],
    "drop_frame": [
        Case(fault="#1", ends=ReplyTimeout, outcomes=SILENT),
        Case(fault="#2", outcomes={**WELL, "delivered": {"lost": 1, "ok": 1}}),
        Case(fault="#7", outcomes=AGAIN),
    ],
    "duplicate_frame": [Case(fault="1", outcomes=WELL, counts={"duplicate": 6})],
    "reorder_frame": [
        Case(fault="#2,seconds=0.02", outcomes=WELL, counts={"out_of_order": 1, "duplicate": 0})
    ],
    "delay_frame": [Case(fault="1,seconds=0.02", outcomes=WELL, counts={"out_of_order": 0})],
    "no_class": [
        Case(fault="#1", ends=ReplyTimeout, outcomes=SILENT, counts={"unknown_frame": 1}),
        Case(fault="#7", outcomes=AGAIN, counts={"unknown_frame": 1}),
    ],
    "invalid_json": [
        Case(fault="#1", ends=ReplyTimeout, outcomes=SILENT, counts={"bad_frame": 1}),
        Case(fault="#3", ends=ReplyTimeout, outcomes={"reply": {"timeout": 1}}),
        Case(fault="#7", outcomes=AGAIN, counts={"bad_frame": 1}),
    ],
    "unknown_class": [Case(fault="1", outcomes=WELL, counts={"unknown_frame": 8})],
    "wrong_types": [
        Case(fault="#1", ends=ReplyTimeout, outcomes=SILENT, counts={"bad_frame": 1}),
        Case(fault="#7", outcomes=AGAIN, counts={"bad_frame": 1}),
    ],
    "oversized_frame": [
        Case(fault="#1", ends=ConnectionLost, outcomes={"session_open": {"lost": 1}}),
        Case(fault="#2", outcomes=BACK, counts={"reconnects": 1}, settings=HISTORY),
    ],
    "unasked_clear": [Case(fault="1", outcomes=WELL, counts={"unasked_clear": 5})],
    "foreign_error": [
        Case(fault="1", outcomes=WELL, counts={"cross_talk": 8}),
        Case(fault="1,code=4006", outcomes=WELL, counts={"cross_talk": 8}),
    ],
    "early_error": [
        Case(
            fault="#1,code=400",
            ends=ServiceError,
            outcomes={
                "session_open": {"service_error": 1},
                "resume": {"ok": 1},
                "clear": {"ok": 1},
            },
            counts={"end_resumes": 1},
        ),
        Case(
            fault="#1,code=4006",
            ends=SessionExpired,
            outcomes={"session_open": {"expired": 1}, "resume": {"ok": 1}, "clear": {"ok": 1}},
        ),
        Case(
            fault="1,code=400",
            ends=ServiceError,
            leftovers=("service_error, open_unanswered",),
            open=1,
        ),
    ],
    "refuse_new": [
        Case(
            fault="1",
            ends=RateLimited,
            outcomes={"clear": {"ok": 1}, "resume": {"ok": 1}},
            counts={"end_resumes": 1},
            story=begin_anew,
        )
    ],
    "proof_cross_talk": [
        Case(
            fault="1",
            outcomes={"reply": {"ok": 3}, "clear": {"ok": 2}},
            counts={"unasked_clear": 1},
            story=outlive_another,
        )
    ],
    "cross_talk": [
        Case(
            fault="1",
            outcomes={"reply": {"ok": 3}, "clear": {"ok": 2}},
            counts={"cross_talk": 3},
            story=beside_another,
        )
    ],
    # A guest calls REST for its own history only.
    "api_429": [
        Case(
            fault="1",
            outcomes={"history": {"rate_limited": 1}, "resume": {"ok": 1}, "clear": {"ok": 1}},
            story=ride_through_a_tunnel,
            settings=HISTORY,
        )
    ],
    "api_503": [
        Case(
            fault="#1",
            outcomes={"history": {"service_error": 1, "ok": 1}, "clear": {"ok": 1}},
            counts={"recovered": 1},
            story=ride_through_a_tunnel,
            settings=HISTORY,
        )
    ],
    "no_reply": [
        Case(fault="1", ends=ReplyTimeout, outcomes={"reply": {"timeout": 1}, "clear": {"ok": 1}})
    ],
    "late_answer": [Case(fault="1,seconds=0.1", outcomes={"clear": {"ok": 1}})],
    "silence": [
        Case(fault="1", ends=ReplyTimeout, outcomes={"reply": {"timeout": 1}, "clear": {"ok": 1}})
    ],
    "duplicate_reply": [Case(fault="1", outcomes={"clear": {"ok": 1}}, counts={"duplicate": 2})],
    "interruption": [Case(fault="1,seconds=0.01", outcomes={"clear": {"ok": 1}})],
}


def met() -> Iterator[Any]:
    for name in FAULTS:
        cases: list[Case | None] = [*CASES.get(name, [])] or [None]
        for case in cases:
            words = "without a named outcome" if case is None else case.fault
            yield pytest.param(name, case, id=f"{name} {words}")


@pytest.mark.parametrize(("name", "case"), list(met()))
def test_what_becomes_of_a_guest(
    simulator: Any, tmp_path: Path, name: str, case: Case | None
) -> None:
    assert case is not None, f"what becomes of a guest who meets {name!r}? Say it in CASES."
    rig = Rig(simulator, tmp_path)
    struck = simulator.truth()["faults"].get(name, 0)
    simulator.faults(**{name: case.fault})
    ended: HarnessError | None = None
    settings = {"connect_within_s": 0.6, "open_within_s": 0.6, "reconnect_within_s": 0.4}
    settings["clear_within_s"] = 1.5
    try:
        with rig.guest(**settings, **case.settings) as guest:
            case.story(guest, rig)
    except HarnessError as error:
        ended = error
    taken, opened, left = rig.taken(), rig.still_open(), rig.leftovers()
    assert (type(ended) if ended else None) is case.ends, ended
    for operation, outcomes in case.outcomes.items():
        found = {str(word): count for word, count in taken.outcomes.get(operation, {}).items()}
        assert found == outcomes, operation
    assert {count: taken.counts.get(count, 0) for count in case.counts} == case.counts
    assert opened <= left.keys()
    assert (sorted(left.values()), len(opened)) == (sorted(case.leftovers), case.open)
    assert read_account(tmp_path).balanced
    assert simulator.truth()["faults"].get(name, 0) > struck, f"{name} did not strike"
    rig.ledger.close()


def test_no_case_is_of_a_fault_that_is_gone() -> None:
    assert CASES.keys() <= FAULTS.keys()
