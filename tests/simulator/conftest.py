"""A real simulator for the tests of its parts, on loopback, driven by aiohttp's client."""

import asyncio
import importlib.util
import json
import subprocess
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

import aiohttp
import pytest
import uvloop
from aiohttp import web
from processes import start_simulator

from harness.simulator import server
from harness.simulator.service import Service
from harness.simulator.settings import OFF, DeploymentSettings, Knobs, Settings

PATIENCE_S = 5.0
DEPLOYMENT = "11111111-2222-4333-8444-555555555555"


class Guest:
    """One websocket and what came over it."""

    def __init__(self, ws: aiohttp.ClientWebSocketResponse, token: str) -> None:
        self.ws = ws
        self.token = token
        self.seen: list[dict] = []

    async def send(self, **request) -> str:
        """Send a request with this guest's token; its tracingId."""
        tracing_id = str(uuid4())
        await self.ws.send_str(
            json.dumps({"token": self.token, "tracingId": tracing_id, **request})
        )
        return tracing_id

    async def next(self) -> dict:
        """The next frame."""
        got = await self.ws.receive(timeout=PATIENCE_S)
        assert got.type is aiohttp.WSMsgType.TEXT, got
        frame = json.loads(got.data)
        self.seen.append(frame)
        return frame

    async def until(self, wanted: Callable[[dict], bool] | str) -> dict:
        """The next frame of a class, or for which ``wanted`` is true; others are passed over."""
        while True:
            frame = await self.next()
            if frame.get("class") == wanted if isinstance(wanted, str) else wanted(frame):
                return frame

    async def silent(self, for_s: float = 0.1) -> bool:
        """Whether nothing comes for a while."""
        try:
            got = await self.ws.receive(timeout=for_s)
        except TimeoutError:
            return True
        self.seen.append({"unexpected": str(got.data)})
        return False

    async def closed(self) -> int | None:
        """Read on until the connection ends; its close code."""
        while True:
            got = await self.ws.receive(timeout=PATIENCE_S)
            if got.type not in (aiohttp.WSMsgType.TEXT, aiohttp.WSMsgType.BINARY):
                return self.ws.close_code

    async def configure(self, deployment: str = DEPLOYMENT, **more) -> dict:
        await self.send(action="configureSession", deploymentId=deployment, **more)
        return await self.until("SessionResponse")

    async def message(self, **message) -> str:
        return await self.send(action="onMessage", message=message)

    async def say(self, text: str, **more) -> str:
        return await self.message(type="Text", text=text, **more)

    async def presence(self, kind: str, **more) -> str:
        event = {"eventType": "Presence", "presence": {"type": kind}}
        return await self.message(type="Event", events=[event], **more)

    async def clear(self) -> list[dict]:
        """Clear, and the frames up to ConnectionClosedEvent."""
        await self.presence("Clear")
        first = len(self.seen)
        await self.until("ConnectionClosedEvent")
        return self.seen[first:]


