"""The event loop's own lateness: a timer that notes how long after its time it was served."""

from collections.abc import Callable

import gevent

from harness.clock import monotonic_ns

PERIOD_S = 0.02


class LoopLag:
    """Sleeps :data:`PERIOD_S` again and again and reports by how much it overslept.

    A stall of the loop is seen by every beat that it swallows: each beat that should have
    happened in between counts with the time it was late, so that one long stall weighs as much as
    the time it took (the generator's own coordinated omission would hide it otherwise).
    """

    def __init__(self, report: Callable[[int], None]) -> None:
        self._report = report
        self._greenlet: gevent.Greenlet[..., None] | None = None

    def start(self) -> None:
        """Begin; the beats go on until :meth:`stop`."""
        self._greenlet = gevent.spawn(self._beat)

    def stop(self) -> None:
        """End; safe to call twice."""
        if self._greenlet is not None:
            self._greenlet.kill(block=False)
            self._greenlet = None

    def _beat(self) -> None:
        period_ns = int(PERIOD_S * 1e9)
        while True:
            due = monotonic_ns() + period_ns
            gevent.sleep(PERIOD_S)
            late = monotonic_ns() - due
            while late > period_ns:
                self._report(late)
                late -= period_ns
            self._report(max(0, late))
