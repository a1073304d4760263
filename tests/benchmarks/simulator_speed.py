"""How fast the simulator is, and how much it remembers, beside a bare aiohttp echo handler.

Run it by hand, on a quiet machine::

    python tests/benchmarks/simulator_speed.py              # exchanges per CPU-second
    python tests/benchmarks/simulator_speed.py --idle 15000 # memory of idle sessions
    python tests/benchmarks/simulator_speed.py --churn 200000  # memory over many sessions

Servers run in processes of their own; what counts is their CPU time, so the client's speed does
not matter. Ratios are taken within one run, alternating between the contestants.
"""

import argparse
import asyncio
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import uvloop

sys.path.insert(0, str(Path(__file__).parents[1]))

from processes import Started, start_simulator

DEPLOYMENT = "11111111-2222-4333-8444-555555555555"
BARE = """
import asyncio, json, uvloop
from aiohttp import web
async def handle(request):
    ws = web.WebSocketResponse(compress=False)
    await ws.prepare(request)
    async for message in ws:
        await ws.send_str(message.data)
    return ws
async def main():
    app = web.Application()
    app.router.add_get("/v1", handle)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, backlog=4096)
    await site.start()
    port = site._server.sockets[0].getsockname()[1]
    print(json.dumps({"url": f"ws://127.0.0.1:{port}/v1"}), flush=True)
    await asyncio.Event().wait()
uvloop.run(main())
"""


def masked(payload: bytes) -> bytes:
    """A client's text frame, masked with zeros."""
    size = len(payload)
    head = bytes([0x81, 0x80 | size]) if size < 126 else b"\x81\xfe" + size.to_bytes(2, "big")
    return head + b"\0\0\0\0" + payload


def request(token: str, **fields: object) -> bytes:
    """A request as compact JSON in a frame."""
    common = {"token": token, "tracingId": "0f8fad5b-d9cb-469f-a165-70867728950e"}
    return masked(json.dumps({**common, **fields}, separators=(",", ":")).encode())


def message(token: str, **fields: object) -> bytes:
    return request(token, action="onMessage", message=fields)


def clear_of(token: str) -> bytes:
    event = {"eventType": "Presence", "presence": {"type": "Clear"}}
    return message(token, type="Event", events=[event])


class Client(asyncio.Protocol):
    """Upgrades, then hands each arriving frame's length to ``on_frame``."""

    def __init__(self, on_open, on_frame) -> None:
        self.on_open, self.on_frame = on_open, on_frame
        self.upgraded = False
        self.rest = b""

    def connection_made(self, transport) -> None:
        self.transport = transport
        transport.write(
            f"GET /v1?deploymentId={DEPLOYMENT} HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n"
            "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
            "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n".encode()
        )

    def data_received(self, data: bytes) -> None:
        data = self.rest + data if self.rest else data
        if not self.upgraded:
            head, found, data = data.partition(b"\r\n\r\n")
            if not found:
                self.rest = head
                return
            assert b" 101 " in head, head
            self.upgraded = True
            self.rest = b""
            self.on_open(self)
        at = 0
        while len(data) - at >= 2:
            size, start = data[at + 1] & 127, at + 2
            if size == 126:
                size, start = int.from_bytes(data[at + 2 : at + 4], "big"), at + 4
            elif size == 127:
                size, start = int.from_bytes(data[at + 2 : at + 10], "big"), at + 10
            if len(data) < start + size:
                break
            self.on_frame(self, data[start : start + size])
            at = start + size
        self.rest = data[at:]


def start_bare() -> tuple[Started, dict]:
    """The echo handler, and what it says when it is ready."""
    process = Started([sys.executable, "-c", BARE], stdout=subprocess.PIPE)
    return process, json.loads(process.stdout.readline())


def start_ours(*options: str) -> tuple[Started, dict]:
    """A simulator for ``Client``."""
    return start_simulator("--limits", "off", "--deployment-id", DEPLOYMENT, *options)


@contextmanager
def server(started: tuple[Started, dict]) -> Iterator[tuple[psutil.Process, int]]:
    """(process, port) of a server."""
    process, ready = started
    with process:
        yield psutil.Process(process.pid), int(ready["url"].split(":")[2].partition("/")[0])


def cpu(process: psutil.Process) -> float:
    """CPU seconds so far; the scheduler's own count, in nanoseconds, where there is one."""
    with suppress(OSError):
        return sum(
            int((task / "schedstat").read_text().split()[0]) / 1e9
            for task in Path(f"/proc/{process.pid}/task").iterdir()
        )
    times = process.cpu_times()
    return times.user + times.system