class World:
    """A listening simulator and an HTTP client for it."""

    def __init__(self, service: Service, port: int, http: aiohttp.ClientSession) -> None:
        self.service = service
        self.port = port
        self.http = http
        self.bearer: str | None = None
        self.guests: list[Guest] = []
        self.base = f"http://127.0.0.1:{port}"

    async def guest(
        self, token: str | None = None, deployment: str = DEPLOYMENT, **options
    ) -> Guest:
        """A connected guest that has configured nothing yet."""
        url = f"ws://127.0.0.1:{self.port}/v1?deploymentId={deployment}"
        options.setdefault("max_msg_size", 16 * 1024 * 1024)
        guest = Guest(await self.http.ws_connect(url, **options), token or str(uuid4()))
        self.guests.append(guest)
        return guest

    async def ready(self, token: str | None = None, **options) -> Guest:
        """A guest with a configured session."""
        guest = await self.guest(token, **options)
        await guest.configure()
        return guest

    async def get(self, path: str, **options) -> tuple[int, dict]:
        return await self.call("GET", path, **options)

    async def call(self, method: str, path: str, **options) -> tuple[int, dict]:
        if path.startswith("/sim/"):
            options["headers"] = {"X-Simulator-Admin": "yes", **options.get("headers", {})}
        async with self.http.request(method, self.base + path, **options) as answer:
            text = await answer.text()
            with suppress(ValueError):
                return answer.status, json.loads(text)
            return answer.status, {"text": text}

    async def api(self, method: str, path: str, **options) -> tuple[int, dict]:
        """A call of the Platform API with a token of the default client."""
        if self.bearer is None:
            status, answer = await self.token()
            assert status == 200
            self.bearer = answer["access_token"]
        headers = {"Authorization": f"Bearer {self.bearer}"}
        return await self.call(method, f"/api/v2{path}", headers=headers, **options)

    async def token(
        self, name: str = "simulated-client", secret: str = "simulated-secret"
    ) -> tuple[int, dict]:
        basic = b64encode(f"{name}:{secret}".encode()).decode()
        form = {"grant_type": "client_credentials"}
        headers = {"Authorization": f"Basic {basic}"}
        return await self.call("POST", "/oauth/token", data=form, headers=headers)

    async def truth(self) -> dict:
        return (await self.get("/sim/truth"))[1]

    async def when(self, true: Callable[[], object]) -> None:
        """Until the service's own state is as wanted."""
        async with asyncio.timeout(PATIENCE_S):
            while not true():
                await asyncio.sleep(0.005)


@pytest.fixture
def play():
    """``play(scenario, deployment={…}, **settings)`` runs a coroutine against a simulator."""

    def run(scenario, deployment: dict | None = None, **options):
        options.setdefault("limits", OFF)
        options.setdefault("seed", 1)
        first = DeploymentSettings(id=DEPLOYMENT, flow_id="flow-1", queue_id="queue-1")
        options.setdefault("deployments", (replace(first, **(deployment or {})),))
        settings = Settings(**options)

        async def inside():
            service = Service(settings, asyncio.get_running_loop())
            runner = web.AppRunner(
                server.application(service), access_log=None, shutdown_timeout=0.1
            )
            await runner.setup()
            sock = server.listen("127.0.0.1", 0)
            await web.SockSite(runner, sock).start()
            keeper = asyncio.create_task(service.end_what_is_old())
            try:
                async with aiohttp.ClientSession() as http:
                    world = World(service, sock.getsockname()[1], http)
                    try:
                        result = await scenario(world)
                    finally:
                        for connection in list(service.connections):
                            connection.cut("rst")
                        for guest in world.guests:
                            await guest.ws.close()
                    assert "internal_errors" not in service.truth.counts
                    return result
            finally:
                keeper.cancel()
                await runner.cleanup()

        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(inside())

    return run


@pytest.fixture
def simulate() -> Iterator[Callable[..., tuple[subprocess.Popen, dict]]]:
    """``simulate("--tls")``: the command in a process of its own, and its ready line."""
    started: list[subprocess.Popen] = []

    def start(*options: str) -> tuple[subprocess.Popen, dict]:
        process, ready = start_simulator(*options, stderr=subprocess.PIPE)
        started.append(process)
        return process, ready

    yield start
    for process in started:
        if process.poll() is None:
            process.kill()
        process.communicate()


@pytest.fixture
def golden_frames():
    """``golden_frames(play)``: every frame of the golden scenarios, by name."""
    path = Path(__file__).with_name("golden_scenarios.py")
    spec = importlib.util.spec_from_file_location("golden_scenarios", path)
    assert spec is not None
    assert spec.loader is not None
    golden = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(golden)

    def collect(play) -> dict[str, dict]:
        found: dict[str, tuple[str, dict]] = {}
        for scenario, options in golden.SCENARIOS:
            play(lambda world, scenario=scenario: scenario(world, found), **options)
        return {
            name: {"source": source, "frame": golden.plain(frame)}
            for name, (source, frame) in sorted(found.items())
        }

    return collect


@pytest.fixture
def service_with():
    """Services without a server: knobs and what is said of their one deployment, ``d``."""
    loop = asyncio.new_event_loop()

    def make(knobs: Knobs | None = None, **deployment) -> Service:
        settings = Settings(
            deployments=(DeploymentSettings(id="d", **deployment),), knobs=knobs or Knobs()
        )
        return Service(settings, loop)

    yield make
    loop.close()
