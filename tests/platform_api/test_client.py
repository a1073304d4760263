"""Sign-in, retries and secrets, against the simulator's Platform API over real HTTP."""

import gzip
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import chain, repeat
from typing import Any

import pytest

from harness.config.target import parse_target
from harness.errors import ConfigError, PlatformApiError
from harness.platform_api import client as client_module
from harness.platform_api.client import Credentials, Places, PlatformApi, _Answer, _decoded

ID = "12345678-90ab-cdef-1234-567890abcdef"
GOOD = {"HARNESS_CLIENT_ID": "simulated-client", "HARNESS_CLIENT_SECRET": "simulated-secret"}
LIMITS = "/api/v2/organizations/limits/namespaces/web.messaging"


def client(simulator: Any, **more: Any) -> PlatformApi:
    secret = more.pop("secret", "simulated-secret")
    return PlatformApi(
        Credentials(id="simulated-client", secret=secret),
        Places.of(parse_target(simulator.url)),
        **more,
    )


@pytest.mark.process
def test_it_signs_in_by_itself(simulator: Any) -> None:
    api = client(simulator)
    assert api.get(LIMITS)["entities"]
    api._token = "stale"  # as when the service has let it run out
    assert api.get(LIMITS)["entities"]
    api.close()


@pytest.mark.process
def test_wrong_credentials_are_told_without_them(simulator: Any) -> None:
    api = client(simulator, secret="wrong-and-secret")
    with pytest.raises(PlatformApiError, match="HTTP 401") as caught:
        api.get(LIMITS)
    assert "wrong-and-secret" not in str(caught.value)
    assert "wrong-and-secret" not in repr(Credentials(id="a", secret="wrong-and-secret"))
    api.close()


@pytest.mark.process
def test_rate_limits_and_failures_are_waited_out(simulator: Any) -> None:
    simulator.faults(api_429="#1+2")
    pauses: list[float] = []
    api = client(simulator, sleep=pauses.append)
    assert api.get(LIMITS)["entities"]
    assert pauses == [1.0, 1.0]  # what Retry-After asked for
    assert api.waited_s == 2.0
    simulator.faults(api_503="#1")
    assert api.get(LIMITS)["entities"]
    simulator.faults(api_503=1)
    with pytest.raises(PlatformApiError, match="503"):
        api.get(LIMITS)
    simulator.faults(api_429=1)
    with pytest.raises(PlatformApiError, match="429"):
        api.get(LIMITS)
    api.close()


@pytest.mark.process
def test_it_keeps_within_its_share_of_calls(simulator: Any) -> None:
    pauses: list[float] = []
    told: list[float] = []
    api = client(simulator, calls_per_minute=3, sleep=pauses.append, on_pause=told.append)
    for _ in range(2):  # with the sign-in, three calls
        api.get(LIMITS)
    assert pauses == []
    api.get(LIMITS)
    (pause,) = pauses
    assert told == pauses
    assert 30 < pause <= 60
    api.close()


def test_an_error_that_is_passed_on_with_http_200_is_an_error() -> None:
    body = b'{"status": 403, "code": "missing.permission", "message": "no"}'
    with pytest.raises(PlatformApiError, match="HTTP 403") as caught:
        _decoded(_Answer(200, {}, body))
    assert (caught.value.refused, caught.value.code) == (True, "missing.permission")
    assert _decoded(_Answer(200, {}, b'{"status": "Active"}')) == {"status": "Active"}


@pytest.mark.parametrize(
    "answer",
    [
        (202, b'{"jobId": "j"}'),
        (204, b""),
        (200, b""),
        (200, b"[]"),
        (200, b"NaN"),
        (200, b"<html>please log in</html>"),
    ],
)
def test_what_does_not_answer_the_question_is_no_empty_answer(answer: tuple[int, bytes]) -> None:
    with pytest.raises(PlatformApiError, match=r"no\.answer") as caught:
        _decoded(_Answer(answer[0], {}, answer[1]))
    assert caught.value.refused


def test_a_redirection_is_an_error_and_says_what_to_look_at() -> None:
    with pytest.raises(PlatformApiError, match="--api-url"):
        _decoded(_Answer(302, {}, b""))


@contextmanager
def sending(*pieces: bytes, then: bytes = b"") -> Iterator[PlatformApi]:
    """The client of a service that answers the first request with these pieces, and goes on with
    ``then``, every few milliseconds, for as long as anybody reads."""
    over = threading.Event()

    def serve() -> None:
        with server.accept()[0] as sock:
            sock.recv(65_536)
            with suppress(OSError):
                for piece in chain(pieces, repeat(then)):
                    sock.sendall(piece)
                    if not then or over.wait(0.01):
                        break

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=serve)
        thread.start()
        url = f"http://127.0.0.1:{server.getsockname()[1]}"
        api = PlatformApi(
            Credentials(id="a", secret="b"), Places(api=url, login=url), tries=1, answer_s=1.0
        )
        api._token = "t"
        try:
            yield api
        finally:
            over.set()
            api.close()
            thread.join()


