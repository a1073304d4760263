"""Processes of our own beside a command: a run that is watched, a locustfile that is looked at (it
takes a process, importing Locust patches), and the simulator with its own view of what happened.
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import MappingProxyType
from typing import IO, Any

import orjson

from harness.config.run_config import OVER, RATE, SEARCH, SEED, SETTINGS, child_environment
from harness.errors import ConfigError
from harness.finish import simulator_truth
from harness.processes import Lifeline, deferred_stops
from harness.rundir.layout import RunDirectory

Say = Callable[[str], object]
LOG = "harness.log"
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
        with (out / LOG).open("wb") as log, deferred_stops():
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={
                    **(child_environment() if environment is None else environment),
                    **lifeline.environment,
                    SEARCH.variable: "1",
                },
                pass_fds=lifeline.fds,
                start_new_session=True,  # Ctrl-C is for us, who end the run in order
            )
        lifeline.started()
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
    found = _newest(out, before)
    if found is None or not RunDirectory(found).record.is_file():
        raise ConfigError(f"{out.name} did not run: {_last_line(out / LOG)}")
    return found.resolve()


def _goes_on(process: "subprocess.Popen[bytes]") -> bool:
    try:
        process.wait(POLL_S)
    except subprocess.TimeoutExpired:
        return True
    return False


def _newest(out: Path, before: set[Path]) -> Path | None:
    runs = [path for path in set(out.iterdir()) - before if RunDirectory(path).start.is_file()]
    return next((path for path in runs if not path.is_symlink()), None)


def _last_line(log: Path) -> str:
    lines = log.read_text(errors="replace").strip().splitlines()
    told = [line for line in lines if line.startswith("error: ")]
    return (told or lines or ["no reason given"])[-1].removeprefix("error: ")


HOW_ASKED = " (a shape asks with: arrivals = from_options(rate='30/min', over='10m'))"


def inspect_locustfile(
    locustfile: str, asked: Mapping[str, str], more: Mapping[str, str] = MappingProxyType({})
) -> dict[str, Any]:
    """What ``harness.load.inspection`` finds; ``asked`` are texts by variable.

    ``more`` is in the file's environment too, whether it looks or not.

    Raises ConfigError when the file can't be used, or does not ask for what is asked of it.
    """
    if not Path(locustfile).is_file():
        raise ConfigError(f"there is no locustfile {locustfile!r}")
    done = subprocess.run(
        [sys.executable, "-m", "harness.load.inspection", locustfile],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        env=child_environment({**more, **asked}),
    )
    try:
        found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    except (IndexError, ValueError):
        last = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise ConfigError(f"{locustfile} can't be imported: {last}") from None
    if "error" in found:
        raise ConfigError(found["error"])
    _refuse_decided(found["configured"])
    for name in asked.keys() - {SEED.variable} - set(found["asked"]):
        how = HOW_ASKED if name in (RATE.variable, OVER.variable) else ""
        raise ConfigError(
            f"{SETTINGS[name].option}: {locustfile} does not ask for it, "
            f"it would change nothing{how}"
        )
    return found


def _refuse_decided(configured: Sequence[Mapping[str, Any]]) -> None:
    """What Locust would obey without our knowing of it."""
    decided = [f"{item['name']} of {item['place']}" for item in configured if item["decided"]]
    if decided:
        raise ConfigError(
            f"{', '.join(decided)}: harness run decides this by its own options (see --help); take "
            "it away, or run plain Locust"
        )


def told_settings(plan: Mapping[str, Any]) -> list[str]:
    """Sentences on Locust's own settings that hold for the run though nobody typed them."""
    return [
        f"Locust also obeys {item['name']} of {item['place']}"
        for item in plan["configured"]
        if not item["decided"]
    ]


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
        self._held = ExitStack()
        self._outlives_us = outlives_us
        self.admin = ""
        """where it can be asked for its truth"""
        self.url = ""
        """the target, with its deployment id"""
        self.ca_file: str | None = None
        self.pid = 0

    def start(self, *, within_s: float = START_WITHIN_S) -> str:
        """Start it, wait until it listens; its url.

        Raises ConfigError with the simulator's reason.
        """
        lifeline = None if self._outlives_us else self._held.enter_context(Lifeline())
        with deferred_stops(), self._open_log() as log:
            self._process = process = subprocess.Popen(
                [sys.executable, "-m", "harness", "simulate", *self._options],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=child_environment({} if lifeline is None else lifeline.environment),
                pass_fds=() if lifeline is None else lifeline.fds,
                start_new_session=True,  # Ctrl-C is for us; the simulator goes last
            )
            log = self._held.enter_context(os.fdopen(os.dup(log.fileno()), "rb"))
        if lifeline is not None:
            lifeline.started()
        try:
            ready = self._await_ready(process, log, time.monotonic() + within_s)
        except BaseException:
            self.stop()
            raise
        self.ca_file, self.pid = ready.get("ca_file"), ready["pid"]
        self.url = f"{ready['url']}?deploymentId={ready['deployment_id']}"
        scheme = "https" if ready["url"].startswith("wss") else "http"
        admin = f"{scheme}{ready['url'].removeprefix('wss').removeprefix('ws')}"
        self.admin = admin.removesuffix("/v1") + "/sim"
        return self.url

    def truth(self) -> dict[str, Any] | None:
        """What really happened; None when the simulator can't be asked any more."""
        return simulator_truth(self.admin, self.ca_file, within_s=0) if self.admin else None

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
        self._held.close()

    def _open_log(self) -> IO[bytes]:
        if self._log_path is None:
            return tempfile.TemporaryFile()
        try:
            return self._log_path.open("w+b")
        except OSError as error:
            raise ConfigError(f"{self._log_path} can't be written: {error.strerror}") from error

    def _await_ready(
        self, process: "subprocess.Popen[bytes]", log: IO[bytes], deadline: float
    ) -> dict[str, Any]:
        while True:
            ended = process.poll() is not None
            told = os.pread(log.fileno(), 65_536, 0).decode(errors="replace")
            for line in told.splitlines(keepends=True):
                if line.startswith("{") and line.endswith("\n"):
                    found: dict[str, Any] = orjson.loads(line)
                    return found
            if ended:
                why = told.strip().removeprefix("error: ")
                raise ConfigError(f"the simulator did not start: {why or 'it gave no reason'}")
            if time.monotonic() > deadline:
                raise ConfigError(
                    "the simulator did not start in time"
                    + (f": {told.strip()}" if told.strip() else "")
                )
            time.sleep(0.02)
