"""``python -m harness.load FILE``: say what is in a locustfile, then be the Locust that runs it.

``harness run`` has to know what a file would do before anything is sent, and Locust imports it
anew. What both need takes a second to import, so one process does both: it looks at the file in a
child, of which nothing is left but a line of JSON on standard output. Then a line of JSON on
standard input says how Locust is to run; the end of the input says that it is not wanted.
"""

import json
import os
import signal
import sys
import traceback
from pathlib import Path

from gevent.monkey import get_original
from gevent.os import fork_gevent
from locust.main import main as run_locust

from harness.config.run_config import replace_environment
from harness.load.inspection import inspect
from harness.load.logs import speak_json_if_asked
from harness.processes import killed_by, signal_when_orphaned

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
    speak_json_if_asked()
    sys.argv = ["locust", *words]
    run_locust()  # type: ignore[no-untyped-call]


if __name__ == "__main__":
    main(sys.argv[1])
