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
        help="the guests: a locustfile (Python) or a script (YAML)",
    ),
    option(
        "--target",
        default="sim",
        help="where guests go: sim, a name from the targets file, or a URL on this machine",
    ),
    option("--targets", default=str(FILE), metavar="FILE", help="file of named targets"),
    option(
        "--override",
        repeated=True,
        metavar="RULE=REASON",
        help=(
            "ignore one rule (approval, window, cap, preflight, limits); the report shows the "
            "reason"
        ),
    ),
    option("-u", "--users", type=int, metavar="N", help="slots: the most guests at a time"),
    option("-r", "--spawn-rate", type=float, metavar="N", help="slots to start per second"),
    option(
        "-t",
        "--run-time",
        metavar="TIME",
        help="length of the run: 60s, 20m, 8h (default: the schedule's, else 1m)",
    ),
    option(
        "--stop-timeout",
        default="15s",
        metavar="TIME",
        help="how long conversations may go on after the end",
    ),
    option(
        "--term-grace",
        metavar="TIME",
        help="time to clear after SIGTERM (default: 8s; Docker kills after 10s)",
    ),
    option("--processes", type=int, metavar="N", help="worker processes; -1: one per core"),
    option("--master", flag=True, help="lead workers on other machines"),
    option("--worker", flag=True, help="be a worker; the master gives the orders"),
    option(
        "--expect-workers", type=int, metavar="N", help="start when this many workers are connected"
    ),
    option(
        "--workers-within",
        default="5m",
        metavar="TIME",
        help="how long the master waits for its workers",
    ),
    option("--master-host", default="127.0.0.1", metavar="HOST", help="address of the master"),
    option("--master-port", type=int, default=5557, metavar="PORT", help="port of the master"),
    option(
        "--bind",
        default="127.0.0.1",
        metavar="ADDRESS",
        help="address on which the master listens; its traffic is not encrypted",
    ),
    option("--rate", metavar="RATE", help="arrival rate of a ready locustfile: 30/min or 2/s"),
    option("--over", metavar="TIME", help="length of a ready locustfile's schedule: 10m"),
    option("--stay", metavar="TIME", help="soak.py: how long the long-staying guests stay"),
    option(
        "--silence", metavar="TIME", help="soak.py: how long these guests say nothing at a time"
    ),
    option(
        "--occupancy",
        type=int,
        metavar="N",
        help="ignore the schedule; keep N guests in session, each followed by the next",
    ),
    option(
        "--arrivals",
        choices=("poisson", "even"),
        help="spacing of arrivals, whatever the file says: independent (poisson) or even",
    ),
    option(
        "--seed",
        type=int,
        metavar="N",
        help="repeat the arrivals, tasks and think times of an earlier run",
    ),
    option("--name", metavar="TEXT", help="name of this run in harness runs and in the report"),
    option("--note", metavar="TEXT", help="a remark, shown beside the name"),
    option(
        "--slo",
        metavar="FILE",
        help="more objectives (TOML), in addition to those of the locustfile",
    ),
    option("--warm-up", metavar="TIME", help="do not judge this much of the beginning"),
    option(
        "--confident",
        flag=True,
        help="an objective that chance alone may have met gives NO_DATA",
    ),
    option(
        "--metrics-port",
        type=int,
        metavar="PORT",
        help="serve Prometheus metrics on this port of 127.0.0.1",
    ),
    reports_option(),
    option(
        "--disk-guard",
        choices=("on", "off"),
        default="on",
        help="off: start and go on even if the disk may fill up",
    ),
    option("--ca-file", metavar="PEM", help="private CA of a wss target"),
    option("--origin", metavar="ORIGIN", help="Origin header of the upgrade"),
    *section(
        "guests",
        option(
            "--connections",
            metavar="N",
            help=(
                "new connections per minute, of all workers together; off: no limit (default: "
                "1000 for a target that is not on this machine)"
            ),
        ),
        option(
            "--pace",
            choices=("documented", "off"),
            help="off: guests may exceed the documented limits (default: documented)",
        ),
        option(
            "--history",
            choices=("on", "off"),
            help="fetch missed messages after a reconnect (default: on)",
        ),
        option(
            "--max-connection-age",
            metavar="TIME",
            help=(
                "replace connections of this age, such as 110m; off: never (default: as the "
                "locustfile says)"
            ),
        ),
        option(
            "--auto-join",
            choices=("on", "off"),
            help="join as soon as the session is open, as a widget with autoStart does",
        ),
        option(
            "--sign-ins",
            metavar="FILE",
            help="JWTs of signed-in guests, one per line",
        ),
        option(
            "--greets",
            choices=("on", "off"),
            help="does the flow send a greeting, after Join or before its first answer?",
        ),
        option(
            "--turns",
            choices=("on", "off"),
            help="on: a guest waits for all messages of an answer, not only the first",
        ),
        option(
            "--turn-silence",
            metavar="TIME",
            help="an answer is complete after this time without a message (default: 1s)",
        ),
        option("--replies", choices=("on", "off"), help="off: nobody answers what guests say"),
        option(
            "--websockets",
            choices=("fast", "library"),
            help="library: the websockets library reads and writes all frames, to compare (fast)",
        ),
        option(
            "--listen",
            choices=("on", "off"),
            help="off: guests clear at once, without listening for late messages (default: on)",
        ),
    ),
    *section(
        "embedded simulator (target sim)",
        option(
            "--sim-fault",
            repeated=True,
            metavar="NAME=P",
            help="switch on a fault; harness simulate --help lists them",
        ),
        option("--sim-tls", flag=True, help="serve wss with a private CA"),
        option(
            "--sim-bot",
            choices=("default", "lifelike"),
            help="lifelike: greets, answers in several messages, is slow at times",
        ),
        option(
            "--sim-from",
            metavar="FILE",
            help="answer as in a recording (a HAR, or a file of harness guest --record)",
        ),
        option(
            "--sim-profile",
            metavar="FILE",
            help="settings of the simulator (TOML), as for harness simulate --profile",
        ),
        option("--sim-bot-delay", metavar="TIME", help="time the bot needs for an answer"),
        option(
            "--sim-like",
            choices=("live",),
            help="live: behave as the real service does, not as its documentation says",
        ),
        option(
            "--sim-limits",
            choices=("off", "documented"),
            help="rate limits of the simulator (default: off)",
        ),
        option("--sim-seed", type=int, metavar="N", help="make the simulator repeatable"),
        option(
            "--keep-sim", flag=True, help="leave the simulator running, for example to try a sweep"
        ),
    ),
]
