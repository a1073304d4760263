"""Room on the disk: what a run will write, whether that fits, and when it is time to stop.

The sizes were measured on runs against the simulator, at 40 to 500 sessions a second, and rounded
up; ``tests/preflight/test_disk.py`` holds a forecast against what a run has really written.
"""

import os
import platform
from dataclasses import asdict, dataclass
from math import sqrt
from pathlib import Path

from harness.errors import ConfigError
from harness.measure.model import interval_s
from harness.preflight.guard import Intent
from harness.units import size_text

SESSION_BYTES = 134
"""A session's line in the ledger, with the id of its first message."""
INTERVAL_BYTES = 2_300
"""An interval's row, its line for the spreadsheet, and histograms with a value each."""
VALUES_BYTES = 365
"""What the histograms of an interval grow by, times the root of the sessions in it."""
MOST_VALUES_BYTES = 20_000
LOG_BYTES = 4_200_000
"""SQLite's write-ahead log at its largest (1,000 pages), until it is folded into the ledger."""
LAST_INTERVALS_BYTES = 800_000
"""What a process measures on its way out: ninety seconds of busy intervals."""
REPORT_BYTES = 4_000_000
"""The record, the report's page with its scripts, and the other outputs."""
UNKNOWN_S = 3600.0
"""Taken for the length of a run that has no time limit."""
NOTABLE_SHARE = 0.25
NOTABLE_BYTES = 1_000_000_000
"""A run that will take a larger share of what is free, or more than this, says so as it begins."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """Bytes that a run will write at most, all its processes together.

    ``ending`` of these are taken in its last minutes: the run is stopped while they are still free.
    """

    ledger: int
    measured: int
    ending: int
    sessions_known: bool

    @property
    def total(self) -> int:
        return self.ledger + self.measured + self.ending


def forecast(intent: Intent, *, duration_s: float | None, processes: int = 1) -> Forecast:
    """How many sessions a closed workload will have depends on the service: its intent has None."""
    length_s = duration_s or UNKNOWN_S
    sessions = intent.sessions
    # Guests who come back to back may be as many in each second as there are slots.
    per_s = intent.at_once if sessions is None else sessions / length_s
    measured, at_s = 0.0, 0.0
    for until_s in (3600.0, 86_400.0, length_s):
        until_s = min(until_s, length_s)
        every_s = interval_s(at_s)
        values = VALUES_BYTES * sqrt(per_s * every_s / processes)
        each = INTERVAL_BYTES + min(MOST_VALUES_BYTES, values)
        measured += (until_s - at_s) / every_s * each * processes
        at_s = until_s
    return Forecast(
        ledger=SESSION_BYTES * (sessions or 0),
        measured=round(measured),
        ending=ending_bytes(processes) + REPORT_BYTES,
        sessions_known=sessions is not None,
    )


def ending_bytes(processes: int = 1) -> int:
    """What processes still write once no guest comes any more."""
    return processes * (LOG_BYTES + LAST_INTERVALS_BYTES)


def free_bytes(folder: Path) -> int | None:
    """Bytes that we may still write there, or where it will be made; None where nobody says."""
    there = folder.absolute()
    while not there.exists() and there != there.parent:
        there = there.parent
    try:
        file_system = os.statvfs(there)
    except OSError:
        return None
    return file_system.f_bavail * file_system.f_frsize


def check_room(folder: Path, expected: Forecast) -> int | None:
    """The bytes that are free there. Raises ConfigError when the run won't fit."""
    free = free_bytes(folder)
    if free is not None and expected.total > free:
        raise ConfigError(
            f"the disk is too full: the run will write {_size(expected)} to {folder}, where "
            f"{size_text(free)} are free. Make room, choose another folder (--reports), or ignore "
            "this with --disk-guard off"
        )
    return free


def check_end(folder: Path) -> None:
    """Raises ConfigError where a process would have to end as soon as it began."""
    free = free_bytes(folder)
    if free is not None and free < ending_bytes():
        raise ConfigError(
            f"the disk is too full: {size_text(free)} are free in {folder}, and a process needs "
            f"{size_text(ending_bytes())} to end in order. Make room, choose another folder "
            "(--reports), or ignore this with --disk-guard off"
        )


def notable(folder: Path, expected: Forecast, free: int | None) -> str:
    """A sentence about a run that takes much of the room, or else nothing."""
    if free is None or (expected.total < NOTABLE_SHARE * free and expected.total < NOTABLE_BYTES):
        return ""
    return f"the run will write {_size(expected)} to {folder}; {size_text(free)} are free"


def as_dict(expected: Forecast, free: int | None) -> dict[str, int | bool | None]:
    return {**asdict(expected), "total": expected.total, "free": free}


def _size(expected: Forecast) -> str:
    least = "about" if expected.sessions_known else "at least"
    return f"{least} {size_text(expected.total)}"


class RoomWatch:
    """Looks at the free space again and again while a run goes on."""

    def __init__(self, directory: Path, needed: int) -> None:
        """``needed`` bytes have to stay free for the run to end in order."""
        self._directory = directory
        self._needed = needed
        self._full = ""

    def look(self) -> str:
        """One sentence when there is no more room than the end of the run needs; it stays the same
        from then on.
        """
        free = free_bytes(self._directory)
        if not self._full and free is not None and free < self._needed:
            place = f"{self._directory.parent.absolute()} on {platform.node()}"
            self._full = (
                f"the disk is nearly full: {size_text(free)} are free in {place}, and it takes "
                f"{size_text(self._needed)} to end in order: no new guests"
            )
        return self._full
