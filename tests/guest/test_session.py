"""The whole guest against the simulator: what it may have left open is always in the ledger."""

import contextlib
import gc
import urllib.request
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gevent
import orjson
import pytest
from guest_rig import Rig
from processes import Simulator

from harness.clock import monotonic_ns
from harness.config.target import parse_target
from harness.errors import (
    ConfigError,
    ConnectFailed,
    ConnectionLost,
    LedgerError,
    NotPossible,
    ReplyTimeout,
    UpgradeRejected,
)
from harness.guest.outcomes import STORY_ENDS
from harness.guest.rest import exchange_sign_in
from harness.guest.session import GuestSession
from harness.guest.settings import MINUTE_NS, Budget, ConnectionBudget
from harness.ledger.ledger import Ledger, Stage
from harness.measure.model import Outcome

pytestmark = pytest.mark.process


def test_a_whole_conversation(rig: Any) -> None:
    with rig.guest() as guest:
        guest.join()
        greeting = guest.await_reply(within="5s")
        guest.say("Where is my order?")
        answer = guest.await_reply(within="5s")
        guest.think()
        guest.health_check()
        guest.say("Thanks")
        guest.await_reply(within="5s")
    assert greeting
    assert answer
    assert rig.still_open() == set()
    assert rig.leftovers() == {}
    taken = rig.recorder.take()
    counted = {name: dict(outcomes) for name, outcomes in taken.outcomes.items()}
    expected = {"connect": 1, "session_open": 1, "join": 1, "delivered": 2, "clear": 1}
    expected |= {"greeting": 1, "reply": 2}
    for operation, count in expected.items():
        assert counted[operation] == {Outcome.OK: count}, operation
    assert counted["health_check"] == {Outcome.OK: 1}
    for operation in expected:
        service = taken.histograms[f"{operation}.service"]
        corrected = taken.histograms[f"{operation}.corrected"]
        assert corrected.count == service.count
        assert (corrected.max_ms or 0) >= (service.max_ms or 0)


def test_a_token_is_on_disk_before_the_service_hears_of_it(rig: Any) -> None:
    guest = rig.guest()
    write = rig.store.write

    def refuse(*_: Any) -> None:
        raise LedgerError("disk full")

    rig.store.write = refuse  # type: ignore[method-assign]
    before = rig.simulator.truth()["sessions"]["opened"]
    with pytest.raises(LedgerError, match="disk full"), guest:
        pass
    assert rig.simulator.truth()["sessions"]["opened"] == before
    rig.store.write = write  # type: ignore[method-assign]
    rig.ledger = Ledger(rig.store)


def test_a_story_that_raises_ends_the_session_all_the_same(rig: Any) -> None:
    with pytest.raises(ZeroDivisionError), rig.guest() as guest:
        guest.say("hello")
        raise ZeroDivisionError
    assert rig.still_open() == set()


@pytest.mark.parametrize("after_s", [0.0, 0.002, 0.005, 0.01, 0.03])
def test_a_killed_guest_still_ends_its_session(rig: Any, after_s: float) -> None:
    def story() -> None:
        with rig.guest() as guest:
            for _ in range(50):
                guest.say("hello")
                guest.await_reply()

    greenlet = gevent.spawn(story)
    gevent.sleep(after_s)
    for _ in range(3):  # impatient
        greenlet.kill(block=False)
        gevent.sleep(0.001)
    greenlet.join(10)
    assert greenlet.dead
    assert rig.still_open() == set()
    assert rig.leftovers() == {}


def test_an_ignored_clear_is_a_leftover(rig: Any) -> None:
    rig.simulator.faults(ignore_clear=1)
    with rig.guest() as guest:
        guest.say("hello")
    assert list(rig.leftovers().values()) == ["clear_unanswered"]
    assert rig.still_open() == rig.leftovers().keys()
    assert rig.outcomes("clear") == {Outcome.TIMEOUT: 1}


def test_a_lost_answer_to_clear_is_no_proof(rig: Any) -> None:
    rig.simulator.faults(lose_clear_reply=1)
    with rig.guest() as guest:
        guest.say("hello")
    assert rig.still_open() == set()
    assert list(rig.leftovers().values()) == ["clear_unanswered"]


