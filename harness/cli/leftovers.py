"""List the sessions of a run that have no proof of their end. Tokens are shortened, since a token
is the key to a conversation. The exit code is 0 if there are none, 4 if there are some, 6 if there
may be some that are not listed: in a ledger file that is damaged or gone, or of a worker that was
lost on another machine.

examples:
  harness leftovers latest
  harness leftovers --all
  harness leftovers 20261122-231500-ab12 --json
  harness leftovers reports/latest --csv --show-tokens > leftovers.csv
"""

import sys

from harness.cli.parsing import (
    Command,
    Namespace,
    json_option,
    option,
    reports_option,
    run_argument,
    take_run,
)
from harness.errors import ConfigError, ExitCode, UsageError
from harness.ledger.reader import read_account, read_leftovers
from harness.ledger.runs import leftover_row, show_leftovers, with_leftovers, write_csv
from harness.streams import open_console, show_json


def run(args: Namespace) -> int:
    """Print them."""
    if args.all == bool(args.run):
        raise UsageError("name a run or give --all, and not both")
    if args.json and args.csv:
        raise UsageError("--json and --csv do not go together")
    if args.all and not args.reports.is_dir():
        raise ConfigError(f"--reports: there is no folder {args.reports}/")
    runs = list(with_leftovers(args.reports)) if args.all else [take_run(args)]
    left = {directory: list(read_leftovers(directory)) for directory in runs}
    if args.json or args.csv:
        rows = [
            {"run": run_dir.name, **leftover_row(leftover, whole=args.show_tokens)}
            for run_dir, leftovers in left.items()
            for leftover in leftovers
        ]
        show_json({"leftovers": rows}) if args.json else write_csv(rows)
    elif not runs:
        open_console().print(f"nothing left over by any run in {args.reports}/")
    else:
        for directory, leftovers in left.items():
            rows = [leftover_row(leftover, whole=args.show_tokens) for leftover in leftovers]
            show_leftovers(directory, leftovers, rows)
    accounts = {directory: read_account(directory) for directory in runs}
    for directory, account in accounts.items():
        if gone := account.disconnected:
            print(
                f"{directory.name}: {gone:,} more sessions were only disconnected by the Platform "
                "API: nobody is held by them, and they lapse by themselves",
                file=sys.stderr,
            )
    unsure = [why for account in accounts.values() for why in account.unsure]
    for why in unsure:
        print(f"warning: {why}: there may be more (harness sweep --derive)", file=sys.stderr)
    if any(left.values()):
        return ExitCode.LEFTOVERS
    return ExitCode.INVALID if unsure else ExitCode.PASS


COMMAND = Command(
    run,
    run_argument(required=False),
    option("--all", "list those of every run in the folder, and of harness guest"),
    reports_option(),
    json_option(),
    option("--csv", "print one line per leftover"),
    option("--show-tokens", "print whole tokens; by default they are shortened"),
)
