"""Leftovers of a run as a table, as JSON and as CSV."""

import csv
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import orjson
from rich.table import Table

from harness.ledger.reader import Leftover, read_account
from harness.ledger.runs import sweep_command
from harness.report.console import open_console
from harness.report.csv_files import harmless
from harness.units import duration_text

SHOWN = 40
"""Rows shown in the terminal; the rest is counted."""


def write_json(rows: list[dict[str, Any]]) -> None:
    sys.stdout.write(orjson.dumps({"leftovers": rows}, option=orjson.OPT_INDENT_2).decode() + "\n")


def write_csv(rows: list[dict[str, Any]]) -> None:
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


def leftover_row(leftover: Leftover, *, whole: bool) -> dict[str, Any]:
    return {
        "token": leftover.token if whole else leftover.short_token,
        "state": leftover.state,
        "reason": leftover.reason,
        "holds_conversation": leftover.holds_conversation,
        "age_s": round(leftover.age_s, 1),
        "worker": leftover.worker,
        "message_id": leftover.message_id,
    }


def show_leftovers(directory: Path, found: list[Leftover], rows: list[dict[str, Any]]) -> None:
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
