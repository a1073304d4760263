"""The upgrade: who is let in."""

import aiohttp
import pytest

from harness.simulator.limits import read_limits
from harness.simulator.settings import DeploymentSettings, Knobs
from harness.simulator.upgrade import origin_allowed


async def status_of(world, **options) -> int:
    try:
        guest = await world.guest(**options)
    except aiohttp.WSServerHandshakeError as error:
        return error.status
    await guest.ws.close()
    return 101


@pytest.mark.parametrize("deployment", ["", "InvalidDeploymentId", "0" * 36])
def test_an_unknown_deployment_is_refused_with_403(play, deployment) -> None:
    async def scenario(world):
        return await status_of(world, deployment=deployment)

    assert play(scenario) == 403


def test_unknown_deployment_in_band_as_in_older_times(play) -> None:
    async def scenario(world):
        guest = await world.guest(deployment="another")
        frame = await guest.next()
        assert (frame["code"], frame["body"]) == (400, "Deployment not found")
        await guest.closed()

    play(scenario, knobs=Knobs(unknown_deployment_reply="in_band"))


def test_an_inactive_deployment_is_refused(play) -> None:
    assert play(status_of, deployment={"active": False}) == 403


@pytest.mark.parametrize(
    ("origin", "allowed"),
    [
        ("https://example.com", True),
        ("http://shop.example.com:8080", True),
        ("example.com", True),
        ("https://notexample.com", False),
        ("https://example.com.evil.org", False),
        ("", False),
        (None, False),
        ("https://[", False),
    ],
)
def test_the_domain_rule(origin, allowed) -> None:
    settings = DeploymentSettings(id="d", allow_all_domains=False, allowed_domains=("example.com",))
    assert origin_allowed(settings, origin) is allowed


def test_the_domain_rule_holds_at_the_upgrade(play) -> None:
    async def scenario(world):
        wrong = await status_of(world, origin="https://evil.org")
        return wrong, await status_of(world, origin="https://shop.example.com")

    deployment = {"allow_all_domains": False, "allowed_domains": ("example.com",)}
    assert play(scenario, deployment=deployment) == (403, 101)


def test_any_origin_and_none_are_fine_where_all_domains_are(play) -> None:
    async def scenario(world):
        return await status_of(world), await status_of(world, origin="webmessaging.example")

    assert play(scenario) == (101, 101)


@pytest.mark.parametrize(("knob", "status"), [(429, 429), (403, 403)])
def test_connections_per_minute_of_a_deployment(play, knob, status) -> None:
    async def scenario(world):
        return [await status_of(world) for _ in range(4)]

    found = play(
        scenario,
        limits=read_limits("off", {"connections_per_minute": "2"}),
        knobs=Knobs(connection_rate_reply=knob),
    )
    assert found == [101, 101, status, status]


@pytest.mark.parametrize(
    ("fault", "status"), [("refuse_403", 403), ("refuse_429", 429), ("refuse_503", 503)]
)
def test_refused_upgrades(play, fault, status) -> None:
    async def scenario(world):
        first, second = await status_of(world), await status_of(world)
        return first, second, (await world.truth())["counts"][f"upgrade_refused_{status}"]

    assert play(scenario, faults={fault: "#1"}) == (status, 101, 1)


def test_a_slow_upgrade_is_recorded(play) -> None:
    async def scenario(world):
        assert await status_of(world) == 101
        return (await world.truth())["delays"]["connect"]["p50_ms"]

    assert play(scenario, faults={"slow_upgrade": "1,seconds=50ms"}) == 50


def test_a_socket_that_vanishes_ends_nothing(play) -> None:
    async def scenario(world):
        guest = await world.ready()
        await guest.say("hello")
        await guest.next()
        await guest.ws.close()
        await world.when(lambda: not world.service.connections)
        truth = await world.truth()
        assert truth["sessions"]["open"] == 1
        assert truth["conversations"]["open"] == 1

    play(scenario)


def test_a_message_over_the_size_closes_with_1009(play) -> None:
    async def scenario(world):
        guest = await world.ready()
        await guest.say("x" * 140_000)
        assert await guest.closed() == 1009

    play(scenario)


@pytest.mark.parametrize("limit", [{"idle_seconds": "1"}, {"connection_age_seconds": "1"}])
def test_idle_and_old_connections_are_closed_with_1001(play, limit) -> None:
    async def scenario(world):
        guest = await world.ready()
        assert await guest.closed() == 1001
        assert (await world.truth())["open_tokens"] == [guest.token]

    play(scenario, limits=read_limits("off", limit))
