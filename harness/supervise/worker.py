"""Workers of a run that a master leads: with their own files, or with those that it hands out."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from argparse import Namespace
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

import orjson

from harness.clock import monotonic_ns, wall_ns
from harness.config.run_config import (
    HANDED_OUT,
    LOG_FORMAT,
    MASTER_PORT,
    REPORTS,
    SCRIPT,
    child_environment,
)
from harness.errors import ConfigError, ExitCode, HarnessError
from harness.machine import (
    defer_interrupts,
    deferred_stops,
    handled_signals,
    handling,
    interrupted_quietly,
    signal_when_orphaned,
)
from harness.measure.model import Phase
from harness.rundir.layout import START, VISIT_PREFIXES, RunDirectory
from harness.streams import open_console
from harness.supervise.children import inspect_locustfile
from harness.supervise.parameters import check_processes, parameters_of, playable
from harness.supervise.progress import Tail
from harness.units import seconds

MISSING = ("FileNotFoundError", "ModuleNotFoundError", "No such file")
"""How an error of a locustfile begins that needs more than it was handed out."""
LOOK_EVERY_S = 0.2
FAILS = 3
"""After so many lives in a row that did not end well there is no other: it would be no better."""
MASTER_WITHIN_S = 300.0
"""How long a worker with files of its own waits for its master: as long as Locust does."""
GONE_WITHIN_S = 120.0
"""How long a master may take for the end of its run; where something else listens there for good,
no worker waits for longer."""


def run_worker(args: Namespace) -> NoReturn:
    """Be Locust's worker until the master lets go. ``args``: those of ``harness run --worker``.

    Raises ConfigError where there is no master.
    """
    locustfile, script = playable(args.locustfile)
    own = {**parameters_of(args), **script}
    inspect_locustfile(locustfile, parameters_of(args), script)
    with deferred_stops():  # as below
        from harness.load.cluster.handout import await_master
    interrupted_quietly()
    say = open_console().print
    await_master(args.master_host, args.master_port, within_s=MASTER_WITHIN_S, say=say)
    environment = child_environment({**own, LOG_FORMAT.variable: args.log_format})
    _become_worker(locustfile, (args.master_host, args.master_port), args, environment)


def _become_worker(
    locustfiles: str, master: tuple[str, int], args: Namespace, environment: Mapping[str, str]
) -> NoReturn:
    host, port = master
    command = [
        sys.executable, "-m", "locust", "-f", locustfiles, "--worker",
        "--master-host", host, "--master-port", str(port),
    ]  # fmt: skip
    if args.processes:
        command += ["--processes", str(args.processes)]
    # Each worker heeds it from when it can. Locust's first process, which only waits for those that
    # it has forked, would kill them at the second Ctrl-C: it never heeds it.
    defer_interrupts(deferred=True)
    os.execve(sys.executable, command + args.rest, environment)


def read_place(text: str) -> tuple[str, int]:
    """``HOST[:PORT]``, an IPv6 address in brackets. Raises ConfigError."""
    host, colon, port = text.rpartition(":")
    if not colon or text.endswith("]"):
        host, port = text, str(MASTER_PORT)
    bare = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    if not bare or (":" in host and bare == host) or not bare.isprintable() or "/" in bare:
        raise ConfigError(f"HOST: expected HOST or HOST:PORT of a master, got {text!r}")
    if not (port.isascii() and port.isdecimal()) or not 0 < int(port) < 65536:
        raise ConfigError(f"HOST: expected a port from 1 to 65535, got {text!r}")
    return bare, int(port)


def join_master(args: Namespace) -> NoReturn:
    """Get the run's files, and become a worker of the run. ``args``: those of ``harness worker``.

    Raises ConfigError where there is no master, or it refuses this worker.
    """
    master = read_place(args.master)
    within_s = seconds(args.within, "--within")
    if within_s < 1:
        raise ConfigError(f"--within: expected 1s or more, got {args.within}")
    check_processes(args.processes)
    try:
        _join(master, within_s, args)
    except (HarnessError, OSError):
        raise
    except Exception as error:  # whatever a decoder makes of any bytes
        raise ConfigError(
            f"whoever listens at {args.master} answers with what no master of this version sends "
            f"({type(error).__name__})"
        ) from error


def _join(master: tuple[str, int], within_s: float, args: Namespace) -> NoReturn:
    with deferred_stops():  # in the midst of an import Ctrl-C can look like another error
        from harness.load.cluster.handout import ask_master, unpack
        from harness.load.options import restart_environment

    interrupted_quietly()  # with them comes gevent
    say = open_console().print
    answer = ask_master(*master, within_s=within_s, say=say)
    folder = Path(tempfile.mkdtemp(prefix="harness-worker-"))
    try:
        handed = unpack(answer, folder)
        own = {} if handed.script is None else {SCRIPT: str(handed.script)}
        environment = {**restart_environment(handed.parameters), **own}
        if len(handed.locustfiles) == 1:
            _look_at(handed.locustfiles[0], {**handed.parameters, **own})
        say(f"the master at {args.master} has handed out {len(answer['files'])} files; joining")
        environment |= {
            HANDED_OUT.variable: str(folder),
            REPORTS.variable: str(args.reports),
            LOG_FORMAT.variable: args.log_format,
        }
        _become_worker(",".join(map(str, handed.locustfiles)), master, args, environment)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def _look_at(locustfile: Path, environment: dict[str, str]) -> None:
    try:
        inspect_locustfile(str(locustfile), {}, environment)
    except ConfigError as error:
        if not any(word in str(error) for word in MISSING):
            raise
        raise ConfigError(
            f"{error}. A master hands out the locustfile, the modules beside it, and scripts with "
            "their data: put what else it reads on this machine, by the same path from here"
        ) from None


def work_for_each_run(args: Namespace) -> int:
    """A worker of one run after the other, each a process of its own; until none begins in time."""
    host, port = read_place(args.master)
    within_s = seconds(args.within, "--within")
    stopped: list[int] = []
    lives: list[subprocess.Popen[bytes]] = []
    failed = 0

    def hand_on(number: int, _: FrameType | None) -> None:
        stopped.append(number)
        if lives:
            with suppress(ProcessLookupError):
                os.killpg(lives[-1].pid, number)  # with those that it has forked

    with handling(dict.fromkeys(handled_signals(), hand_on)):
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
        for start in self._reports.glob(f"*/{START}"):
            run = start.parent
            with suppress(OSError):  # it was moved away meanwhile, or is somebody else's
                recent = start.stat().st_mtime >= self._since_s
                if recent and not run.is_symlink() and not run.name.startswith(VISIT_PREFIXES):
                    pattern = RunDirectory(run).intervals("*").name
                    self._tails.setdefault(run, Tail(run, pattern))
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
    sent_home = False
    while True:
        with suppress(subprocess.TimeoutExpired):
            return life.wait(LOOK_EVERY_S)
        if not (sent_home or stopped) and over.look() and gone.look():
            sent_home = True
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
