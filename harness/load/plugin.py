"""Connects a run to Locust's events. Registered once, when :mod:`harness.load` is imported."""

import gc
import inspect
import sys
from typing import Any

import gevent
from locust import events
from locust.runners import STATE_RUNNING, STATE_SPAWNING

from harness.errors import ConfigError, ExitCode, LedgerError
from harness.load.admission import refuse, tell_shortly
from harness.load.cluster.handout import remove_at_end
from harness.load.cluster.messages import harden_receiving
from harness.load.health import Duties, calling_place, place_of
from harness.load.logs import install, use_json_if_configured
from harness.load.node import node_of
from harness.load.node.role import Node
from harness.load.options import add_options, remember_locusts_options
from harness.load.run import time_to_clear_s
from harness.load.signals import Interrupts, OneEnd, end_with_supervisor, ending_on_error
from harness.machine import keep_files_private, raise_file_limit
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
        file, line = place_of(error)
        why = f"the start of the run failed: {type(error).__name__} in {file}, line {line}: {error}"
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
            run.fail(f"a story ended the run by quit() or stop(): {calling_place()}")

    def _leave(self) -> None:
        """After the third Ctrl-C print which sessions may be left before this process ends."""
        if self._node.leads and self._node.going and self._node.directory is not None:
            print(left_sentence(self._node.directory), flush=True)
