"""The duties of a run's process beside its guests: its event loop, clock, disk and resources, and
broken stories.

An exception in one duty stops neither the others nor its own next run.
"""

import contextlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

import gevent
import psutil

from harness.clock import monotonic_ns, wall_ns
from harness.guest.outcomes import place_of
from harness.load.logs import LOG
from harness.measure.recorder import LAG_BEAT_S, STORY_ERROR
from harness.preflight.disk import RoomWatch, ending_bytes

ELSEWHERE = f"{STORY_ERROR}elsewhere"
"""The counter of errors at all places that have no counter of their own."""
LEAST_CPU_S = 0.5
"""Over less time a share of CPU is only the resolution of the kernel's clock."""
STEP_S = 1.0
"""A larger difference is a step: a slewed clock never drifts so far between two checks."""


class LoopLag:
    """Sleeps :data:`LAG_BEAT_S` again and again and reports by how much it overslept.

    Lateness is weighed by time, because a generator that stands still takes no samples: at any
    moment it is the time that a timer due then had to wait. Each beat that a stall has swallowed
    counts with the time it was late, so that one long stall weighs as much as the time it took (the
    generator's own coordinated omission would hide it otherwise).
    """

    def __init__(self, report: Callable[[int], None]) -> None:
        self._report = report
        self._greenlet: gevent.Greenlet[..., None] | None = None
        self._due_ns = 0

    def start(self) -> None:
        """Begin; the beats go on until :meth:`stop`."""
        self._greenlet = gevent.spawn(self._beat)

    def stop(self) -> None:
        """End, with the stall that may be going on just now; safe to call twice."""
        if self._greenlet is not None:
            self._greenlet.kill(block=False)
            self._greenlet = None
            late = monotonic_ns() - self._due_ns if self._due_ns else 0
            if late > LAG_BEAT_S * 1e9:
                self._tell(late)

    def _beat(self) -> None:
        period_ns = int(LAG_BEAT_S * 1e9)
        while True:
            self._due_ns = monotonic_ns() + period_ns
            gevent.sleep(LAG_BEAT_S)
            self._tell(max(0, monotonic_ns() - self._due_ns))

    def _tell(self, late_ns: int) -> None:
        period_ns = int(LAG_BEAT_S * 1e9)
        while late_ns > period_ns:
            self._report(late_ns)
            late_ns -= period_ns
        self._report(late_ns)


class ClockWatch:
    """Compares the wall clock with the monotonic clock at each check."""

    def __init__(
        self,
        wall: Callable[[], int] = wall_ns,
        monotonic: Callable[[], int] = monotonic_ns,
    ) -> None:
        self._wall = wall
        self._monotonic = monotonic
        self._offset_ns = wall() - monotonic()

    def check(self) -> str | None:
        """A sentence if the clock was stepped since the last check; else None."""
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
    """The disk, CPU and memory of this process; asked once a second."""

    def __init__(self, directory: Path, *, disk_guard: bool) -> None:
        """The disk must have at least half the space that the process needs to end properly.

        The leader of the run stops it earlier; this is for a worker with a disk of its own, and for
        a disk that another program fills.
        """
        self._clock = ClockWatch()
        self._room = RoomWatch(directory, ending_bytes() // 2) if disk_guard else None
        self._process = psutil.Process()
        self._cpu = self._process.cpu_percent()  # it counts from here
        self._looked_s = monotonic_ns() / 1e9

    def complaints(self) -> Sequence[str]:
        """A sentence for each reason why the run must end."""
        stepped = self._clock.check()
        full = "" if self._room is None else self._room.look()
        return [why for why in (stepped, full) if why]

    def needs(self) -> dict[str, float]:
        """The use of this process: share of a core since the last check, megabytes, descriptors."""
        with self._process.oneshot():
            return {
                "cpu": self._cpu_share(),
                "rss_mb": round(self._process.memory_info().rss / 1e6, 1),
                "fds": self._process.num_fds(),
            }

    def _cpu_share(self) -> float:
        """The share of one core since the last check; the last share again if that was just now.

        The last check of a run may come milliseconds after the one before: over so short a time the
        result would be a share of many cores.
        """
        now_s = monotonic_ns() / 1e9
        if now_s - self._looked_s >= LEAST_CPU_S:
            self._cpu, self._looked_s = self._process.cpu_percent() / 100, now_s
        return round(self._cpu, 3)


Result = TypeVar("Result")
Other = TypeVar("Other")


class Duties:
    """Does duties, and logs each one that fails, once."""

    def __init__(self) -> None:
        self._failed: set[str] = set()

    def do(self, name: str, duty: Callable[[], Result], otherwise: Other) -> Result | Other:
        """The duty's result, or ``otherwise`` if it fails."""
        try:
            return duty()
        except Exception as error:  # noqa: BLE001 - whatever it is, the other duties go on
            if name not in self._failed:
                self._failed.add(name)
                LOG.error(f"once a second: {name} failed: {type(error).__name__}: {error}")
        return otherwise


PLACES_COUNTED = 5
"""How many different places have a counter of their own."""
HOPELESS_FROM = 10
"""From this many on, a run in which most stories end by their own errors is ended: it tests
nothing."""
NOTED = "_harness_noted"


class ScriptErrors:
    """The stories of one process that ended by their own errors."""

    def __init__(self) -> None:
        self._counted: set[str] = set()
        self._many = 0

    def count_of(self, error: BaseException) -> str:
        """The counter of an error; empty if it has been counted already.

        An error of ``on_start`` is reported twice: by Locust, and when its slot ends.
        """
        if getattr(error, NOTED, False):
            return ""
        with contextlib.suppress(AttributeError):
            setattr(error, NOTED, True)
        self._many += 1
        place = place_of(error.__traceback__) or "the locustfile"
        name = f"{STORY_ERROR}{type(error).__name__} in {place}"
        if name not in self._counted and len(self._counted) >= PLACES_COUNTED:
            return ELSEWHERE
        self._counted.add(name)
        return name

    def hopeless(self, begun: int) -> bool:
        """Whether most of the stories that were begun ended by their own errors."""
        return self._many >= HOPELESS_FROM and self._many * 2 > begun
