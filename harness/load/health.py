"""The duties of a run's process beside its guests: clock, disk, resources, broken stories.

An exception in one duty stops neither the others nor its own next run.
"""

import contextlib
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

import psutil

from harness.clock import monotonic_ns, wall_ns
from harness.guest.outcomes import own_place
from harness.load.logs import LOG
from harness.measure.recorder import STORY_ERROR
from harness.preflight.disk import RoomWatch, ending_bytes

ELSEWHERE = f"{STORY_ERROR}elsewhere"
"""The count of errors at places beyond those that are told one by one."""
LEAST_CPU_S = 0.5
"""Over less time a share of CPU is no more than the grain of the kernel's clock."""
STEP_S = 1.0
"""A clock that is slewed (as time services do) never drifts so far between two looks."""


class ClockWatch:
    """Compares the wall clock with the monotonic one, again and again."""

    def __init__(
        self,
        wall: Callable[[], int] = wall_ns,
        monotonic: Callable[[], int] = monotonic_ns,
    ) -> None:
        self._wall = wall
        self._monotonic = monotonic
        self._offset_ns = wall() - monotonic()

    def check(self) -> str | None:
        """One sentence if the clock was stepped since the last look."""
        offset_ns = self._wall() - self._monotonic()
        step_s = (offset_ns - self._offset_ns) / 1e9
        self._offset_ns = offset_ns
        if abs(step_s) < STEP_S:
            return None
        way = "back" if step_s < 0 else "forward"
        return (
            f"the wall clock was stepped {way} by {abs(step_s):.1f} s: "
            "the times in this run's record can't be trusted"
        )


class ProcessHealth:
    """Asked once a second."""

    def __init__(self, directory: Path, *, disk_guard: bool) -> None:
        """The disk has to hold half of what the process needs to end in order, at least.

        Whoever leads the run stops it earlier and gently; this is for a worker whose disk is its
        own, and for a disk that somebody else fills up.
        """
        self._clock = ClockWatch()
        self._room = RoomWatch(directory, ending_bytes() // 2) if disk_guard else None
        self._process = psutil.Process()
        self._cpu = self._process.cpu_percent()  # it counts from here
        self._looked_s = monotonic_ns() / 1e9

    def complaints(self) -> Sequence[str]:
        """A sentence for each thing because of which the run must end."""
        stepped = self._clock.check()
        full = "" if self._room is None else self._room.look()
        return [why for why in (stepped, full) if why]

    def needs(self) -> dict[str, float]:
        """What this process takes: share of a core since the last look, megabytes, descriptors."""
        with self._process.oneshot():
            return {
                "cpu": self._cpu_share(),
                "rss_mb": round(self._process.memory_info().rss / 1e6, 1),
                "fds": self._process.num_fds(),
            }

    def _cpu_share(self) -> float:
        """Of one core since the last look; the same again where that was but a moment ago.

        The last look of a run may come milliseconds after the one before: so short a time has
        shares of many cores, which no process had.
        """
        now_s = monotonic_ns() / 1e9
        if now_s - self._looked_s >= LEAST_CPU_S:
            self._cpu, self._looked_s = self._process.cpu_percent() / 100, now_s
        return round(self._cpu, 3)


Result = TypeVar("Result")
Other = TypeVar("Other")


class Duties:
    """Does them, and tells which could not be done: of each once."""

    def __init__(self) -> None:
        self._failed: set[str] = set()

    def do(self, name: str, duty: Callable[[], Result], otherwise: Other) -> Result | Other:
        """What the duty gives, or ``otherwise`` where it fails."""
        try:
            return duty()
        except Exception as error:  # noqa: BLE001 - whatever it is, the other duties go on
            if name not in self._failed:
                self._failed.add(name)
                LOG.error(f"once a second: {name} failed: {type(error).__name__}: {error}")
        return otherwise


PLACES = 5
"""So many different places are told."""
HOPELESS = 10
"""From so many on, a run in which most stories end so is ended: it tests nothing."""
NOTED = "_harness_noted"


class ScriptErrors:
    """Of one process."""

    def __init__(self) -> None:
        self._counted: set[str] = set()
        self._many = 0

    def count_of(self, error: BaseException) -> str:
        """Under which count an error belongs; empty when it has been counted already.

        An error of ``on_start`` is heard of twice: from Locust, and when its slot ends by it.
        """
        if getattr(error, NOTED, False):
            return ""
        with contextlib.suppress(AttributeError):
            setattr(error, NOTED, True)
        self._many += 1
        file, line = place_of(error)
        name = f"{STORY_ERROR}{type(error).__name__} in {file}, line {line}"
        if name not in self._counted and len(self._counted) >= PLACES:
            return ELSEWHERE
        self._counted.add(name)
        return name

    def hopeless(self, begun: int) -> bool:
        """Whether most of the stories that were begun ended so."""
        return self._many >= HOPELESS and self._many * 2 > begun


def place_of(error: BaseException) -> tuple[str, int]:
    """The innermost file and line that are the user's own."""
    return own_place(traceback.extract_tb(error.__traceback__))


def calling_place() -> str:
    """The innermost file and line of the user's own that have led to this call."""
    file, line = own_place(traceback.extract_stack())
    return f"{file}, line {line}"
