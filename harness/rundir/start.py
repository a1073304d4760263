"""How a run was started, and why it was ended early: ``start.json``."""

import platform
from importlib.metadata import version
from pathlib import Path
from typing import Any

import orjson

from harness import __version__
from harness.clock import KERNEL_STAMPS
from harness.config.target import Target
from harness.errors import ConfigError
from harness.rundir.layout import RunDirectory, write_json

WAITING = "waiting for workers: "
"""How a line of it begins by which a master says for whom it waits."""
ENDED_BY_HAND = "stopped_by_hand"
ENDED_FOR_WINDOW = "stopped_for_window"
ENDED_FOR_DISK = "stopped_for_disk"
ENDED_BY_SEARCH = "stopped_by_search"
ABORTED = "aborted"
"""Keys that say why a run was ended before its time."""


def begin_run(directory: Path, **how: Any) -> None:
    """The run begins: :func:`write_start`, and from now on it is the latest."""
    write_start(directory, **how)
    RunDirectory(directory).point_latest()


def write_start(directory: Path, **how: Any) -> None:
    """Write how the run was started; a later call adds to it. No secrets in here.

    Keys known to the report: ``started``, ``target``, ``deployment_id``, ``locustfile``,
    ``options``, ``objectives``, ``arrivals``, ``slots``.
    """
    start: dict[str, Any] = {
        "run_id": directory.name,
        "host": platform.node(),
        "arrival_stamps": "kernel" if KERNEL_STAMPS else "userspace",
        "versions": {
            "harness": __version__,
            "locust": version("locust"),
            "gevent": version("gevent"),
            "websockets": version("websockets"),
            "python": platform.python_version(),
        },
    }
    path = RunDirectory(directory).start
    if path.exists():
        start |= read_start(directory)
    # Without it a sweep does not know where the guests went.
    write_json(path, start | how)


def target_facts(target: Target) -> dict[str, Any]:
    """What ``start.json`` says of the target, so that a sweep finds its way there."""
    return {
        "target": target.url,
        "deployment_id": target.deployment_id,
        "ca_file": None if target.ca_file is None else str(target.ca_file),
        "origin": target.origin,
        "proxy": target.proxy_url,
        "proxy_login_env": target.proxy_login_env,
        "sources": list(target.sources),
    }


def read_label(directory: Path) -> dict[str, str]:
    """The ``name`` and the ``note`` that the user gave the run; what was not given is left out."""
    try:
        found = orjson.loads(RunDirectory(directory).label.read_bytes())
    except (OSError, orjson.JSONDecodeError):
        return {}  # a label is no reason to have no report
    given = found if isinstance(found, dict) else {}
    return {key: str(given[key]) for key in ("name", "note") if given.get(key)}


def read_start(directory: Path) -> dict[str, Any]:
    """What :func:`write_start` wrote; empty if there is nothing. Raises ConfigError."""
    path = RunDirectory(directory).start
    try:
        found = orjson.loads(path.read_bytes())
    except FileNotFoundError:
        return {}
    except (OSError, orjson.JSONDecodeError) as error:
        raise ConfigError(f"{path} can't be read: {error}") from error
    if not isinstance(found, dict):
        raise ConfigError(f"{path}: expected a JSON object")
    return found
