"""Where in the user's own files something happened."""

import os
import sysconfig
import traceback
from pathlib import Path
from types import TracebackType

import harness

NOT_THEIRS = tuple(
    folder + os.sep
    for folder in (
        str(Path(harness.__file__).parent),
        *(sysconfig.get_path(name) for name in ("stdlib", "purelib", "platlib")),
    )
)
"""Folders whose code is not the user's."""


def own_place(frames: traceback.StackSummary) -> tuple[str, int]:
    """The innermost file and line that are the user's own, of a stack, outermost call first."""
    own = [frame for frame in frames if not frame.filename.startswith(NOT_THEIRS)] or frames
    return (Path(own[-1].filename).name, own[-1].lineno or 0) if own else ("the locustfile", 0)


def place_of(trace: TracebackType | None) -> str:
    """The same of an error's trace, in words; empty without one."""
    if trace is None:
        return ""
    frames = traceback.StackSummary.extract(traceback.walk_tb(trace), lookup_lines=False)
    file, line = own_place(frames)
    return f"{file}, line {line}"