@pytest.mark.parametrize(
    "begun", [b"HTTP/1.1 200 OK\r\nX-More: ", b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n "]
)
def test_an_answer_that_trickles_is_left_when_its_time_is_up(begun: bytes) -> None:
    with (
        sending(begun, then=b" ") as api,
        pytest.raises(PlatformApiError, match="no whole answer within 1 s"),
    ):
        api.get(LIMITS)


def test_an_answer_without_bounds_is_not_read_to_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_module, "MAX_ANSWER_BYTES", 1000)
    monkeypatch.setattr(client_module, "CHUNK", 100)
    body = gzip.compress(b"{" + b" " * 1_000_000)  # a thousand bytes on the wire
    head = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(body)
    with sending(head + body) as api, pytest.raises(PlatformApiError, match=r"too\.large"):
        api.get(LIMITS)


@pytest.mark.parametrize("token", ['"a\\nb"', '"\u20ac"', "5", '""', "null"])
def test_a_token_that_can_be_sent_in_no_header_is_none(token: str) -> None:
    body = b'{"access_token": %b}' % token.encode()
    head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body)
    with sending(head + body) as api:
        api._token = ""
        with pytest.raises(PlatformApiError, match=r"sign-in.*no\.token") as caught:
            api.get(LIMITS)
    assert not caught.value.refused


def test_nobody_listens() -> None:
    places = Places(api="http://127.0.0.1:9", login="http://127.0.0.1:9")
    api = PlatformApi(Credentials(id="a", secret="b"), places, sleep=lambda _: None)
    with pytest.raises(PlatformApiError, match="unreachable"):
        api.get(LIMITS)


@pytest.mark.parametrize("missing", list(GOOD))
def test_credentials_come_from_the_environment_only(missing: str) -> None:
    with pytest.raises(ConfigError, match=f"{missing} is not set"):
        Credentials.from_environment({key: GOOD[key] for key in GOOD if key != missing})
    assert Credentials.from_environment(GOOD).id == "simulated-client"


def test_the_api_lies_beside_the_guest_socket() -> None:
    live = parse_target(f"wss://webmessaging.mypurecloud.example/v1?deploymentId={ID}")
    found = Places.of(live)
    assert found.api == "https://api.mypurecloud.example"
    assert found.login == "https://login.mypurecloud.example"
    here = Places.of(parse_target(f"ws://127.0.0.1:8080/v1?deploymentId={ID}"))
    assert (here.api, here.login) == ("http://127.0.0.1:8080", "http://127.0.0.1:8080")


def test_the_sign_in_lies_beside_the_api() -> None:
    odd = parse_target(f"wss://chat.example/v1?deploymentId={ID}")
    assert Places.of(odd, "https://api.usw2.example").login == "https://login.usw2.example"
    assert Places.of(odd, "https://gateway.example").login == "https://gateway.example"
    live = parse_target(f"wss://webmessaging.mypurecloud.example/v1?deploymentId={ID}")
    assert Places.of(live, "https://api.usw2.example").login == "https://login.usw2.example"
    assert Places.of(live, "https://gateway.example").login == "https://login.mypurecloud.example"
    assert (
        Places.of(live, "https://api.a.example", "https://b.example").login == "https://b.example"
    )


def test_credentials_are_not_sent_in_clear_to_another_machine() -> None:
    live = parse_target(f"wss://webmessaging.mypurecloud.example/v1?deploymentId={ID}")
    with pytest.raises(ConfigError, match="expected an https URL"):
        Places.of(live, api="http://api.mypurecloud.example")
    odd = parse_target(f"wss://chat.example/v1?deploymentId={ID}")
    with pytest.raises(ConfigError, match="--api-url and --login-url"):
        Places.of(odd)


def test_a_target_may_name_its_own_variables() -> None:
    given = {"A": "id", "B": "secret", "HARNESS_CLIENT_ID": "usual"}
    assert Credentials.from_environment(given, names=("A", "B")).id == "id"
    with pytest.raises(ConfigError, match="HARNESS_CLIENT_SECRET is not set"):
        Credentials.from_environment(given, names=("", None))
    with pytest.raises(ConfigError, match="C is not set"):
        Credentials.from_environment(given, names=("A", "C"))
