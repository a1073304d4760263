"""Sign-in, retries and secrets, against the simulator's Platform API over real HTTP."""

from typing import Any

import pytest
from urllib3.response import HTTPResponse

from harness.config.target import parse_target
from harness.errors import ConfigError, PlatformApiError
from harness.platform_api.client import Credentials, Places, PlatformApi, _decoded

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
    api = client(simulator, calls_per_minute=3, sleep=pauses.append)
    for _ in range(2):  # with the sign-in, three calls
        api.get(LIMITS)
    assert pauses == []
    api.get(LIMITS)
    (pause,) = pauses
    assert 30 < pause <= 60
    api.close()


def test_an_error_that_is_passed_on_with_http_200_is_an_error() -> None:
    body = b'{"status": 403, "code": "missing.permission", "message": "no"}'
    with pytest.raises(PlatformApiError, match="HTTP 403") as caught:
        _decoded(HTTPResponse(body, status=200))
    assert (caught.value.refused, caught.value.code) == (True, "missing.permission")
    assert _decoded(HTTPResponse(b'{"status": "Active"}', status=200)) == {"status": "Active"}


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
