"""The validity matrix: does a run ever say PASS, or a time, that the truth does not bear out?

``python tests/run/validity.py`` runs each cell (something planted, a workload, a number of
processes, a kind of story; see ``plants``) with real processes against a simulator of its own, and
sets the words of the run beside the simulator's truth of each question. What each cell gave is
written down at once; ``--resume`` goes on where an interrupted matrix was.
"""

import argparse
import json
import random
import re
import signal
import sys
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from datetime import UTC, datetime
from itertools import product
from pathlib import Path
from threading import Event, Lock
from typing import Any

from commits import counted
from plants import MODES, PLANTS, STORIES, WORKLOADS
from validity_cells import CELLS, ROOT, Cell, Outcome, try_cell

STATE = ROOT / "reports" / "validity-matrix.jsonl"
HEAD = """\
Each cell is a run of real processes against a simulator of its own, whose record of each question
(what came, what answered it and when) decides:

* no PASS beyond the stated share: not if more than 1 % of the questions, guests or arrivals were
  refused, unanswered, not offered or torn off, nor if the true p95 misses its objective;
* no percentile of `reply` below the truth's, unless the run marks it as ambiguous or as a bound;
* no question of which the truth knows is missing from the account, which adds up;
* what is not PASS says the cause that was planted, and its exit code is the verdict's;
* where nothing is planted the run passes.

`ok` means that all of it holds, after it stands what the run said (P: PASS, F: FAIL, N: NO_DATA,
I: INVALID). A dash is a cell that makes no sense, a dot one that has not been run.
"""


class Progress:
    """What is known so far, in a file with a line for each cell."""

    def __init__(self, path: Path, *, seed: int, resume: bool) -> None:
        self.seed = seed
        self.outcomes: dict[Cell, Outcome] = {}
        self._path = path
        self._lock = Lock()
        path.parent.mkdir(parents=True, exist_ok=True)
        if resume and path.exists():
            for line in path.read_text().splitlines():
                self._take(json.loads(line))
        else:
            path.write_text("")

    def _take(self, row: dict[str, Any]) -> None:
        if row["seed"] == self.seed:
            outcome = Outcome(Cell(**row["cell"]), **{"commit": "", **row["outcome"]})
            if outcome.cell in CELLS:
                self.outcomes[outcome.cell] = outcome

    def add(self, outcome: Outcome) -> None:
        """One cell more."""
        fields = asdict(outcome)
        row = {"seed": self.seed, "cell": fields.pop("cell"), "outcome": fields}
        with self._lock:
            with self._path.open("a") as file:
                file.write(json.dumps(row) + "\n")
            self._take(row)

    @property
    def to_do(self) -> list[Cell]:
        """Cells that have not been run, in an order of the seed's own; then those that broke."""
        cells = list(CELLS)
        random.Random(self.seed).shuffle(cells)
        fresh = [cell for cell in cells if cell not in self.outcomes]
        return fresh + [c for c in cells if c in self.outcomes and self.outcomes[c].broken]


def run_cells(
    cells: Iterable[Cell],
    *,
    seed: int,
    jobs: int,
    minutes: float | None = None,
    on_outcome: Callable[[Outcome], None] = lambda _: None,
    enough: Event | None = None,
) -> list[Outcome]:
    """Several at once; begins no new ones after ``minutes``."""
    deadline = None if minutes is None else time.monotonic() + minutes * 60
    enough = enough or Event()

    def one(cell: Cell) -> Outcome | None:
        if enough.is_set() or (deadline is not None and time.monotonic() > deadline):
            return None
        outcome = try_cell(cell, seed=seed)
        on_outcome(outcome)
        return outcome

    with ThreadPoolExecutor(jobs) as pool:
        found = list(pool.map(one, cells))
    return [outcome for outcome in found if outcome is not None]


def say(outcome: Outcome) -> None:
    """A line for each cell; of a broken one also what its run printed last."""
    word = "BROKEN " + "; ".join(outcome.broken) if outcome.broken else "holds"
    word = word if outcome.broken else f"{word} ({outcome.reasons[:300]})"
    print(f"{outcome.took_s:5.1f} s  {outcome.cell}: {outcome.verdict}, {word}", flush=True)
    if outcome.broken:
        print(outcome.told, flush=True)


def table(outcomes: Iterable[Outcome], *, seed: int) -> str:
    """Markdown: a row for each plant and kind of story, a column for each workload and mode."""
    by_cell = {outcome.cell: outcome for outcome in outcomes}
    held = sum(not outcome.broken for outcome in by_cell.values())
    times = [datetime.fromisoformat(outcome.when) for outcome in by_cell.values()]
    first, last = min(times, default=datetime.now(UTC)), max(times, default=datetime.now(UTC))
    columns = list(product(WORKLOADS, MODES))
    lines = [
        "# The validity matrix",
        "",
        f"`make validity-matrix`, {first:%Y-%m-%d %H:%M} to {last:%Y-%m-%d %H:%M} UTC, "
        f"seed {seed}: {held} of {len(by_cell)} cells hold, of {len(CELLS)} in all.",
        "",
        f"The code: {counted(outcome.commit for outcome in by_cell.values())}.",
        "",
        HEAD,
        "| planted | story | " + " | ".join(", ".join(column) for column in columns) + " |",
        "|---|---|" + "---|" * len(columns),
    ]
    for plant, story in product(PLANTS, STORIES):
        cells = [Cell(plant.name, workload, mode, story) for workload, mode in columns]
        if not any(cell.makes_sense for cell in cells):
            continue
        row = [_shown(cell, by_cell.get(cell)) for cell in cells]
        lines.append(f"| {plant.name} | {story} | " + " | ".join(row) + " |")
    broken = [outcome for outcome in by_cell.values() if outcome.broken]
    if broken:
        lines += ["", "What did not hold:", ""]
        lines += [f"* {o.cell}: {'; '.join(o.broken)}".replace(" | ", ", ") for o in broken]
    return "\n".join(lines) + "\n"


def _shown(cell: Cell, outcome: Outcome | None) -> str:
    if not cell.makes_sense:
        return "-"
    if outcome is None:
        return "·"
    return f"{'**BROKEN**' if outcome.broken else 'ok'} {outcome.verdict[:1]}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=3, help="cells at once (%(default)s)")
    parser.add_argument("--minutes", type=float, help="begin no new cell after so long")
    parser.add_argument(
        "--only", default="", help="cells whose 'plant | workload | mode | story' fits this pattern"
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

    def on_outcome(outcome: Outcome) -> None:
        progress.add(outcome)
        say(outcome)
        if args.write:
            args.write.write_text(table(progress.outcomes.values(), seed=args.seed))

    cells = [cell for cell in progress.to_do if re.search(args.only, str(cell))]
    run_cells(
        cells,
        seed=args.seed,
        jobs=args.jobs,
        minutes=args.minutes,
        on_outcome=on_outcome,
        enough=enough,
    )
    if not args.write:
        print(table(progress.outcomes.values(), seed=args.seed))
    return 1 if any(outcome.broken for outcome in progress.outcomes.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
