"""A level of a capacity search as a process: started, looked at, ended when it is clear."""

import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.errors import ConfigError
from harness.report.levels import held_for, is_clear
from harness.report.opening import START
from harness.report.record import RECORD

Say = Callable[[str], object]
LOG = "harness.log"
POLL_S = 0.5
SETTLED_S = 1.0
"""So long after a moment everything that was measured until then is on disk."""


@dataclass(frozen=True, slots=True)
class Held:
    """A level that has run: its run directory, and the seconds by which it is judged."""

    directory: Path
    judged_s: float


def hold_level(
    command: Sequence[str],
    out: Path,
    *,
    warmup_s: float,
    hold_s: float,
    longest_s: float,
    say: Say,
) -> Held:
    """Run ``command`` (a ``harness run`` into ``out``) until its figures are clear, then drain it.

    It is looked at when it has been judged for ``hold_s``, twice that, and so on, at most for
    ``longest_s``. Raises ConfigError when it did not run. KeyboardInterrupt drains it too.
    """
    out.mkdir(parents=True, exist_ok=True)
    before = set(out.iterdir())
    with (out / LOG).open("wb") as log:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C is for the search, which ends the level in order
        )
    judged_s = longest_s
    look_s = hold_s
    try:
        while _goes_on(process):
            directory = _newest(out, before)
            if directory is None or look_s >= longest_s:
                continue  # it ends by itself
            if held_for(directory, warmup_s=warmup_s) < look_s + SETTLED_S:
                continue
            if is_clear(directory, warmup_s=warmup_s, judged_s=look_s, longest_s=longest_s):
                judged_s = look_s
                process.terminate()
                process.wait()
            look_s *= 2
    except BaseException as error:
        if process.poll() is None:
            if isinstance(error, KeyboardInterrupt):
                say("ending this level in order; it is not counted")
            process.terminate()
        process.wait()
        raise
    found = _newest(out, before)
    if found is None or not (found / RECORD).is_file():
        raise ConfigError(f"{out.name} did not run: {_last_line(out / LOG)}")
    return Held(found.resolve(), judged_s)


def _goes_on(process: "subprocess.Popen[bytes]") -> bool:
    try:
        process.wait(POLL_S)
    except subprocess.TimeoutExpired:
        return True
    return False


def _newest(out: Path, before: set[Path]) -> Path | None:
    runs = [path for path in set(out.iterdir()) - before if (path / START).is_file()]
    return next((path for path in runs if not path.is_symlink()), None)


def _last_line(log: Path) -> str:
    lines = log.read_text(errors="replace").strip().splitlines()
    told = [line for line in lines if line.startswith("error: ")]
    return (told or lines or ["no reason given"])[-1].removeprefix("error: ")
