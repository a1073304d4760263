"""The processes that are started for a run: Locust, the simulator, and whole runs for studies.

Locust looks at a locustfile, runs it, and is ended in three stages.
"""

import contextlib
import errno
import json
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, closing
from itertools import takewhile
from pathlib import Path
from types import FrameType, MappingProxyType
from typing import IO, Any

import orjson

from harness.config.run_config import OVER, RATE, SEARCH, SEED, SETTINGS, child_environment
from harness.errors import ConfigError
from harness.foreign import check_file
from harness.machine import IN_ORDER, Lifeline, deferred_stops, handled_signals, handling, killed_by
from harness.rundir.layout import STUDY_LOG, RunDirectory, left_sentence, writing
from harness.streams import plain_line
from harness.supervise.parameters import playable

LOOKS_WITHIN_S = 120.0
"""A locustfile that takes longer to import is not run."""
GONE_WITHIN_S = 1.0
HOW_ASKED = " (a shape asks with: arrivals = from_options(rate='30/min', over='10m'))"
NO_SCRIPT: Mapping[str, str] = MappingProxyType({})


def _start(
    command: Sequence[str],
    environment: Mapping[str, str],
    lifeline: Lifeline | None,
    **more: Any,
) -> subprocess.Popen[bytes]:
    """A process that ends in order should we be killed, unless it has no ``lifeline``.

    Ctrl-C reaches us alone, who end it in order. To be called with stops deferred.
    """
    process = subprocess.Popen(
        command,
        env={**environment, **({} if lifeline is None else lifeline.environment)},
        pass_fds=() if lifeline is None else lifeline.fds,
        start_new_session=True,
        **{"stdin": subprocess.DEVNULL, "stderr": subprocess.STDOUT, **more},
    )
    if lifeline is not None:
        lifeline.started()
    return process


def check_locustfile(path: str) -> None:
    """Raises ConfigError where there is no such file, or none can be run from here."""
    check_file(
        Path(path), f"there is no locustfile {path!r}; harness new writes one", what="a locustfile"
    )
    try:
        os.getcwd()
    except FileNotFoundError:
        raise ConfigError("the current folder was deleted: go to another one (cd)") from None


class LocustProcess:
    """A process that says what a locustfile would do, and is then the Locust that runs it.

    Where it is not told to run it, it ends with the ``with`` block. Should we die it ends by
    itself, once it runs guests in order.
    """

    def __init__(
        self,
        locustfile: str,
        parameters: Mapping[str, str],
        script: Mapping[str, str] = NO_SCRIPT,
        *,
        folder: Path | None = None,
    ) -> None:
        """``parameters`` are texts by variable; ``script`` is in the environment beside them.

        ``folder`` is where it is imported, if not here.

        Raises ConfigError where there is no such file.
        """
        check_locustfile(locustfile)
        self._locustfile = locustfile
        self._parameters, self._script = parameters, script
        self._begun = False
        with ExitStack() as open_now:
            lifeline = open_now.enter_context(closing(Lifeline()))
            self._errors = open_now.enter_context(tempfile.TemporaryFile())
            self._started_by = lifeline.environment
            with deferred_stops():
                self._process = _start(
                    [sys.executable, "-m", "harness.load", locustfile],
                    child_environment({**script, **parameters}),
                    lifeline,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=self._errors,
                    cwd=folder,
                )
                open_now.callback(self._end)
            self._open = open_now.pop_all()

    def __enter__(self) -> "LocustProcess":
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def plan(self) -> dict[str, Any]:
        """What :mod:`harness.load.__main__` finds in the file.

        Raises ConfigError when the file can't be used, or does not ask for what is asked of it.
        """
        plan = self._answer()
        if "error" in plan:
            raise ConfigError(plan["error"])
        _refuse_decided(plan["configured"])
        for name in self._parameters.keys() - {SEED.variable} - set(plan["used_variables"]):
            how = HOW_ASKED if name in (RATE.variable, OVER.variable) else ""
            raise ConfigError(
                f"{SETTINGS[name].option}: {self._locustfile} does not use it, so "
                f"it would change nothing{how}"
            )
        return plan

    def begin(self, words: Sequence[str], *, config: Path, log: Path) -> subprocess.Popen[bytes]:
        """Have Locust begin with these words of its command line; the process that it is.

        ``config`` is what was asked of the run as a file; what Locust prints goes to ``log``.
        """
        self._begun = True
        log.touch()
        environment = {**child_environment(config=config), **self._script, **self._started_by}
        order = {"words": list(words), "environment": environment, "log": str(log.absolute())}
        pipe = self._process.stdin
        assert pipe is not None
        with contextlib.suppress(BrokenPipeError), pipe:  # its end is seen by who waits for it
            pipe.write(f"{json.dumps(order)}\n".encode())
        return self._process

    def _answer(self) -> dict[str, Any]:
        pipe = self._process.stdout
        assert pipe is not None
        text, deadline = b"", time.monotonic() + LOOKS_WITHIN_S
        while not text.endswith(b"\n"):
            left_s = max(0.0, deadline - time.monotonic())
            if not select.select([pipe], [], [], left_s)[0]:
                raise ConfigError(
                    f"{self._locustfile} was not imported within {LOOKS_WITHIN_S:.0f} s"
                )
            part = os.read(pipe.fileno(), 65_536)
            if not part:
                raise ConfigError(f"{self._locustfile} can't be imported: {self._last_error()}")
            text += part
        answer: dict[str, Any] = json.loads(text)
        return answer

    def _last_error(self) -> str:
        self._errors.seek(0)
        lines = self._errors.read().decode(errors="replace").strip().splitlines()
        if lines:
            return lines[-1]
        # The pipe may close a moment before the process is gone.
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(GONE_WITHIN_S)
        status = self._process.returncode
        if status is not None and status < 0:
            return killed_by(-status)
        return "it ended the process that imported it without a word"

    def _end(self) -> None:
        """Nothing has been sent before it was told to begin."""
        for pipe in (self._process.stdin, self._process.stdout):
            with contextlib.suppress(BrokenPipeError):
                assert pipe is not None
                pipe.close()
        if not self._begun:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()


