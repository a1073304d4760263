"""Signals put off for as long as it takes to start a process and to know of it."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

STOPS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""Ctrl-C, the request to end, and the terminal (or the ssh connection) that has gone."""


@contextmanager
def deferred_stops() -> Iterator[None]:
    """What is in ``STOPS`` takes effect at the end of the block.

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

    before = {number: signal.signal(number, note) for number in heeded()}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        for early in came:
            signal.raise_signal(early)


def heeded() -> list[int]:
    """``STOPS`` without a hang-up that is to be ignored: then ``nohup`` has started us."""
    return [
        number
        for number in STOPS
        if not (number == signal.SIGHUP and signal.getsignal(number) is signal.SIG_IGN)
    ]


@contextmanager
def terminated_as_by_hand() -> Iterator[None]:
    """SIGTERM and SIGHUP do what Ctrl-C does, so that whatever was begun is ended in order.

    A terminal that closes may hang up twice: only the first time counts.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def hung_up(number: int, frame: FrameType | None) -> None:
        signal.signal(number, lambda *_: None)
        signal.default_int_handler(number, frame)

    handlers = {signal.SIGTERM: signal.default_int_handler, signal.SIGHUP: hung_up}
    before = {
        number: signal.signal(number, handler)
        for number, handler in handlers.items()
        if signal.getsignal(number) is signal.SIG_DFL
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
