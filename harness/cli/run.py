"""Run the guests of a locustfile or script against a target. Shows the progress, then a verdict,
and writes a report. Without --target it starts the embedded simulator.

stopping: Ctrl-C once lets conversations finish and clears what is open; a second time
clears at once; a third time leaves and says how to sweep.

examples:
  harness run
  harness run shop.yaml --rate 30/min --over 5m --name 'new menu'
  harness run locustfiles/smoke.py -u 5 -t 20s
  harness run locustfiles/launch.py --processes 2 --sim-fault ignore_clear=0.05
  harness run locustfiles/smoke.py --target 'ws://127.0.0.1:8080/v1?deploymentId=UUID'
  harness run locustfiles/load.py --rate 30/min --over 10m --slo objectives.toml
  harness run locustfiles/smoke.py -t 1m -- --loglevel DEBUG
"""

from harness.cli.parsing import (
    Command,
    Namespace,
    argument,
    choose_log_format,
    option,
    reports_option,
    targets_option,
    tell,
)
from harness.config import run_config as settings
from harness.config.run_config import LOG_FORMAT, MASTER_PORT, STOP_TIMEOUT
from harness.machine import too_many_processes, too_many_workers
from harness.supervise.parameters import DEFAULT, check_numbers
from harness.supervise.run import supervise
from harness.supervise.worker import run_worker


def run(args: Namespace) -> int:
    """Nothing is sent before all that can be checked has been."""
    choose_log_format(args)
    check_numbers(args)
    for sentence in (
        too_many_workers(args.expect_workers or 0),
        too_many_processes(args.processes),
    ):
        if sentence:
            tell(f"warning: {sentence}")
    return run_worker(args) if args.worker else supervise(args)


COMMAND = Command(
    run,
    argument(
        "LOCUSTFILE", "the guests: a locustfile (Python) or a script (YAML)", default=str(DEFAULT)
    ),
    option(settings.TARGET, default="sim"),
    targets_option(str),
    option(settings.OVERRIDE, repeated=True),
    option("-u, --users N", "slots: the most guests at a time", type=int),
    option("-r, --spawn-rate N", "slots to start per second", type=float),
    option(
        "-t, --run-time TIME",
        "length of the run: 60s, 20m, 8h (default: the schedule's, else 1m); to shorten a "
        "schedule, use --over",
    ),
    option(
        "--stop-timeout TIME",
        "how long conversations may go on after the end",
        default=STOP_TIMEOUT,
    ),
    option(settings.TERM_GRACE),
    option("--processes N", "worker processes; -1: one per core", type=int),
    option("--master", "lead workers on other machines"),
    option("--worker", "be a worker; the master gives the orders"),
    option("--expect-workers N", "start when this many workers are connected", type=int),
    option("--workers-within TIME", "how long the master waits for its workers", default="5m"),
    option("--master-host HOST", "address of the master", default="127.0.0.1"),
    option("--master-port PORT", "port of the master", default=MASTER_PORT),
    option("--bind ADDRESS", "where the master listens (not encrypted)", default="127.0.0.1"),
    *map(option, (settings.RATE, settings.OVER, settings.STAY, settings.SILENCE)),
    option(settings.OCCUPANCY, type=int),
    option(settings.ARRIVALS),
    option(settings.SEED, type=int),
    option("--name TEXT", "name of this run in harness runs and in the report"),
    option("--note TEXT", "a remark, shown beside the name"),
    option(settings.SLO),
    option(settings.WARM_UP),
    option(settings.CONFIDENT.option, settings.CONFIDENT.help),
    option(LOG_FORMAT),
    option(settings.METRICS_PORT, type=int),
    reports_option(),
    option(settings.DISK_GUARD, default=settings.DISK_GUARD.default),
    option(settings.CA_FILE),
    option(settings.ORIGIN),
    "guests",
    *map(option, settings.BEHAVIOUR),
    "embedded simulator (target sim)",
    option("--sim-fault NAME=P", "switch on a fault: see harness simulate --help", repeated=True),
    option("--sim-tls", "serve wss with a private CA"),
    option(
        "--sim-bot",
        "lifelike: greets, answers in several messages, is slow at times",
        choices=("default", "lifelike"),
    ),
    option("--sim-from FILE", "answer as in a recording (a HAR, or of harness guest --record)"),
    option("--sim-profile FILE", "its settings (TOML), as for harness simulate --profile"),
    option("--sim-bot-delay TIME", "time the bot needs for an answer"),
    option(
        "--sim-like",
        "live: behave as the real service does, not as its documentation says",
        choices=("live",),
    ),
    option("--sim-limits", "its rate limits (default: off)", choices=("off", "documented")),
    option("--sim-seed N", "make the simulator repeatable", type=int),
    option("--keep-sim", "leave the simulator running, for example to try a sweep"),
    usage="harness run [LOCUSTFILE] [OPTIONS] [-- LOCUST OPTIONS]",
    takes_rest=True,
)
