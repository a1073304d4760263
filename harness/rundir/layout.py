"""What lies where in the directory of a run, and in the folder of all runs.

No other module spells the name of such a file, and what must never be read half written is written
by :func:`write_atomically`. ``start.json`` says how a run was started, and why it ended early.
"""

import contextlib
import os
import platform
import re
import secrets
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson

from harness import __version__
from harness.clock import KERNEL_STAMPS
from harness.config import run_config
from harness.config.target import Target
from harness.errors import ConfigError
from harness.machine import writable_by

REPORTS = Path(run_config.REPORTS.default)
"""The folder of all runs where nobody names another."""
LATEST = "latest"
"""The link in it to the run that was begun last, and how a command is told to take that one."""
START = "start.json"
RECORD = "run.json"
RECORD_SCHEMA = 1
"""The version of records that this harness writes, and the highest that it reads."""
RUN_ID = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,99}")
GUEST_PREFIX = "guest-"
PREFLIGHT_PREFIX = "preflight-"
VISIT_PREFIXES = (GUEST_PREFIX, PREFLIGHT_PREFIX)
"""How directories of single sessions begin, which are no runs."""
CAPACITY_PREFIX = "capacity-"
CALIBRATION_PREFIX = "calibration-"
PLAN_PREFIX = "plan-"
"""How the folders of the studies begin."""
MERGED_SUFFIX = "-merged"
"""How the directory of a run that was made of others ends."""

REPORT_PAGE = "report.html"
LIVE_PAGE = "live.html"
SUMMARY = "summary.md"
JUNIT = "junit.xml"
CSV = "intervals.csv"
DRIFT_PAGE = "drift.html"
COMPARISON_PAGE = "compare.html"
CAPACITY_PAGE = "capacity.html"
CALIBRATION_PAGE = "calibration.html"
PLAN_PAGE = "plan.html"
SEARCH = "search.json"
"""In the folder of a capacity search: what was asked, and the levels tried."""
SEARCH_OBJECTIVES = "objectives.toml"
"""Beside it: what was given by --objective, for the runs of its levels."""
STUDY_LOG = "harness.log"
"""In the folder of one run of a study: what its ``harness run`` prints."""
HANDED_OUT_FILES = "handed-out.json"
"""In the folder of files that a worker gets from its master: option → path there → path here."""
CALIBRATION = "calibration.json"
"""In the folder of all runs: what this machine was found to carry."""
PLAN = "plan.json"


class RunFile:
    """One file of a run: where it lies in a given run's directory."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __get__(self, run: "RunDirectory", _: type) -> Path:
        return run.path / self.name


@dataclass(frozen=True, slots=True)
class RunDirectory:
    """The files of one run. Nothing is made, and nothing needs to be there."""

    path: Path

    start = RunFile(START)
    """How the run was started; without it there was none."""
    label = RunFile("label.json")
    """What its user calls it; there only if it was given a name or a note."""
    config = RunFile("run-config.json")
    """What was asked of the run, as ``harness run`` hands it to Locust's process."""
    record = RunFile(RECORD)
    """What the run says of itself, made at its end."""
    failures = RunFile("failures.txt")
    """Sentences that make the run's figures void, one a line."""
    shares = RunFile("shares.json")
    """Which worker was to start which arrivals."""
    pause = RunFile("pause")
    """As long as it is there no new guests come."""
    stop = RunFile("stop")
    """When it is there the run ends in order."""
    secret = RunFile("secret")
    """From which all guests' tokens are derived."""
    workers = RunFile("workers.jsonl")
    """The list of processes that have had guests, one JSON object a line."""
    locust_log = RunFile("locust.log")
    """What Locust's process prints under ``harness run``."""
    simulator_log = RunFile("simulator.log")
    """What the simulator prints that was started for the run."""
    preflight = RunFile("preflight.json")
    """In the directory of a preflight's visit: every line of its table."""

    def ledger(self, worker: str) -> Path:
        """The ledger of one process."""
        return self.path / f"ledger-{worker}.sqlite"

    def ledgers(self) -> list[Path]:
        """Those of all processes; a merged run has those that lie in its parts."""
        paths = sorted(self.path.glob(self.ledger("*").name))
        return [path.resolve() if path.is_symlink() else path for path in paths]

    def parts(self) -> list[Path]:
        """The runs that this one was merged from; none where it is a run of its own."""
        links = self.path.glob(self.ledger("*").name)
        return sorted({path.resolve().parent for path in links if path.is_symlink()})

    def intervals(self, worker: str) -> Path:
        """What one process has counted, an interval a line."""
        return self.path / f"intervals-{worker}.jsonl"

    def all_intervals(self) -> list[Path]:
        """Those of all processes."""
        return sorted(self.path.glob(self.intervals("*").name))

    def histograms(self, worker: str) -> Path:
        """The times that one process has measured."""
        return self.path / f"histograms-{worker}.hlog"

    def all_histograms(self) -> list[Path]:
        """Those of all processes."""
        return sorted(self.path.glob(self.histograms("*").name))

    def point_latest(self) -> None:
        """Let ``latest`` lead to this run; where links can't be made there is none."""
        link = self.path.parent / LATEST
        beside = _beside(link)
        with contextlib.suppress(OSError):
            beside.symlink_to(self.path.name)
            beside.replace(link)


