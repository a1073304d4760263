"""Ctrl-C in three stages for a Locust process, and the end of a worker whose master has died.

Locust itself leaves at the second Ctrl-C, in the middle of its teardown.
"""

import os
import signal
from collections.abc import Callable

import gevent

from harness.exit_codes import ExitCode


class Interrupts:
    """First: stop in order. Second: clear at once. Third: leave, and say how to sweep."""

    def __init__(self, *, hurry: Callable[[], None], leave: Callable[[], None]) -> None:
        self._hurry = hurry
        self._leave = leave
        self.count = 0

    def install(self) -> None:
        """Take SIGINT over from Python."""
        gevent.signal_handler(signal.SIGINT, self.on_interrupt)

    def on_interrupt(self) -> None:
        """One Ctrl-C more."""
        self.count += 1
        if self.count == 1:
            raise KeyboardInterrupt  # gevent hands it to Locust's main greenlet, as it expects
        self.again()

    def again(self) -> None:
        """The user asks once more while the run is ending."""
        self.count = max(self.count, 2)
        if self.count == 2:
            print("clearing at once (once more leaves sessions behind)", flush=True)
            self._hurry()
            return
        self._leave()
        os._exit(ExitCode.INTERRUPTED)


def watch_parent(*, every_s: float = 0.5) -> None:
    """End this process in order when its parent has died.

    A worker that Locust has forked would go on for a minute, until it misses its master's
    heartbeat; its guests would go on talking for as long.
    """
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            gevent.sleep(every_s)
        os.kill(os.getpid(), signal.SIGTERM)

    gevent.spawn(watch)
