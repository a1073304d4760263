"""``harness stop``: end a run that is going on, in order."""

from harness.cli.parsing import Command, Namespace, argument
from harness.cli.which_run import reports_option
from harness.exit_codes import ExitCode
from harness.ledger.runs import ask_to_stop, resolve_going_on


def run(args: Namespace) -> int:
    """Ask, and say so."""
    run_dir = resolve_going_on(args.run, args.reports)
    ask_to_stop(run_dir)
    print(f"{run_dir.name} ends: no new guests, and what is open is cleared")
    return ExitCode.PASS


COMMAND = Command(
    "stop",
    run,
    [
        argument("run", help="a run's directory, its id, or 'latest'"),
        reports_option(),
    ],
    description=(
        "End a run that is going on, from another terminal, as Ctrl-C once would: no new guests, "
        "conversations may finish, what is still open is cleared, then the report."
    ),
    epilog="examples:\n  harness stop latest\n",
)
