"""List the runs, newest first: name, note, target, verdict, leftovers and age.

examples:
  harness runs
  harness runs --json
  harness runs --prune 30d
"""

from rich.table import Table

from harness.cli.parsing import Command, Namespace, json_option, option, reports_option
from harness.errors import ExitCode, UsageError
from harness.ledger.runs import Listed, listed_runs, prune
from harness.streams import open_console, plain_table, show_json
from harness.units import duration_text, seconds


def run(args: Namespace) -> int:
    """List them, or take old ones away."""
    if args.dry_run and args.prune is None:
        raise UsageError("--dry-run goes with --prune")
    if args.json and args.prune is not None:
        raise UsageError("--json and --prune do not go together")
    console = open_console()
    listed = listed_runs(args.reports)
    if args.prune is not None:
        gone = prune(listed, older_s=seconds(args.prune, "--prune"), dry_run=args.dry_run)
        verb = "would remove" if args.dry_run else "removed"
        for one in gone:
            console.print(f"{verb} {one.run_id}")
        console.print(f"{verb} {len(gone):,} of {len(listed):,} runs", style="bold")
        return ExitCode.PASS
    if args.json:
        rows = [one.as_dict() for one in listed]
        show_json({"runs": rows})
    elif not listed:
        console.print(f"there is no run in {args.reports}/ yet")
    else:
        console.print(_table(listed))
    return ExitCode.PASS


def _table(listed: list[Listed]) -> Table:
    table = plain_table("run", "name", "target", "verdict", "left over", "age", "note", left=True)
    table.columns[4].justify = "right"
    for one in listed:
        left = "?" if one.leftovers is None else f"{one.leftovers:,}"
        style = "red" if one.leftovers else ""
        verdict, age = one.verdict or one.state, duration_text(round(one.age_s))
        table.add_row(one.run_id, one.name, one.target, verdict, left, age, one.note, style=style)
    return table


COMMAND = Command(
    run,
    reports_option(),
    option(
        "--prune TIME",
        "remove runs that ended longer ago than this, but never the newest one, and none "
        "with leftovers or a damaged ledger",
    ),
    option("--dry-run", "with --prune: only say what would be removed"),
    json_option(),
)
