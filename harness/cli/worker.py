"""Be a worker of a run that a master leads. The machine needs nothing but this package: the
locustfile, the modules beside it, scripts with their data, the targets file and a private CA come
from the master, and so do all options. Sign-ins and secrets do not.
"""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any

import orjson

from harness.cli.parsing import Command, Namespace, argument, option
from harness.cli.run import print_as_asked
from harness.clock import monotonic_ns, wall_ns
from harness.config.run_config import LOG_FORMAT
from harness.errors import ConfigError, ExitCode, HarnessError
from harness.machine import (
    deferred_stops,
    heeded,
    interrupted_quietly,
    signal_when_orphaned,
)
from harness.measure.model import Phase
from harness.rundir.layout import START, RunDirectory
from harness.supervise.progress import Tail
from harness.supervise.worker import join_master, read_place
from harness.units import seconds

LOOK_EVERY_S = 0.2
FAILS = 3
"""After so many lives in a row that did not end well there is no other: it would be no better."""
GONE_WITHIN_S = 120.0
"""How long a master may take for the end of its run; where something else listens there for good,
no worker waits for longer."""


def run(args: Namespace) -> int:
    """Without ``--again`` never returns when it has joined: this process becomes the worker."""
    print_as_asked(args)
    if args.again:
        return come_again(args)
    import harness.load  # noqa: F401 - it patches the process, whose waiting is then gevent's

    interrupted_quietly()
    try:
        return join_master(args)
    except (HarnessError, OSError):
        raise
    except Exception as error:  # whatever a decoder makes of any bytes
        raise ConfigError(
            f"whoever listens at {args.master} answers with what no master of this version sends "
            f"({type(error).__name__})"
        ) from error


def come_again(args: Namespace) -> int:
    """A worker of one run after the other, each a process of its own; until none begins in time."""
    host, port = read_place(args.master)
    within_s = seconds(args.within, "--within")
    stopped: list[int] = []
    lives: list[subprocess.Popen[bytes]] = []
    failed = 0

    def hand_on(number: int, _: FrameType | None) -> None:
        stopped.append(number)
        if lives:
            lives[-1].send_signal(number)

    before = {number: signal.signal(number, hand_on) for number in heeded()}
    try:
        while True:
            began_ns, began_s = monotonic_ns(), wall_ns() / 1e9
            with deferred_stops():
                lives.append(subprocess.Popen(_life(args), **_OF_ITS_OWN))
            over, gone = RunOver(args.reports, since_s=began_s), MasterGone(host, port)
            code = _wait_for(lives[-1], over, gone, stopped)
            if stopped:
                return code
            if code in (ExitCode.CONFIG, ExitCode.USAGE):
                waited_s = (monotonic_ns() - began_ns) / 1e9
                return ExitCode.PASS if len(lives) > 1 and waited_s >= within_s else code
            failed = failed + 1 if code else 0
            if failed == FAILS:
                return code
            _wait_until(gone.look, stopped)
            if stopped:
                return ExitCode.PASS
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class RunOver:
    """Whether the run that a life takes part in is over, by the files that it writes itself."""

    def __init__(self, reports: Path, *, since_s: float) -> None:
        """``since_s``: from when on its run may have begun, in seconds of the wall clock."""
        self._reports = reports
        self._since_s = since_s
        self._tails: dict[Path, Tail] = {}
        self._phases: dict[tuple[Path, str], str] = {}

    def look(self) -> bool:
        """Whether each of its processes has written its last figures."""
        for start in self._reports.glob(f"2*/{START}"):
            if start.stat().st_mtime >= self._since_s and not start.parent.is_symlink():
                pattern = RunDirectory(start.parent).intervals("*").name
                self._tails.setdefault(start.parent, Tail(start.parent, pattern))
        for run, tail in self._tails.items():
            for name, line in tail.lines():
                with suppress(ValueError, KeyError, TypeError):
                    self._phases[run, name] = orjson.loads(line)["phase"]
        return bool(self._phases) and set(self._phases.values()) == {Phase.ENDED}


class MasterGone:
    """Whether the master of a run that is over has gone: until then it would hand out its files
    once more. What listens there later is the next one."""

    def __init__(self, host: str, port: int) -> None:
        self._place = (host, port)
        self._gone = False

    def look(self) -> bool:
        """Once it was seen to be gone it stays so."""
        if not self._gone:
            try:
                socket.create_connection(self._place, timeout=1).close()
            except OSError:
                self._gone = True
        return self._gone


def _wait_for(
    life: subprocess.Popen[bytes], over: RunOver, gone: MasterGone, stopped: Sequence[int]
) -> int:
    """Its exit code. Where its run is over and its master gone, and it is not, it is told here.

    A master that was stopped may leave before its workers have reported anew: they would wait for
    it for a minute, or be there for the next one with what they know of the last.
    """
    told = False
    while True:
        with suppress(subprocess.TimeoutExpired):
            return life.wait(LOOK_EVERY_S)
        if not (told or stopped) and over.look() and gone.look():
            told = True
            with suppress(ProcessLookupError):
                os.killpg(life.pid, signal.SIGTERM)


_OF_ITS_OWN: dict[str, Any] = {
    "stdin": subprocess.DEVNULL,
    "start_new_session": True,  # Ctrl-C is handed on once, and not by the terminal as well
    "preexec_fn": partial(signal_when_orphaned, signal.SIGTERM),
}


def _life(args: Namespace) -> list[str]:
    words = ["--within", args.within, "--reports", str(args.reports)]
    words += ["--log-format", args.log_format]
    if args.processes is not None:
        words += ["--processes", str(args.processes)]
    return [sys.executable, "-m", "harness", "worker", args.master, *words, "--", *args.rest]


def _wait_until(done: Callable[[], bool], stopped: Sequence[int]) -> None:
    deadline_ns = monotonic_ns() + int(GONE_WITHIN_S * 1e9)
    while not (done() or stopped) and monotonic_ns() < deadline_ns:
        time.sleep(LOOK_EVERY_S)


COMMAND = Command(
    run,
    [
        argument("master HOST[:PORT]", "where the master is (port: 5557)"),
        option("--within TIME", "how long to wait for the master", default="5m"),
        option("--processes N", "worker processes; -1: one per core", type=int),
        option(
            "--again",
            "take part in one run after the other, until none begins within --within",
        ),
        option(LOG_FORMAT),
        option(
            "--reports DIR",
            "folder for this worker's own ledger and figures",
            type=Path,
            default="reports",
        ),
    ],
    epilog=(
        "On the master: harness run FILE --master --expect-workers N --bind ADDRESS\n"
        "Ctrl-C lets conversations finish, again clears at once, a third time leaves.\n\n"
        "examples:\n"
        "  harness worker 10.0.0.1\n"
        "  harness worker load-master:5557 --processes -1 --within 30m\n"
        "  harness worker 10.0.0.1 --again      # for the levels of harness capacity --master\n"
    ),
    usage="harness worker HOST[:PORT] [OPTIONS] [-- LOCUST OPTIONS]",
    takes_rest=True,
)
