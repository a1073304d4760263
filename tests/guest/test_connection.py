"""The connection to a server that does exactly what each test says, and how endings are told."""

import time
import uuid

import gevent
import pytest
from fakes import FakeServer, Peer
from guest_rig import Rig
from guests import cleared, configured, line_to

from harness.errors import (
    ConnectFailed,
    ConnectionLost,
    ReplyTimeout,
    ServiceError,
    UpgradeRejected,
)
from harness.guest.connection import Connection
from harness.guest.inbox import Inbox
from harness.guest.outcomes import Ending
from harness.measure.model import Outcome
from harness.measure.recorder import Recorder
from harness.protocol.session import Receive, State


def test_a_session_opened_and_cleared_is_proved() -> None:
    closes = []

    def script(peer: Peer) -> None:
        configured(peer)
        cleared(peer)
        peer.receive()
        closes.append(peer.close_code)

    recorder = Recorder()
    with FakeServer(script) as server:
        line = line_to(server, recorder)
        line.connect()
        assert line.configure().new_session
        assert line.clear(within_s=5) is Ending.CLEARED
        line.confirm(5)
        line.close()
    assert closes == [1000]
    outcomes = recorder.take().outcomes
    assert {name: outcomes[name][Outcome.OK] for name in ("connect", "session_open", "clear")} == {
        "connect": 1,
        "session_open": 1,
        "clear": 1,
    }


def test_a_clear_limited_by_rate_is_sent_again_after_the_wait() -> None:
    def script(peer: Peer) -> None:
        configured(peer)
        message = peer.receive()
        assert message is not None
        peer.send(
            {
                "type": "response",
                "class": "TooManyRequestsErrorMessage",
                "code": 429,
                "body": {"retryAfter": 0.1, "errorCode": 4029, "errorMessage": "slow"},
                "tracingId": message["tracingId"],
            }
        )
        cleared(peer)
        peer.receive()

    recorder = Recorder()
    with FakeServer(script) as server:
        line = line_to(server, recorder)
        line.connect()
        line.configure()
        assert line.clear(within_s=5) is Ending.CLEARED
        line.close()
    assert recorder.take().outcomes["clear"] == {Outcome.RATE_LIMITED: 1, Outcome.OK: 1}


@pytest.mark.parametrize(
    ("answer", "ending"),
    [
        ({"class": "string", "code": 403, "body": "Presence events … not supported"}, "REFUSED"),
        ({"class": "string", "code": 5000, "body": "Request failed."}, "ERROR"),
        ({"class": "SessionExpiredEvent", "code": 200, "body": {}}, "EXPIRED"),
        (
            {"class": "TooManyRequestsErrorMessage", "code": 429, "body": {"retryAfter": 60}},
            "RATE_LIMITED",
        ),
        (None, "UNANSWERED"),
        ("cut", "CUT"),
    ],
)
def test_every_other_answer_to_clear_has_its_word(answer: object, ending: str) -> None:
    def script(peer: Peer) -> None:
        configured(peer)
        peer.receive()
        if answer == "cut":
            peer.reset()
            return
        if answer is not None:
            peer.send(answer)
        peer.receive()

    with FakeServer(script) as server:
        line = line_to(server)
        line.connect()
        line.configure()
        found = line.clear(within_s=0.3)
        line.close()
    assert found is Ending[ending]
    assert not found.proof


def test_configure_fails_with_the_services_answer_or_with_silence() -> None:
    def refuse(peer: Peer) -> None:
        message = peer.receive()
        assert message is not None
        error = {"type": "response", "class": "string", "code": 400, "body": "Request failed."}
        peer.send({**error, "tracingId": message["tracingId"]})
        peer.receive()

    with FakeServer(refuse) as server:
        line = line_to(server)
        line.connect()
        with pytest.raises(ServiceError, match="400: Request failed"):
            line.configure()
        assert line.state is State.REFUSED
        line.close()
    with FakeServer(lambda peer: (peer.receive(), peer.receive())[0]) as server:
        line = line_to(server)
        line.connect()
        with pytest.raises(ReplyTimeout, match="no SessionResponse within"):
            line.configure()
        line.close()


def test_connecting_is_counted_by_how_it_failed() -> None:
    recorder = Recorder()
    with FakeServer(configured, reject=(429, "")) as server, pytest.raises(UpgradeRejected):
        line_to(server, recorder).connect()
    with pytest.raises(ConnectFailed):
        line_to(server, recorder).connect()
    assert recorder.take().outcomes["connect"] == {Outcome.RATE_LIMITED: 1, Outcome.REFUSED: 1}


