"""``harness leftovers``: the sessions of a run that have no proof of their end."""

import csv
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import orjson
from rich.table import Table

from harness.cli.parsing import Command, Namespace, argument, option
from harness.cli.which_run import reports_option, take_run
from harness.errors import ConfigError
from harness.exit_codes import ExitCode
from harness.ledger.reader import Leftover, read_account, read_leftovers
from harness.ledger.runs import sweep_command, with_leftovers
from harness.report.console import open_console
from harness.report.csv_files import harmless
from harness.units import duration_text

SHOWN = 40
"""Rows shown in the terminal; the rest is counted."""


def run(args: Namespace) -> int:
    """Print them."""
    if args.all == bool(args.run):
        raise ConfigError("expected either a run or --all")
    runs = list(with_leftovers(args.reports)) if args.all else [take_run(args)]
    found = {directory: list(read_leftovers(directory)) for directory in runs}
    if args.json or args.csv:
        rows = [
            {"run": run_dir.name, **_row(leftover, whole=args.show_tokens)}
            for run_dir, leftovers in found.items()
            for leftover in leftovers
        ]
        _write_json(rows) if args.json else _write_csv(rows)
    elif not runs:
        open_console().print(f"nothing left over by any run in {args.reports}/", soft_wrap=True)
    else:
        for directory, leftovers in found.items():
            rows = [_row(leftover, whole=args.show_tokens) for leftover in leftovers]
            _show(directory, leftovers, rows)
    for directory in runs:
        if gone := read_account(directory).disconnected:
            print(
                f"{directory.name}: {gone:,} more sessions were only disconnected by the Platform "
                "API: nobody is held by them, and they lapse by themselves",
                file=sys.stderr,
            )
    damaged = [damage for directory in runs for damage in read_account(directory).damaged]
    for damage in damaged:
        print(f"warning: {damage}: there may be more (harness sweep --derive)", file=sys.stderr)
    if any(found.values()):
        return ExitCode.LEFTOVERS
    return ExitCode.INVALID if damaged else ExitCode.PASS


def _write_json(rows: list[dict[str, Any]]) -> None:
    sys.stdout.write(orjson.dumps({"leftovers": rows}, option=orjson.OPT_INDENT_2).decode() + "\n")


def _write_csv(rows: list[dict[str, Any]]) -> None:
    writer = csv.DictWriter(sys.stdout, _COLUMNS, lineterminator="\n")
    writer.writeheader()
    for row in rows:
        shown = {**row}
        for name in ("reason", "worker", "message_id", "run"):  # tokens stay as they are
            shown[name] = harmless(str(row[name]))
        writer.writerow(shown)


_COLUMNS = (
    "token", "state", "reason", "holds_conversation", "age_s", "worker", "message_id", "run"
)  # fmt: skip


def _row(leftover: Leftover, *, whole: bool) -> dict[str, Any]:
    return {
        "token": leftover.token if whole else leftover.short_token,
        "state": leftover.state,
        "reason": leftover.reason,
        "holds_conversation": leftover.holds_conversation,
        "age_s": round(leftover.age_s, 1),
        "worker": leftover.worker,
        "message_id": leftover.message_id,
    }


def _show(directory: Path, found: list[Leftover], rows: list[dict[str, Any]]) -> None:
    console = open_console()
    if not found:
        damaged = read_account(directory).damaged
        console.print(
            f"{directory.name}: no leftover can be read, there may be some"
            if damaged
            else f"{directory.name}: nothing left over"
        )
        return
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for column in ("token", "last state", "reason", "age", "conversation"):
        table.add_column(column)
    for row in rows[:SHOWN]:
        table.add_row(
            row["token"],
            row["state"],
            row["reason"],
            duration_text(row["age_s"]),
            "may hold an agent" if row["holds_conversation"] else "none yet",
        )
    console.print(table)
    if len(rows) > SHOWN:
        console.print(f"… and {len(rows) - SHOWN:,} more (--csv or --json lists all)", style="dim")
    reasons = Counter(leftover.reason for leftover in found)
    shown = ", ".join(f"{reason} {count:,}" for reason, count in reasons.most_common())
    console.print(f"\n{directory.name}: {len(found):,} left over: {shown}", style="bold")
    console.print(f"end them with: {sweep_command(directory)}", soft_wrap=True)


COMMAND = Command(
    "leftovers",
    run,
    [
        argument(
            "run",
            required=False,
            metavar="RUN",
            help="run directory, run id, or 'latest': the run begun last, whatever became of it",
        ),
        option("--all", flag=True, help="those of every run in the folder, guests by hand too"),
        reports_option(),
        option("--json", flag=True, help="one JSON object"),
        option("--csv", flag=True, help="one line per leftover"),
        option("--show-tokens", flag=True, help="whole tokens, not shortened"),
    ],
    description=(
        "List the sessions of a run that have no proof of their end. Tokens are shortened: "
        "a token is the key to a conversation. The exit code is 4 when there are any, 6 when a "
        "damaged ledger file may hide some."
    ),
    epilog=(
        "examples:\n"
        "  harness leftovers latest\n"
        "  harness leftovers --all\n"
        "  harness leftovers 20261122-231500-ab12 --json\n"
        "  harness leftovers reports/latest --csv --show-tokens > leftovers.csv\n"
    ),
)
