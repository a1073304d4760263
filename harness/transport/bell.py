"""How one greenlet waits for the event loop to tell it something, with a time limit."""

from typing import Any

from gevent.hub import Waiter, get_hub


class Bell:
    """One waiting greenlet at a time; ringing with nobody waiting does nothing.

    Much lighter than an event object with a timeout: one timer and one switch per wait.
    """

    __slots__ = ("_waiter",)

    def __init__(self) -> None:
        self._waiter: Waiter[Any] | None = None

    def wait(self, timeout_s: float) -> bool:
        """Sleep until :meth:`ring` (True) or until the time is over (False)."""
        hub = get_hub()
        waiter = self._waiter = Waiter(hub)
        timer = hub.loop.timer(max(0.0, timeout_s))
        timer.start(waiter.switch, False)
        try:
            return bool(waiter.get())
        finally:
            if self._waiter is waiter:
                self._waiter = None
            timer.stop()
            timer.close()

    def ring(self) -> None:
        """Let the waiting greenlet go on, soon; may be called from inside the event loop."""
        waiter, self._waiter = self._waiter, None
        if waiter is not None:
            get_hub().loop.run_callback(waiter.switch, True)
