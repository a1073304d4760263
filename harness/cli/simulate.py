"""``harness simulate``: the local twin of the service, until it is told to stop."""

import argparse

from harness.exit_codes import ExitCode
from harness.simulator import options

HELP = "run the local twin of the service"


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.description = (
        "Runs a local stand-in for the Web Messaging service. When it listens it prints one JSON "
        "line with its url and deployment id; it stops on Ctrl-C or SIGTERM."
    )
    parser.epilog = (
        "examples:\n"
        "  harness simulate\n"
        "  harness simulate --port 8080 --tls --bot-delay exponential:200ms\n"
        "  harness simulate --seed 7 --fault ignore_clear=0.05 --fault cut=0.02,how=rst\n"
        "  harness simulate --limits off --bot lifelike --seed 1\n"
        "  harness simulate --like live\n"
        "  harness simulate --bot-greets text --bot-messages 2 --bot-gap 1s --questions FILE\n"
        "  harness simulate --fault no_reply=1,from=9s --fault interruption=0.1\n\n"
        "while it runs (PORT as in the url):\n"
        "  curl http://127.0.0.1:PORT/sim/truth\n"
        "  curl http://127.0.0.1:PORT/sim/questions   (each text, choice, Join and its answers)\n"
        "  curl -X PUT -d '{\"ignore_clear\":0.1}' http://127.0.0.1:PORT/sim/faults\n"
    )
    options.add_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Serve until a signal."""
    settings = options.read(args)
    from harness.simulator import server  # the libraries are needed only once the options are fine

    server.run(settings)
    return ExitCode.PASS
