"""Listening, the ready line, and ending."""

import asyncio
import socket

import pytest

from harness.errors import ConfigError
from harness.simulator import server
from harness.simulator.service import Service
from harness.simulator.settings import DeploymentSettings, Settings


def test_a_port_in_use_is_told_in_one_sentence() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(ConfigError, match=f"port {port} on 127.0.0.1 is in use"):
            server.listen("127.0.0.1", port)


@pytest.mark.parametrize("host", ["no.such.host.invalid", "192.0.2.1", "x" * 300])
def test_an_address_that_cannot_be_had(host) -> None:
    with pytest.raises(ConfigError, match="can't listen"):
        server.listen(host, 0)


@pytest.mark.parametrize(
    ("host", "ca_file", "start"),
    [("127.0.0.1", None, "ws://127.0.0.1:"), ("::1", "/tmp/ca.pem", "wss://[::1]:")],
)
def test_the_ready_line(host, ca_file, start) -> None:
    settings = Settings(deployments=(DeploymentSettings(id="d-1"),))
    loop = asyncio.new_event_loop()
    sock = server.listen(host, 0)
    try:
        line = server.ready_line(Service(settings, loop), sock, ca_file)
    finally:
        sock.close()
        loop.close()
    assert line["url"].startswith(start)
    assert line["url"].endswith("/v1")
    assert line["deployment_id"] == "d-1"
    assert line.get("ca_file") == ca_file


def test_http_garbage_does_not_disturb_it(play, capfd) -> None:
    async def scenario(world):
        for garbage in (b"\x00" * 500, b"GET / HTTP/9.9\r\n\r\n", b"\xff\xfe\r\n\r\n", b"GET"):
            reader, writer = await asyncio.open_connection("127.0.0.1", world.port)
            writer.write(garbage)
            writer.write_eof()
            await reader.read()
            writer.close()
        await world.ready()
        assert (await world.call("POST", "/v1"))[0] == 405
        assert (await world.get("/v1"))[0] == 403
        assert (await world.get("/nowhere"))[0] == 404

    play(scenario)
    assert "Traceback" not in capfd.readouterr().err
