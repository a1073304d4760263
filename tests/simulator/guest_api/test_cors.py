"""What a widget in a browser needs: preflights answered, answers readable, for allowed origins."""

import pytest

DEPLOYMENT = "11111111-2222-4333-8444-555555555555"
CONFIG = f"/webdeployments/v1/deployments/{DEPLOYMENT}/config.json"
HISTORY = "/api/v2/webmessaging/messages"


async def headers_of(world, method: str, path: str, **headers: str):
    url = world.base + path
    async with world.http.request(method, url, headers=headers) as answer:
        return answer.status, answer.headers


@pytest.mark.parametrize("path", [HISTORY, "/upload/1/x", CONFIG])
def test_a_preflight_is_answered(play, path) -> None:
    async def scenario(world):
        status, headers = await headers_of(
            world,
            "OPTIONS",
            path,
            **{
                "Origin": "https://shop.example",
                "Access-Control-Request-Method": "PUT",
                "Access-Control-Request-Headers": "x-amz-tagging, authorization",
            },
        )
        assert status == 204
        assert headers["Access-Control-Allow-Origin"] == "https://shop.example"
        assert "PUT" in headers["Access-Control-Allow-Methods"]
        assert headers["Access-Control-Allow-Headers"] == "x-amz-tagging, authorization"

    play(scenario)


def test_answers_are_readable_errors_too(play) -> None:
    async def scenario(world):
        for path, expected in ((CONFIG, 200), (HISTORY, 401)):
            status, headers = await headers_of(world, "GET", path, Origin="https://shop.example")
            assert status == expected
            assert headers["Access-Control-Allow-Origin"] == "https://shop.example"
        _, headers = await headers_of(world, "GET", CONFIG)
        assert "Access-Control-Allow-Origin" not in headers

    play(scenario)


def test_not_for_other_origins_and_not_for_the_platform(play) -> None:
    async def scenario(world):
        _, headers = await headers_of(world, "GET", CONFIG, Origin="https://evil.example")
        assert "Access-Control-Allow-Origin" not in headers
        for path in ("/sim/truth", "/api/v2/conversations/x"):
            _, headers = await headers_of(world, "GET", path, Origin="https://shop.example")
            assert "Access-Control-Allow-Origin" not in headers

    deployment = {"allow_all_domains": False, "allowed_domains": ("shop.example",)}
    play(scenario, deployment=deployment)
