"""What a process of a run looks after beside its guests: the clock, the disk, and its own needs."""

from collections.abc import Sequence
from pathlib import Path

import psutil

from harness.load.clockwatch import ClockWatch
from harness.preflight.disk import RoomWatch, ending_bytes


class Upkeep:
    """Asked once a second."""

    def __init__(self, directory: Path, *, disk_guard: bool) -> None:
        """The disk has to hold half of what the process needs to end in order, at least.

        Whoever leads the run stops it earlier and gently; this is for a worker whose disk is its
        own, and for a disk that somebody else fills up.
        """
        self._clock = ClockWatch()
        self._room = RoomWatch(directory, ending_bytes() // 2) if disk_guard else None
        self._process = psutil.Process()
        self._process.cpu_percent()

    def complaints(self) -> Sequence[str]:
        """A sentence for each thing because of which the run must end."""
        stepped = self._clock.check()
        full = "" if self._room is None else self._room.look()
        return [why for why in (stepped, full) if why]

    def needs(self) -> dict[str, float]:
        """What this process takes: share of a core since the last look, megabytes, descriptors."""
        with self._process.oneshot():
            return {
                "cpu": self._process.cpu_percent() / 100,
                "rss_mb": round(self._process.memory_info().rss / 1e6, 1),
                "fds": self._process.num_fds(),
            }
