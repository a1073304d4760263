"""Several tests at once, in processes that are forked once all tests are collected.

``pytest -p tests.at_once --at-once 6``. Processes that start anew, as those of pytest-xdist do,
import and collect everything themselves: with six of them that is a minute of two cores.

Each process is given one test, or all of a file that share what they are made from, and the next
before it is through with it: what two tests in a row share is then kept. Tests of processes come
first, for they wait; the small ones after them fill what is left of the time.
"""

import contextlib
import gc
import itertools
import os
import signal
import sys
import threading
import traceback
from collections import deque
from collections.abc import Iterator
from multiprocessing import Pipe
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

import pytest
from _pytest._io import TerminalWriter

AHEAD = 2  # the test that runs and the next
SHARED = ("module", "package")  # scopes of what is worth making once


def pytest_addoption(parser: pytest.Parser) -> None:
    """How many."""
    parser.addoption("--at-once", type=int, default=1, help="run so many tests at once")


def pytest_runtestloop(session: pytest.Session) -> bool | None:
    """Run them all, and report as if one process had."""
    processes = session.config.getoption("at_once")
    if processes < 2 or session.config.option.collectonly or session.testsfailed:
        return None
    _share_out(session, processes)
    if session.shouldfail:
        raise session.Failed(session.shouldfail)
    if session.shouldstop:
        raise session.Interrupted(session.shouldstop)
    return True


def parcels(items: list[pytest.Item]) -> deque[list[int]]:
    """The tests by number, as they are given away."""
    ordered = sorted(
        range(len(items)), key=lambda one: items[one].get_closest_marker("process") is None
    )
    sharing = {items[one].path for one in ordered if _shares(items[one])}
    groups = itertools.groupby(ordered, lambda one: items[one].path)
    made: deque[list[int]] = deque()
    for path, numbers in groups:
        made.extend([list(numbers)] if path in sharing else [[one] for one in numbers])
    return made


def _shares(item: pytest.Item) -> bool:
    made_from = item._fixtureinfo.name2fixturedefs  # type: ignore[attr-defined]
    return any(one.scope in SHARED for found in made_from.values() for one in found)


class Process:
    """One that runs tests, as its parent sees it."""

    def __init__(self, session: pytest.Session, number: int, siblings: list["Process"]) -> None:
        """Raises RuntimeError where a thread runs: a fork would lose it, and keep its locks."""
        if threading.active_count() > 1:
            raise RuntimeError(f"collecting started {threading.enumerate()[1:]}: no fork is safe")
        self.link, theirs = Pipe()
        self.given: deque[int] = deque()
        self.told_to_end = False
        sys.stdout.flush()
        sys.stderr.flush()
        self.pid = os.fork()
        if not self.pid:
            for one in (*siblings, self):
                one.link.close()  # or no sibling would see its parent go
            _be_one(session, number, theirs)
        theirs.close()

    def give(self, left: deque[list[int]]) -> None:
        """What it may go on with, or that there is no more."""
        while len(self.given) < AHEAD and not self.told_to_end:
            self.told_to_end = not left
            parcel = left.popleft() if left else [None]
            for number in parcel:
                self.link.send(number)
            self.given.extend(number for number in parcel if number is not None)

    def end(self) -> int:
        """Wait for it; its exit code as :mod:`subprocess` says it."""
        self.link.close()
        _, status = os.waitpid(self.pid, 0)
        return os.waitstatus_to_exitcode(status)


def _share_out(session: pytest.Session, processes: int) -> None:
    config = session.config
    left = parcels(session.items)
    config._tmp_path_factory.getbasetemp()  # type: ignore[attr-defined]
    running: dict[Any, Process] = {}
    numbers = itertools.count()

    def start() -> None:
        one = Process(session, next(numbers), [*running.values()])
        running[one.link] = one
        one.give(left)

    try:
        for _ in range(min(processes, len(left))):
            start()
        while running:
            for link in wait([*running]):
                one = running[link]
                try:
                    _hear(session, one, left)
                except (EOFError, ConnectionError):
                    del running[link]
                    _see_off(session, one, left)
                    if left:
                        start()
    finally:
        for one in running.values():  # they end when they see that nobody waits for them
            one.end()


def _hear(session: pytest.Session, one: Process, left: deque[list[int]]) -> None:
    """Raises EOFError or ConnectionError where it is gone."""
    hook = session.config.hook
    kind, what = one.link.recv()
    if kind == "report":
        report = hook.pytest_report_from_serializable(config=session.config, data=what)
        hook.pytest_runtest_logreport(report=report)
        return
    assert one.given.popleft() == what
    if session.shouldfail or session.shouldstop:
        left.clear()
    one.give(left)


def _see_off(session: pytest.Session, gone: Process, left: deque[list[int]]) -> None:
    """Report what it died of, and have others run what was given to it."""
    code = gone.end()
    if not gone.given:
        if code:
            raise RuntimeError(f"a process ended with code {code} after its tests")
        return
    item = session.items[gone.given.popleft()]
    left.extend([one] for one in gone.given)
    why = f"the process that ran it ended with code {code}"
    report = pytest.TestReport(item.nodeid, item.location, {}, "failed", why, "call")
    session.config.hook.pytest_runtest_logreport(report=report)


class Teller:
    """Stands where the terminal's reporter stood: what it is told goes to the parent."""

    def __init__(self, config: pytest.Config, link: Connection) -> None:
        assert sys.__stderr__ is not None
        self._tw = TerminalWriter(sys.__stderr__)  # for what other plugins say on a test that hangs
        self._config, self._link = config, link

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Of one part of a test."""
        hook = self._config.hook.pytest_report_to_serializable
        self._link.send(("report", hook(config=self._config, report=report)))


def _be_one(session: pytest.Session, number: int, link: Connection) -> None:
    """Never returns: what is to come after the tests is the parent's."""
    code = 1
    try:
        _stand_alone(session.config, number, link)
        numbers = _given(link)
        current = next(numbers)
        while current is not None:
            following = next(numbers)
            item = session.items[current]
            then = None if following is None else session.items[following]
            session.config.hook.pytest_runtest_protocol(item=item, nextitem=then)
            link.send(("done", current))
            current = following
        code = 0
    except (KeyboardInterrupt, BrokenPipeError):
        code = 128 + signal.SIGINT
    except BaseException:  # noqa: BLE001 - it must not go on as a second parent would
        traceback.print_exc()
    finally:
        with contextlib.suppress(BaseException):
            session._setupstate.teardown_exact(None)
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(BaseException):
                stream.flush()
        os._exit(code)


def _given(link: Connection) -> Iterator[int | None]:
    while True:
        try:
            yield link.recv()
        except EOFError:  # the parent is gone
            yield None


def _stand_alone(config: pytest.Config, number: int, link: Connection) -> None:
    """Share nothing with the other processes that a test might change."""
    gc.freeze()
    plugins = config.pluginmanager
    plugins.unregister(name="terminalreporter")
    plugins.register(Teller(config, link), "terminalreporter")
    captures: Any = plugins.getplugin("capturemanager")
    captures.suspend(in_=True)
    captures.stop_global_capturing()
    captures.start_global_capturing()
    captures.suspend_global_capture()
    factory: Any = config._tmp_path_factory  # type: ignore[attr-defined]
    folder: Path = factory.getbasetemp() / f"process-{number}"
    folder.mkdir(mode=0o700)
    factory._basetemp = folder
    state = folder / "state"
    state.mkdir(mode=0o700)
    os.environ["XDG_STATE_HOME"] = str(state)
