"""``harness leftovers``: the sessions of a run that have no proof of their end."""

import argparse
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import orjson
from rich.table import Table

from harness.cli.reports_option import add_reports
from harness.exit_codes import ExitCode
from harness.ledger.leftovers import Leftover, read_account, read_leftovers
from harness.report.console import open_console
from harness.report.rundir import resolve_run, sweep_command
from harness.units import duration_text

SHOWN = 40
"""Rows shown in the terminal; the rest is counted."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.description = (
        "List the sessions of a run that have no proof of their end. Tokens are shortened: "
        "a token is the key to a conversation. The exit code is 4 when there are any, 6 when a "
        "damaged ledger file may hide some."
    )
    parser.epilog = (
        "examples:\n"
        "  harness leftovers latest\n"
        "  harness leftovers 20261122-231500-ab12 --json\n"
        "  harness leftovers reports/latest --csv --show-tokens > leftovers.csv\n"
    )
    parser.add_argument("run", metavar="RUN", help="run directory, run id, or 'latest'")
    add_reports(parser)
    parser.add_argument("--json", action="store_true", help="one JSON object")
    parser.add_argument("--csv", action="store_true", help="one line per leftover")
    parser.add_argument("--show-tokens", action="store_true", help="whole tokens, not shortened")


def run(args: argparse.Namespace) -> int:
    """Print them."""
    directory = resolve_run(args.run, args.reports)
    found = list(read_leftovers(directory))
    rows = [_row(leftover, whole=args.show_tokens) for leftover in found]
    if args.json:
        sys.stdout.write(orjson.dumps({"leftovers": rows}, option=orjson.OPT_INDENT_2).decode())
        print()
    elif args.csv:
        columns = list(_COLUMNS)
        print(",".join(columns))
        for row in rows:
            print(",".join(str(row[column]) for column in columns))
    else:
        _show(directory, found, rows)
    damaged = read_account(directory).damaged
    for damage in damaged:
        print(f"warning: {damage}: there may be more (harness sweep --derive)", file=sys.stderr)
    if found:
        return ExitCode.LEFTOVERS
    return ExitCode.INVALID if damaged else ExitCode.PASS


_COLUMNS = ("token", "state", "reason", "holds_conversation", "age_s", "worker", "message_id")


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
    console.print(f"\n{len(found):,} left over: {shown}", style="bold")
    console.print(f"end them with: {sweep_command(directory)}", soft_wrap=True)
