"""Errors in a locustfile's own story: each place is counted, and a hopeless run is ended early.

Only the kind of the error and its place are told: its text may hold whatever the story knows.
"""

import contextlib
import traceback

from harness.guest.place import own_place
from harness.judge.accounts import ELSEWHERE, count_name

PLACES = 5
"""So many different places are told."""
HOPELESS = 10
"""From so many on, a run in which most stories end so is ended: it tests nothing."""
NOTED = "_harness_noted"


class ScriptErrors:
    """Of one process."""

    def __init__(self) -> None:
        self._told: set[str] = set()
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
        name = count_name(type(error).__name__, *place_of(error))
        if name not in self._told and len(self._told) >= PLACES:
            return ELSEWHERE
        self._told.add(name)
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
