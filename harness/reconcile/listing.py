"""The runs of a reports folder in short, and which of them may be removed.

Leftovers of a run as a table, as JSON and as CSV.
"""

import csv
import shutil
import sys
import time
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import orjson
from rich.table import Table

from harness.config.target import parse_target
from harness.errors import ConfigError
from harness.ledger.reader import Leftover, read_account, read_leftovers
from harness.ledger.runs import RunState, begun_at, run_state, runs
from harness.rundir.layout import RunDirectory, read_label, sweep_command
from harness.safe_text import safe_cell
from harness.streams import open_console
from harness.units import duration_text


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """One run."""

    path: Path
    name: str
    note: str
    target: str
    verdict: str
    state: RunState
    leftovers: int | None
    """None: there may be some that no ledger here lists"""
    age_s: float
    """since it was begun"""

    @property
    def run_id(self) -> str:
        """The name of its directory."""
        return self.path.name

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {**asdict(self), "path": str(self.path), "run": self.run_id}


def listed_runs(reports: Path) -> list[Listed]:
    """All runs of a folder, the one begun last first. What can't be read is left empty."""
    now_s = time.time()
    return [_listed(path, now_s) for path in reversed(runs(reports))]


def prune(found: list[Listed], *, older_s: float, dry_run: bool = False) -> list[Listed]:
    """Remove the runs begun longer ago than ``older_s`` that nothing is lost with; they are given.

    The first of ``found`` is the newest, and stays.
    """
    over = (RunState.ENDED, RunState.BEGUN)
    gone = [one for one in found[1:] if one.age_s > older_s and one.state in over]
    gone = [one for one in gone if one.leftovers == 0]
    for one in () if dry_run else gone:
        try:
            shutil.rmtree(one.path)
        except OSError as error:
            raise ConfigError(f"{one.path} can't be removed: {error.strerror or error}") from None
    return gone


def _listed(path: Path, now_s: float) -> Listed:
    files = RunDirectory(path)
    start, record = (_object(one) for one in (files.start, files.record))
    label = read_label(path)
    unsure = read_account(path).may_hide
    return Listed(
        path=path,
        name=label.get("name", ""),
        note=label.get("note", ""),
        target=str(start.get("target_name") or "") or _host(str(start.get("target", ""))),
        verdict=str(record.get("verdict") or ""),
        state=run_state(path),
        leftovers=None if unsure else sum(1 for _ in read_leftovers(path)),
        age_s=max(0.0, now_s - begun_at(path)),
    )


def _host(url: str) -> str:
    try:
        return parse_target(url).netloc
    except ConfigError:
        return ""


def _object(path: Path) -> dict[str, Any]:
    try:
        found = orjson.loads(path.read_bytes())
    except (OSError, orjson.JSONDecodeError):
        return {}
    return found if isinstance(found, dict) else {}


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
            shown[name] = safe_cell(str(row[name]))
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
        unsure = read_account(directory).may_hide
        console.print(
            f"{directory.name}: no leftover can be read, there may be some"
            if unsure
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
