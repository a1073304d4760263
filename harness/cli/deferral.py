"""Signals put off for as long as it takes to start a process and to know of it."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

STOPS = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def deferred_stops() -> Iterator[None]:
    """Ctrl-C and SIGTERM take effect at the end of the block.

    In the middle of ``subprocess.Popen`` one would leave a process that nobody knows of. Nothing
    that takes long belongs in here. The new process is not affected: what is caught is not
    inherited.
    """
    if threading.current_thread() is not threading.main_thread():
        yield  # signals are handled elsewhere
        return
    came: list[int] = []

    def note(number: int, _: FrameType | None) -> None:
        came.append(number)

    before = {number: signal.signal(number, note) for number in STOPS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        for early in came:
            signal.raise_signal(early)


@contextmanager
def terminated_as_by_hand() -> Iterator[None]:
    """SIGTERM does what Ctrl-C does, so that whatever was begun is ended in order."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGTERM)
    if before is signal.SIG_DFL:
        signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        if before is signal.SIG_DFL:
            signal.signal(signal.SIGTERM, before)
