"""Find a run by its directory, by its id, or as ``latest``.

``latest`` is the run that was begun last, even if it was killed: such a run has left the most
behind.

Also: the list of runs of a folder, which of them may be removed, their leftovers as text, JSON and
CSV, and the files that ask a run to pause, to go on or to stop.
"""

import contextlib
import csv
import shutil
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from enum import StrEnum
from itertools import islice
from pathlib import Path
from typing import Any

from harness.config.target import parse_target
from harness.errors import ConfigError, safe_cell
from harness.ledger.reader import (
    Leftover,
    holds_leftovers,
    missing_ledgers,
    read_account,
    read_leftovers,
    read_process,
    read_processes,
)
from harness.rundir.layout import (
    LATEST,
    RECORD,
    REPORTS,
    START,
    VISIT_PREFIXES,
    RunDirectory,
    folders_with_guests,
    read_json,
    read_label,
    sweep_command,
    writing,
)
from harness.streams import open_console, plain_table
from harness.units import duration_text, parse_iso

MARKS = (RECORD, START)


class RunState(StrEnum):
    """The state of a run."""

    GOING_ON = "going on"
    ENDED = "ended"
    KILLED = "killed"
    """its processes are gone, without a record of its end"""
    BEGUN = "begun"
    """none of its processes has had a guest, so far"""

    @property
    def sentence(self) -> str:
        """The sentence that a command shows about the run that it was given."""
        return {
            RunState.GOING_ON: "it is going on",
            RunState.ENDED: "it has ended",
            RunState.KILLED: "it was killed: its processes are gone, without a record of its end",
            RunState.BEGUN: "it was begun, and no guest has come",
        }[self]


def run_state(run_dir: Path) -> RunState:
    """The state of a run, by its record and by the processes that its ledgers name."""
    processes = read_processes(run_dir).values()
    if any(process.alive for process in processes):
        return RunState.GOING_ON
    if RunDirectory(run_dir).record.is_file():
        return RunState.ENDED
    if not processes:
        return RunState.BEGUN
    return RunState.ENDED if all(process.ended for process in processes) else RunState.KILLED


def with_leftovers(reports_dir: Path) -> Iterator[Path]:
    """All directories under the folder, at any depth, whose ledgers list sessions without proof,
    may hide some, or are gone.

    Sessions of running processes do not count. The run begun last comes first.
    """
    if not reports_dir.is_dir():
        return
    for run_dir in sorted(folders_with_guests(reports_dir), key=_begun, reverse=True):
        if missing_ledgers(run_dir) or any(map(_leaves, RunDirectory(run_dir).ledgers())):
            yield run_dir


def _leaves(ledger: Path) -> bool:
    """Whether its process is gone and has left sessions, or may have."""
    process = read_process(ledger)
    if process.alive:
        return False
    return process.cut_off or bool(process.damaged) or holds_leftovers(ledger)


NAMED = 3
"""How many other runs with leftovers are named, newest first."""


def other_leftovers(reports_dir: Path, taken: Iterable[Path]) -> str:
    """A sentence about the other runs of the folder with leftovers; empty if there are none."""
    known = {directory.resolve() for directory in taken}
    others = (other for other in with_leftovers(reports_dir) if other.resolve() not in known)
    names = [other.name for other in islice(others, NAMED + 1)]
    more = " and others" if len(names) > NAMED else ""
    return (
        f"{', '.join(names[:NAMED])}{more} also left sessions without proof of their end: "
        "harness leftovers --all"
        if names
        else ""
    )


def with_parts(directories: Iterable[Path], say: Callable[[str], object]) -> list[Path]:
    """These runs, with each merged run replaced by its parts; each run once.

    A session of a merged run is in the ledger of a part. Raises ConfigError for a part that is
    gone.
    """
    given: dict[Path, None] = {}
    for directory in directories:
        parts = RunDirectory(directory).parts()
        for part in parts:
            if not part.is_dir():
                raise ConfigError(f"{directory}: a run that it was merged from is gone: {part}")
        if parts:
            names = ", ".join(str(part) for part in parts)
            say(f"run {directory.name} was merged from {names}")
        given |= dict.fromkeys(parts or [directory])
    return list(given)


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
    hint = f"the last ones are {', '.join(known)}" if known else f"{reports_dir}/ holds none"
    raise ConfigError(f"there is no run {text!r}; {hint}")


def runs(reports_dir: Path) -> list[Path]:
    """The run directories of a folder, in the order in which the runs were begun."""
    if not reports_dir.is_dir():
        return []
    directories = [
        path
        for path in reports_dir.iterdir()
        if not path.is_symlink()  # the link "latest" is no run of its own
        and not path.name.startswith(VISIT_PREFIXES)
        and (any((path / mark).is_file() for mark in MARKS) or RunDirectory(path).ledgers())
    ]
    return sorted(directories, key=_begun)


def _begun(run_dir: Path) -> tuple[float, str]:
    """When a run was begun (seconds since the epoch) and its name, for sorting: by its own files,
    or by their age if they do not say."""
    with contextlib.suppress(ValueError):  # killed before it could say, or damaged
        started = read_json(RunDirectory(run_dir).start).get("started")
        return parse_iso(str(started)).timestamp(), run_dir.name
    stamps = []
    for path in (*(run_dir / mark for mark in MARKS), *RunDirectory(run_dir).ledgers()):
        with contextlib.suppress(OSError):
            stamps.append(path.stat().st_mtime)
    return min(stamps, default=0.0), run_dir.name


