"""End a running test from another terminal, as pressing Ctrl-C once does. No new guests come,
conversations may finish, open sessions are cleared, and the report is written.

examples:
  harness stop latest
"""

from harness.cli.parsing import Command, Namespace, reports_option, run_argument
from harness.errors import ExitCode
from harness.ledger.runs import ask_to_stop, resolve_going_on


def run(args: Namespace) -> int:
    """Ask, and say so."""
    run_dir = resolve_going_on(args.run, args.reports)
    ask_to_stop(run_dir)
    print(f"{run_dir.name} ends: no new guests, and what is open is cleared")
    return ExitCode.PASS


COMMAND = Command(
    run,
    run_argument(),
    reports_option(),
)
