"""Run the guests of a locustfile or script against a target. Shows the progress, then a verdict,
and writes a report. Without --target it starts the embedded simulator.
"""

import sys

from harness.cli.parsing import Command, Namespace, argument, option, reports_option, section
from harness.config.run_config import LOG_FORMAT as LOG_FORMAT_SETTING
from harness.config.run_config import take_variable
from harness.config.target import FILE
from harness.errors import ConfigError
from harness.machine import too_many_workers
from harness.supervise.parameters import check_numbers
from harness.supervise.run import be_a_worker, supervise

DEFAULT_FILE = "locustfiles/launch.py"
LOG_FORMAT = option(
    "--log-format",
    "json: each line that is printed or logged is a JSON object (default: HARNESS_LOG_FORMAT, or "
    "text)",
    choices=("text", "json"),
)


def run(args: Namespace) -> int:
    """Nothing is sent before all that can be checked has been."""
    print_as_asked(args)
    check_numbers(args)
    if sentence := too_many_workers(args.expect_workers or 0):
        print(f"warning: {sentence}", file=sys.stderr)
    return be_a_worker(args) if args.worker else supervise(args)


def print_as_asked(args: Namespace) -> None:
    """Before anything is printed. Raises ConfigError for a variable that says neither."""
    # What we start is told by us: who looks at a locustfile answers in words.
    given = take_variable(LOG_FORMAT_SETTING.variable)
    args.log_format = args.log_format or given or LOG_FORMAT_SETTING.default
    if args.log_format not in ("text", "json"):
        raise ConfigError(
            f"{LOG_FORMAT_SETTING.variable}: expected text or json, got {args.log_format!r}"
        )
    if args.log_format == "json":
        from harness.streams import print_json

        print_json("harness.cli")