def ask_to_pause(run_dir: Path) -> None:
    """Ask a run to start no new guests. Raises ConfigError if it is not going on."""
    _going_on(run_dir)
    _touch(RunDirectory(run_dir).pause)


def ask_to_go_on(run_dir: Path) -> bool:
    """Ask a run to end its pause; returns whether there was one. Raises ConfigError if the run is
    not going on."""
    _going_on(run_dir)
    there = RunDirectory(run_dir).pause.exists()
    with contextlib.suppress(FileNotFoundError):
        RunDirectory(run_dir).pause.unlink()
    return there


def ask_to_stop(run_dir: Path) -> None:
    """Ask a run to end properly. Raises ConfigError if it is not going on."""
    _going_on(run_dir)
    _touch(RunDirectory(run_dir).stop)


def is_going_on(run_dir: Path) -> bool:
    return any(process.alive for process in read_processes(run_dir).values())


def resolve_going_on(text: str, reports_dir: Path) -> Path:
    """The run ``text``, which must be going on; ``latest`` is the newest of these.

    Raises ConfigError if there is none.
    """
    if text != LATEST:
        return resolve_run(text, reports_dir)
    for run_dir in reversed(runs(reports_dir)):
        if is_going_on(run_dir):
            return run_dir
    raise ConfigError(f"no run is going on in {reports_dir}/")


def check_started(run_dir: Path) -> None:
    """Raises ConfigError where no run has begun in a directory."""
    if not RunDirectory(run_dir).start.is_file():
        raise ConfigError(f"{run_dir}: not a run directory (expected {START} in it)")


def _going_on(run_dir: Path) -> None:
    check_started(run_dir)
    if not is_going_on(run_dir):
        raise ConfigError(f"the run {run_dir.name} is not going on")


def _touch(path: Path) -> None:
    with writing(path):
        path.touch()


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    path: Path
    name: str
    """its own, or that of its locustfile"""
    note: str
    target: str
    verdict: str
    state: RunState
    leftovers: int | None
    """None: there may be leftovers that are in no ledger here"""
    age_s: float
    """since it was begun"""

    @property
    def run_id(self) -> str:
        return self.path.name

    def as_dict(self) -> dict[str, Any]:
        return {**asdict(self), "path": str(self.path), "run": self.run_id}


def listed_runs(reports: Path) -> list[Listed]:
    """All runs of a folder, the one begun last first. Values that can't be read are empty."""
    now_s = time.time()
    return [_listed(path, now_s) for path in reversed(runs(reports))]


def prune(listed: list[Listed], *, older_s: float, dry_run: bool = False) -> list[Listed]:
    """Remove the runs that were begun more than ``older_s`` ago, are over and have no leftovers.
    Returns those removed.

    The first of ``listed`` is the newest, and is kept.
    """
    over = (RunState.ENDED, RunState.BEGUN)
    gone = [one for one in listed[1:] if one.age_s > older_s and one.state in over]
    gone = [one for one in gone if one.leftovers == 0]
    for one in () if dry_run else gone:
        try:
            shutil.rmtree(one.path)
        except OSError as error:
            raise ConfigError(f"{one.path} can't be removed: {error.strerror or error}") from None
    return gone


def _listed(path: Path, now_s: float) -> Listed:
    files = RunDirectory(path)
    start, record = (read_json(one) for one in (files.start, files.record))
    label = read_label(path)
    unsure = read_account(path).may_hide
    return Listed(
        path=path,
        name=label.get("name") or Path(str(start.get("locustfile") or "")).stem,
        note=label.get("note", ""),
        target=str(start.get("target_name") or "") or _host(str(start.get("target", ""))),
        verdict=str(record.get("verdict") or ""),
        state=run_state(path),
        leftovers=None if unsure else sum(1 for _ in read_leftovers(path)),
        age_s=max(0.0, now_s - _begun(path)[0]),
    )


def _host(url: str) -> str:
    try:
        return parse_target(url).netloc
    except ConfigError:
        return ""


SHOWN = 40
"""How many rows are shown in the terminal; the rest is counted."""


def write_csv(rows: list[dict[str, Any]]) -> None:
    writer = csv.DictWriter(sys.stdout, _COLUMNS, lineterminator="\n")
    writer.writeheader()
    for row in rows:
        names = ("reason", "worker", "message_id", "run")  # tokens stay as they are
        writer.writerow(row | {name: safe_cell(str(row[name])) for name in names})


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


def show_leftovers(directory: Path, leftovers: list[Leftover], rows: list[dict[str, Any]]) -> None:
    console = open_console()
    if not leftovers:
        unsure = read_account(directory).may_hide
        console.print(
            f"{directory.name}: no leftover can be read, there may be some"
            if unsure
            else f"{directory.name}: nothing left over"
        )
        return
    table = plain_table("token", "last state", "reason", "age", "conversation", left=True)
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
    reasons = Counter(leftover.reason for leftover in leftovers)
    shown = ", ".join(f"{reason} {count:,}" for reason, count in reasons.most_common())
    console.print(f"\n{directory.name}: {len(leftovers):,} left over: {shown}", style="bold")
    console.print(f"end them with: {sweep_command(directory)}", soft_wrap=True)
