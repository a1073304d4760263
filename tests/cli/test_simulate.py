"""``harness simulate`` as a process: ready line, TLS, signals, bad options."""

import asyncio
import signal
import socket
import ssl
import subprocess
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from processes import harness, start_simulator

pytestmark = pytest.mark.process


def start(*options: str) -> tuple[Any, dict]:
    return start_simulator(*options, stderr=subprocess.PIPE)


async def converse(ready: dict) -> list[str]:
    """One guest from configure to clear; the classes seen."""
    context = ssl.create_default_context(cafile=ready["ca_file"]) if "ca_file" in ready else True
    seen = []
    async with (
        aiohttp.ClientSession() as http,
        http.ws_connect(f"{ready['url']}?deploymentId={ready['deployment_id']}", ssl=context) as ws,
    ):
        common = {"token": "t-1", "tracingId": "x"}
        await ws.send_json(
            {"action": "configureSession", "deploymentId": ready["deployment_id"], **common}
        )
        clear = {"eventType": "Presence", "presence": {"type": "Clear"}}
        await ws.send_json(
            {"action": "onMessage", "message": {"type": "Event", "events": [clear]}, **common}
        )
        while "ConnectionClosedEvent" not in seen:
            seen.append((await ws.receive_json(timeout=10))["class"])
    await asyncio.sleep(0.1)  # the client closes its transports in the background
    return seen


@pytest.mark.parametrize(
    ("options", "number"),
    [
        ((), signal.SIGTERM),
        ((), signal.SIGINT),
        ((), signal.SIGHUP),
        (("--tls",), signal.SIGTERM),
    ],
)
def test_a_guest_comes_and_goes_and_the_signal_ends_it(options, number) -> None:
    process, ready = start(*options)
    try:
        assert ready["pid"] == process.pid
        assert asyncio.run(converse(ready)) == [
            "SessionResponse",
            "StructuredMessage",
            "SessionClearedEvent",
            "ConnectionClosedEvent",
        ]
        process.send_signal(number)
        out, err = process.communicate(timeout=10)
    finally:
        process.kill()
    assert (process.returncode, out, err) == (0, "", "")
    if "ca_file" in ready:  # the user's own, kept so that targets stay valid
        assert Path(ready["ca_file"]).exists()


def test_it_ends_with_guests_still_connected() -> None:
    process, ready = start()
    host, port = "127.0.0.1", int(ready["url"].split(":")[2].partition("/")[0])
    try:
        with socket.create_connection((host, port)):
            process.terminate()
            _, err = process.communicate(timeout=10)
    finally:
        process.kill()
    assert (process.returncode, err) == (0, "")


def test_a_profile_and_a_script_shape_the_service(tmp_path) -> None:
    (tmp_path / "bot.toml").write_text('greeting = "Hello from the file"')
    (tmp_path / "profile.toml").write_text('[[deployment]]\nid = "from-the-profile"\n')
    process, ready = start(
        *("--profile", str(tmp_path / "profile.toml")),
        *("--bot", "script", str(tmp_path / "bot.toml")),
        *("--fault", "ignore_clear=#1"),
    )

    async def greeting() -> str:
        async with (
            aiohttp.ClientSession() as http,
            http.ws_connect(f"{ready['url']}?deploymentId=from-the-profile") as ws,
        ):
            common = {"token": "t-1", "deploymentId": "from-the-profile"}
            await ws.send_json({"action": "configureSession", **common})
            for kind in ("Clear", "Join"):  # the first Clear is ignored
                event = {"eventType": "Presence", "presence": {"type": kind}}
                message = {"type": "Event", "events": [event]}
                await ws.send_json({"action": "onMessage", "token": "t-1", "message": message})
            seen = [await ws.receive_json(timeout=10) for _ in range(3)]
        await asyncio.sleep(0.1)  # the client closes its transports in the background
        return seen[-1]["body"]["text"]

    try:
        assert ready["deployment_id"] == "from-the-profile"
        assert asyncio.run(greeting()) == "Hello from the file"
    finally:
        process.terminate()
        process.communicate(timeout=10)
    assert process.returncode == 0


@pytest.mark.parametrize(
    "options", [("--port", "x"), ("--fault", "fly=1"), ("--host", "no.such.host.invalid")]
)
def test_bad_options_give_one_sentence_and_exit_8(options) -> None:
    ended = harness("simulate", *options)
    assert ended.returncode == 8
    assert ended.stdout == ""
    assert ended.stderr.startswith("error: ")
    assert ended.stderr.count("\n") == 1


def test_a_port_in_use_gives_one_sentence_and_exit_8() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        ended = harness("simulate", "--port", str(taken.getsockname()[1]))
    assert ended.returncode == 8
    assert "is in use" in ended.stderr
    assert ended.stderr.count("\n") == 1
