"""The crash matrix: every fault of the service, in every mode, under every ending of a run.

``python tests/run/matrix.py`` runs all cells (see ``cells``), several at once, and then kills
clients at random moments (see ``kills``). What each cell gave is written down at once: the table
is there from the first cell on, and ``--resume`` goes on where an interrupted matrix was.
"""

import argparse
import json
import random
import signal
import sys
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from datetime import UTC, datetime
from itertools import product
from pathlib import Path
from queue import Queue
from threading import Event, Lock
from typing import Any

from cells import CELLS, ENDINGS, FAULTS, MODES, ROOT, Cell, Outcome, Twin, try_cell
from commits import counted

STATE = ROOT / "reports" / "crash-matrix.jsonl"
HEAD = """\
Each cell is a run of real processes against the simulator, whose own account decides:
what is open at the service is listed by the ledger; the classes of the account add up;
the exit code is one of ours and not 0 unless all is clear; after `harness sweep` nothing
is open; a second sweep has nothing to do. `ok` means that all five hold; the figures are the
sessions that were open at the service / listed by the ledger before the sweep, and the
exit code. `°` marks a cell whose run ended before the fault could strike. A dash is a cell
that makes no sense (one process is both master and worker), a dot one that has not been run.
Under `restarted in place` the worker's disk is lost with it. What it opened in its last
2.5 seconds may be on no list. Then that is told, and the sweep, which fails without `--derive`,
ends it with `--derive`.
"""


class Progress:
    """What is known so far, in a file with a line for each cell."""

    def __init__(self, path: Path, *, seed: int, resume: bool) -> None:
        self.seed = seed
        self.outcomes: dict[Cell, Outcome] = {}
        self.kills: dict[str, Any] = {}
        self.families: dict[str, Any] = {}
        self._path = path
        self._lock = Lock()
        path.parent.mkdir(parents=True, exist_ok=True)
        lines = path.read_text().splitlines() if resume and path.exists() else []
        for line in lines:
            self._take(json.loads(line))
        if not resume:
            path.write_text("")

    def _take(self, row: dict[str, Any]) -> None:
        if row["seed"] != self.seed:
            return
        if "kills" in row:
            self.kills = row
        elif "families" in row:
            self.families = row
        else:
            outcome = Outcome(Cell(**row["cell"]), **{"commit": "", **row["outcome"]})
            self.outcomes[outcome.cell] = outcome

    def add(self, outcome: Outcome) -> None:
        """One cell more."""
        cell, fields = asdict(outcome.cell), asdict(outcome)
        fields.pop("cell")
        self._write({"seed": self.seed, "cell": cell, "outcome": fields})

    def add_families(self, families: int, faults: list[str], text: str) -> None:
        """The runs of which one process was killed."""
        row = {"seed": self.seed, "families": families, "faults": faults, "text": text}
        self._write(row)

    def add_kills(self, kills: int, lost: int, text: str) -> None:
        """The random kills."""
        self._write({"seed": self.seed, "kills": kills, "lost": lost, "text": text})

    def _write(self, row: dict[str, Any]) -> None:
        with self._lock:
            with self._path.open("a") as file:
                file.write(json.dumps(row) + "\n")
            self._take(row)

    @property
    def to_do(self) -> list[Cell]:
        """Cells that have not been run or did not hold, in an order of the seed's own."""
        cells = list(CELLS)
        random.Random(self.seed).shuffle(cells)
        return [c for c in cells if c not in self.outcomes or self.outcomes[c].broken]


def run_cells(
    cells: Iterable[Cell],
    *,
    seed: int,
    jobs: int,
    minutes: float | None = None,
    on_outcome: Callable[[Outcome], None] = lambda _: None,
    enough: Event | None = None,
) -> list[Outcome]:
    """Several at once, each with a simulator to itself; begins no new ones after ``minutes``."""
    twins: Queue[Twin] = Queue()
    for _ in range(jobs):
        twins.put(Twin())
    deadline = None if minutes is None else time.monotonic() + minutes * 60
    enough = enough or Event()

    def one(cell: Cell) -> Outcome | None:
        if enough.is_set() or (deadline is not None and time.monotonic() > deadline):
            return None
        twin = twins.get()
        try:
            outcome = try_cell(cell, twin, seed=seed)
        finally:
            twins.put(twin)
        on_outcome(outcome)
        return outcome

    try:
        with ThreadPoolExecutor(jobs) as pool:
            found = list(pool.map(one, cells))
    finally:
        while not twins.empty():
            twins.get().stop()
    return [outcome for outcome in found if outcome is not None]


