"""The options of ``harness run``."""

from harness.cli.parsing import argument, option, section
from harness.cli.which_run import reports_option
from harness.config.target import FILE

DEFAULT_FILE = "locustfiles/launch.py"


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
        help="go on against a rule (approval, window, cap, preflight, limits); the record keeps it",
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
        option("--sim-profile", metavar="FILE", help="settings (TOML; simulate --profile)"),
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
