"""Which code a cell of the matrices was tried with."""

import subprocess
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

COMMIT = subprocess.run(
    ["git", "rev-parse", "--short", "HEAD"],
    cwd=Path(__file__).parent,
    capture_output=True,
    text=True,
    check=False,
).stdout.strip()


def counted(commits: Iterable[str]) -> str:
    """Each commit with its number of cells, the most cells first."""
    cells = Counter(commit or "not kept" for commit in commits)
    return ", ".join(f"{commit} ({many} cells)" for commit, many in cells.most_common())
