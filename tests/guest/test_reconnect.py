"""A lost connection is followed by a resume: measured as one, never with startNew, not hidden."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from conftest import Simulator
from fakes import FakeServer, Peer
from guest_rig import Rig
from guests import configured, line_to

from harness.errors import (
    ConnectionLost,
    RateLimited,
    ReplyTimeout,
    ServiceError,
    SessionNotFound,
    UpgradeRejected,
)
from harness.guest.reconnect import Lasting, resume
from harness.measure.recorder import Recorder
from harness.measure.sample import Outcome


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
    found = rig.taken().histograms
    for operation in ("resume", "delivered", "reply"):
        assert (found[f"{operation}.corrected"].max_ms or 0) < 400, operation


@pytest.mark.process
def test_dropping_on_purpose_and_coming_back(rig: Any) -> None:
    with rig.guest() as guest:
        guest.say("one")
        guest.await_reply(within="5s")
        guest.drop()
        guest.think("50ms")
        assert not guest.line.connected
        guest.reconnect()
        guest.reconnect()
        guest.say("two")
        guest.await_reply(within="5s")
        told = str(rig.timeline(guest.line.token))
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
            Lasting(line, recorder).come_back(ConnectionLost(None))
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
            rig.disconnect(guest.line.token)
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
