"""Asks a run that is going on to pause, to go on or to stop, by files in its directory."""

import contextlib
from pathlib import Path

from harness.errors import ConfigError
from harness.ledger.leftovers import ledger_files, read_process
from harness.rundir.find import resolve_run, runs
from harness.rundir.start import LATEST, START

PAUSE = "pause"
STOP = "stop"


def ask_to_pause(run_dir: Path) -> None:
    """No new guests from now on. Raises ConfigError when the run is not going on."""
    _going_on(run_dir)
    _touch(run_dir / PAUSE)


def ask_to_go_on(run_dir: Path) -> bool:
    """The end of a pause; whether there was one. Raises ConfigError when it is not going on."""
    _going_on(run_dir)
    there = (run_dir / PAUSE).exists()
    with contextlib.suppress(FileNotFoundError):
        (run_dir / PAUSE).unlink()
    return there


def ask_to_stop(run_dir: Path) -> None:
    """The end of the run, in order. Raises ConfigError when it is not going on."""
    _going_on(run_dir)
    _touch(run_dir / STOP)


def is_going_on(run_dir: Path) -> bool:
    """Whether any of the run's processes is at work."""
    return any(read_process(path).alive for path in ledger_files(run_dir))


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
    if not (run_dir / START).is_file():
        raise ConfigError(f"{run_dir}: not a run directory (expected {START} in it)")
    if not is_going_on(run_dir):
        raise ConfigError(f"the run {run_dir.name} is not going on")


def _touch(path: Path) -> None:
    try:
        path.touch()
    except OSError as error:
        raise ConfigError(f"{path} can't be written: {error.strerror or error}") from error
