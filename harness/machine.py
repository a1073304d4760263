"""This machine, and the processes on it.

A process learns that its starter is gone, however that came about, from a pipe that the starter
alone holds open: it closes with the starter, also by ``kill -9``. Where the kernel can, it sends a
signal as well, for the time in which nobody looks at the pipe yet.
"""

import ctypes
import os
import resource
import select
import signal
import stat
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import FrameType

from harness.config.run_config import LIFELINE, suggest_variable, take_variable
from harness.errors import ConfigError

# What this machine can carry.

PORT_RANGE = Path("/proc/sys/net/ipv4/ip_local_port_range")
MACOS_PORTS = (49_152, 65_535)
MACOS_FILES = (65_536, 10_240)
"""Tried where the kernel refuses the limit that it states, as macOS does."""
FILES_SPARE = 200
"""Descriptors that a process needs besides one for each session."""
PORTS_SPARE = 1000
"""Ports that are in TIME_WAIT or belong to others."""
LINGER_S = 60.0
"""A port stays taken for so long after its connection was closed by us (TIME_WAIT in Linux)."""
SESSIONS_PER_PROCESS_S = 1000.0
"""New sessions a second that no process has been seen to carry."""
MOST_WORKERS = 300
"""A run's master is one process: each worker takes some 0.16 % of its core, and half is spare."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """``ports`` is how many connections one source address can have to one place at a time."""

    files: int
    ports: int
    cores: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """What one process is asked to carry, and how many such processes share the machine."""

    at_once: int
    per_s: float | None = None
    processes: int = 1
    sources: int = 1
    over_s: float = LINGER_S
    """how long it goes on: in a short run few ports are left behind"""


def this_machine() -> Machine:
    """As it is now."""
    try:
        low, high = (int(word) for word in PORT_RANGE.read_text().split())
    except (OSError, ValueError):
        low, high = MACOS_PORTS if sys.platform == "darwin" else (32_768, 60_999)
    return Machine(
        files=resource.getrlimit(resource.RLIMIT_NOFILE)[0],
        ports=high - low + 1,
        cores=len(usable_cores()),
    )


def usable_cores() -> list[int]:
    """The numbers of the cores that this process may run on; on macOS all."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


def available_memory_mb() -> float | None:
    """Memory that processes could still take without swapping; None where nobody says."""
    import psutil  # takes a while to import, and few commands need it

    try:
        return psutil.virtual_memory().available / 2**20
    except (OSError, psutil.Error, ValueError):
        return None


def raise_file_limit() -> int:
    """Raise the limit on open files to the highest that is allowed; the limit now."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard == resource.RLIM_INFINITY:
        hard = max(soft, 1_048_576)
    for most in (hard, *MACOS_FILES):
        if not soft < most <= hard:
            continue
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard if most < hard else most))
        except (OSError, ValueError):
            continue
        return most
    return soft


def shortfalls(machine: Machine, share: Share) -> tuple[str, ...]:
    """Why a share is too much for this machine, each with what to do; empty when it fits."""
    problems = []
    files = machine.files - FILES_SPARE
    if share.at_once > files:
        problems.append(
            f"{share.at_once:,} sessions at once need {share.at_once + FILES_SPARE:,} open files, "
            f"this process may have {machine.files:,}: raise the limit (ulimit -n) or use more "
            "processes"
        )
    taken = (share.at_once + (share.per_s or 0.0) * min(LINGER_S, share.over_s)) * share.processes
    ports = (machine.ports - PORTS_SPARE) * share.sources
    if taken > ports:
        problems.append(
            f"{taken:,.0f} connections at once, counting those that have just been closed, need as "
            f"many ports, there are {ports:,}: give more source addresses (sources) or use more "
            "machines"
        )
    if share.per_s is not None and share.per_s > SESSIONS_PER_PROCESS_S:
        problems.append(
            f"{share.per_s:.0f} new sessions a second are more than one process carries (about "
            f"{SESSIONS_PER_PROCESS_S:.0f}): use more processes"
        )
    return tuple(problems)


def too_many_workers(workers: int) -> str:
    """A sentence on more workers than a master can lead; empty where they are not."""
    if workers <= MOST_WORKERS:
        return ""
    return (
        f"{workers:,} workers are more than one master can lead ({MOST_WORKERS}): make several "
        "runs side by side, each with its share of the rate (harness report --merge makes them one)"
    )


def too_many_processes(processes: int | None) -> str:
    """A sentence on more worker processes than this machine has cores; empty where they are not."""
    cores = len(usable_cores())
    if processes is None or processes <= cores:
        return ""
    shared = "one core" if cores == 1 else f"{cores} cores"
    return f"--processes: {processes:,} on {shared}: they wait for each other, which spoils figures"


# Who may read and write here.

PROCESS = Path("/proc/self/stat")


def check_platform() -> None:
    """Raises ConfigError on a Linux that does not show its processes: whether a run is still going
    on could not be told.
    """
    if sys.platform == "linux" and not PROCESS.exists():
        raise ConfigError("/proc is not mounted. Mount it: mount -t proc proc /proc")


def keep_files_private() -> None:
    """From now on what this process makes is nobody's but its user's to write, and its group's to
    read: files 0640, folders 0750. Ledgers and files of tokens are 0600 whatever is set here.
    """
    before = os.umask(0o027)
    os.umask(before | 0o027)


def compute_in_one_thread() -> None:
    """Let numpy start no thread for each core; call it before numpy is imported.

    Our matrices are small: the other threads would only wait, at full speed, on cores that guests
    need. Who sets the variable decides otherwise. Processes that this one starts do the same.
    """
    suggest_variable("OPENBLAS_NUM_THREADS", "1")


def writable_by(folder: Path) -> str:
    """Who besides its owner may put files into a folder and change those there, in words."""
    try:
        mode = folder.stat().st_mode
    except OSError:
        return ""
    if mode & stat.S_ISVTX:  # as /tmp: everybody only what is their own
        return ""
    if mode & stat.S_IWOTH:
        return "everybody on this machine"
    return "its group" if mode & stat.S_IWGRP else ""


# Whether the starter of a process is gone.

PR_SET_PDEATHSIG = 1


class Lifeline:
    """The starter's side: holds for as long as this object does, at most as long as the process."""

    def __init__(self) -> None:
        self._theirs, self._ours = os.pipe()

    def close(self) -> None:
        """Let go: who was started takes it that we are gone."""
        self.started()
        os.close(self._ours)

    @property
    def fds(self) -> tuple[int]:
        """What the new process has to be given (``pass_fds``)."""
        return (self._theirs,)

    @property
    def environment(self) -> dict[str, str]:
        """And how it finds it."""
        return {LIFELINE: str(self._theirs)}

    def started(self) -> None:
        """The new process has its end: ours of it is closed."""
        if self._theirs >= 0:
            os.close(self._theirs)
            self._theirs = -1