def worker_of(path: Path) -> str:
    """The process that a ledger, an interval file or a histogram log is of."""
    return path.stem.partition("-")[2]


def folders_with_guests(reports: Path) -> set[Path]:
    """All directories in a folder, at any depth, in which a ledger or a list of workers lies."""
    files = RunDirectory(reports)
    marks = (files.ledger("*").name, files.workers.name)
    marked = (path for mark in marks for path in reports.rglob(mark))
    return {path.parent for path in marked if not path.is_symlink()}  # not of a merged run


def preflight_stamp(reports: Path, target: str) -> Path:
    """What is remembered of the last preflight of a target."""
    return reports / ".preflight" / f"{target}.json"


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
    with _probing(reports):
        _probe(directory)
        with (
            contextlib.suppress(FileExistsError),
            (reports / ".gitignore").open("x", encoding="utf-8") as file,
        ):
            file.write("*\n")  # ledgers hold tokens: nothing of a run goes into anybody's history
    return directory


def check_reports(reports: Path) -> None:
    """Make the folder of runs and see that it can be written to. Raises ConfigError."""
    with _probing(reports):
        _probe(reports)


@contextlib.contextmanager
def _probing(reports: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise ConfigError(
            f"the reports folder {reports} can't be written to: {error.strerror or error}"
        ) from error


def _probe(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    # A name of its own: the workers of a run all try the same folder at the same moment.
    probe = _beside(folder / "writable")
    probe.touch()
    probe.unlink()


def sweep_command(run_dir: Path) -> str:
    """What to type, from here, to end what a run has left behind."""
    known = run_dir.resolve().parent == REPORTS.resolve()
    return f"harness sweep {run_dir.name if known else shlex.quote(str(run_dir))}"


def left_sentence(run_dir: Path) -> str:
    """What the user must know when a run is left at once, with guests in session."""
    return f"left. End what remains with: {sweep_command(run_dir)}"


def others_may_write(reports: Path) -> str:
    """A warning where others than the user may change what is in the reports folder."""
    who = writable_by(reports)
    return (
        f"{reports}/ can be written to by {who}, who could change ledgers and reports: "
        f"chmod go-w {shlex.quote(str(reports))}"
        if who
        else ""
    )


def write_atomically(path: Path, data: bytes | str) -> Path:
    """Write a file so that a reader finds all of it or the old one, also after a power cut.

    Raises OSError; the old file is untouched then.
    """
    with _written(path, data.encode() if isinstance(data, str) else data, 0o666) as beside:
        beside.replace(path)
    return path


def write_new(path: Path, text: str) -> Path:
    """Write a file that is not there yet. Raises ConfigError where it is, or can't be written."""
    data = text.encode()
    with writing(path):
        try:
            file = path.open("xb")
        except FileExistsError:
            raise ConfigError(f"{path} is there already; it was left as it is") from None
        try:
            with file:
                file.write(data)
        except BaseException:
            path.unlink(missing_ok=True)  # half a file would be in the way of the next attempt
            raise
    return path


def write_json(path: Path, value: Any) -> Path:
    """The same for a value, in a form that people can read."""
    return write_atomically(path, orjson.dumps(value, option=orjson.OPT_INDENT_2))


@contextlib.contextmanager
def reading(path: Path, what: str) -> Iterator[None]:
    """What is not as we write it is a ConfigError: the file can't be read, or is not ``what``."""
    try:
        yield
    except OSError as error:
        raise ConfigError(f"{path} can't be read: {error.strerror or error}") from error
    except KeyError as error:
        raise ConfigError(f"{path} is not {what}: {error} is missing in it") from error
    except (TypeError, ValueError, AttributeError) as error:
        raise ConfigError(f"{path} is not {what}: {error}") from error


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
    """What can't be written to ``path``, a file or a folder, is a ConfigError that names it."""
    try:
        yield
    except OSError as error:
        raise ConfigError(f"{path} can't be written: {error.strerror or error}") from error


def write_once(path: Path, data: bytes) -> None:
    """Write a file for the owner only, unless it is there: of several writers the first one counts.

    Raises OSError.
    """
    with _written(path, data, 0o600) as beside, contextlib.suppress(FileExistsError):
        os.link(beside, path)


@contextlib.contextmanager
def _written(path: Path, data: bytes, mode: int) -> Iterator[Path]:
    """A file beside another one, on the disk, that is to become it; afterwards its name is gone."""
    beside = _beside(path)
    try:
        with os.fdopen(os.open(beside, os.O_CREAT | os.O_EXCL | os.O_WRONLY, mode), "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        yield beside
    except OSError as error:
        error.filename = str(path)  # a write does not say of which file it is
        raise
    finally:
        with contextlib.suppress(OSError):
            beside.unlink(missing_ok=True)
    sync_folder(path.parent)


def _beside(path: Path) -> Path:
    """A name in the same folder that no other process takes."""
    return path.with_name(f".{path.name}-{os.getpid()}-{secrets.token_hex(4)}")


def sync_folder(folder: Path) -> None:
    """Make a new name durable; some file systems can't, and then a crash may show the old file."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


WAITING = "waiting for workers: "
"""How a line of it begins by which a master says for whom it waits."""
AT_THE_END = "at the end: "
"""How a line of it begins that is shown at once while the end of a run is made."""
ENDED_BY_HAND = "stopped_by_hand"
ENDED_FOR_WINDOW = "stopped_for_window"
ENDED_FOR_DISK = "stopped_for_disk"
ENDED_BY_SEARCH = "stopped_by_search"
ABORTED = "aborted"
"""Keys that say why a run was ended before its time."""
MERGED_FROM = "merged_from"
"""Key that names the runs that a merged one was made from."""


def begin_run(directory: Path, **how: Any) -> None:
    """The run begins: :func:`write_start`, and from now on it is the latest."""
    write_start(directory, **how)
    RunDirectory(directory).point_latest()


def write_start(directory: Path, **how: Any) -> None:
    """Write how the run was started; a later call adds to it. No secrets in here.

    Keys known to the report: ``started``, ``target``, ``deployment_id``, ``locustfile``,
    ``options``, ``objectives``, ``arrivals``, ``slots``.
    """
    from importlib.metadata import version  # it takes a while to import

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


SIGN_INS = "sign_ins"
"""Key of the file that the run's guests were signed in from: its path, never what is in it."""


def target_facts(target: Target, sign_ins: Path | None = None) -> dict[str, Any]:
    """What ``start.json`` says of the target and of ``sign_ins``, so that a sweep finds both."""
    return {
        "target": target.url,
        "deployment_id": target.deployment_id,
        "ca_file": None if target.ca_file is None else str(target.ca_file),
        "origin": target.origin,
        "proxy": target.proxy_url,
        "proxy_login_env": target.proxy_login_env,
        "sources": list(target.sources),
        SIGN_INS: None if sign_ins is None else str(sign_ins.resolve()),
    }


def read_label(directory: Path) -> dict[str, str]:
    """The ``name`` and the ``note`` that the user gave the run; what was not given is left out."""
    label = read_json(RunDirectory(directory).label)  # no reason to have no report
    return {key: str(label[key]) for key in ("name", "note") if label.get(key)}


def read_start(directory: Path) -> dict[str, Any]:
    """What :func:`write_start` wrote; empty if there is nothing. Raises ConfigError."""
    path = RunDirectory(directory).start
    try:
        start = orjson.loads(path.read_bytes())
    except FileNotFoundError:
        return {}
    except (OSError, orjson.JSONDecodeError) as error:
        raise ConfigError(f"{path} can't be read: {error}") from error
    if not isinstance(start, dict):
        raise ConfigError(f"{path}: expected a JSON object")
    return start


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object, for who can do without; empty where it is not there, or is none."""
    with contextlib.suppress(OSError, orjson.JSONDecodeError):
        value = orjson.loads(path.read_bytes())
        return value if isinstance(value, dict) else {}
    return {}
