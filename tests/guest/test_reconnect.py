"""A lost connection is followed by a resume: measured as one, never with startNew, not hidden."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fakes import FakeServer, Peer
from guest_rig import Rig
from guests import configured, line_to
from processes import Simulator

from harness.clock import monotonic_ns
from harness.errors import (
    ConnectionLost,
    RateLimited,
    ReplyTimeout,
    ServiceError,
    SessionExpired,
    SessionNotFound,
    UpgradeRejected,
)
from harness.guest.questions import Questions
from harness.guest.reconnect import Reconnecting, resume
from harness.ledger.ledger import Stage
from harness.measure.model import Outcome
from harness.measure.recorder import Recorder


@pytest.mark.parametrize(
    "fault",
    [
        {"cut": "#2"},
        {"cut": "#2,how=rst"},
        {"cut": "#2,when=answered"},
        {"go_away": "#2"},
    ],
    ids=str,
)
@pytest.mark.process
def test_a_conversation_goes_on_after_its_connection_was_lost(rig: Any, fault: Any) -> None:
    rig.simulator.faults(**fault)
    with rig.guest(history=True) as guest:
        guest.say("one")
        guest.await_reply(within="5s")
        guest.say("two")
        assert guest.await_reply(within="5s", containing="two")
        guest.say("three")
        assert guest.await_reply(within="5s", containing="three")
    taken = rig.taken()
    assert taken.outcomes["resume"] == {Outcome.OK: 1}
    assert taken.outcomes["connect"] == {Outcome.OK: 2}
    assert taken.outcomes["session_open"] == {Outcome.OK: 1}
    assert taken.outcomes["clear"] == {Outcome.OK: 1}
    assert taken.outcomes["reply"] == {Outcome.OK: 3}
    assert taken.counts["reconnects"] == 1
    assert rig.still_open() == set()
    assert rig.leftovers() == {}


@pytest.mark.process
def test_a_message_missed_meanwhile_comes_from_the_history(rig: Any) -> None:
    with rig.guest(history=True) as guest:
        guest.say("hello")
        guest.drop()
        guest.idle("50ms")  # the bot answers while nobody listens
        assert guest.await_reply(within="5s", containing="hello")
    taken = rig.taken()
    assert taken.outcomes["history"] == {Outcome.OK: 1}
    assert taken.outcomes["resume"] == {Outcome.OK: 1}
    assert taken.counts["recovered"] >= 1


@pytest.mark.process
def test_time_that_a_guest_takes_on_purpose_is_no_wait(rig: Any) -> None:
    began_ns = monotonic_ns()
    with rig.guest() as guest:
        guest.say("one")
        guest.await_reply(within="5s")
        guest.drop()
        guest.idle("400ms")
        guest.reconnect()
        guest.think("0s")
        guest.idle("400ms")  # as while typing
        guest.say("two")
        guest.await_reply(within="5s")
        rest_ms = (monotonic_ns() - began_ns) / 1e6 - 800
    found = rig.taken().histograms
    for operation in ("resume", "delivered", "reply"):
        assert 0 < found[f"{operation}.corrected"].max_ms < rest_ms, operation


@pytest.mark.process
def test_dropping_on_purpose_and_coming_back(rig: Any) -> None:
    with rig.guest() as guest:
        guest.say("one")
        guest.await_reply(within="5s")
        guest.drop()
        guest.think("50ms")
        assert not guest.connection.connected
        guest.reconnect()
        guest.reconnect()
        guest.say("two")
        guest.await_reply(within="5s")
        told = str(rig.timeline(guest.connection.token))
    assert "resumed" in told
    assert "replaced" not in told
    assert rig.outcomes("resume") == {Outcome.OK: 1}


def lost(peer: Peer) -> None:
    configured(peer)
    peer.reset()


def scripts(*stories: Callable[[Peer], None]) -> Callable[[Peer], None]:
    order: Iterator[Callable[[Peer], None]] = iter(stories)
    return lambda peer: next(order)(peer)


def cut(line: Any) -> None:
    line.connect()
    line.configure()
    with pytest.raises(ConnectionLost):
        line.pause(5)


def test_a_session_that_was_forgotten_meanwhile_is_told() -> None:
    def forgotten(peer: Peer) -> None:
        configured(peer, new=True)
        peer.receive()

    recorder = Recorder()
    with FakeServer(scripts(lost, forgotten)) as server:
        line = line_to(server, recorder)
        cut(line)
        with pytest.raises(SessionNotFound, match="no longer knew"):
            Reconnecting(line, Questions(recorder, 1), recorder).reconnect(ConnectionLost(None))
        line.close()
    assert recorder.take().counts["resumed_anew"] == 1


def test_a_resume_limited_by_rate_waits_and_one_refused_for_good_ends_the_story() -> None:
    def limited(peer: Peer) -> None:
        peer.receive()
        body = {"retryAfter": 0.05, "errorCode": 4029, "errorMessage": "slow"}
        peer.send({"class": "TooManyRequestsErrorMessage", "code": 429, "body": body})
        peer.receive()

    def refused(peer: Peer) -> None:
        peer.receive()
        peer.send({"class": "string", "code": 400, "body": "Request failed."})
        peer.receive()

    recorder = Recorder()
    with FakeServer(scripts(lost, limited, lambda peer: configured(peer, new=False))) as server:
        line = line_to(server, recorder)
        cut(line)
        assert resume(line, recorder).new_session is False
        line.close()
    assert recorder.take().outcomes["resume"] == {Outcome.RATE_LIMITED: 1, Outcome.OK: 1}
    with FakeServer(scripts(lost, refused)) as server:
        line = line_to(server, recorder)
        cut(line)
        with pytest.raises(ServiceError, match="400"):
            resume(line, recorder)
        line.close()
    with FakeServer(scripts(lost, *[limited] * 50)) as server:
        line = line_to(server, recorder)
        cut(line)
        with pytest.raises(RateLimited):
            resume(line, recorder)
        line.close()


def test_attempts_end_with_the_limit_and_a_forbidden_upgrade_ends_them_at_once() -> None:
    recorder = Recorder()
    with FakeServer(scripts(lost, *[lambda peer: peer.receive()] * 50)) as server:
        line = line_to(server, recorder, open_within_s=0.05)
        cut(line)
        with pytest.raises((ReplyTimeout, ConnectionLost)):
            resume(line, recorder)
    outcomes = recorder.take().outcomes["resume"]
    assert Outcome.OK not in outcomes
    assert outcomes[Outcome.LOST] >= 1
    with FakeServer(configured, reject=(403, "")) as server:
        line = line_to(server, recorder)
        line.inbox.lost_ns = 0
        with pytest.raises(UpgradeRejected):
            resume(line, recorder)
    assert recorder.take().outcomes["connect"] == {Outcome.REFUSED: 1}


@pytest.mark.process
def test_a_conversation_ended_for_good_can_be_left_behind_for_a_new_one(tmp_path: Any) -> None:
    running = Simulator("--limits", "off", "--deployment", "disconnect=read_only")
    try:
        rig = Rig(running, tmp_path)
        with rig.guest() as guest:
            guest.say("hello")
            guest.await_reply(within="5s")
            rig.disconnect(guest.connection.token)
            guest.idle("50ms")
            with pytest.raises(ServiceError, match="409"):
                guest.say("still there?")
            guest.start_new()
            guest.say("again")
            guest.await_reply(within="5s")
        assert rig.still_open() == set()
        assert rig.leftovers() == {}
        assert rig.taken().counts["disconnected_by_service"] == 1
        rig.ledger.close()
    finally:
        running.stop()


@pytest.mark.process
def test_a_connection_is_replaced_at_its_age_with_nothing_lost(rig: Any) -> None:
    with rig.guest(max_connection_age_s=0.3) as guest:
        guest.say("one")
        guest.await_reply(within="5s")
        guest.idle("1500ms")
        guest.say("two")
        assert guest.await_reply(within="5s", containing="two")
    taken = rig.taken()
    renewed = taken.counts["renewed"]
    assert renewed >= 2
    assert taken.counts["reconnects"] == 0  # none was lost
    assert taken.outcomes["resume"] == {Outcome.OK: renewed}
    assert taken.outcomes["connect"] == {Outcome.OK: renewed + 1}
    for operation in ("session_open", "clear"):
        assert taken.outcomes[operation] == {Outcome.OK: 1}
    for operation in ("delivered", "reply"):
        assert taken.outcomes[operation] == {Outcome.OK: 2}
    assert rig.still_open() == set()
    assert rig.leftovers() == {}


@pytest.mark.process
def test_a_young_connection_is_kept_and_one_dropped_on_purpose_is_not_replaced(rig: Any) -> None:
    with rig.guest(max_connection_age_s=60) as guest:
        guest.idle("300ms")
    assert rig.taken().counts["renewed"] == 0
    with rig.guest(max_connection_age_s=0.1) as guest:
        guest.drop()
        guest.idle("400ms")
        assert not guest.connection.connected
    with rig.guest(max_connection_age_s=0.1, reconnect_within_s=0) as guest:
        guest.idle("300ms")  # who never comes back keeps what it has
        assert guest.connection.connected
    taken = rig.taken()
    assert (taken.counts["renewed"], taken.counts["reconnects"]) == (0, 0)


@pytest.mark.process
def test_an_answer_on_its_way_is_awaited_before_a_connection_is_replaced(rig: Any) -> None:
    with rig.guest(max_connection_age_s=0.2) as guest:
        guest.connection.inbox.pending["on-its-way"] = ("delivered", 0, 0)
        guest.idle("600ms")
        assert rig.taken().counts["renewed"] == 0
        del guest.connection.inbox.pending["on-its-way"]
        guest.idle("500ms")
    assert rig.taken().counts["renewed"] >= 1


@pytest.mark.process
def test_connections_that_the_service_ends_at_their_age_are_told_apart(tmp_path: Path) -> None:
    old = Simulator("--limits", "off", "--limit", "connection_age_seconds=1")
    try:
        rig = Rig(old, tmp_path)
        with rig.guest() as guest:
            guest.say("one")
            guest.await_reply(within="5s")
            guest.idle("2500ms")
            guest.say("two")
            guest.await_reply(within="5s")
        taken = rig.taken()
        assert taken.counts["going_away"] == taken.counts["reconnects"] >= 1
        assert taken.outcomes["delivered"] == {Outcome.OK: 2}
        assert taken.outcomes["resume"] == {Outcome.OK: taken.counts["reconnects"]}
        with rig.guest(max_connection_age_s=0.5) as guest:  # before the service does it
            guest.idle("2500ms")
        taken = rig.taken()
        assert taken.counts["renewed"] >= 3
        assert taken.counts["going_away"] == 0
        assert rig.leftovers() == {}
        rig.ledger.close()
    finally:
        old.stop()


@pytest.mark.process
@pytest.mark.parametrize("silent", [True, False], ids=["found by a health check", "by a text"])
def test_a_session_that_expires_in_a_silence_is_no_leftover(tmp_path: Path, silent: bool) -> None:
    short = Simulator("--limits", "off", "--deployment", "session_duration_s=1")
    try:
        rig = Rig(short, tmp_path)
        every_s = 0.4 if silent else 0.0
        with (
            pytest.raises(SessionExpired),
            rig.guest(health_check_every_s=every_s, max_connection_age_s=5) as guest,
        ):
            guest.say("one")
            guest.await_reply(within="5s")
            guest.idle("2500ms" if not silent else "10s")
            guest.say("two")
            guest.await_reply(within="5s")
        operation = "health_check" if silent else "delivered"
        assert rig.taken().outcomes[operation][Outcome.EXPIRED] == 1
        assert rig.ledger.tally[Stage.ENDED] == 1
        assert rig.leftovers() == {}
        assert rig.still_open() == set()
        rig.ledger.close()
    finally:
        short.stop()
