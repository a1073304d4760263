"""Tells a process that the one which started it is gone, however that came about.

A pipe that the starter alone holds open: it closes with the starter, also by ``kill -9``. Where the
kernel can, it sends a signal as well, for the time in which nobody looks at the pipe yet.

Signals put off for as long as it takes to start a process and to know of it.
"""

import ctypes
import os
import select
import signal
import stat
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib import import_module
from types import FrameType

from harness.config.run_config import LIFELINE, take_variable

IN_ORDER = signal.SIGUSR2
"""The signal by which ``harness run`` has Locust end its run with all the time that conversations
may have; SIGTERM leaves them only what whoever sends it waits before he kills."""
PR_SET_PDEATHSIG = 1


class Lifeline:
    """The starter's side: holds for as long as this object does, at most as long as the process."""

    def __init__(self) -> None:
        self._theirs, self._ours = os.pipe()

    def __enter__(self) -> "Lifeline":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go: who was started takes it that we are gone."""
        self.started()
        os.close(self._ours)

    @property
    def fds(self) -> tuple[int]:
        """What the new process has to be given (``pass_fds``)."""
        return (self._theirs,)

    @property
    def environment(self) -> dict[str, str]:
        """And how it finds it."""
        return {LIFELINE: str(self._theirs)}

    def started(self) -> None:
        """The new process has its end: ours of it is closed."""
        if self._theirs >= 0:
            os.close(self._theirs)
            self._theirs = -1


class Starter:
    """The started one's side."""

    def __init__(self, fd: int) -> None:
        self.fd = fd
        """becomes readable when the starter is gone"""

    @property
    def gone(self) -> bool:
        """Whether nobody holds the other end any more."""
        return bool(select.select([self.fd], [], [], 0)[0])


def starter() -> Starter | None:
    """Who started this process and wants it to end with it; None when nobody does.

    Asked once: what this process starts is not meant.
    """
    text = take_variable(LIFELINE)
    with suppress(ValueError, OSError):
        fd = int(text)
        if stat.S_ISFIFO(os.fstat(fd).st_mode):
            os.set_inheritable(fd, False)
            return Starter(fd)
    return None


def signal_when_orphaned(number: int) -> None:
    """Have the kernel send this process a signal when its parent is gone; 0: no more. (Linux.)"""
    if sys.platform == "linux":
        with suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, int(number), 0, 0, 0)


def killed_by(number: int) -> str:
    """How a process came to its end that a signal ended, as the end of a sentence."""
    try:
        name = signal.Signals(number).name
    except ValueError:  # a real-time signal has no name of its own
        name = f"signal {number}"
    memory = " (the system does so when memory runs out)" if number == signal.SIGKILL else ""
    return f"its process was killed by {name}{memory}"


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


def interrupted_quietly() -> None:
    """Where this process runs on gevent, its hub would print each interrupt that it hands on."""
    if "gevent" in sys.modules:
        hub = import_module("gevent").get_hub()
        hub.NOT_ERROR = (*type(hub).NOT_ERROR, KeyboardInterrupt)
