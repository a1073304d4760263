"""The simulator's options: from the command line to ``Settings``, or one sentence why not."""

import argparse
from random import Random

from harness.errors import ConfigError
from harness.simulator.distributions import read_distribution
from harness.simulator.faults import FAULTS, read_fault
from harness.simulator.ids import Ids
from harness.simulator.limits import read_limits
from harness.simulator.settings import BotSettings, DeploymentSettings, Settings


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """All options of ``harness simulate``."""
    add = parser.add_argument
    add("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    add("--port", default="0", help="port to listen on; 0 takes any free one (the default)")
    add("--tls", action="store_true", help="serve wss with a private CA made at start")
    add("--seed", metavar="N", help="make ids, faults and service times repeatable")
    add(
        "--bot-delay",
        default="50ms",
        metavar="TIME",
        help="time the bot needs for an answer: 50ms, exponential:200ms, lognormal:200ms,0.5 "
        "(default: %(default)s)",
    )
    add(
        "--bot-workers",
        default="0",
        metavar="N",
        help="answers worked on at once, the rest waits in a queue; 0: no queue (the default)",
    )
    add(
        "--limits",
        default="documented",
        metavar="WHICH",
        help="documented (the default) or off: the service's rate limits and idle times",
    )
    add(
        "--limit",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="one limit by name, 0 for none, e.g. messages_per_session_per_second=2",
    )
    add(
        "--fault",
        action="append",
        default=[],
        metavar="NAME=PROBABILITY",
        help="switch on a fault; instead of a probability #3 is the third event and every:10 each "
        f"tenth; known: {', '.join(FAULTS)}",
    )


def read(args: argparse.Namespace) -> Settings:
    """Raises ConfigError for anything that makes no sense."""
    seed = None if args.seed is None else whole("--seed", args.seed, 0, 2**63)
    faults = pairs("--fault", args.fault)
    for name, value in faults.items():
        read_fault(name, value)
    source = Ids(None if seed is None else Random(f"{seed}:names").getrandbits(32))
    deployment = DeploymentSettings(id=source.uuid(), flow_id=source.uuid(), queue_id=source.uuid())
    return Settings(
        deployments=(deployment,),
        host=args.host,
        port=whole("--port", args.port, 0, 65535),
        tls=args.tls,
        seed=seed,
        limits=read_limits(args.limits, pairs("--limit", args.limit)),
        bot=BotSettings(
            workers=whole("--bot-workers", args.bot_workers, 0, 100_000),
            time=read_distribution(args.bot_delay, "--bot-delay"),
        ),
        faults=dict(faults),
    )


def whole(option: str, text: str, low: int, high: int) -> int:
    """A whole number within bounds."""
    try:
        value = int(text)
    except ValueError:
        value = low - 1
    if not low <= value <= high:
        raise ConfigError(f"{option}: expected a whole number from {low} to {high}, got {text!r}")
    return value


def pairs(option: str, texts: list[str]) -> dict[str, str]:
    """NAME=VALUE, several times."""
    found: dict[str, str] = {}
    for text in texts:
        name, sign, value = text.partition("=")
        if not sign or not name:
            raise ConfigError(f"{option}: expected NAME=VALUE, got {text!r}")
        found[name.strip()] = value.strip()
    return found
