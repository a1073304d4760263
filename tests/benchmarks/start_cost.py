"""What the start of ``harness run`` costs: CPU of all its processes until the first guest.

    .venv/bin/python tests/benchmarks/start_cost.py [TIMES]

Prints a row for each run and the medians; the first guest is there when a ledger has a row. The
rest of the run follows, so the second column is what the run costs from its start to its report
(its one guest stays for five seconds, and costs next to nothing). Ends with 1 when the median of
the first is above ``LIMIT_S``.
"""

import os
import sqlite3
import subprocess
import sys
import tempfile
import time
from contextlib import closing, suppress
from pathlib import Path
from statistics import median

LIMIT_S = 1.5
TICK_S = 1 / os.sysconf("SC_CLK_TCK")
LOOK_S = 0.02


def main(times: int) -> int:
    """Measure so many runs; the exit code."""
    print("to the first guest, CPU s   to the report, CPU s   to the first guest, s", flush=True)
    rows = []
    for _ in range(times):
        with tempfile.TemporaryDirectory() as folder:
            rows.append(measure(Path(folder)))
        print("{:>25.2f} {:>22.2f} {:>23.2f}".format(*rows[-1]), flush=True)
    columns = [median(column) for column in zip(*rows, strict=True)]
    print("medians", "{:>17.2f} {:>22.2f} {:>23.2f}".format(*columns), flush=True)
    return int(columns[0] > LIMIT_S)


def measure(folder: Path) -> tuple[float, float, float]:
    """(CPU seconds to the first guest, and to the end; seconds to the first guest) of a run."""
    began = time.monotonic()
    words = ["run", "locustfiles/smoke.py", "-u", "1", "-t", "5s", "--reports", str(folder)]
    run = subprocess.Popen([sys.executable, "-m", "harness", *words], stdout=subprocess.DEVNULL)
    # Of a process that ends, its parent knows the CPU; where a group goes with it, nobody does.
    seen: dict[int, float] = {}
    first = came_s = 0.0
    while run.poll() is None:
        for pid in family(run.pid):
            seen[pid] = max(seen.get(pid, 0.0), cpu_s(pid))
        if not first and has_guest(folder):
            first, came_s = sum(seen.values()), time.monotonic() - began
        time.sleep(LOOK_S)
    return first, sum(seen.values()), came_s


def family(pid: int) -> list[int]:
    """A process and all below it that there are."""
    found = [pid]
    for child in found:
        with suppress(OSError):
            tasks = Path(f"/proc/{child}/task").iterdir()
            found += [
                int(word) for task in tasks for word in (task / "children").read_text().split()
            ]
    return found


def cpu_s(pid: int) -> float:
    """User and system time that a process has taken by itself."""
    with suppress(OSError):
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) * TICK_S
    return 0.0


def has_guest(folder: Path) -> bool:
    """Whether a ledger has a session."""
    for ledger in folder.glob("*/ledger-*.sqlite"):
        with (
            suppress(sqlite3.Error),
            closing(sqlite3.connect(f"file:{ledger}?mode=ro", uri=True)) as db,
        ):
            return bool(db.execute("SELECT 1 FROM sessions").fetchone())
    return False


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 3))
