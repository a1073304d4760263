"""How a Locust process is ended from outside: by signals, or by the death of who started it.

Locust itself leaves at the second Ctrl-C, in the middle of its teardown, and does not mind a
terminal or a supervisor that goes away: it would load on to the planned end, unattended.

Locust goes on when a listener of its events fails; a run whose start has failed must not.
"""

import logging
import os
import signal
import traceback
from collections.abc import Callable
from typing import Any

import gevent
from gevent.socket import wait_read

from harness.exit_codes import ExitCode
from harness.processes import IN_ORDER, VARIABLE, Starter, signal_when_orphaned, starter


class Interrupts:
    """First: stop in order. Second: clear at once. Third: leave, and say how to sweep."""

    def __init__(self, *, hurry: Callable[[], None], leave: Callable[[], None]) -> None:
        self._hurry = hurry
        self._leave = leave
        self.count = 0
        self.unhurried = False
        """whoever ends the run leaves conversations all the time they may have"""
        self.orphaned = False
        """``harness run`` was killed"""
        self._above: Starter | None = None
        self._gone = False

    def install(self, *, supervised: bool) -> None:
        """Take signals over from Python; where somebody supervises us, mind whether he lives.

        A worker's orders come from its master: nobody supervises it.
        """
        gevent.signal_handler(signal.SIGINT, self.on_interrupt)
        gevent.signal_handler(signal.SIGUSR1, self._hurry)
        gevent.signal_handler(IN_ORDER, self._end_unhurried)
        if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # by nohup
            gevent.signal_handler(signal.SIGHUP, self._end_alone)
        above = starter()
        if above is not None and supervised:
            self._above = above
            gevent.spawn(self._watch, above.fd)
            signal_when_orphaned(signal.SIGHUP)

    def _watch(self, fd: int) -> None:
        wait_read(fd)
        self._end_alone()

    def _end_unhurried(self) -> None:
        self.unhurried = True
        os.kill(os.getpid(), signal.SIGTERM)

    def _end_alone(self) -> None:
        """The terminal or the supervisor has gone: once, however often we are told."""
        if not self._gone:
            self._gone = True
            if self._above is not None:
                gevent.sleep(0.1)  # the kernel's signal may come before the pipe is closed
                self.orphaned = self._above.gone
            os.kill(os.getpid(), signal.SIGTERM)

    def on_interrupt(self) -> None:
        """One Ctrl-C more."""
        self.count += 1
        if self.count == 1:
            # Locust's main greenlet expects it. Raised here, gevent would print a stack as well.
            gevent.get_hub().handle_system_error(KeyboardInterrupt, KeyboardInterrupt())
            return
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


def end_with_supervisor() -> None:
    """Until :class:`Interrupts` are installed nothing has been sent: simply go with who started us.

    For a process that imports a locustfile for ``harness run``.
    """
    if VARIABLE in os.environ:
        signal_when_orphaned(signal.SIGTERM)


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


def ending_on_error(hook: Any, on_error: Callable[[Exception], None]) -> Callable[..., None]:
    """A ``fire`` for an event of Locust that stops at the first listener that fails, and tells."""

    def fire(*, reverse: bool = False, **kwargs: Any) -> None:
        for handler in reversed(hook._handlers) if reverse else list(hook._handlers):
            try:
                handler(**kwargs)
            except Exception as error:  # noqa: BLE001 - whatever the user's own listener raises
                logging.error("a listener of test_start failed:\n%s", traceback.format_exc())
                return on_error(error)

    return fire
