"""OAuth, permissions, and the Platform API's rate limit."""

import pytest

from harness.simulator.options import read_limits
from harness.simulator.settings import ApiClient

NOBODY = "/conversations/00000000-0000-4000-8000-000000000000"


def test_a_token_opens_the_api(play) -> None:
    async def scenario(world):
        status, answer = await world.token()
        assert (status, answer["token_type"], answer["expires_in"]) == (200, "bearer", 86400)
        assert (await world.api("GET", NOBODY))[0] == 404

    play(scenario)


def test_credentials_in_the_form_are_fine_too(play) -> None:
    async def scenario(world):
        form = {
            "grant_type": "client_credentials",
            "client_id": "simulated-client",
            "client_secret": "simulated-secret",
        }
        assert (await world.call("POST", "/oauth/token", data=form))[0] == 200

    play(scenario)


@pytest.mark.parametrize(
    ("form", "headers", "error"),
    [
        ({"grant_type": "client_credentials"}, {}, "invalid_client"),
        ({"grant_type": "client_credentials"}, {"Authorization": "Basic !"}, "invalid_client"),
        ({"grant_type": "client_credentials"}, {"Authorization": "Basic YQ=="}, "invalid_client"),
        ({"grant_type": "password"}, {}, "unsupported_grant_type"),
        ({}, {}, "unsupported_grant_type"),
    ],
)
def test_bad_credentials(play, form, headers, error) -> None:
    async def scenario(world):
        status, answer = await world.call("POST", "/oauth/token", data=form, headers=headers)
        assert status in (400, 401)
        assert answer["error"] == error
        assert (await world.token("simulated-client", "wrong"))[1]["error"] == "invalid_client"

    play(scenario)


@pytest.mark.parametrize("header", [None, "Bearer nonsense", "Basic eDp5"])
def test_no_call_without_a_token(play, header) -> None:
    async def scenario(world):
        headers = {} if header is None else {"Authorization": header}
        status, answer = await world.get(f"/api/v2{NOBODY}", headers=headers)
        assert (status, answer["code"]) == (401, "bad.credentials")

    play(scenario)


def test_a_token_expires(play) -> None:
    async def scenario(world):
        assert (await world.api("GET", NOBODY))[0] == 401

    play(scenario, clients=(ApiClient(token_life_s=0.0),))


def test_missing_permissions_are_named(play) -> None:
    async def scenario(world):
        status, one = await world.api("GET", NOBODY)
        assert (status, one["code"]) == (403, "missing.permissions")
        assert "conversation:communication:view" in one["message"]
        status, several = await world.api("GET", "/conversations/messages/x/details")
        assert (status, several["code"]) == (403, "missing.any.permissions")

    play(scenario, clients=(ApiClient(permissions=frozenset()),))


def test_calls_per_minute(play) -> None:
    async def scenario(world):
        statuses = [(await world.api("GET", NOBODY))[0] for _ in range(4)]
        assert statuses == [404, 404, 429, 429]
        headers = {"Authorization": f"Bearer {world.bearer}"}
        async with world.http.get(f"{world.base}/api/v2{NOBODY}", headers=headers) as answer:
            assert 0 < int(answer.headers["Retry-After"]) <= 60

    play(scenario, limits=read_limits("off", {"api_requests_per_minute": "2"}))


def test_token_requests_per_minute(play) -> None:
    async def scenario(world):
        return [(await world.token())[0] for _ in range(3)]

    assert play(scenario, limits=read_limits("off", {"token_requests_per_minute": "2"})) == [
        200,
        200,
        429,
    ]


@pytest.mark.parametrize(("fault", "status"), [("api_429", 429), ("api_503", 503)])
def test_faults_of_the_api(play, fault, status) -> None:
    async def scenario(world):
        return [(await world.api("GET", NOBODY))[0] for _ in range(2)]

    assert play(scenario, faults={fault: "#1"}) == [status, 404]