def inspect_locustfile(
    locustfile: str,
    parameters: Mapping[str, str],
    script: Mapping[str, str] = NO_SCRIPT,
    *,
    folder: Path | None = None,
) -> dict[str, Any]:
    """:meth:`LocustProcess.plan` of a file that is not run now."""
    with LocustProcess(locustfile, parameters, script, folder=folder) as locust:
        return locust.plan()


def inspect_alone(
    locustfile: str, files: Mapping[str, bytes], parameters: Mapping[str, str]
) -> None:
    """Import a locustfile as another machine will find it: with these files, by path, alone.

    Raises ConfigError where it can't be imported, or makes no use of what is asked of it.
    """
    with tempfile.TemporaryDirectory() as folder:
        for name, content in files.items():
            path = Path(folder) / name
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(content)
        file, script = playable(str(Path(folder) / locustfile))
        try:
            inspect_locustfile(file, parameters, script, folder=Path(folder))
        except ConfigError as error:
            text = str(error).replace(f"{folder}/", "")
            raise ConfigError(f"{text} (what it reads or imports is named by --file)") from None


def _refuse_decided(configured: Sequence[Mapping[str, Any]]) -> None:
    """What Locust would obey without our knowing of it."""
    decided = [f"{item['name']} of {item['place']}" for item in configured if item["decided"]]
    if decided:
        raise ConfigError(
            f"{', '.join(decided)}: harness run sets this by its own options (see --help). "
            "Remove it, or run plain Locust"
        )


def inherited_settings(plan: Mapping[str, Any]) -> list[str]:
    """Sentences on Locust's own settings that hold for the run though nobody typed them."""
    return [
        f"Locust also obeys {item['name']} of {item['place']}"
        for item in plan["configured"]
        if not item["decided"]
    ]


