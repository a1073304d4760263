"""Shared fixtures: the simulator as a process of its own, as every user of the harness meets it,
and a real browser where there is one.
"""

import atexit
import contextlib
import fcntl
import gc
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Generator, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from xdist.scheduler import LoadScopeScheduling

# Importing Locust patches the whole process, and the tests of the simulator run asyncio in this
# one. What runs under Locust runs in processes of its own, which are patched as usual.
os.environ["LOCUST_SKIP_MONKEY_PATCH"] = "1"
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # as our commands do: see harness/machine.py
import locust  # noqa: F401

del os.environ["LOCUST_SKIP_MONKEY_PATCH"]
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # As in a shell's background. What is ignored is inherited, and the tests send it.
    signal.signal(signal.SIGINT, signal.default_int_handler)
if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:  # as under nohup
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
from browser import Browser, find_chromium
from processes import LATE, ROOT, Simulator, Started, StoodStill

# Hundreds of processes are started: none compiles the whole package anew.
sys.dont_write_bytecode = False
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
# What the simulator keeps for its user is kept apart from the tester's own.
os.environ["XDG_STATE_HOME"] = tempfile.mkdtemp(prefix="harness-tests-")
atexit.register(shutil.rmtree, os.environ["XDG_STATE_HOME"], ignore_errors=True)

# The machine is shared: property tests take the time they take.
settings.register_profile("all", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("fast", parent=settings.get_profile("all"), max_examples=15)
settings.register_profile("long", parent=settings.get_profile("all"), max_examples=1000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "all"))

# Fixtures that start processes: what asks for one, by whatever way, is a test of processes.
STARTERS = {"browser", "shared_simulator", "simulate"}
# Tests of what decides and touches nothing: they have to reach nearly every branch of it.
PURE = {"conform", "judge", "measure", "protocol", "studies", "workload"}

TESTS = Path(__file__).parent
_started: list[str] = []


def _note_processes(event: str, arguments: tuple[Any, ...]) -> None:
    if event in ("subprocess.Popen", "os.fork", "os.forkpty", "os.posix_spawn"):
        _started.append(f"{event} {arguments[:2]}")


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Draw the examples of property tests from the commit, so that it decides what is tested."""
    if config.getoption("hypothesis_seed") is None:
        config.option.hypothesis_seed = str(_seed_of_the_commit())
    sys.addaudithook(_note_processes)


def _seed_of_the_commit() -> int:
    head = ["git", "rev-parse", "--short=8", "HEAD"]
    try:
        commit = subprocess.run(head, capture_output=True, check=True, text=True, cwd=ROOT).stdout
        return int(commit, 16)
    except (OSError, ValueError, subprocess.CalledProcessError):
        return 1  # a copy without its history


def pytest_report_header(config: pytest.Config) -> str:
    """How to draw the same examples again."""
    return f"property tests: --hypothesis-seed={config.getoption('hypothesis_seed')}"


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Look for no garbage while thousands of tests are made, nor among them ever after."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


def pytest_addoption(parser: pytest.Parser) -> None:
    """What makes it possible to run the tests in parts that import little."""
    parser.addoption(
        "--folders",
        choices=("deciding", "other"),
        help="collect only the folders of what decides (and the long computations), or only others",
    )


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Import no test of the folders that are left to another part."""
    wanted = config.getoption("folders")
    if wanted is None or TESTS not in collection_path.parents:
        return None
    deciding = collection_path.relative_to(TESTS).parts[0] in PURE | {"benchmarks"}
    return True if deciding != (wanted == "deciding") else None


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark what starts processes through a fixture, and what coverage counts."""
    for item in items:
        if STARTERS & set(getattr(item, "fixturenames", ())):
            item.add_marker("process")
        others = [item.get_closest_marker(name) for name in ("process", "rates", "long")]
        if not any(others) and item.path.relative_to(TESTS).parts[0] in PURE:
            item.add_marker("pure")
    if hasattr(config, "workerinput"):  # one of several processes
        _order(items)


def _order(items: list[pytest.Item]) -> None:
    """First what waits for processes, then the small ones that fill what is left of the time.

    Who must be alone comes last, when nobody has to end a long test first.
    """
    items.sort(
        key=lambda one: (
            one.get_closest_marker("alone") is not None,
            one.get_closest_marker("process") is None,
        )
    )


class _TogetherWhereShared(LoadScopeScheduling):
    """Tests of a file that share what they are made from go to one process, which makes it once."""

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        return file if _shares(file) else nodeid


@cache
def _shares(file: str) -> bool:
    return 'scope="module"' in (ROOT / file).read_text()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadScopeScheduling | None:
    """Hand out the tests in their order; ``--dist loadgroup`` no longer groups under pytest 9.2."""
    if config.getoption("dist") != "load":
        return None
    config.option.loadscopereorder = False
    return _TogetherWhereShared(config, log)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    """A test that starts a process and does not say so would slow ``make test-fast`` down.

    None outlives its test, however that ends.
    """
    _started.clear()
    Started.begun.clear()
    try:
        outcome = yield
    finally:
        for process in Started.begun:
            process.end()
    if _started and item.get_closest_marker("process") is None:
        pytest.fail(f"it starts processes, so mark it 'process': {_started[0]}")
    return outcome


TRIES = 3  # of a test whose run says that the machine stood still
_tried = pytest.StashKey[int]()
_void = pytest.StashKey[bool]()


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(
    item: pytest.Item, nextitem: pytest.Item | None
) -> Generator[None, object, object]:
    """Keep tests marked ``alone`` from the others; repeat, alone, what the machine made void."""
    again = item.stash.setdefault(_tried, 0) > 0
    with _turn(item.config, alone=again or item.get_closest_marker("alone") is not None):
        done = yield
    if item.stash.get(_void, False):
        del item.stash[_void]
        item.stash[_tried] += 1
        item.ihook.pytest_runtest_protocol(item=item, nextitem=nextitem)
    return done


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Tell a test that is going to be repeated, and why."""
    report = yield
    void = call.excinfo is not None and call.excinfo.errisinstance(StoodStill)
    if (void or (report.failed and _was_late(item))) and item.stash[_tried] + 1 < TRIES:
        item.stash[_void] = True
        report.outcome = "void"  # type: ignore[assignment]
    return report