async def exchanges(
    port: int, *, simulator: bool, replies: int, connections: int, count: int
) -> None:
    """``count`` texts in all, each sent when the one before has been answered by all its frames."""
    loop = asyncio.get_running_loop()
    done = loop.create_future()
    left = count

    def on_open(client) -> None:
        client.token = os.urandom(8).hex()
        client.text = message(
            client.token, type="Text", text="Where is my order? It was due today."
        )
        if simulator:
            client.waiting = 1
            client.transport.write(
                request(client.token, action="configureSession", deploymentId=DEPLOYMENT)
            )
        else:
            client.waiting = 1
            client.transport.write(client.text)

    def on_frame(client, _payload) -> None:
        nonlocal left
        client.waiting -= 1
        if client.waiting:
            return
        left -= 1
        if left > 0:
            client.waiting = replies
            client.transport.write(client.text)
        elif not done.done():
            done.set_result(None)

    for _ in range(connections):
        await loop.create_connection(lambda: Client(on_open, on_frame), "127.0.0.1", port)
    await done


def per_cpu_second(process: psutil.Process, port: int, count: int, **how) -> float:
    before = cpu(process)
    uvloop.run(exchanges(port, count=count, connections=50, **how))
    return count / (cpu(process) - before)


def speed(rounds: int, count: int) -> None:
    with (
        server(start_bare()) as bare,
        server(start_ours("--bot", "off")) as echoing,
        server(start_ours("--bot-delay", "0ms")) as answering,
    ):
        rows: dict[str, list[float]] = {"bare": [], "echo": [], "echo and reply": []}
        for _ in range(rounds):
            rows["bare"].append(per_cpu_second(*bare, count, simulator=False, replies=1))
            rows["echo"].append(per_cpu_second(*echoing, count, simulator=True, replies=1))
            rows["echo and reply"].append(
                per_cpu_second(*answering, count, simulator=True, replies=2)
            )
    best = {name: max(values) for name, values in rows.items()}
    for name, value in best.items():
        print(
            f"{name:16} {value:9,.0f} exchanges per CPU-second   {value / best['bare']:.2f} of bare"
        )


async def hold(port: int, count: int, simulator: bool) -> list[Client]:
    loop = asyncio.get_running_loop()
    clients: list[Client] = []
    ready = asyncio.Semaphore(0)

    def on_open(client) -> None:
        if simulator:
            token = os.urandom(16).hex()
            client.transport.write(
                request(token, action="configureSession", deploymentId=DEPLOYMENT)
            )
        else:
            ready.release()

    def on_frame(_client, _payload) -> None:
        ready.release()

    for start in range(0, count, 200):
        batch = min(200, count - start)
        made = await asyncio.gather(
            *(
                loop.create_connection(lambda: Client(on_open, on_frame), "127.0.0.1", port)
                for _ in range(batch)
            )
        )
        clients += [client for _, client in made]
        for _ in range(batch):
            await ready.acquire()
    return clients


def idle(count: int) -> None:
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit[1], limit[1]))
    sizes = {}
    for name, start in (("bare", start_bare), ("simulator", start_ours)):
        with server(start()) as (process, port):
            before = process.memory_info().rss

            async def measure(simulator: bool = name == "simulator") -> int:
                clients = await hold(port, count, simulator)
                held = process.memory_info().rss
                for client in clients:
                    client.transport.abort()
                return held

            sizes[name] = (uvloop.run(measure()) - before) / count / 1024
            print(f"{name:10} {sizes[name]:6.1f} KiB per connection, {count} held")
    print(f"a session beyond its connection: {sizes['simulator'] - sizes['bare']:.1f} KiB")


async def come_and_go(port: int, count: int, report) -> None:
    loop = asyncio.get_running_loop()
    left = count
    done = loop.create_future()

    def begin(client) -> None:
        client.token = os.urandom(16).hex()
        client.transport.write(
            request(client.token, action="configureSession", deploymentId=DEPLOYMENT)
        )

    def on_frame(client, payload) -> None:
        nonlocal left
        if b'"SessionResponse"' in payload:
            attributes = {"metadata": {"customAttributes": {"runId": "churn"}}}
            text = message(client.token, type="Text", text="hello", channel=attributes)
            client.transport.write(text + clear_of(client.token))
        elif b'"ConnectionClosedEvent"' in payload:
            left -= 1
            if left % max(count // 10, 1) == 0:
                report(count - left)
            if left <= 0:
                if not done.done():
                    done.set_result(None)
            else:
                begin(client)

    for _ in range(50):
        await loop.create_connection(lambda: Client(begin, on_frame), "127.0.0.1", port)
    await done


def churn(count: int) -> None:
    with server(start_ours()) as (process, port):
        started = time.monotonic()

        def report(finished: int) -> None:
            mib = process.memory_info().rss / 2**20
            print(f"{finished:8} sessions opened and cleared: {mib:6.1f} MiB")

        uvloop.run(come_and_go(port, count, report))
        print(f"{count / (time.monotonic() - started):,.0f} sessions per second")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Benchmark of the simulator.")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--count", type=int, default=40_000, help="exchanges per round")
    parser.add_argument("--idle", type=int, metavar="SESSIONS", help="memory of idle sessions")
    parser.add_argument("--churn", type=int, metavar="SESSIONS", help="memory over time")
    options = parser.parse_args()
    if options.idle:
        idle(options.idle)
    elif options.churn:
        churn(options.churn)
    else:
        speed(options.rounds, options.count)