def free_port() -> str:
    """A TCP port of the loopback interface that nobody has now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return str(probe.getsockname()[1])


def check_listen(host: str, port: int) -> None:
    """Raises ConfigError where a master can't listen there."""
    try:
        (family, kind, _, _, place), *_ = socket.getaddrinfo(
            None if host == "*" else host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
    except (socket.gaierror, UnicodeError):
        raise ConfigError(f"--bind: {host!r} is no address, and no machine's name") from None
    with socket.socket(family, kind) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(place)
            probe.listen()
        except OSError as error:
            if error.errno == errno.EADDRNOTAVAIL:
                raise ConfigError(f"--bind: {host} is no address of this machine") from None
            taken = error.errno == errno.EADDRINUSE
            why = "another process listens there" if taken else error.strerror or str(error)
            raise ConfigError(
                f"--master-port: the master can't listen at {host}:{port}: {why}. Choose another "
                "port, and name it to the workers (HOST:PORT)"
            ) from None


def end_group(group: int, *, within_s: float, say: Callable[[str], None]) -> bool:
    """See that no process of Locust's is left: workers that outlive their master clear and go.

    Whether there were any.
    """
    if not _group_lives(group):
        return False
    say("Locust's main process is gone: its workers clear what they have open")
    deadline = time.monotonic() + within_s
    with contextlib.suppress(ProcessLookupError):
        os.killpg(group, signal.SIGTERM)
        while _group_lives(group) and time.monotonic() < deadline:
            time.sleep(0.1)
        os.killpg(group, signal.SIGKILL)
    return True


def _group_lives(group: int) -> bool:
    import psutil  # at the end: a run's start need not pay for it

    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, ProcessLookupError):
            if os.getpgid(process.pid) == group and process.status() != psutil.STATUS_ZOMBIE:
                return True
    return False


STAGES = ("finish", "clear at once", "leave")


class Stages:
    """Ctrl-C, SIGTERM or a terminal that has gone, in three stages: finish, clear at once, leave.

    Entered before Locust is started, so that no signal can end us and leave it behind; what came
    too early is handed on by :meth:`begin`.
    """

    def __init__(self, run_dir: Path, say: Callable[[str], None]) -> None:
        self._locust: subprocess.Popen[bytes] | None = None
        self._run_dir = run_dir
        self._say = say
        self._handling = handling(dict.fromkeys(handled_signals(), self._on_signal))
        self._first = signal.SIGTERM
        self.stops = 0

    def __enter__(self) -> "Stages":
        self._handling.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self._handling.__exit__(None, None, None)

    def begin(self, locust: "subprocess.Popen[bytes]") -> None:
        """Locust has been started: from now on it is told."""
        self._locust = locust
        for stage in range(1, self.stops + 1):
            self._tell(locust, stage)

    def end(self) -> None:
        """End the run in order, unless that is being done."""
        if not self.stops:
            self._ask(signal.SIGTERM)

    def _on_signal(self, number: int, _: FrameType | None) -> None:
        if number == signal.SIGHUP and self.stops:
            return  # a terminal that goes away may say so twice: nobody has asked once more
        self._ask(number)

    def _ask(self, number: int) -> None:
        if not self.stops:
            # By hand, conversations have all their time; who sends SIGTERM kills before long.
            self._first = IN_ORDER if number == signal.SIGINT else signal.SIGTERM
        self.stops += 1
        if self._locust is not None:
            self._tell(self._locust, self.stops)

    def _tell(self, locust: "subprocess.Popen[bytes]", stage: int) -> None:
        """Act first, speak second."""
        if stage == 1:
            locust.send_signal(self._first)
            self._say("stopping: no new guests, conversations may finish (again to clear at once)")
        elif stage == 2:
            locust.send_signal(signal.SIGUSR1)
            self._say("clearing at once (a third time leaves sessions behind)")
        else:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(locust.pid, signal.SIGKILL)
            self._say(left_sentence(self._run_dir))


Say = Callable[[str], object]
POLL_S = 0.5


def watch_run(
    command: Sequence[str],
    out: Path,
    *,
    look: Callable[[Path], bool],
    say: Say = print,
    environment: Mapping[str, str] | None = None,
) -> Path:
    """Run ``command`` (a ``harness run`` into ``out``) to its end, or until ``look`` says so.

    ``look`` is asked twice a second with the run's directory; the run is then drained. The
    directory of the run. Raises ConfigError when it did not run. KeyboardInterrupt drains it too.
    """
    out.mkdir(parents=True, exist_ok=True)
    before = set(out.iterdir())
    process: subprocess.Popen[bytes] | None = None
    lifeline = Lifeline()  # should we be killed, the run ends in order too
    try:
        own = child_environment() if environment is None else environment
        with (out / STUDY_LOG).open("wb") as log, deferred_stops():
            process = _start(command, {**own, SEARCH.variable: "1"}, lifeline, stdout=log)
        while _goes_on(process):
            directory = _newest(out, before)
            if directory is not None and look(directory):
                process.send_signal(signal.SIGINT)  # SIGTERM would cut conversations shorter
                process.wait()
    except BaseException as error:
        if process is not None and process.poll() is None:
            if isinstance(error, KeyboardInterrupt):
                say("ending this run in order; it is not counted")
            process.terminate()
            process.wait()
        raise
    finally:
        lifeline.close()
    run = _newest(out, before)
    if run is None or not RunDirectory(run).record.is_file():
        why = reason_in(out / STUDY_LOG, lambda last: last or "no reason given")
        raise ConfigError(f"{out.name} did not run: {why}")
    return run.resolve()


