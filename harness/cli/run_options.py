"""The options of ``harness run`` and what can be said against them before anything is done."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from harness.cli.parsing import Namespace, argument, option, section
from harness.cli.which_run import reports_option
from harness.config.run_config import BEHAVIOUR, PARAMETERS, Setting
from harness.config.target import FILE
from harness.errors import ConfigError, listed
from harness.units import rate_per_s, seconds

DEFAULT_FILE = "locustfiles/launch.py"


def check_numbers(args: Namespace) -> None:
    for name in ("users", "spawn_rate", "occupancy"):
        value = getattr(args, name)
        if value is not None and value <= 0:
            raise ConfigError(f"--{name.replace('_', '-')}: expected more than zero, got {value}")
    if args.processes is not None and (args.processes < -1 or args.processes == 0):
        raise ConfigError(f"--processes: expected one or more, or -1, got {args.processes}")
    if args.expect_workers is not None and args.expect_workers < 1:
        raise ConfigError(f"--expect-workers: expected one or more, got {args.expect_workers}")
    clashing = [
        ("--master", args.master and args.worker, "--worker"),
        ("--master", args.master and args.processes, "--processes"),
        ("--worker", args.worker and args.slo, "--slo"),
        ("--worker", args.worker and args.expect_workers, "--expect-workers"),
        ("--worker", args.worker and args.users, "--users"),
        ("--worker", args.worker and args.spawn_rate, "--spawn-rate"),
        ("--worker", args.worker and args.run_time, "--run-time"),
        ("--worker", args.worker and args.metrics_port, "--metrics-port"),
        *[
            ("--occupancy", args.occupancy and given, option)
            for option, given in (
                ("--users", args.users),
                ("--rate", args.rate),
                ("--over (say -t)", args.over),
                ("--arrivals", args.arrivals),
            )
        ],
        *[
            ("--target", args.target != "sim" and given, option)
            for option, given in (
                ("--sim-fault", args.sim_fault),
                ("--sim-tls", args.sim_tls),
                ("--sim-bot", args.sim_bot),
                ("--sim-like", args.sim_like),
                ("--sim-from", args.sim_from),
                ("--sim-bot-delay", args.sim_bot_delay),
                ("--sim-seed", args.sim_seed is not None),
                ("--keep-sim", args.keep_sim),
            )
        ],
    ]
    together = [f"{one} and {other}" for one, clash, other in clashing if clash]
    if len(together) == 1:
        raise ConfigError(f"{together[0]} do not go together")
    if together:
        raise ConfigError(listed("these options do not go together", together))
    if args.metrics_port is not None and not 0 < args.metrics_port < 65536:
        raise ConfigError(f"--metrics-port: expected 1 to 65535, got {args.metrics_port}")
    seconds(args.stop_timeout, "--stop-timeout")
    if args.term_grace is not None:
        seconds(args.term_grace, "--term-grace")
    if seconds(args.workers_within, "--workers-within") < 1:
        raise ConfigError(f"--workers-within: expected 1s or more, got {args.workers_within}")
    if args.master and args.expect_workers is None:
        raise ConfigError("--master: say how many workers to wait for (--expect-workers N)")
    if args.expect_workers is not None and not args.master:
        raise ConfigError("--expect-workers goes with --master")


def asked_of(args: Namespace) -> dict[str, str]:
    """The environment by which ready locustfiles learn what is asked of them."""
    if args.rate is not None:
        rate_per_s(args.rate, "--rate")
    if args.over is not None:
        seconds(args.over, "--over")
    for name in ("stay", "silence"):
        if getattr(args, name) is not None:
            seconds(getattr(args, name), f"--{name}")
    return _given(args, PARAMETERS)


def conduct_of(args: Namespace) -> dict[str, str]:
    """The environment that says how guests conduct themselves; what is not given stays open."""
    if args.sign_ins is not None and not Path(args.sign_ins).is_file():
        raise ConfigError(f"--sign-ins: there is no file {args.sign_ins}")
    return _given(args, BEHAVIOUR)


def _given(args: Namespace, settings: Iterable[Setting]) -> dict[str, str]:
    """Texts by variable, of what was given."""
    values = {one.variable: getattr(args, one.key) for one in settings}
    return {name: str(value) for name, value in values.items() if value is not None}


def run_time_of(args: Namespace, plan: dict[str, Any]) -> float:
    if args.run_time is not None:
        run_time_s = seconds(args.run_time, "--run-time")
    elif plan["arrivals"] is not None:
        run_time_s = plan["arrivals"]["duration_s"] + 2  # Locust's clock starts before the guests
    else:
        run_time_s = 60.0
    if run_time_s < 1:
        raise ConfigError(f"--run-time: expected one second or more, got {args.run_time}")
    return run_time_s


def simulator_options(args: Namespace) -> list[str]:
    options = ["--limits", args.sim_limits or ("documented" if args.sim_like else "off")]
    if args.sim_like:
        options += ["--like", args.sim_like]
    for fault in args.sim_fault:
        options += ["--fault", fault]
    if args.sim_tls:
        options.append("--tls")
    if args.sim_bot:
        options += ["--bot", args.sim_bot]
    if args.sim_from:
        options += ["--from", args.sim_from]
    if args.sim_bot_delay:
        options += ["--bot-delay", args.sim_bot_delay]
    if args.sim_seed is not None:
        options += ["--seed", str(args.sim_seed)]
    return options


PARAMS = [
    argument(
        "locustfile",
        default=DEFAULT_FILE,
        metavar="LOCUSTFILE",
        help="the guests: Python, or a script (YAML)",
    ),
    option(
        "--target",
        default="sim",
        help="sim, a name of the targets file, or a URL on this machine",
    ),
    option("--targets", default=str(FILE), metavar="FILE", help="named targets"),
    option(
        "--override",
        repeated=True,
        metavar="RULE=REASON",
        help="go on against a rule (approval, window, cap, preflight); kept in the record",
    ),
    option("-u", "--users", type=int, metavar="N", help="slots: guests at a time, at most"),
    option("-r", "--spawn-rate", type=float, metavar="N", help="slots started a second"),
    option("-t", "--run-time", metavar="TIME", help="e.g. 60s, 20m, 8h"),
    option(
        "--stop-timeout",
        default="15s",
        metavar="TIME",
        help="time for conversations to finish at the end",
    ),
    option(
        "--term-grace",
        metavar="TIME",
        help=(
            "after SIGTERM, be cleared within this (8s; docker kills after 10s): "
            "conversations get what clearing leaves of it"
        ),
    ),
    option("--processes", type=int, metavar="N", help="worker processes (-1: one a core)"),
    option("--master", flag=True, help="lead workers that run elsewhere"),
    option("--worker", flag=True, help="be such a worker; its orders come from the master"),
    option("--expect-workers", type=int, metavar="N", help="begin when so many are there"),
    option(
        "--workers-within",
        default="5m",
        metavar="TIME",
        help="a master waits no longer for its workers",
    ),
    option("--master-host", default="127.0.0.1", metavar="HOST", help="where the master is"),
    option("--master-port", type=int, default=5557, metavar="PORT", help="its port"),
    option(
        "--bind",
        default="127.0.0.1",
        metavar="ADDRESS",
        help="where a master listens; the traffic is neither signed nor encrypted",
    ),
    option("--rate", metavar="RATE", help="height of a ready locustfile, e.g. 30/min or 2/s"),
    option("--over", metavar="TIME", help="length of a ready locustfile, e.g. 10m"),
    option("--stay", metavar="TIME", help="how long the long-staying guests of soak.py remain"),
    option("--silence", metavar="TIME", help="for how long at a time these say nothing"),
    option(
        "--occupancy",
        type=int,
        metavar="N",
        help="keep N guests in session, one after the other, instead of the locustfile's schedule",
    ),
    option(
        "--arrivals",
        choices=("poisson", "even"),
        help="independent or evenly spaced, instead of what the file says",
    ),
    option("--seed", type=int, metavar="N", help="repeat arrivals, tasks and think times"),
    option("--name", metavar="TEXT", help="what harness runs calls this run"),
    option("--note", metavar="TEXT", help="a remark that harness runs shows"),
    option("--slo", metavar="FILE", help="objectives (TOML) beside those of the locustfile"),
    option(
        "--warm-up", metavar="TIME", help="leave so much of the beginning out of what is judged"
    ),
    option(
        "--confident",
        flag=True,
        help="an objective that is met within chance is not enough: NO_DATA then",
    ),
    option("--metrics-port", type=int, metavar="PORT", help="Prometheus metrics on loopback"),
    reports_option(),
    option(
        "--disk-guard",
        choices=("on", "off"),
        default="on",
        help="off: begin though the disk may not hold the run, and never stop for its sake",
    ),
    option("--ca-file", metavar="PEM", help="private CA of a wss target"),
    option("--origin", metavar="ORIGIN", help="Origin header of the upgrade"),
    *section(
        "guests",
        option(
            "--connections",
            metavar="N",
            help=(
                "new connections a minute at most, of all workers together, or off (the documented "
                "1000 for targets that are not on this machine)"
            ),
        ),
        option("--pace", choices=("documented", "off"), help="off: guests may exceed the limits"),
        option(
            "--history",
            choices=("on", "off"),
            help="fetch what was missed after a reconnect (on)",
        ),
        option(
            "--max-connection-age",
            metavar="TIME",
            help="guests replace a connection so old, as 110m; or off (as their class says)",
        ),
        option(
            "--auto-join",
            choices=("on", "off"),
            help="join when a session opens, as with autoStart",
        ),
        option(
            "--sign-ins",
            metavar="FILE",
            help="JWTs, one a line: guests are signed in with them",
        ),
        option(
            "--greets",
            choices=("on", "off"),
            help="whether the flow says something by itself, after Join or before its first answer",
        ),
        option(
            "--turns",
            choices=("on", "off"),
            help="on: guests wait until the other side has said all",
        ),
        option(
            "--turn-silence",
            metavar="TIME",
            help="after so long without a message the other side has said all (1s)",
        ),
        option("--replies", choices=("on", "off"), help="off: what guests say expects no answer"),
        option(
            "--listen",
            choices=("on", "off"),
            help="off: no guest stays silent before Clear to hear what comes unasked for (on)",
        ),
    ),
    *section(
        "embedded simulator (target sim)",
        option(
            "--sim-fault",
            repeated=True,
            metavar="NAME=P",
            help="switch on a fault (harness simulate --help lists them)",
        ),
        option("--sim-tls", flag=True, help="serve wss with a private CA"),
        option(
            "--sim-bot",
            choices=("default", "lifelike"),
            help="lifelike greets, answers in several messages, and is slow at times",
        ),
        option("--sim-from", metavar="FILE", help="answer as in a recording (simulate --from)"),
        option("--sim-bot-delay", metavar="TIME", help="time the bot needs for an answer"),
        option(
            "--sim-like",
            choices=("live",),
            help="live: as the real service is (simulate --like)",
        ),
        option(
            "--sim-limits",
            choices=("off", "documented"),
            help="rate limits (default: off, as launch.py exceeds 1,000 connections/min)",
        ),
        option("--sim-seed", type=int, metavar="N", help="make the simulator repeatable"),
        option("--keep-sim", flag=True, help="leave the simulator running, to sweep afterwards"),
    ),
]