def test_a_refused_clear_has_its_own_reason(rig: Any) -> None:
    rig.simulator.faults(forbid_clear=1)
    with rig.guest() as guest:
        guest.say("hello")
    assert list(rig.leftovers().values()) == ["clear_refused"]
    assert rig.outcomes("clear") == {Outcome.FORBIDDEN: 1}


def test_a_cut_session_is_ended_from_a_new_connection_where_coming_back_is_off(rig: Any) -> None:
    rig.simulator.faults(cut=1)
    with pytest.raises(ConnectionLost), rig.guest(reconnect_within_s=0) as guest:
        guest.say("hello")
        rig.simulator.faults()
        guest.await_reply(within="5s")
    assert rig.still_open() == set()
    assert rig.leftovers() == {}
    assert rig.outcomes("resume") == {Outcome.OK: 1}


def test_a_session_whose_service_is_gone_is_a_leftover(rig: Any) -> None:
    with pytest.raises(UpgradeRejected), rig.guest(reconnect_within_s=0.2) as guest:
        rig.simulator.faults(cut=1, refuse_503=1)
        guest.say("hello")
        guest.await_reply(within="5s")
    assert list(rig.leftovers().values()) == ["unreachable"]
    assert rig.still_open() == rig.leftovers().keys()
    assert rig.outcomes("resume") == {Outcome.REFUSED: 1}


def test_a_guest_that_never_connected_never_existed(rig: Any) -> None:
    nowhere = parse_target(rig.simulator.url.replace("127.0.0.1", "127.0.0.2", 1))
    with pytest.raises(ConnectFailed), rig.guest(target=nowhere):
        pass
    assert rig.leftovers() == {}
    assert rig.ledger.tally[Stage.NEVER_CONFIGURED] == 1
    assert rig.outcomes("connect") == {Outcome.REFUSED: 1}


def test_no_reply_says_what_did_come_and_counts_the_wait(rig: Any) -> None:
    with (
        pytest.raises(ReplyTimeout, match=r"no reply within 0\.3 s; seen meanwhile: '"),
        rig.guest() as guest,
    ):
        guest.say("hello")
        guest.await_reply(within=0.3, containing="something the bot never says")
    assert rig.outcomes("reply") == {Outcome.TIMEOUT: 1}


def test_what_can_not_be_said_is_refused_before_it_leaves(rig: Any) -> None:
    with rig.guest() as guest:
        with pytest.raises(ConfigError, match="4098 bytes"):
            guest.say("é" * 2049)
        with pytest.raises(ConfigError, match=r"matching='\['"):
            guest.await_reply(matching="[")
    assert rig.outcomes("delivered") == {}


def test_clearing_by_hand_is_enough(rig: Any) -> None:
    with rig.guest() as guest:
        guest.say("hello")
        assert guest.clear() is True
        assert guest.clear() is True
    assert rig.outcomes("clear") == {Outcome.OK: 1}


def test_what_is_sent_with_a_message_is_checked_against_the_services_limit(rig: Any) -> None:
    with rig.guest() as guest:
        guest.say("hello", attributes={"plan": "gold"})
        with pytest.raises(NotPossible, match="at most 2048"):
            guest.say("more", attributes={"plan": "g" * 2048})
        guest.await_reply(within="5s")
    assert rig.outcomes("delivered") == {Outcome.OK: 1}


def test_a_guest_joins_by_itself_where_the_deployment_starts_conversations(rig: Any) -> None:
    with rig.guest(auto_join=True) as guest:
        assert guest.await_reply(within="5s")
    assert rig.outcomes("join") == {Outcome.OK: 1}


def test_another_sessions_message_is_a_reply_only_for_want_of_another(rig: Any) -> None:
    body = {"type": "Text", "text": "For YOU, or for somebody else?", "direction": "Outbound"}
    with rig.guest() as guest:
        for message_id in ("x1", "x2"):
            guest.settings.seen.first(message_id, "another session's")
            guest.say(f"hello {message_id}")
            frame = {"type": "message", "class": "StructuredMessage", "code": 200}
            data = orjson.dumps({**frame, "body": {**body, "id": message_id}})
            guest.connection.inbox.on_frame(data, monotonic_ns(), monotonic_ns())
            assert f"hello {message_id}" in guest.await_reply(within="5s")
        with pytest.raises(ReplyTimeout):
            guest.await_reply(within=0.05, containing="nobody says this")
        assert guest.await_reply(within=0.05, containing="for you") == body["text"]
        with pytest.raises(ReplyTimeout):
            guest.await_reply(within=0.05, containing="for you")
    taken = rig.taken()
    assert taken.counts["cross_talk"] == 2
    assert taken.outcomes["reply"] == {Outcome.OK: 2}


