"""The beginning of a run directory: its name, ``start.json``, and the link ``latest``."""

import contextlib
import os
import platform
import re
import secrets
import shlex
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import orjson

from harness import __version__
from harness.clock import KERNEL_STAMPS
from harness.config.target import Target
from harness.errors import ConfigError
from harness.machine import writable_by

START = "start.json"
LATEST = "latest"
LOCUST_LOG = "locust.log"
"""What Locust's process prints under ``harness run``."""
WAITING = "waiting for workers: "
"""How a line of it begins by which a master says for whom it waits."""
RUN_ID = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,99}")
ENDED_BY_HAND = "stopped_by_hand"
ENDED_FOR_WINDOW = "stopped_for_window"
ENDED_FOR_DISK = "stopped_for_disk"
ENDED_BY_SEARCH = "stopped_by_search"
ABORTED = "aborted"
"""Keys that say why a run was ended before its time."""
SEARCH = "HARNESS_SEARCH"
"""In the environment of a run: whoever started it ends it as soon as it has said enough."""


def new_run_id() -> str:
    """Sorts by time; the tail keeps two runs of the same second apart."""
    return datetime.now(UTC).strftime("%Y%m%d-%H%M%S-") + secrets.token_hex(2)


def make_run_directory(reports: Path, run_id: str) -> Path:
    """Make ``reports/<run_id>`` and see that it can be written to. Raises ConfigError."""
    if not RUN_ID.fullmatch(run_id) or run_id == LATEST:
        raise ConfigError(
            f"the run id {run_id[:80]!r} (HARNESS_RUN_ID) is no name of a folder: expected "
            f"letters, digits, dots, hyphens and underscores, at most 100, and not {LATEST!r}"
        )
    directory = reports / run_id
    try:
        directory.mkdir(parents=True, exist_ok=True)
        # A name of its own: the workers of a run all try the same folder at the same moment.
        probe = directory / f".writable-{os.getpid()}-{secrets.token_hex(4)}"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise ConfigError(
            f"the reports folder {reports} can't be written to: {error.strerror or error}"
        ) from error
    return directory


def others_may_write(reports: Path) -> str:
    """A warning where others than the user may change what is in the reports folder."""
    who = writable_by(reports)
    return (
        f"{reports}/ can be written to by {who}, who could change ledgers and reports: "
        f"chmod go-w {shlex.quote(str(reports))}"
        if who
        else ""
    )


def point_latest(directory: Path) -> None:
    """Let ``reports/latest`` lead to this run; where links can't be made there is none."""
    link = directory.parent / LATEST
    beside = directory.parent / f".{LATEST}-{os.getpid()}"
    with contextlib.suppress(OSError):
        beside.symlink_to(directory.name)
        beside.replace(link)


def begin_run(directory: Path, **how: Any) -> None:
    """The run begins: :func:`write_start`, and from now on it is the latest."""
    write_start(directory, **how)
    point_latest(directory)


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
    path = directory / START
    if path.exists():
        start |= read_start(directory)
    # Whole or not at all: without it a sweep does not know where the guests went.
    beside = path.with_name(f".{START}-{os.getpid()}")
    beside.write_bytes(orjson.dumps(start | how, option=orjson.OPT_INDENT_2))
    beside.replace(path)


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


def read_start(directory: Path) -> dict[str, Any]:
    """What :func:`write_start` wrote; empty if there is nothing. Raises ConfigError."""
    path = directory / START
    try:
        found = orjson.loads(path.read_bytes())
    except FileNotFoundError:
        return {}
    except (OSError, orjson.JSONDecodeError) as error:
        raise ConfigError(f"{path} can't be read: {error}") from error
    if not isinstance(found, dict):
        raise ConfigError(f"{path}: expected a JSON object")
    return found