def _was_late(item: pytest.Item) -> bool:
    """Whether the record of a run that the test made says that the machine stood still."""
    folder = getattr(item, "funcargs", {}).get("tmp_path")
    return folder is not None and any(
        LATE.search(record.read_text()) for record in folder.rglob("run.json")
    )


def pytest_report_teststatus(report: pytest.TestReport) -> tuple[str, str, str] | None:
    """Its letter in the list of tests."""
    return ("void for lag and repeated", "V", "VOID") if report.outcome == "void" else None


@contextlib.contextmanager
def _turn(config: pytest.Config, *, alone: bool) -> Iterator[None]:
    """The right to run beside the tests of the other processes, or without them.

    Those of another ``pytest`` of this checkout are kept apart as well.
    """
    if not hasattr(config, "cache"):  # switched off
        yield
        return
    assert config.cache is not None
    directory = config.cache.mkdir("turns")
    with (directory / "queue").open("w") as queue, (directory / "running").open("w") as running:
        # Who wants to be alone keeps the others from the queue, or it would wait for ever.
        fcntl.flock(queue, fcntl.LOCK_EX)
        fcntl.flock(running, fcntl.LOCK_EX if alone else fcntl.LOCK_SH)
        fcntl.flock(queue, fcntl.LOCK_UN)
        yield


@pytest.fixture(scope="session")
def shared_simulator() -> Iterator[Simulator]:
    """One simulator for all tests of the session; use :func:`simulator`."""
    running = Simulator("--limits", "off")
    yield running
    running.stop()


@pytest.fixture
def simulator(shared_simulator: Simulator) -> Iterator[Simulator]:
    """The shared simulator with no faults. Count differences: others have used it before."""
    shared_simulator.faults()
    yield shared_simulator
    shared_simulator.faults()


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """A headless Chromium; skips where there is none (Debian: apt-get install chromium)."""
    program = find_chromium()
    if program is None:
        pytest.skip("no Chromium found; install one or name it in $CHROMIUM")
    with Browser(program, tmp_path_factory.mktemp("chromium")) as running:
        yield running