def test_a_second_connection_hears_the_same_and_a_fourth_retires_the_first(rig: Any) -> None:
    with pytest.raises(ConnectionLost, match="retired"), rig.guest() as guest:
        second = guest.connect_again()
        guest.say("hello")
        guest.await_reply(within="5s")
        gevent.sleep(0.05)
        assert second.inbox.replies
        guest.connect_again()
        guest.connect_again()
        guest.await_reply(within="5s")
    counts = rig.taken().counts
    assert counts["cross_talk"] == counts["duplicate"] == counts["unmatched_echo"] == 0
    assert rig.still_open() == set()


def test_idle_guests_ask_for_an_echo_off_the_critical_path(rig: Any) -> None:
    began_ns = monotonic_ns()
    with rig.guest(health_check_every_s=0.1) as guest:
        guest.idle("1s")
        most = (monotonic_ns() - began_ns) / 0.1e9
    assert 2 <= rig.outcomes("health_check")[Outcome.OK] <= most


def test_the_pace_of_a_guest_is_its_budget(rig: Any) -> None:
    free_ns, waits_ms = 0, []
    with rig.guest(budget=Budget(messages_per_s=1)) as guest:
        for _ in range(3):
            free_ns = max(monotonic_ns(), free_ns)  # it can't be sent sooner
            guest.say("hello")
            guest.await_reply(within="5s")
            waits_ms.append((monotonic_ns() - free_ns) / 1e6)
            free_ns += 1_000_000_000
    taken = rig.taken()
    # Each but the first waits until the one before it is a second old.
    assert taken.counts["paced"] == 2
    assert taken.outcomes["delivered"] == {Outcome.OK: 3}
    # What we have added ourselves is no part of what the guest waits for the service.
    for tag in ("delivered.corrected", "reply.corrected"):
        assert 0 < taken.histograms[tag].max_ms <= max(waits_ms)


def test_the_pace_of_connections_is_no_part_of_what_a_guest_waits(rig: Any) -> None:
    budget = ConnectionBudget(1)
    began_ns = monotonic_ns()
    room_ns = began_ns + 1_000_000_000
    budget._times.append(room_ns - MINUTE_NS)
    with rig.guest(connections=budget, due_ns=began_ns) as guest:
        guest.say("hello")
        guest.await_reply(within="5s")
        waited_ms = (monotonic_ns() - room_ns) / 1e6
    taken = rig.taken()
    assert taken.counts["paced_connects"] == 1
    for tag in ("connect.corrected", "session_open.corrected", "delivered.corrected"):
        assert 0 < taken.histograms[tag].max_ms <= waited_ms


def test_a_session_that_is_over_leaves_nothing_to_the_garbage_collector(rig: Any) -> None:
    gc.collect()
    gc.disable()
    try:
        with rig.guest() as guest:
            guest.say("hello")
            guest.await_reply(within="5s")
        gevent.sleep(0)
        session = weakref.ref(guest)
        del guest
        assert session() is None
    finally:
        gc.enable()


@pytest.mark.parametrize("told", [True, False])
@pytest.mark.parametrize(
    "verb",
    [
        lambda guest: guest.say("hello"),
        lambda guest: guest.await_reply(within="1s"),
        lambda guest: guest.think("50ms"),
        lambda guest: guest.idle("50ms"),
        lambda guest: guest.typing(),
        lambda guest: guest.health_check(within="1s"),
        lambda guest: guest.history(),
        lambda guest: guest.upload("a.png", data=b"x", within="1s"),
        lambda guest: guest.join(),
        lambda guest: guest.reconnect(),
        lambda guest: guest.connect_again().close(),
    ],
)
def test_a_clear_from_elsewhere_is_no_error_of_the_story(
    rig: Any, verb: Callable[[GuestSession], None], told: bool
) -> None:
    with contextlib.suppress(*STORY_ENDS), rig.guest(reconnect_within_s=0.2) as guest:
        guest.say("hello")
        guest.await_reply(within="5s")
        rig.simulator.faults(**({} if told else {"no_connection_closed": 1}))
        other = guest.connect_again()  # as of a second tab, or of a sweep
        other.clear(within_s=2.0)
        gevent.sleep(0.02)
        verb(guest)
        guest.await_reply(within="100ms")
    rig.simulator.faults()
    assert rig.still_open() == set()
    assert rig.leftovers() == {}