class Starter:
    """The started one's side."""

    def __init__(self, fd: int) -> None:
        self.fd = fd
        """becomes readable when the starter is gone"""

    @property
    def gone(self) -> bool:
        """Whether nobody holds the other end any more."""
        return bool(select.select([self.fd], [], [], 0)[0])


def starter() -> Starter | None:
    """Who started this process and wants it to end with it; None when nobody does.

    Asked once: what this process starts is not meant.
    """
    text = take_variable(LIFELINE)
    with suppress(ValueError, OSError):
        fd = int(text)
        if stat.S_ISFIFO(os.fstat(fd).st_mode):
            os.set_inheritable(fd, False)
            return Starter(fd)
    return None


def signal_when_orphaned(number: int) -> None:
    """Have the kernel send this process a signal when its parent is gone; 0: no more. (Linux.)"""
    if sys.platform == "linux":
        with suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, int(number), 0, 0, 0)


def killed_by(number: int) -> str:
    """How a process came to its end that a signal ended, as the end of a sentence."""
    try:
        name = signal.Signals(number).name
    except ValueError:  # a real-time signal has no name of its own
        name = f"signal {number}"
    memory = " (the system does so when memory runs out)" if number == signal.SIGKILL else ""
    return f"its process was killed by {name}{memory}"


# Signals.

IN_ORDER = signal.SIGUSR2
"""The signal by which ``harness run`` has Locust end its run with all the time that conversations
may have; SIGTERM leaves them only what whoever sends it waits before he kills."""
Handler = Callable[[int, FrameType | None], object]
STOPS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""Ctrl-C, the request to end, and the terminal (or the ssh connection) that has gone."""


@contextmanager
def deferred_stops() -> Iterator[None]:
    """What is in ``STOPS`` takes effect at the end of the block.

    In the middle of ``subprocess.Popen`` one would leave a process that nobody knows of. Nothing
    that takes long belongs in here. The new process is not affected: what is caught is not
    inherited.
    """
    came: list[int] = []
    try:
        with handling(dict.fromkeys(handled_signals(), lambda number, _: came.append(number))):
            yield
    finally:
        for early in came:
            signal.raise_signal(early)


def defer_interrupts(*, deferred: bool) -> None:
    """Let Ctrl-C wait from now on, also for a program that takes this one's place; or no longer.

    A program that is being imported would end with a traceback, and without cleaning up.
    """
    how = signal.SIG_BLOCK if deferred else signal.SIG_UNBLOCK
    signal.pthread_sigmask(how, {signal.SIGINT})


@contextmanager
def handling(handlers: Mapping[int, Handler]) -> Iterator[None]:
    """Signals have these handlers until the end of the block, if this is the main thread."""
    if threading.current_thread() is not threading.main_thread():
        yield  # signals are handled elsewhere
        return
    before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def handled_signals() -> list[int]:
    """``STOPS`` without a hang-up that is to be ignored: then ``nohup`` has started us."""
    return [
        number
        for number in STOPS
        if not (number == signal.SIGHUP and signal.getsignal(number) is signal.SIG_IGN)
    ]


def keep_exit_code(code: int) -> int:
    """All is done: a signal that stops this process from now on ends it at once, with ``code``."""
    for number in handled_signals():
        signal.signal(number, lambda *_: os._exit(code))
    return code


@contextmanager
def terminated_as_by_hand() -> Iterator[None]:
    """SIGTERM and SIGHUP do what Ctrl-C does, which raises KeyboardInterrupt, so that whatever was
    begun is ended in order.

    A terminal that closes may hang up twice: only the first time counts.
    """

    def hung_up(number: int, frame: FrameType | None) -> None:
        signal.signal(number, lambda *_: None)
        signal.default_int_handler(number, frame)

    handlers: dict[int, Handler] = {
        signal.SIGTERM: signal.default_int_handler,
        signal.SIGHUP: hung_up,
    }
    taken = {number: hand for number, hand in handlers.items() if _is_default(number)}
    if callable(signal.getsignal(signal.SIGINT)):  # it is not ignored
        taken[signal.SIGINT] = signal.default_int_handler
    with handling(taken):
        yield


def _is_default(number: int) -> bool:
    return signal.getsignal(number) is signal.SIG_DFL


def interrupted_quietly() -> None:
    """Where this process runs on gevent, its hub would print each interrupt that it hands on."""
    if "gevent" in sys.modules:
        hub = import_module("gevent").get_hub()
        hub.NOT_ERROR = (*type(hub).NOT_ERROR, KeyboardInterrupt)