def test_a_pause_ends_early_when_the_connection_does() -> None:
    def script(peer: Peer) -> None:
        configured(peer)
        peer.close(1001, "maximum age")

    with FakeServer(script) as server:
        line = line_to(server)
        line.connect()
        line.configure()
        with pytest.raises(ConnectionLost, match="1001"):
            line.pause(30)


def test_who_looks_on_has_no_say(rig: Rig) -> None:
    def fail(*_: object) -> None:
        raise UnicodeEncodeError("ascii", "❤", 0, 1, "not in this terminal")

    with rig.guest(observer=fail) as guest:
        guest.say("hello")
        assert guest.await_reply(within="5s") == "You said: hello"
    assert rig.still_open() == set()
    assert rig.leftovers() == {}


def test_what_is_written_into_a_dead_connection_is_lost_at_once() -> None:
    def script(peer: Peer) -> None:
        configured(peer)
        peer.receive()
        peer.reset()

    recorder = Recorder()
    with FakeServer(script) as server:
        line = line_to(server, recorder)
        line.connect()
        line.configure()
        line.say("the server resets the connection when it has this")
        time.sleep(0.2)  # not the event loop's: it must not hear of it before we write again
        with pytest.raises(ConnectionLost):
            line.say("lost")
        assert not line.inbox.pending
        line.close()
    assert recorder.take().outcomes["delivered"] == {Outcome.LOST: 2}


def test_a_health_check_that_is_cut_off_has_not_been_answered() -> None:
    def script(peer: Peer) -> None:
        configured(peer)
        peer.receive()
        peer.reset()

    recorder = Recorder()
    with FakeServer(script) as server:
        line = line_to(server, recorder)
        line.connect()
        line.configure()
        with pytest.raises(ConnectionLost):
            line.health_check(within_s=5)
        line.close()
    assert recorder.take().outcomes["health_check"] == {Outcome.LOST: 1}


def test_a_late_answer_to_a_health_check_is_none_to_the_next() -> None:
    def script(peer: Peer) -> None:
        configured(peer)
        first, second = peer.receive(), peer.receive()
        assert first is not None
        assert second is not None
        body = {"text": "ping", "type": "Text", "direction": "Inbound", "id": "e1"}
        late = {"type": "response", "class": "StructuredMessage", "code": 200, "body": body}
        peer.send({**late, "tracingId": first["tracingId"]})
        peer.receive()

    recorder = Recorder()
    with FakeServer(script) as server:
        line = line_to(server, recorder)
        line.connect()
        line.configure()
        for within_s in (0.05, 0.4):
            with pytest.raises(ReplyTimeout):
                line.health_check(within_s=within_s)
        line.close()
    taken = recorder.take()
    assert taken.outcomes["health_check"] == {Outcome.TIMEOUT: 2}
    assert taken.counts["late_message"] == 1


def test_tracing_ids_have_the_shape_of_a_uuid_and_tell_their_order() -> None:
    with FakeServer(configured) as server:
        line = line_to(server)
    ids = [line.next_id() for _ in range(70_000)]
    assert len(set(ids)) == len(ids)
    assert sorted(ids) == ids
    assert {str(uuid.UUID(one)) for one in ids[:1000]} == set(ids[:1000])
    assert all(one.startswith(line.owner) for one in ids)


def test_a_guest_that_may_not_ask_for_an_echo_sleeps_all_the_same() -> None:
    class Counting(Connection):
        rests = 0

        def rest(self, until_ns: int) -> bool:
            type(self).rests += 1
            return super().rest(until_ns)

    def script(peer: Peer) -> None:
        configured(peer)
        peer.receive()

    with FakeServer(script) as server:
        plain = line_to(server, health_check_every_s=0.001)
        line = Counting(plain.settings, "token-1", Recorder())
        line.connect()
        line.configure()
        line.session.receive(Receive.CONNECTION_LOST)  # nothing may be asked of such a session
        line.pause(0.2)
        line.close()
    assert Counting.rests < 20


def test_what_is_printed_of_a_mistake_of_ours_shows_no_credential(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def mistaken(*_: object) -> bool:
        raise RuntimeError("a mistake of ours")

    with rig.guest() as guest:
        with monkeypatch.context() as patched:
            patched.setattr(Inbox, "on_frame", mistaken)
            guest.say("hello")
            gevent.sleep(0.2)
        token = guest.connection.token
    printed = capfd.readouterr().err
    assert "a mistake of ours" in printed
    assert token not in printed
