"""Does the simulator's service model behave as queueing theory says, seen through a real socket?

Guests' texts arrive at a simulator in its own process as a Poisson stream (open workload, one
websocket, no waiting for answers). Beside the formula stand what the service says it planted and
what the client saw. Run it by hand::

    python tests/benchmarks/simulator_theory.py --seconds 30
"""

import argparse
import asyncio
import statistics
import subprocess
import sys
import time
from pathlib import Path
from random import Random

import aiohttp
import uvloop
from scipy.stats import t

sys.path.insert(0, str(Path(__file__).parents[1]))

from processes import start_simulator

from harness.measure.statistics import Blocks
from harness.simulator.bots import WorkQueue
from harness.simulator.dialogue import read_distribution
from harness.studies.queueing import Queue

SEED = 3
ARRIVALS = 11
BATCHES = 20


def erlang_c_mean(servers: int, utilisation: float, service_s: float) -> float:
    """Mean time in an M/M/c system (Erlang 1917)."""
    load = servers * utilisation
    blocked = 1.0
    for n in range(1, servers + 1):
        blocked = load * blocked / (n + load * blocked)
    waits = blocked / (1 - utilisation * (1 - blocked))
    return service_s + waits * service_s / (servers * (1 - utilisation))


def pollaczek_mean(utilisation: float, service_s: float, variation: float) -> float:
    """Mean time in an M/G/1 system (Pollaczek-Khinchine)."""
    return service_s + utilisation * service_s * (1 + variation**2) / (2 * (1 - utilisation))


def drawn_mean(
    workers: int, time_text: str, rate: float, count: int, *, arrivals: int, service: str
) -> float:
    """Mean of a stream through the queue without sockets: tells chance from fault."""
    queue = WorkQueue(workers, read_distribution(time_text, "time"), service)
    source, now, total = Random(arrivals), 0.0, 0.0
    for _ in range(count):
        now += source.expovariate(rate)
        total += queue.finish(now) - now
    return total / count


async def observe(ready: dict, rate: float, seconds: float) -> tuple[list[float], dict]:
    """(times to the reply as the client saw them, delays as the service says)."""
    source = Random(ARRIVALS)
    url = f"{ready['url']}?deploymentId={ready['deployment_id']}"
    sent: dict[str, float] = {}
    seen: list[float] = []
    async with aiohttp.ClientSession() as http, http.ws_connect(url) as ws:
        await ws.send_json(
            {"action": "configureSession", "token": "t", "deploymentId": ready["deployment_id"]}
        )
        await ws.receive()
        total = int(rate * seconds)

        async def read() -> None:
            while len(seen) < total:
                body = (await ws.receive_json())["body"]
                if body.get("direction") == "Outbound":
                    seen.append(time.monotonic() - sent.pop(body["text"].split()[-1]))

        reading = asyncio.create_task(read())
        due = time.monotonic()
        for number in range(total):
            due += source.expovariate(rate)
            await asyncio.sleep(max(due - time.monotonic(), 0))
            sent[str(number)] = time.monotonic()
            message = {"type": "Text", "text": str(number)}
            await ws.send_json({"action": "onMessage", "token": "t", "message": message})
        await reading
        base = ready["url"].replace("ws", "http", 1).removesuffix("/v1")
        async with http.get(f"{base}/sim/truth") as answer:
            return seen, (await answer.json())["delays"]["reply"]


def case(workers: int, time_text: str, utilisation: float, seconds: float) -> None:
    shape = read_distribution(time_text, "time")
    rate = workers * utilisation / shape.mean_s
    if shape.name == "exponential":
        theory = erlang_c_mean(workers, utilisation, shape.mean_s)
    else:
        theory = pollaczek_mean(utilisation, shape.mean_s, shape.variation)
    process, ready = start_simulator(
        "--limits", "off", "--seed", str(SEED), "--bot-workers", str(workers),
        "--bot-delay", time_text, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    with process:
        seen, planted = uvloop.run(observe(ready, rate, seconds))
    long = statistics.fmean(
        drawn_mean(workers, time_text, rate, 100_000, arrivals=s, service=str(s)) for s in range(3)
    )
    same = drawn_mean(
        workers, time_text, rate, len(seen), arrivals=ARRIVALS, service=f"{SEED}:service"
    )
    print(
        f"{workers:3} x {time_text:20} utilisation {utilisation:.2f}: theory {theory * 1e3:7.2f} ms"
        f"   300,000 drawn {long * 1e3:7.2f}   | this stream: drawn {same * 1e3:7.2f}"
        f"   planted {planted['mean_ms']:7.2f}   seen {statistics.fmean(seen) * 1e3:7.2f}"
        f"   ({len(seen)} texts)"
    )
    if shape.name == "exponential":
        agree("mean", theory, *mean_interval(seen))
        queue = Queue(arrivals_per_s=rate, service_s=shape.mean_s, servers=workers)
        found = Blocks(parts_of(seen)).estimate(95)
        agree("p95", queue.response_percentile_s(95), found.low or 0.0, found.high or 0.0)


def mean_interval(seen: list[float]) -> tuple[float, float]:
    """95 % by the means of twenty batches in order of time."""
    size = len(seen) // BATCHES
    means = [statistics.fmean(seen[i * size : (i + 1) * size]) for i in range(BATCHES)]
    reach = float(t.ppf(0.975, BATCHES - 1)) * statistics.stdev(means) / BATCHES**0.5
    return statistics.fmean(means) - reach, statistics.fmean(means) + reach


def parts_of(seen: list[float]) -> list[list[tuple[float, int]]]:
    """The times in thirty parts, each as values and counts."""
    size = max(1, len(seen) // 30)
    return [
        [(max(value, 1e-6), 1) for value in seen[i : i + size]] for i in range(0, len(seen), size)
    ]


def agree(what: str, theory_s: float, low_s: float, high_s: float) -> None:
    """Whether Erlang C lies within the interval of what was seen."""
    word = "agrees" if low_s <= theory_s <= high_s else "DISAGREES"
    print(
        f"      {what:<4} by Erlang C {theory_s * 1e3:7.2f} ms, seen {low_s * 1e3:7.2f} to "
        f"{high_s * 1e3:7.2f} (95 %): {word}"
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="The service model against queueing theory.")
    parser.add_argument("--seconds", type=float, default=20)
    options = parser.parse_args()
    for workers, time_text in (
        (4, "exponential:20ms"),
        (1, "constant:10ms"),
        (1, "lognormal:10ms,1.5"),
    ):
        for utilisation in (0.5, 0.7, 0.85):
            case(workers, time_text, utilisation, options.seconds)
