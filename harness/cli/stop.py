"""``harness stop``: end a run that is going on, in order."""

import argparse
from pathlib import Path

from harness.exit_codes import ExitCode
from harness.report.asking import ask_to_stop, resolve_going_on
from harness.report.rundir import REPORTS


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.description = (
        "End a run that is going on, from another terminal, as Ctrl-C once would: no new guests, "
        "conversations may finish, what is still open is cleared, then the report."
    )
    parser.epilog = "examples:\n  harness stop latest\n"
    parser.add_argument("run", help="a run's directory, its id, or 'latest'")
    parser.add_argument(
        "--reports-dir", type=Path, default=REPORTS, help="where runs are kept (%(default)s)"
    )


def run(args: argparse.Namespace) -> int:
    """Ask, and say so."""
    run_dir = resolve_going_on(args.run, args.reports_dir)
    ask_to_stop(run_dir)
    print(f"{run_dir.name} ends: no new guests, and what is open is cleared")
    return ExitCode.PASS
