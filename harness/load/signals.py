"""How a Locust process comes to its end: by a signal, a time limit, a story, its parent's death.

Locust enters its shutdown once for each of them, also while another one goes on: then it leaves
before the run's end is made, or kills who makes it. Here there is one end for all of them.

Three more things that Locust does not mind: a second Ctrl-C in the middle of its teardown, a
terminal or a supervisor that goes away, a listener of ``test_start`` that fails.
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
"""So long a supervisor that was killed may take to be gone; one whose terminal closed stays."""


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
                # The kernel's signal comes before the pipe is closed where the supervisor's other
                # threads end later.
                with suppress(TimeoutError):
                    wait_read(self._above.fd, timeout=GONE_WITHIN_S)
                self.orphaned = self._above.gone
            os.kill(os.getpid(), signal.SIGTERM)

    def on_interrupt(self) -> None:
        """One Ctrl-C more."""
        self.count += 1
        if self.count == 1 and not self._one_end.is_made_by(gevent.get_hub().parent):
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


class OneEnd:
    """Merges all ways a run can end: the first caller ends it, the others wait.

    It wraps Locust's ``stop`` and ``quit``, and its shutdown.
    """

    def __init__(self, runner: Any, *, on_story: Callable[[], None]) -> None:
        """``on_story``: a story has called ``stop`` or ``quit``; it can't wait for its own end."""
        self._runner = runner
        self._on_story = on_story
        self._stop, self._quit = runner.stop, runner.quit
        self._maker: Any = None
        """the greenlet that makes the end now"""
        self._made = Event()
        self._made.set()
        self._quit_after = False
        self._quitting: list[Any] = []
        """greenlets in Locust's ``quit``"""
        self._leaver: Any = None
        """the greenlet in Locust's shutdown"""
        runner.stop, runner.quit = self.stop, self.quit

    def stop(self, *args: Any, **kwargs: Any) -> None:
        """End the test, or wait for the end that is being made."""
        self._let_story_go()
        current = gevent.getcurrent()
        if self._maker is current:
            return  # a listener asks for what is going on
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
        """End the test and Locust's greenlets; after the end that is being made, if one is.

        Whoever asks does not wait then: the end may be waiting for him.
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
        """Until no end is being made."""
        if self._maker is not gevent.getcurrent():
            self._made.wait()

    def is_made_by(self, greenlet: Any) -> bool:
        """Whether it is at an end already: a Ctrl-C would interrupt that."""
        return greenlet is not None and (
            greenlet in (self._maker, self._leaver) or greenlet in self._quitting
        )

    def enter_shutdown(self, again: Callable[[], None]) -> None:
        """Return for the first who comes to leave the process; the others wait till it is left.

        ``again``: called when it was a signal once more.
        """
        current = gevent.getcurrent()
        while self._leaver not in (None, current) and not self._leaver.dead:
            if current is not gevent.get_hub().parent:
                again()  # Locust's main greenlet comes when the runner has gone: nobody's wish
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
    """A ``fire`` for an event of Locust that stops at the first listener that fails, and tells."""

    def fire(*, reverse: bool = False, **kwargs: Any) -> None:
        for handler in reversed(hook._handlers) if reverse else list(hook._handlers):
            try:
                handler(**kwargs)
            except Exception as error:  # noqa: BLE001 - whatever the user's own listener raises
                LOG.exception("a listener of test_start failed")
                return on_error(error)

    return fire
