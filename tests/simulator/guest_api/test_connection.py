"""A connection's ends: closed by us, cut with FIN or RST, gone by itself."""

import asyncio

import aiohttp
import pytest


def test_closing_from_our_side_shakes_hands(play) -> None:
    async def scenario(world):
        guest = await world.ready()
        (connection,) = world.service.connections
        connection.close(1001, "Going away")
        assert await guest.closed() == 1001
        await world.when(lambda: not world.service.connections)

    play(scenario)


@pytest.mark.parametrize("how", ["fin", "rst"])
def test_a_cut_sends_no_close_frame(play, how) -> None:
    async def scenario(world):
        guest = await world.ready()
        (connection,) = world.service.connections
        connection.cut(how)
        assert await guest.closed() in (None, 1006)
        await world.when(lambda: not world.service.connections)
        assert (await world.truth())["open_tokens"] == [guest.token]

    play(scenario)


def test_a_reset_is_a_reset(play) -> None:
    async def scenario(world):
        reader, writer = await asyncio.open_connection("127.0.0.1", world.port)
        writer.write(
            b"GET /v1?deploymentId=11111111-2222-4333-8444-555555555555 HTTP/1.1\r\nHost: x\r\n"
            b"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
            b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
        )
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 101")
        (connection,) = world.service.connections
        connection.cut("rst")
        with pytest.raises(ConnectionResetError):
            await reader.read(-1)
        writer.close()

    play(scenario)


def test_nothing_is_sent_once_it_is_closing(play) -> None:
    async def scenario(world):
        guest = await world.ready()
        (connection,) = world.service.connections
        connection.close(1000)
        connection.send(b'{"too":"late"}')
        got = await guest.ws.receive(timeout=5)
        assert got.type is aiohttp.WSMsgType.CLOSE

    play(scenario)


def test_a_client_that_never_reads_is_cut_before_memory_fills(play, capsys) -> None:
    async def scenario(world):
        reader, writer = await asyncio.open_connection("127.0.0.1", world.port, limit=1024)
        writer.write(
            b"GET /v1?deploymentId=11111111-2222-4333-8444-555555555555 HTTP/1.1\r\nHost: x\r\n"
            b"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
            b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
        )
        await reader.readuntil(b"\r\n\r\n")
        (connection,) = world.service.connections
        for _ in range(40):
            connection.send(b"x" * 1_000_000)
            await asyncio.sleep(0)
        await world.when(lambda: connection.closing)
        writer.close()

    play(scenario)
    assert "reads too slowly" in capsys.readouterr().err
