"""Connects a run to Locust: its events, and the ways in which its process ends.

Registered once, when :mod:`harness.load` is imported.

A process ends by a signal, a time limit, a story, or the death of its parent. Locust enters its
shutdown once for each of them, even during another shutdown. Then it exits before the run has
ended, or kills the greenlet that ends it. Here all of them share one end.

Locust also ignores three more cases, which are handled here: a second Ctrl-C during its teardown, a
terminal or supervisor that goes away, and a listener of ``test_start`` that fails.
"""

import gc
import inspect
import os
import signal
import sys
import traceback
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import gevent
from gevent.event import Event
from gevent.socket import wait_read
from locust import events
from locust.exception import StopUser
from locust.runners import STATE_RUNNING, STATE_SPAWNING

from harness.config.run_config import ENVIRONMENT, LIFELINE
from harness.errors import ConfigError, ExitCode, LedgerError
from harness.guest.outcomes import own_place, place_of
from harness.load.admission import refuse, tell_shortly
from harness.load.cluster.handout import remove_at_end
from harness.load.cluster.messages import harden_receiving
from harness.load.health import Duties
from harness.load.logs import LOG, install, use_json_if_configured
from harness.load.node import node_of
from harness.load.node.role import Node
from harness.load.options import add_options, remember_locusts_options
from harness.load.run import time_to_clear_s
from harness.machine import (
    IN_ORDER,
    Starter,
    defer_interrupts,
    keep_files_private,
    raise_file_limit,
    signal_when_orphaned,
    starter,
)
from harness.rundir.layout import left_sentence
from harness.streams import outlast_readers

WATCH_EVERY_S = 1.0
HOOKS = ("test_start", "spawning_complete", "user_error", "test_stopping", "test_stop", "quitting")
MORE_USERS = 1.25
"""By how much the users must have grown before the garbage collector leaves them out as well."""
COLLECTED_EVERY = (5_000, 20, 10)
"""With Python's own (700, 10, 10) the collector traverses all objects of the guests again and again
while their number grows: 40 ms each time with 1,500 in session. There are hardly any cycles to
free, and its short passes reach those."""
GONE_WITHIN_S = 2.0
"""How long a killed supervisor may take to be gone; one whose terminal was closed stays."""


def register() -> None:
    """Listen to Locust."""
    end_with_supervisor()
    use_json_if_configured()
    harden_receiving()
    remember_locusts_options()
    remove_at_end()
    sys.excepthook = tell_shortly(sys.excepthook)
    for hook, listener in ((events.init_command_line_parser, add_options), (events.init, _attach)):
        hook.add_listener(listener)  # type: ignore[no-untyped-call]


def _attach(environment: Any, runner: Any, **_: Any) -> None:
    keep_files_private()
    outlast_readers()  # what Locust's process prints must not end what it does
    node = node_of(environment, runner)
    raise_file_limit()
    install(lambda: node.names)
    plugin = Plugin(node)
    node.prepare()
    plugin.listen()
    if not node.leads and runner.worker_state in (STATE_SPAWNING, STATE_RUNNING):
        plugin.on_test_start()  # its orders came before we could listen
    # Locust sets the time limit next, without a pause, and a timer counts from when the event loop
    # last looked at the clock; only to one that it has called itself does it look again. Otherwise
    # the run would end too early by as long as the set-up of the locustfile takes.
    gevent.sleep(0)


