"""The upgrade: who is let in."""

import asyncio
from contextlib import suppress

import aiohttp
import pytest

from harness.simulator.guest_api.upgrade import origin_allowed
from harness.simulator.options import read_limits
from harness.simulator.settings import DeploymentSettings, Knobs

UPGRADE = (
    b"GET /v1?deploymentId=11111111-2222-4333-8444-555555555555 HTTP/1.1\r\nHost: x\r\n"
    b"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Extensions: permessage-deflate\r\n"
    b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
)


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


@pytest.mark.parametrize(
    ("limits", "size", "code"),
    [
        ({}, 33_000, 1009),
        ({}, 30_000, None),
        ({"frame_bytes": "0"}, 130_000, None),
        ({"frame_bytes": "0"}, 140_000, 1009),
        ({"frame_bytes": "0", "message_bytes": "0"}, 6_000_000, None),
    ],
)
def test_a_message_over_the_size_closes_with_1009(play, limits, size, code) -> None:
    async def scenario(world):
        guest = await world.ready()
        await guest.say("x" * size)
        if code is None:
            assert (await guest.next())["code"] == 4011
        else:
            assert await guest.closed() == code

    play(scenario, limits=read_limits("off", limits))


@pytest.mark.parametrize("fault", ["cut=rst", "cut=fin", "half_open"])
def test_an_upgrade_that_is_never_answered(play, fault) -> None:
    async def scenario(world):
        name, _, how = fault.partition("=")
        world.service.faults.replace({name: f"#1,at=connect,how={how or 'fin'}"})
        reader, writer = await asyncio.open_connection("127.0.0.1", world.port)
        writer.write(UPGRADE)
        answer = b"nothing"
        with suppress(TimeoutError, ConnectionResetError):
            async with asyncio.timeout(0.3):
                answer = await reader.read(100)
        assert answer == {"cut=rst": b"nothing", "cut=fin": b"", "half_open": b"nothing"}[fault]
        writer.close()
        assert await status_of(world) == 101
        assert (await world.truth())["counts"]["connections_unanswered"] == 1

    play(scenario)


def test_pings_are_answered_and_compression_is_a_knob(play) -> None:
    async def scenario(world):
        reader, writer = await asyncio.open_connection("127.0.0.1", world.port)
        writer.write(UPGRADE + b"\x89\x82\0\0\0\0hi")
        head = await reader.readuntil(b"\r\n\r\n")
        assert await reader.readexactly(4) == b"\x8a\x02hi"
        writer.close()
        guest = await world.guest(compress=15)
        assert (await guest.configure())["code"] == 200
        await guest.say("hello")
        assert (await guest.next())["body"]["text"] == "hello"
        return b"permessage-deflate" in head, bool(guest.ws.compress)

    assert play(scenario) == (False, False)
    assert play(scenario, knobs=Knobs(compress=True)) == (True, True)


@pytest.mark.parametrize(("counts", "stays"), [(True, True), (False, False)])
def test_whether_pings_keep_a_connection_is_a_knob(play, counts, stays) -> None:
    async def scenario(world):
        guest = await world.ready()
        with suppress(ConnectionError):
            for _ in range(16):
                await guest.ws.ping()
                if not await guest.silent(0.1):
                    break
        return not guest.ws.closed

    limits = read_limits("off", {"idle_seconds": "1"})
    assert play(scenario, limits=limits, knobs=Knobs(pings_keep_alive=counts)) is stays


@pytest.mark.parametrize("limit", [{"idle_seconds": "1"}, {"connection_age_seconds": "1"}])
def test_idle_and_old_connections_are_closed_with_1001(play, limit) -> None:
    async def scenario(world):
        guest = await world.ready()
        assert await guest.closed() == 1001
        assert (await world.truth())["open_tokens"] == [guest.token]

    play(scenario, limits=read_limits("off", limit))
