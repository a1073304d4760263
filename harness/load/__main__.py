"""``python -m harness.load FILE``: say what is in a locustfile, then be the Locust that runs it.

``harness run`` has to know what a file would do before anything is sent, and Locust imports it
anew. What both need takes a second to import, so one process does both: it looks at the file in a
child, of which nothing is left but a line of JSON on standard output (:func:`inspect`). Then a line
of JSON on standard input says how Locust is to run; the end of the input says that it is not
wanted.
"""

import json
import os
import re
import signal
import sys
import traceback
from pathlib import Path
from typing import Any

from gevent.monkey import get_original
from gevent.os import fork_gevent
from locust.argument_parser import get_parser
from locust.main import main as run_locust
from locust.util.load_locustfile import load_locustfile

from harness.config.run_config import SETTINGS, replace_environment
from harness.errors import ConfigError, HarnessError
from harness.load.admission import check_rows, might_break, would_break
from harness.load.arrivals import ArrivalShape, check_only_one, no_arrivals, peak_per_s
from harness.load.logs import use_json_if_configured
from harness.load.options import occupancy, own_objectives, used_variables
from harness.load.user import GuestUser
from harness.machine import killed_by, signal_when_orphaned

DECIDED = (
    "master",
    "worker",
    "processes",
    "master_host",
    "master_port",
    "master_bind_host",
    "master_bind_port",
    "expect_workers",
    "expect_workers_max_wait",
    "headless",
    "autostart",
    "autoquit",
    "locustfile",
    "num_users",
    "spawn_rate",
    "run_time",
    "stop_timeout",
    "class_picker",
    "list_commands",
    "show_task_ratio",
    "show_task_ratio_json",
)
"""Locust's names of what ``harness run`` decides itself, or that would leave nothing to run."""
OFF = ("", "0", "false", "no")


def settings() -> list[dict[str, Any]]:
    """What environment variables and files set for Locust: a forgotten ``locust.conf`` must not be
    obeyed silently. Values are left out: one may be secret.
    """
    parser = get_parser()
    parser.parse_known_args([])
    rows = []
    for source, values in parser.get_source_to_settings_dict().items():
        kind, _, file = source.partition("|")
        if kind not in ("environment_variables", "config_file"):
            continue
        for name, (action, value) in values.items():
            ours = name in SETTINGS or action is None
            if ours or str(value).lower() in OFF:
                continue
            place = file or "the environment"
            rows.append({"name": name, "place": place, "decided": action.dest in DECIDED})
    return rows


def inspect(path: Path) -> dict[str, Any]:
    """Import a locustfile as Locust does and say what is in it.

    Or ``{"error": "one sentence naming file and line"}`` where it can't be used.
    """
    try:
        users, shapes = load_locustfile(str(path))
    except SyntaxError as error:
        if error.filename is None:  # Python does not say where the bytes are that are no text
            return {"error": f"{_place(path, error)}: {error.msg}; save the file as UTF-8"}
        return {"error": f"{error.filename}:{error.lineno}: {error.msg}"}
    except Exception as error:  # noqa: BLE001 - the file may raise whatever it likes
        why = str(error) if isinstance(error, HarnessError) else f"{type(error).__name__}: {error}"
        return {"error": why if _names_a_file(why) else f"{_place(path, error)}: {why}"}
    try:
        return _contents(users, shapes)
    except HarnessError as error:
        return {"error": str(error) if _names_a_file(str(error)) else f"{path}: {error}"}


def _contents(users: dict[str, Any], shapes: list[Any]) -> dict[str, Any]:
    """Of a file that was imported. Raises ConfigError."""
    guests = [name for name, user in users.items() if issubclass(user, GuestUser)]
    if not guests:
        raise ConfigError("no class inherits from GuestUser, so there would be no guests")
    check_only_one(shapes)
    closed = occupancy() is not None
    contents = {
        "users": guests,
        "objectives": own_objectives(),
        "used_variables": used_variables(),
        "configured": settings(),
        "breaks": would_break(users.values()),
        "may_break": might_break(users.values()),
        "arrivals": None,
    }
    for shape in shapes:
        if isinstance(shape, ArrivalShape) and not closed:
            checked = type(shape).checked()
            schedule = checked.arrivals
            check_rows(users.values(), schedule.count)
            contents["arrivals"] = {
                "shape": checked.__name__,
                "schedule": schedule.describe(),
                "count": schedule.count,
                "duration_s": schedule.duration_s,
                "slots": checked.slots,
                "peak_per_s": peak_per_s(schedule),
                "warning": no_arrivals(schedule),
            }
    return contents


def _names_a_file(why: str) -> bool:
    """Whether an error says already which file it is of: a script, or its data."""
    return os.path.isabs(why) and os.path.isfile(re.split("[:,]", why)[0])


def _place(path: Path, error: BaseException) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if Path(frame.filename).resolve() == path.resolve()]
    return f"{path}:{own[-1].lineno}" if own else str(path)


# Gevent's own would leave the descriptor open, and wait, until an event loop runs.
wait_for, close = (get_original("os", name) for name in ("waitpid", "close"))


def main(locustfile: str) -> None:
    """Answer, wait for the order, and obey it."""
    answers = os.dup(1)
    os.dup2(2, 1)  # what the file prints is no answer
    child = fork_gevent()
    if not child:
        _look_at(Path(locustfile), answers)
    _, status = wait_for(child, 0)
    if os.WIFSIGNALED(status):
        refusal = {"error": f"{locustfile} can't be imported: {killed_by(os.WTERMSIG(status))}"}
        os.write(answers, f"{json.dumps(refusal)}\n".encode())
    close(answers)
    if order := sys.stdin.readline():
        _become_locust(**json.loads(order))


def _look_at(path: Path, answers: int) -> None:
    """Answer, and leave without a word of Locust's."""
    signal_when_orphaned(signal.SIGKILL)
    _open(os.devnull, os.O_RDONLY, 0)  # what the file reads is no order
    try:
        os.write(answers, f"{json.dumps(inspect(path))}\n".encode())
    except SystemExit as end:  # the file's own
        print(end, file=sys.stderr)
    except BaseException:  # noqa: BLE001 - this process is left here, however that comes about
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(0)


def _open(path: str, flags: int, number: int) -> None:
    file = os.open(path, flags, 0o666)
    os.dup2(file, number)
    close(file)


def _become_locust(words: list[str], environment: dict[str, str], log: str) -> None:
    _open(os.devnull, os.O_RDONLY, 0)
    _open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 1)
    os.dup2(1, 2)
    replace_environment(environment)
    use_json_if_configured()
    sys.argv = ["locust", *words]
    run_locust()  # type: ignore[no-untyped-call]


if __name__ == "__main__":
    main(sys.argv[1])