def say(outcome: Outcome) -> None:
    """A line for each cell; of a broken one also what its processes printed."""
    cell = outcome.cell
    word = "BROKEN " + "; ".join(outcome.broken) if outcome.broken else "holds"
    print(
        f"{outcome.took_s:5.1f} s  {cell.fault} | {cell.mode} | {cell.ending}: {word} "
        f"(opened {outcome.opened}, the fault struck {outcome.struck} times, open {outcome.open}, "
        f"listed {outcome.left}, exit code {outcome.code})",
        flush=True,
    )
    if outcome.broken:
        print(outcome.told, flush=True)


def table(outcomes: Iterable[Outcome], *, seed: int, kills: str) -> str:
    """Markdown: a row for each fault and mode, a column for each ending."""
    by_cell = {outcome.cell: outcome for outcome in outcomes}
    held = sum(not outcome.broken for outcome in by_cell.values())
    lines = [
        "# The crash matrix",
        "",
        f"`make crash-matrix`, {_span(by_cell.values())}, seed {seed}: {held} of {len(by_cell)} "
        f"cells hold, of {len(CELLS)} in all. {kills}".rstrip(),
        "",
        f"The code: {counted(outcome.commit for outcome in by_cell.values())}.",
        "",
        HEAD,
        "| fault | mode | " + " | ".join(ENDINGS) + " |",
        "|---|---|" + "---|" * len(ENDINGS),
    ]
    for fault, mode in product(FAULTS, MODES):
        row = []
        for ending in ENDINGS:
            cell = Cell(fault, mode, ending)
            outcome = by_cell.get(cell)
            if not cell.makes_sense:
                row.append("-")
            elif outcome is None:
                row.append("·")
            else:
                word = "**BROKEN**" if outcome.broken else "ok"
                if fault != "none" and outcome.struck == 0:
                    word += "°"
                row.append(f"{word} {outcome.open}/{outcome.left} ({outcome.code})")
        lines.append(f"| {fault} | {mode} | " + " | ".join(row) + " |")
    broken = [outcome for outcome in by_cell.values() if outcome.broken]
    if broken:
        lines += ["", "What did not hold:", ""]
        lines += [
            f"* {o.cell.fault}, {o.cell.mode}, {o.cell.ending}: {'; '.join(o.broken)}"
            for o in broken
        ]
    return "\n".join(lines) + "\n"


def _span(outcomes: Iterable[Outcome]) -> str:
    times = [datetime.fromisoformat(outcome.when) for outcome in outcomes]
    first, last = min(times, default=datetime.now(UTC)), max(times, default=datetime.now(UTC))
    return f"{first:%Y-%m-%d %H:%M} to {last:%Y-%m-%d %H:%M} UTC"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=3, help="cells at once (%(default)s)")
    parser.add_argument("--minutes", type=float, help="begin no new cell after so long")
    parser.add_argument("--only", default="", help="cells whose 'fault | mode | ending' has this")
    parser.add_argument("--kills", type=int, default=200, help="random kill -9 at the end")
    parser.add_argument(
        "--families", type=int, default=300, help="runs of which one process is killed, at the end"
    )
    parser.add_argument("--write", type=Path, help="keep the table in this file up to date")
    parser.add_argument("--state", type=Path, default=STATE, help="results, a line for each cell")
    parser.add_argument(
        "--resume", action="store_true", help="only cells that are not in --state or did not hold"
    )
    args = parser.parse_args()
    progress = Progress(args.state, seed=args.seed, resume=args.resume)
    enough = Event()
    for number in (signal.SIGINT, signal.SIGTERM):  # what is at work ends in order
        signal.signal(number, lambda *_: enough.set())

    def put_down() -> str:
        kills = f"{progress.kills.get('text', '')} {progress.families.get('text', '')}".strip()
        text = table(progress.outcomes.values(), seed=args.seed, kills=kills)
        if args.write:
            args.write.write_text(text)
        return text

    def on_outcome(outcome: Outcome) -> None:
        progress.add(outcome)
        say(outcome)
        put_down()

    cells = [c for c in progress.to_do if args.only in f"{c.fault} | {c.mode} | {c.ending}"]
    run_cells(
        cells,
        seed=args.seed,
        jobs=args.jobs,
        minutes=args.minutes,
        on_outcome=on_outcome,
        enough=enough,
    )
    if args.kills > progress.kills.get("kills", 0) and not enough.is_set():
        from kills import kill_at_random

        result = kill_at_random(args.kills, seed=args.seed)
        progress.add_kills(result.kills, result.lost, result.text)
        print(result.text)
    if args.families > progress.families.get("families", 0) and not enough.is_set():
        from kills import kill_families

        killed = kill_families(args.families, seed=args.seed, at_once=args.jobs)
        progress.add_families(killed.killed.total(), killed.faults, killed.text)
        print(killed.text, *killed.faults, sep="\n")
    text = put_down()
    if not args.write:
        print(text)
    lost = progress.kills.get("lost", 0) or progress.families.get("faults")
    return 1 if lost or any(outcome.broken for outcome in progress.outcomes.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
