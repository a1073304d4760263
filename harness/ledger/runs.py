"""Finds the run that somebody means: by its directory, its id, or as ``latest``.

``latest`` is the run that was begun last, whatever became of it: one that was killed has left
the most behind.

Asks a run that is going on to pause, to go on or to stop, by files in its directory.
"""

import contextlib
from collections.abc import Iterator
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path

import orjson

from harness.errors import ConfigError
from harness.ledger.reader import holds_leftovers, missing_ledgers, read_process
from harness.rundir.layout import (
    LATEST,
    RECORD,
    REPORTS,
    START,
    VISIT_PREFIXES,
    RunDirectory,
    folders_with_guests,
)

MARKS = (RECORD, START)


class RunState(StrEnum):
    """What became of a run."""

    GOING_ON = "going on"
    ENDED = "ended"
    KILLED = "killed"
    """its processes are gone, without a record of its end"""
    BEGUN = "begun"
    """none of its processes has had a guest, so far"""


def run_state(run_dir: Path) -> RunState:
    """What became of a run, by its record and by the processes that its ledgers name."""
    processes = [read_process(path) for path in RunDirectory(run_dir).ledgers()]
    if any(process.alive for process in processes):
        return RunState.GOING_ON
    if RunDirectory(run_dir).record.is_file():
        return RunState.ENDED
    if not processes:
        return RunState.BEGUN
    return RunState.ENDED if all(process.ended for process in processes) else RunState.KILLED


def with_leftovers(reports_dir: Path) -> Iterator[Path]:
    """All directories under the folder, at any depth, whose ledgers list sessions without proof,
    or are gone.

    Sessions of processes that are still at work don't count. The one begun last comes first.
    """
    if not reports_dir.is_dir():
        return
    for run_dir in sorted(folders_with_guests(reports_dir), key=_begun, reverse=True):
        if missing_ledgers(run_dir) or any(
            holds_leftovers(path) and not read_process(path).alive
            for path in RunDirectory(run_dir).ledgers()
        ):
            yield run_dir


def resolve_run(text: str, reports_dir: Path = REPORTS) -> Path:
    """The directory of the run ``text``: a path, a run id under ``reports_dir``, or ``latest``.

    Raises ConfigError naming the runs that there are.
    """
    if not text.strip():
        raise ConfigError("expected a run: its directory, its id, or latest; got nothing")
    if text == LATEST:
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


def runs(reports_dir: Path) -> list[Path]:
    """Run directories, the one begun last at the end."""
    if not reports_dir.is_dir():
        return []
    found = [
        path
        for path in reports_dir.iterdir()
        if not path.is_symlink()  # the link "latest" is no run of its own
        and not path.name.startswith(VISIT_PREFIXES)
        and (any((path / mark).is_file() for mark in MARKS) or RunDirectory(path).ledgers())
    ]
    return sorted(found, key=_begun)


def begun_at(run_dir: Path) -> float:
    """When a run was begun, in seconds of wall time."""
    return _begun(run_dir)[0]


def _begun(run_dir: Path) -> tuple[float, str]:
    """When a run was begun, for sorting: as it says itself, else by the age of its files."""
    try:
        started = orjson.loads(RunDirectory(run_dir).start.read_bytes())["started"]
        when = datetime.fromisoformat(started)
        return (when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp(), run_dir.name
    except (OSError, ValueError, KeyError, TypeError):
        pass  # killed before it could say, or damaged
    stamps = []
    for path in (*(run_dir / mark for mark in MARKS), *RunDirectory(run_dir).ledgers()):
        try:
            stamps.append(path.stat().st_mtime)
        except OSError:
            continue
    return min(stamps, default=0.0), run_dir.name


def ask_to_pause(run_dir: Path) -> None:
    """No new guests from now on. Raises ConfigError when the run is not going on."""
    _going_on(run_dir)
    _touch(RunDirectory(run_dir).pause)


def ask_to_go_on(run_dir: Path) -> bool:
    """The end of a pause; whether there was one. Raises ConfigError when it is not going on."""
    _going_on(run_dir)
    there = RunDirectory(run_dir).pause.exists()
    with contextlib.suppress(FileNotFoundError):
        RunDirectory(run_dir).pause.unlink()
    return there


def ask_to_stop(run_dir: Path) -> None:
    """The end of the run, in order. Raises ConfigError when it is not going on."""
    _going_on(run_dir)
    _touch(RunDirectory(run_dir).stop)


def is_going_on(run_dir: Path) -> bool:
    """Whether any of the run's processes is at work."""
    return any(read_process(path).alive for path in RunDirectory(run_dir).ledgers())


def resolve_going_on(text: str, reports_dir: Path) -> Path:
    """The run that is meant; ``latest`` is the newest of those that are going on.

    Raises ConfigError when there is none.
    """
    if text != LATEST:
        return resolve_run(text, reports_dir)
    for run_dir in reversed(runs(reports_dir)):
        if is_going_on(run_dir):
            return run_dir
    raise ConfigError(f"no run is going on in {reports_dir}/")


def _going_on(run_dir: Path) -> None:
    if not RunDirectory(run_dir).start.is_file():
        raise ConfigError(f"{run_dir}: not a run directory (expected {START} in it)")
    if not is_going_on(run_dir):
        raise ConfigError(f"the run {run_dir.name} is not going on")


def _touch(path: Path) -> None:
    try:
        path.touch()
    except OSError as error:
        raise ConfigError(f"{path} can't be written: {error.strerror or error}") from error
