"""A guest's own history over REST."""

import socket
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from guest_rig import Rig
from processes import Simulator

from harness.config.target import parse_target
from harness.errors import ConnectFailed, ConnectionLost, RemoteProtocolError, ServiceError
from harness.guest import rest
from harness.guest.rest import api_origin, exchange_sign_in, fetch_history
from harness.measure.model import Outcome
from harness.transport import http

ID = "12345678-90ab-cdef-1234-567890abcdef"


def test_where_the_rest_calls_go() -> None:
    live = parse_target(f"wss://webmessaging.mypurecloud.ie/v1?deploymentId={ID}")
    assert api_origin(live) == "https://api.mypurecloud.ie"
    local = parse_target(f"ws://127.0.0.1:8080/v1?deploymentId={ID}")
    assert api_origin(local) == "http://127.0.0.1:8080"


@pytest.mark.process
def test_the_history_is_told_oldest_first_over_all_pages(rig: Any) -> None:
    with rig.guest() as guest:
        for number in range(15):
            guest.say(f"text {number}")
            guest.await_reply(within="5s", containing=f"text {number}")
        found = guest.history()
    ours = [message.text for message in found if message.direction == "Inbound"]
    assert ours == [f"text {number}" for number in range(15)]
    assert rig.outcomes("history") == {Outcome.OK: 2}


@pytest.mark.process
def test_a_history_that_is_refused_is_an_error_of_the_service(rig: Any) -> None:
    with rig.guest() as guest:
        guest.say("hello")
        guest.await_reply(within="5s")
        rig.simulator.faults(fail={"probability": 1, "at": "other", "code": 403})
        with pytest.raises(ServiceError, match="403"):
            fetch_history(guest.connection, rig.recorder)
        rig.simulator.faults()
    assert rig.outcomes("history") == {Outcome.FORBIDDEN: 1}


@pytest.mark.process
def test_a_history_that_means_nothing_has_not_been_read(
    rig: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = http.request

    def page_of_a_proxy(*args: Any, **options: Any) -> Any:
        return replace(asked(*args, **options), status=200, body=b"<html>sign in</html>")

    with rig.guest() as guest:
        guest.say("hello")
        guest.await_reply(within="5s")
        monkeypatch.setattr(http, "request", page_of_a_proxy)
        with pytest.raises(RemoteProtocolError):
            guest.history()
    assert rig.outcomes("history") == {Outcome.PROTOCOL: 1}


@pytest.mark.process
def test_a_history_that_does_not_come_in_time_is_a_wait_and_no_loss(
    rig: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    with rig.guest() as guest, socket.create_server(("127.0.0.1", 0)) as silent:
        guest.say("hello")
        guest.await_reply(within="5s")
        place = f"http://127.0.0.1:{silent.getsockname()[1]}"
        monkeypatch.setattr(rest, "api_origin", lambda _: place)
        monkeypatch.setattr(rest, "HISTORY_WITHIN_S", 0.5)
        with pytest.raises(ConnectionLost, match=r"no answer within 0\.5 s"):
            guest.history()
    assert rig.outcomes("history") == {Outcome.TIMEOUT: 1}


@pytest.mark.process
def test_a_rest_call_that_can_not_connect_loses_no_question(
    rig: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        place = f"http://127.0.0.1:{closed.getsockname()[1]}"
    monkeypatch.setattr(rest, "api_origin", lambda _: place)
    rig.simulator.faults(no_reply=1)
    with pytest.raises(ConnectFailed), rig.guest() as guest:
        guest.say("hello")
        guest.history()
    rig.simulator.faults()
    outcomes = rig.taken().outcomes
    assert outcomes["history"] == {Outcome.LOST: 1}
    assert outcomes["reply"] == {Outcome.UNANSWERED: 1}  # its guest is still connected


@pytest.mark.process
def test_an_authenticated_guest_signs_in_talks_and_clears(tmp_path: Path) -> None:
    running = Simulator("--limits", "off", "--deployment", "authentication=true")
    try:
        rig = Rig(running, tmp_path)
        with pytest.raises(ServiceError, match="refused"):
            exchange_sign_in(rig.settings, "invalid-code", "https://example.com")
        jwt = exchange_sign_in(rig.settings, "alice", "https://example.com", code_verifier="v")
        with rig.guest(sign_in=jwt) as guest:
            guest.say("hello")
            guest.await_reply(within="5s")
            guest.drop()
            guest.reconnect()
            guest.say("again")
            guest.await_reply(within="5s")
        assert rig.still_open() == set()
        assert rig.leftovers() == {}
        with pytest.raises(ServiceError, match="401"), rig.guest(sign_in="forged"):
            pass
        rig.ledger.close()
    finally:
        running.stop()
