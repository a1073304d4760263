"""Pause a running test. Guests in session go on and clear as always; no new guests come. Arrivals
that are due meanwhile are counted as paused, not as dropped, and are not made up for. Works from
another terminal, for all processes of the run.

examples:
  harness pause latest
  harness pause latest --resume
  harness stop latest          (ends it in order instead)
"""

from harness.cli.parsing import Command, Namespace, option, reports_option, run_argument
from harness.errors import ExitCode
from harness.ledger.runs import ask_to_go_on, ask_to_pause, resolve_going_on


def run(args: Namespace) -> int:
    """Ask, and say what happens now."""
    run_dir = resolve_going_on(args.run, args.reports)
    if args.resume:
        was = ask_to_go_on(run_dir)
        print(f"{run_dir.name} goes on" if was else f"{run_dir.name} was not paused")
    else:
        ask_to_pause(run_dir)
        print(f"{run_dir.name} is paused; to go on: harness pause {run_dir.name} --resume")
    return ExitCode.PASS


COMMAND = Command(
    run,
    run_argument(),
    option("--resume", "let new guests come again"),
    reports_option(),
)