COMMAND = Command(
    run,
    [
        argument(
            "LOCUSTFILE",
            "the guests: a locustfile (Python) or a script (YAML)",
            default=DEFAULT_FILE,
        ),
        option(
            "--target TARGET",
            "where guests go: sim, a name from the targets file, or a URL on this machine",
            default="sim",
        ),
        option("--targets FILE", "file of named targets", default=str(FILE)),
        option(
            "--override RULE=REASON",
            "ignore one rule (approval, window, cap, preflight, limits); the report shows the "
            "reason",
            repeated=True,
        ),
        option("-u, --users N", "slots: the most guests at a time", type=int),
        option("-r, --spawn-rate N", "slots to start per second", type=float),
        option(
            "-t, --run-time TIME",
            "length of the run: 60s, 20m, 8h (default: the schedule's, else 1m); to shorten a "
            "schedule, use --over",
        ),
        option(
            "--stop-timeout TIME", "how long conversations may go on after the end", default="15s"
        ),
        option(
            "--term-grace TIME", "time to clear after SIGTERM (default: 8s; Docker kills after 10s)"
        ),
        option("--processes N", "worker processes; -1: one per core", type=int),
        option("--master", "lead workers on other machines"),
        option("--worker", "be a worker; the master gives the orders"),
        option("--expect-workers N", "start when this many workers are connected", type=int),
        option("--workers-within TIME", "how long the master waits for its workers", default="5m"),
        option("--master-host HOST", "address of the master", default="127.0.0.1"),
        option("--master-port PORT", "port of the master", default=5557),
        option(
            "--bind ADDRESS",
            "address on which the master listens; its traffic is not encrypted",
            default="127.0.0.1",
        ),
        option("--rate RATE", "arrival rate of a ready locustfile: 30/min or 2/s"),
        option("--over TIME", "length of a ready locustfile's schedule: 10m"),
        option("--stay TIME", "soak.py: how long the long-staying guests stay"),
        option("--silence TIME", "soak.py: how long these guests say nothing at a time"),
        option(
            "--occupancy N",
            "ignore the schedule; keep N guests in session, each followed by the next",
            type=int,
        ),
        option(
            "--arrivals",
            "spacing of arrivals, whatever the file says: independent (poisson) or even",
            choices=("poisson", "even"),
        ),
        option(
            "--seed N", "repeat the arrivals, tasks and think times of an earlier run", type=int
        ),
        option("--name TEXT", "name of this run in harness runs and in the report"),
        option("--note TEXT", "a remark, shown beside the name"),
        option("--slo FILE", "more objectives (TOML), in addition to those of the locustfile"),
        option("--warm-up TIME", "do not judge this much of the beginning"),
        option("--confident", "an objective that chance alone may have met gives NO_DATA"),
        LOG_FORMAT,
        option(
            "--metrics-port PORT", "serve Prometheus metrics on this port of 127.0.0.1", type=int
        ),
        reports_option(),
        option(
            "--disk-guard",
            "off: start and go on even if the disk may fill up",
            choices=("on", "off"),
            default="on",
        ),
        option("--ca-file PEM", "private CA of a wss target"),
        option("--origin ORIGIN", "Origin header of the upgrade"),
        *section(
            "guests",
            option(
                "--connections N",
                "new connections per minute, of all workers together; off: no limit (default: "
                "1000 for a target that is not on this machine)",
            ),
            option(
                "--pace",
                "off: guests may exceed the documented limits (default: documented)",
                choices=("documented", "off"),
            ),
            option(
                "--history",
                "fetch missed messages after a reconnect (default: on)",
                choices=("on", "off"),
            ),
            option(
                "--max-connection-age TIME",
                "replace connections of this age, such as 110m; off: never (default: as the "
                "locustfile says)",
            ),
            option(
                "--auto-join",
                "join as soon as the session is open, as a widget with autoStart does",
                choices=("on", "off"),
            ),
            option("--sign-ins FILE", "JWTs of signed-in guests, one per line"),
            option(
                "--greets",
                "does the flow send a greeting, after Join or before its first answer?",
                choices=("on", "off"),
            ),
            option(
                "--turns",
                "on: a guest waits for all messages of an answer, not only the first",
                choices=("on", "off"),
            ),
            option(
                "--turn-silence TIME",
                "an answer is complete after this time without a message (default: 1s)",
            ),
            option("--replies", "off: nobody answers what guests say", choices=("on", "off")),
            option(
                "--websockets",
                "library: the websockets library reads and writes all frames, to compare (default: "
                "fast)",
                choices=("fast", "library"),
            ),
            option(
                "--listen",
                "off: guests clear at once, without listening for late messages (default: on)",
                choices=("on", "off"),
            ),
        ),
        *section(
            "embedded simulator (target sim)",
            option(
                "--sim-fault NAME=P",
                "switch on a fault; harness simulate --help lists them",
                repeated=True,
            ),
            option("--sim-tls", "serve wss with a private CA"),
            option(
                "--sim-bot",
                "lifelike: greets, answers in several messages, is slow at times",
                choices=("default", "lifelike"),
            ),
            option(
                "--sim-from FILE",
                "answer as in a recording (a HAR, or a file of harness guest --record)",
            ),
            option(
                "--sim-profile FILE",
                "settings of the simulator (TOML), as for harness simulate --profile",
            ),
            option("--sim-bot-delay TIME", "time the bot needs for an answer"),
            option(
                "--sim-like",
                "live: behave as the real service does, not as its documentation says",
                choices=("live",),
            ),
            option(
                "--sim-limits",
                "rate limits of the simulator (default: off)",
                choices=("off", "documented"),
            ),
            option("--sim-seed N", "make the simulator repeatable", type=int),
            option("--keep-sim", "leave the simulator running, for example to try a sweep"),
        ),
    ],
    epilog=(
        "stopping: Ctrl-C once lets conversations finish and clears what is open; a second time\n"
        "clears at once; a third time leaves and says how to sweep.\n\n"
        "examples:\n"
        "  harness run\n"
        "  harness run shop.yaml --rate 30/min --over 5m --name 'new menu'\n"
        "  harness run locustfiles/smoke.py -u 5 -t 20s\n"
        "  harness run locustfiles/launch.py --processes 2 --sim-fault ignore_clear=0.05\n"
        "  harness run locustfiles/smoke.py --target 'ws://127.0.0.1:8080/v1?deploymentId=UUID'\n"
        "  harness run locustfiles/load.py --rate 30/min --over 10m --slo objectives.toml\n"
        "  harness run locustfiles/smoke.py -t 1m -- --loglevel DEBUG\n"
    ),
    usage="harness run [LOCUSTFILE] [OPTIONS] [-- LOCUST OPTIONS]",
    takes_rest=True,
)