@pytest.mark.parametrize("gone", [True, False])
def test_a_clear_that_is_answered_with_4007_is_settled_on_a_new_connection(
    rig: Any, gone: bool
) -> None:
    with rig.guest() as guest:
        guest.say("hello")
        guest.await_reply(within="5s")
        if gone:  # cleared from elsewhere, and nobody was told
            rig.simulator.faults(lose_clear_reply=1)
            assert not guest.connect_again().clear(within_s=0.2).proof
            rig.simulator.faults()
        else:  # a lie: it lives
            rig.simulator.faults(fail="#1,at=clear,code=4007")
    rig.simulator.faults()
    assert rig.still_open() == set()
    assert rig.leftovers() == {}
    assert rig.taken().counts["end_resumes"] == 1


def test_a_health_check_comes_back_after_a_lost_connection(rig: Any) -> None:
    with rig.guest() as guest:
        guest.drop()
        guest.health_check(within="2s")
    assert rig.outcomes("health_check") == {Outcome.OK: 1}
    assert rig.still_open() == set()


def test_an_answer_that_is_not_understood_is_shown_to_who_waited(rig: Any) -> None:
    with rig.guest() as guest:
        guest.say("hello")
        guest.await_reply(within="5s")
        # what can't be routed the gateway answers, without a class
        guest.connection._websocket.send(b"nonsense")
        with pytest.raises(ReplyTimeout, match=r"a frame of no class \(Forbidden\)"):
            guest.await_reply(within="0.3s")
    assert rig.taken().counts["unknown_frame"] == 1


def test_a_customer_who_is_logged_out_ends_the_story_with_the_reason(tmp_path: Path) -> None:
    running = Simulator("--limits", "off", "--deployment", "authentication=true")
    try:
        rig = Rig(running, tmp_path)
        jwt = exchange_sign_in(rig.settings, "ann", "https://shop.example")
        with (
            pytest.raises(ConnectionLost, match="the guest was logged out"),
            rig.guest(sign_in=jwt) as guest,
        ):
            guest.say("hello")
            guest.await_reply(within="5s")
            base = running.admin.removesuffix("/sim") + "/api/v2/webdeployments/token/revoke"
            headers = {"Authorization": f"bearer {jwt}"}
            revoke = urllib.request.Request(base, headers=headers, method="DELETE")
            urllib.request.urlopen(revoke, timeout=10).close()
            guest.await_reply(within="5s")
        # Its session lives on at the service, and nobody could clear it: it stays on the list.
        assert rig.still_open() == set(rig.leftovers()) == {guest.connection.token}
    finally:
        running.stop()


def test_several_items_of_a_list_are_chosen_at_once(tmp_path: Path) -> None:
    (tmp_path / "bot.toml").write_text(PICKER)
    running = Simulator("--limits", "off", "--bot", "script", str(tmp_path / "bot.toml"))
    try:
        rig = Rig(running, tmp_path)
        with rig.guest() as guest:
            guest.say("shoes")
            guest.await_reply(within="5s")
            with pytest.raises(NotPossible, match="'45'"):
                guest.choose("42", "45")
            guest.choose("42", "43")
            assert guest.await_reply(within="5s") == "You said: 42"  # the payload of the first
    finally:
        running.stop()


PICKER = """
fallback = "You said: {text}"
[[answer]]
to = "shoes"
[[answer.say]]
text = "Which sizes?"
[answer.say.list_picker]
receivedMessage = {title = "Sizes"}
replyMessage = {title = "Sizes"}
sections = [{title = "Sizes", multipleSelection = true, items = [
  {id = "42", title = "42"}, {id = "43", title = "43"}]}]
"""


@pytest.mark.process
def test_a_story_is_the_same_with_the_frames_of_the_library(rig: Any) -> None:
    with rig.guest(library=True, reconnect_every_s=0.01) as guest:
        guest.say("hello")
        assert guest.await_reply(within="5s") == "You said: hello"
        guest.drop()
        guest.reconnect()
        guest.say("näh " * 500)
        assert guest.await_reply(within="5s", containing="näh näh")
        guest.health_check()
    assert not rig.leftovers()
    assert rig.outcomes("clear") == {Outcome.OK: 1}
