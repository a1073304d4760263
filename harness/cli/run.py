"""``harness run``: simulator if asked for, Locust as a process, progress, report, verdict."""

from harness.cli.parsing import Command, Namespace
from harness.cli.run_options import PARAMS, print_as_asked
from harness.supervise.parameters import check_numbers
from harness.supervise.run import be_a_worker, supervise


def run(args: Namespace) -> int:
    """Nothing is sent before all that can be checked has been."""
    print_as_asked(args)
    check_numbers(args)
    return be_a_worker(args) if args.worker else supervise(args)


COMMAND = Command(
    "run",
    run,
    PARAMS,
    description=(
        "Run the guests of a locustfile or script against a target. Shows the progress, then a "
        "verdict, and writes a report. Without --target it starts the embedded simulator."
    ),
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
