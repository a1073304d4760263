"""How a Locust process ends: by a signal, a time limit, a story, or the death of its parent.

Locust enters its shutdown once for each of them, even during another shutdown. Then it exits before
the run has ended, or kills the greenlet that ends it. Here all of them share one end.

Locust also ignores three more cases, which are handled here: a second Ctrl-C during its teardown, a
terminal or supervisor that goes away, and a listener of ``test_start`` that fails.
"""

import os
import signal
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import gevent
from gevent.event import Event
from gevent.socket import wait_read
from locust.exception import StopUser

from harness.config.run_config import ENVIRONMENT, LIFELINE
from harness.errors import ExitCode
from harness.load.logs import LOG
from harness.machine import IN_ORDER, Starter, signal_when_orphaned, starter

GONE_WITHIN_S = 2.0
"""How long a killed supervisor may take to be gone; one whose terminal was closed stays."""


class Interrupts:
    """First Ctrl-C: stop in order. Second: clear at once. Third: leave, and say how to sweep."""

    def __init__(
        self, *, hurry: Callable[[], None], leave: Callable[[], None], one_end: "OneEnd"
    ) -> None:
        self._hurry = hurry
        self._leave = leave
        self._one_end = one_end
        self.count = 0
        self.unhurried = False
        """the end of the run gives conversations all the time they may have"""
        self.orphaned = False
        """``harness run`` was killed"""
        self._above: Starter | None = None
        self._gone = False

    def install(self, *, supervised: bool) -> None:
        """Take signals over from Python; if there is a supervisor, watch whether it lives.

        A worker has no supervisor: its orders come from its master.
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
        """The terminal or the supervisor has gone; acts only once."""
        if not self._gone:
            self._gone = True
            if self._above is not None:
                # The kernel's signal comes before the pipe is closed where the supervisor's other
                # threads end later.
                with suppress(TimeoutError):
                    wait_read(self._above.fd, timeout=GONE_WITHIN_S)
                self.orphaned = self._above.gone
            os.kill(os.getpid(), signal.SIGTERM)

    def on_interrupt(self) -> None:
        """Another Ctrl-C."""
        self.count += 1
        if self.count == 1 and not self._one_end.is_made_by(gevent.get_hub().parent):
            # Locust's main greenlet expects it. Raised here, gevent would print a stack as well.
            gevent.get_hub().handle_system_error(KeyboardInterrupt, KeyboardInterrupt())
            return
        self.again()

    def again(self) -> None:
        """The user presses Ctrl-C again while the run is ending."""
        self.count = max(self.count, 2)
        if self.count == 2:
            print("clearing at once (once more leaves sessions behind)", flush=True)
            self._hurry()
            return
        self._leave()
        os._exit(ExitCode.INTERRUPTED)


class OneEnd:
    """Merges all ways a run can end: the first caller ends it, the others wait.

    It wraps Locust's ``stop`` and ``quit``, and its shutdown.
    """

    def __init__(self, runner: Any, *, on_story: Callable[[], None]) -> None:
        """``on_story``: called if a story calls ``stop`` or ``quit``, as it can't await its end."""
        self._runner = runner
        self._on_story = on_story
        self._stop, self._quit = runner.stop, runner.quit
        self._maker: Any = None
        """the greenlet that is ending the run now"""
        self._made = Event()
        self._made.set()
        self._quit_after = False
        self._quitting: list[Any] = []
        """greenlets in Locust's ``quit``"""
        self._leaver: Any = None
        """the greenlet in Locust's shutdown"""
        runner.stop, runner.quit = self.stop, self.quit

    def stop(self, *args: Any, **kwargs: Any) -> None:
        """End the test, or wait if another greenlet is ending it."""
        self._let_story_go()
        current = gevent.getcurrent()
        if self._maker is current:
            return  # a listener asks for the end that is going on
        while self._maker is not None:
            self._made.wait()
        # A run that has ended meanwhile is not ended again by Locust; the next one may go on.
        self._maker = current
        self._made.clear()
        try:
            self._stop(*args, **kwargs)
        finally:
            self._maker = None
            self._made.set()
        if self._quit_after:
            self._quit_after = False
            self._quit()

    def quit(self) -> None:
        """End the test and Locust's greenlets; if the run is ending already, after that.

        The caller does not wait in that case: the end may be waiting for the caller.
        """
        self._let_story_go()
        if self._maker is not None:
            self._quit_after = True
            return
        current = gevent.getcurrent()
        self._quitting.append(current)
        try:
            self._quit()
        finally:
            self._quitting.remove(current)

    def wait(self) -> None:
        """Wait until no greenlet is ending the run."""
        if self._maker is not gevent.getcurrent():
            self._made.wait()

    def is_made_by(self, greenlet: Any) -> bool:
        """Whether this greenlet is ending the run now: a Ctrl-C would interrupt that."""
        return greenlet is not None and (
            greenlet in (self._maker, self._leaver) or greenlet in self._quitting
        )

    def enter_shutdown(self, again: Callable[[], None]) -> None:
        """Return for the first caller, which leaves the process; the others wait until it is gone.

        ``again``: called if another signal was the cause.
        """
        current = gevent.getcurrent()
        while self._leaver not in (None, current) and not self._leaver.dead:
            if current is not gevent.get_hub().parent:
                again()  # Locust's main greenlet comes too when the runner has gone: no signal
            leaver = self._leaver
            while not leaver.dead:  # the main greenlet can't be joined
                gevent.sleep(0.1)
        self._leaver = current

    def _let_story_go(self) -> None:
        if gevent.getcurrent() in self._runner.user_greenlets:
            self._on_story()
            raise StopUser


def end_with_supervisor() -> None:
    """Nothing has been sent yet, so exit when the supervisor exits.

    For a process that imports a locustfile for ``harness run``, until :class:`Interrupts` is
    installed.
    """
    if LIFELINE in ENVIRONMENT:
        signal_when_orphaned(signal.SIGTERM)


def ending_on_error(hook: Any, on_error: Callable[[Exception], None]) -> Callable[..., None]:
    """A ``fire`` for an event of Locust that stops at the first failing listener and reports it."""

    def fire(*, reverse: bool = False, **kwargs: Any) -> None:
        for handler in reversed(hook._handlers) if reverse else list(hook._handlers):
            try:
                handler(**kwargs)
            except Exception as error:  # noqa: BLE001 - whatever the user's own listener raises
                LOG.exception("a listener of test_start failed")
                return on_error(error)

    return fire
