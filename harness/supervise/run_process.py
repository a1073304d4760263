"""A ``harness run`` as a process of its own, watched by whoever needs many of them."""

import signal
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from harness.config.run_config import SEARCH, child_environment
from harness.errors import ConfigError
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