class Plugin:
    """Passes Locust's events to the node of this process: its part in a run."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._runner = node.runner
        self._one_end = OneEnd(node.runner, on_story=self._on_story_end)
        self._interrupts = Interrupts(hurry=node.hurry, leave=self._leave, one_end=self._one_end)
        self._stopping = False
        self._left_out = 0

    def listen(self) -> None:
        """Register for Locust's events and for signals, and watch the clock."""
        hooks = self._node.environment.events
        for name in HOOKS:
            getattr(hooks, name).add_listener(getattr(self, f"on_{name}"))
        hooks.test_start.fire = ending_on_error(hooks.test_start, self.on_failed_start)
        self._interrupts.install(supervised=self._node.leads)
        gevent.spawn(self._watch_forever)

    def _watch_forever(self) -> None:
        do = Duties().do
        while True:
            gevent.sleep(WATCH_EVERY_S)
            do("the watch over the run", self._node.watch, None)

    def on_test_start(self, **_: Any) -> None:
        """Open the run directory and, where guests run, the files of this process."""
        self._stopping = False
        # Locust's stop() looks where it was called from. The first time that takes a look at the
        # file of every module, for up to a quarter of a second, in which no guest is heard and no
        # arrival can start. So the first time is now.
        inspect.stack()
        self._leave_out_what_stays()
        try:
            self._node.start()
        except (ConfigError, LedgerError, OSError) as error:
            refuse(str(error), ExitCode.CONFIG)

    def on_spawning_complete(self, user_count: int, **_: Any) -> None:
        """All users of Locust have started: slots by the thousand live until the end."""
        if user_count > MORE_USERS * self._left_out:
            self._left_out = user_count
            gevent.spawn(gc.freeze)  # after each of them has had its first turn

    def _leave_out_what_stays(self) -> None:
        # A collection of all modules, slots and what they hold stops every guest for a quarter of
        # a second. What is frozen is looked at no more, and freezing itself takes no time.
        self._left_out = 0
        if gc.get_freeze_count():  # slots of a run before, in the web UI
            gc.unfreeze()
            gc.collect()
        gc.freeze()
        gc.set_threshold(*COLLECTED_EVERY)

    def on_test_stopping(self, **_: Any) -> None:
        """End the run's guests; return when none is in session any more."""
        self._stopping = True
        if self._interrupts.count:  # Ctrl-C ends the shape first, and with it the run
            self._node.note_ended_from_outside()
        self._node.drain()

    def on_test_stop(self, **_: Any) -> None:
        """Close this process's files; the leading process writes the record."""
        if self._interrupts.orphaned:
            self._node.failures.append("harness run was killed: the run was ended early")
        self._node.finish()

    def on_user_error(self, exception: BaseException, **_: Any) -> None:
        """A story has ended by an error, wherever in it that was."""
        if (run := self._node.run) is not None:
            run.note_script_error(exception)

    def on_failed_start(self, error: Exception) -> None:
        """A listener of Locust's test_start has failed: the run can't go on without it."""
        place = place_of(error.__traceback__)
        why = f"the start of the run failed: {type(error).__name__} in {place}: {error}"
        if (run := self._node.run) is not None:
            run.fail(why)
        else:
            self._node.fail_start(why)

    def on_quitting(self, **_: Any) -> None:
        """Locust is about to leave, perhaps while guests are talking: end the run first."""
        self._one_end.enter_shutdown(self._interrupts.again)
        if self._node.run is None and not self._node.going:
            self._one_end.wait()  # there is no run any more, but its report is perhaps not made yet
            return
        # Locust leaves by itself only when a run is over: a signal came, or nobody is above us.
        if not (self._stopping or self._interrupts.orphaned):
            self._node.note_ended_from_outside()
        if not (self._interrupts.count or self._interrupts.unhurried):
            self._hurry_in_time()  # by SIGTERM, or as if
        self._runner.stop()
        self._node.leave()

    def _hurry_in_time(self) -> None:
        """After SIGTERM let conversations go on until only the time for clearing is left."""
        options = self._node.options
        if options is not None:
            left_s = options.term_grace_s - time_to_clear_s(self._node.in_session)
            gevent.spawn_later(max(0.0, left_s), self._node.hurry)

    def _on_story_end(self) -> None:
        """A story has called ``quit()``: it has ended as any other, and now the run ends too."""
        if (run := self._node.run) is not None:
            place = own_place(traceback.extract_stack())
            run.fail(f"a story ended the run by quit() or stop(): {place}")

    def _leave(self) -> None:
        """After the third Ctrl-C print which sessions may be left before this process ends."""
        forked = not self._node.leads and self._node.environment.parsed_options.processes
        if not forked and self._node.going and self._node.directory is not None:
            print(left_sentence(self._node.directory), flush=True)


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
        defer_interrupts(deferred=False)
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
