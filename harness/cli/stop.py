"""``harness stop``: end a run that is going on, in order."""

import argparse

from harness.cli.which_run import add_reports
from harness.exit_codes import ExitCode
from harness.ledger.runs import ask_to_stop, resolve_going_on


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.description = (
        "End a run that is going on, from another terminal, as Ctrl-C once would: no new guests, "
        "conversations may finish, what is still open is cleared, then the report."
    )
    parser.epilog = "examples:\n  harness stop latest\n"
    parser.add_argument("run", help="a run's directory, its id, or 'latest'")
    add_reports(parser)


def run(args: argparse.Namespace) -> int:
    """Ask, and say so."""
    run_dir = resolve_going_on(args.run, args.reports)
    ask_to_stop(run_dir)
    print(f"{run_dir.name} ends: no new guests, and what is open is cleared")
    return ExitCode.PASS