def _goes_on(process: "subprocess.Popen[bytes]") -> bool:
    """Whether it does, after a moment.

    An interrupt within ``Popen.wait`` can leave its lock taken, and every later wait hangs.
    """
    time.sleep(POLL_S)
    with deferred_stops():
        return process.poll() is None


def _newest(out: Path, before: set[Path]) -> Path | None:
    runs = [path for path in set(out.iterdir()) - before if RunDirectory(path).start.is_file()]
    return next((path for path in runs if not path.is_symlink()), None)


def reason_in(log: Path, otherwise: Callable[[str], str]) -> str:
    """Why a process that printed this log has failed, with the list that may stand below it.

    ``otherwise``: what to say of the last line where there is no error; it may be empty.
    """
    text = log.read_text(encoding="utf-8", errors="replace")
    lines = list(map(plain_line, text.strip().splitlines()))
    errors = [place for place, line in enumerate(lines) if line.startswith("error: ")]
    if not errors:
        return otherwise(lines[-1] if lines else "")
    head, *rest = lines[errors[-1] :]
    reasons = takewhile(lambda line: line.startswith("  - "), rest)
    return "\n".join((head.removeprefix("error: "), *reasons))


START_WITHIN_S = 20.0


class EmbeddedSimulator:
    """Begun by :meth:`start`, ended by :meth:`stop`, whatever comes between.

    Whoever has it can stop it, also where it was interrupted in the middle of its start. Should we
    die before it, it ends by itself, but not before the last guest has left it.
    """

    def __init__(self, *options: str, log: Path | None = None, outlives_us: bool = False) -> None:
        """What it prints goes to ``log``; ``outlives_us``: only :meth:`stop` ends it."""
        self._options = options
        self._process: subprocess.Popen[bytes] | None = None
        self._log_path = log
        self._open = ExitStack()
        self._outlives_us = outlives_us
        self.admin = ""
        """where it can be asked for its truth"""
        self.url = ""
        """the target, with its deployment id"""
        self.ca_file: str | None = None
        self.pid = 0

    def start(self) -> str:
        """Start it, wait until it listens; its url.

        Raises ConfigError with the simulator's reason.
        """
        lifeline = None if self._outlives_us else self._open.enter_context(closing(Lifeline()))
        with deferred_stops(), self._open_log() as log:
            command = [sys.executable, "-m", "harness", "simulate", *self._options]
            self._process = process = _start(command, child_environment(), lifeline, stdout=log)
            log = self._open.enter_context(os.fdopen(os.dup(log.fileno()), "rb"))
        try:
            ready = self._await_ready(process, log, time.monotonic() + START_WITHIN_S)
        except BaseException:
            self.stop()
            raise
        self.ca_file, self.pid = ready.get("ca_file"), ready["pid"]
        self.url = f"{ready['url']}?deploymentId={ready['deployment_id']}"
        self.admin = f"http{ready['url'].removeprefix('ws').removesuffix('/v1')}/sim"
        return self.url

    def stop(self) -> None:
        """End it in order; safe to call twice."""
        process = self._process
        if process is not None and process.poll() is None:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self._open.close()

    def _open_log(self) -> IO[bytes]:
        if self._log_path is None:
            return tempfile.TemporaryFile()
        with writing(self._log_path):
            return self._log_path.open("w+b")

    def _await_ready(
        self, process: "subprocess.Popen[bytes]", log: IO[bytes], deadline: float
    ) -> dict[str, Any]:
        while True:
            ended = process.poll() is not None
            printed = os.pread(log.fileno(), 65_536, 0).decode(errors="replace")
            for line in printed.splitlines(keepends=True):
                if line.startswith("{") and line.endswith("\n"):
                    ready: dict[str, Any] = orjson.loads(line)
                    return ready
            if ended:
                why = printed.strip().removeprefix("error: ")
                raise ConfigError(f"the simulator did not start: {why or 'it gave no reason'}")
            if time.monotonic() > deadline:
                raise ConfigError(
                    "the simulator did not start in time"
                    + (f": {printed.strip()}" if printed.strip() else "")
                )
            time.sleep(0.02)
