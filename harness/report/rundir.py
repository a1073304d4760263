"""Finds the run that somebody means: by its directory, its id, or as ``latest``."""

import shlex
from pathlib import Path

from harness.errors import ConfigError

REPORTS = Path("reports")
LATEST = "latest"
MARKS = ("run.json", "start.json")


def resolve_run(text: str, reports_dir: Path = REPORTS) -> Path:
    """The directory of the run ``text``: a path, a run id under ``reports_dir``, or ``latest``.

    Raises ConfigError naming the runs that there are.
    """
    if not text.strip():
        raise ConfigError("expected a run: its directory, its id, or latest; got nothing")
    if text == LATEST and not (reports_dir / LATEST).is_dir():
        there = runs(reports_dir)
        if not there:
            raise ConfigError(f"there is no run in {reports_dir}/ yet")
        return there[-1]
    for path in (Path(text), reports_dir / text):
        if path.is_dir():
            return path.parent / path.readlink() if path.is_symlink() else path
        if path.name in MARKS and path.is_file():
            return path.parent
    known = [path.name for path in runs(reports_dir)][-5:]
    told = f"the last ones are {', '.join(known)}" if known else f"{reports_dir}/ holds none"
    raise ConfigError(f"there is no run {text!r}; {told}")


def sweep_command(run_dir: Path) -> str:
    """What to type, from here, to end what a run has left behind."""
    known = run_dir.resolve().parent == REPORTS.resolve()
    return f"harness sweep {run_dir.name if known else shlex.quote(str(run_dir))}"


def runs(reports_dir: Path) -> list[Path]:
    """Run directories, the one started last at the end."""
    if not reports_dir.is_dir():
        return []
    found = []
    for path in reports_dir.iterdir():
        if path.is_symlink():
            continue  # the link "latest" is no run of its own
        stamps = [(path / mark).stat().st_mtime for mark in MARKS if (path / mark).is_file()]
        if stamps:
            found.append((min(stamps), path.name, path))
    return [path for _, _, path in sorted(found)]
