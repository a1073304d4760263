"""How one greenlet waits for the event loop to tell it something, with a time limit."""

from typing import Any

from gevent import getcurrent
from gevent.hub import get_hub

from harness.clock import monotonic_ns


class Waiter:
    """One waiting greenlet at a time; to notify nobody does nothing.

    Much lighter than an event object with a timeout: one switch per wait, and in most cases no
    timer, because the one of an earlier wait is left running if it comes early enough.
    """

    __slots__ = ("_due_ns", "_hub", "_notified", "_timer", "_waiting")

    def __init__(self) -> None:
        self._waiting: Any = None
        self._notified = False
        self._timer: Any = None
        self._due_ns = 0
        self._hub = get_hub()

    def wait(self, timeout_s: float) -> bool:
        """Sleep until :meth:`notify` (True) or until the time is over (False)."""
        deadline = monotonic_ns() + int(timeout_s * 1e9)
        while not self.wait_until(deadline):
            if monotonic_ns() >= deadline:
                return False
        return True

    def wait_until(self, deadline_ns: int) -> bool:
        """As :meth:`wait`, but may also return (False) before the time is over."""
        timer = self._timer
        if timer is None or deadline_ns < self._due_ns:
            if timer is not None:
                timer.stop()
                timer.close()
            after_s = max(0.0, (deadline_ns - monotonic_ns()) / 1e9)
            self._timer = timer = self._hub.loop.timer(after_s)
            self._due_ns = deadline_ns
            timer.start(self._on_timer)
        self._waiting = getcurrent()
        try:
            return self._hub.switch() is True
        finally:
            self._waiting = None

    def notify(self) -> None:
        """Let the waiting greenlet go on, soon; may be called from anywhere."""
        if self._waiting is not None and not self._notified:
            self._notified = True
            self._hub.loop.run_callback(self._wake)

    def wake(self) -> None:
        """Let it go on at once; for the last line of what the event loop calls, and only there."""
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            waiting.switch(True)

    def close(self) -> None:
        """Stop the timer, if one is left running."""
        timer, self._timer = self._timer, None
        if timer is not None:
            timer.stop()
            timer.close()

    def _wake(self) -> None:
        # Only now is it certain that the greenlet still waits here: it may have been killed.
        self._notified = False
        self.wake()

    def _on_timer(self) -> None:
        self.close()
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            waiting.switch(False)
