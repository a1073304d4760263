"""Errors in a locustfile's own story: each place is told once, and a hopeless run is ended early.

Only the kind of the error and its place are told: its text may hold whatever the story knows.
"""

import os
import sysconfig
import traceback
from pathlib import Path

from locust.exception import (
    InterruptTaskSet,
    RescheduleTask,
    RescheduleTaskImmediately,
    StopTest,
    StopUser,
)

import harness

WANTED = (InterruptTaskSet, RescheduleTask, RescheduleTaskImmediately, StopTest, StopUser)
"""With these a story tells Locust what to do next."""
NOT_THEIRS = tuple(
    folder + os.sep
    for folder in (
        str(Path(harness.__file__).parent),
        *(sysconfig.get_path(name) for name in ("stdlib", "purelib", "platlib")),
    )
)
"""Folders whose code is not the user's."""
PLACES = 5
"""So many different places are told."""
HOPELESS = 10
"""From so many on, a run in which most stories end so is ended: it tests nothing."""


class Mistakes:
    """Of one process."""

    def __init__(self) -> None:
        self._told: set[str] = set()
        self._many = 0

    def told(self, error: Exception) -> str:
        """One sentence about an error at a place that was not told yet, or else nothing."""
        self._many += 1
        sentence = (
            f"a guest's story ended by an error of its own, {type(error).__name__} in "
            f"{_place(error)} (Locust's log has the whole of it)"
        )
        if sentence in self._told or len(self._told) >= PLACES:
            return ""
        self._told.add(sentence)
        return sentence

    def hopeless(self, begun: int) -> bool:
        """Whether most of the stories that were begun ended so."""
        return self._many >= HOPELESS and self._many * 2 > begun


def _place(error: Exception) -> str:
    """The innermost file and line that are the user's own."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if not frame.filename.startswith(NOT_THEIRS)] or frames
    return f"{Path(own[-1].filename).name}, line {own[-1].lineno}"
