"""Master and workers as processes: the same run everywhere, or none at all."""

import json
import os
import re
import time
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gevent
import pytest
from locust.env import Environment
from locust.rpc import Message
from locust.runners import STATE_INIT, STATE_MISSING, WorkerNode
from locusts import (
    ROOT,
    environment_for,
    finish,
    in_session,
    launch,
    locustfile,
    only_run,
    passed,
)
from processes import LATE, start_harness

from harness.ledger.runs import ask_to_stop
from harness.load.cluster.handshake import (
    FACTS,
    HELLO,
    Handshake,
    MasterClock,
    compare,
    describe,
)
from harness.machine import Share
from harness.supervise.children import free_port

pytestmark = pytest.mark.process


def distributed(tmp_path: Path, master_file: Path, worker_file: Path, *more: str) -> Any:
    port = free_port()
    out = ["--reports", str(tmp_path / "reports")]
    master = start_harness(
        "run", str(master_file), "--master", "--expect-workers", "2", "--master-port", port,
        "-u", "6", "-t", "3s", *out, *more,
    )  # fmt: skip
    words = ("run", str(worker_file), "--worker", "--master-port", port)
    workers = [start_harness(*words) for _ in range(2)]
    output, _ = master.communicate(timeout=120)
    for worker in workers:
        worker.communicate(timeout=60)
    return master.returncode, output


@pytest.mark.long
def test_a_run_with_a_master_and_two_workers(tmp_path: Path) -> None:
    file = locustfile(tmp_path)
    code, output = distributed(tmp_path, file, file)
    assert passed(code, output), output
    assert "verdict  PASS" in output


@pytest.mark.long
def test_a_worker_with_another_locustfile_is_refused(tmp_path: Path) -> None:
    one = locustfile(tmp_path)
    (tmp_path / "other").mkdir()
    other = locustfile(tmp_path / "other", messages=3)
    code, output = distributed(tmp_path, one, other)
    assert code == 8, output
    assert "has a locustfile with the content" in output


def test_differences_are_named() -> None:
    own = {"harness": "2", "locust": "1", "locustfile": "a", "schedule": "none"}
    assert compare("w", dict(own), own) == []
    (why,) = compare("w", own | {"harness": "1"}, own)
    assert why == "worker w has the harness in version '1', the master '2'"


@pytest.mark.parametrize("comes_back", [True, pytest.param(False, marks=pytest.mark.long)])
def test_a_worker_whose_heartbeats_are_late_is_waited_for(comes_back: bool, tmp_path: Path) -> None:
    file = locustfile(tmp_path)
    environment = Environment(parsed_options=Namespace(locustfile=str(file)))
    runner = environment.create_master_runner("127.0.0.1", int(free_port()))
    own = describe(environment, None)
    handshake = Handshake(runner, lambda: own)
    node = runner.clients["w"] = WorkerNode("w")
    handshake._on_hello(environment, Message(HELLO, own, "w"))

    def starve() -> None:
        gevent.sleep(0.2)
        node.state = STATE_MISSING  # as Locust does it
        gevent.sleep(0.3)
        if comes_back:
            node.state = STATE_INIT  # by its next heartbeat
            handshake._on_facts(environment, Message(FACTS, {"modules": {}}, "w"))

    starving = gevent.spawn(starve)
    try:
        share = Share(at_once=1, per_s=None, sources=1, over_s=60.0)
        problems = handshake.problems({}, {"modules": {}}, share, workers=1)
    finally:
        starving.kill()
        runner.greenlet.kill()
        runner.quit()
        runner.server.socket.context.destroy(linger=0)
    assert problems == ([] if comes_back else ["only 0 of 1 workers are left"])


# Two folders stand for two machines: no file of one is seen by the other, but the locustfile.

OPEN = """
class Shape(ArrivalShape):
    arrivals = poisson(from_options(rate="300/min", over="6s"))
    slots = 40
"""


class Cluster:
    """A master and its workers, plain Locust all of them."""

    def __init__(self, folder: Path, target: str, file: Path, *master: str) -> None:
        self.folder, self.target, self.port = folder, target, free_port()
        self.processes: list[Any] = []
        words = ("--headless", "--only-summary", "--master", "--master-bind-host", "127.0.0.1")
        words += ("--master-bind-port", self.port, *master)
        self.master = self._start(file, "m", *words)

    def __enter__(self) -> "Cluster":
        return self

    def __exit__(self, *_: object) -> None:
        for process in self.processes:
            if process.poll() is None:
                process.kill()
                process.communicate()

    def worker(self, file: Path | str, name: str = "w", **more: str) -> Any:
        return self._start(file, name, "--worker", "--master-port", self.port, **more)

    def _start(self, file: Path | str, name: str, *words: str, **more: str) -> Any:
        home = self.folder / name
        home.mkdir(exist_ok=True)
        path = os.pathsep.join([*([more.pop("PATCHES")] if "PATCHES" in more else []), str(ROOT)])
        # Locust writes a master's file there by its name alone: not beside that of another test.
        more["TMPDIR"] = str(home)
        environment = environment_for(Path(), self.target, PYTHONPATH=path, **more)
        process = launch(Path(file), environment, *words, folder=home)
        self.processes.append(process)
        return process

    @property
    def record(self) -> Any:
        return json.loads((only_run(self.folder / "m") / "run.json").read_text())


def opened(simulator: Any) -> int:
    return int(simulator.truth()["sessions"]["opened"])


@pytest.mark.parametrize("way", [pytest.param("its own copy", marks=pytest.mark.long), "-f -"])
def test_the_seed_and_what_else_is_asked_for_come_from_the_master(
    simulator: Any, tmp_path: Path, way: str
) -> None:
    before = opened(simulator)
    file = locustfile(tmp_path, messages=1, more=OPEN)
    text = file.read_text().replace("import Arr", "import from_options, poisson, Arr")
    file.write_text(text)
    with Cluster(tmp_path, simulator.url, file, "--expect-workers", "2") as cluster:
        mine = "-" if way == "-f -" else file
        workers = [
            cluster.worker(mine, "one"),
            cluster.worker(mine, "two", HARNESS_SEED="5", HARNESS_RATE="600/min"),
        ]
        code, output = finish(cluster.master, within_s=120)
        told = [finish(worker)[1] for worker in workers]
        assert passed(code, output), (output, told)
        assert all("starting anew with the master's parameters" in one for one in told)
        due = cluster.record["arrivals"]["due"]
        assert opened(simulator) - before == due > 10
        seed = cluster.record["how"]["seed"]
        assert all("Traceback" not in one for one in told), seed


def put_targets(folder: Path, target: str) -> None:
    (folder / "m").mkdir()
    (folder / "m" / "targets.toml").write_text(f'[targets.shop]\nurl = "{target}"\n')


def put_others_data(folder: Path, target: str) -> None:
    script = "feeder: rows.csv\nscenarios:\n  a:\n    - say: '{{n}}'\n    - waitForReply\n"
    for name, rows in (("m", "n\n1\n2\n"), ("w", "n\n1\n3\n")):
        (folder / name).mkdir()
        (folder / name / "s.yaml").write_text(script)
        (folder / name / "rows.csv").write_text(rows)
        user = (
            "from harness.load import ScriptUser\nclass Guest(ScriptUser):\n    script = 's.yaml'\n"
        )
        (folder / name / "guests.py").write_text(user)


def put_others_module(folder: Path, target: str) -> None:
    for name in ("m", "w"):
        (folder / name).mkdir()
        locustfile(folder / name, more="import shop")
        (folder / name / "shop.py").write_text(f"TEXT = {name!r}\n")


def put_a_file_in_the_way(folder: Path, target: str) -> None:
    for name in ("m", "w"):
        (folder / name).mkdir()
    (folder / "w" / "reports").touch()


@pytest.mark.parametrize(
    ("prepare", "target", "why"),
    [
        (put_a_file_in_the_way, "", "can't take part: the reports folder"),
        (put_targets, "shop", "can't take part: the target 'shop' is not"),
        pytest.param(
            put_others_data,
            "",
            "has scripts, data or texts with the digest",
            marks=pytest.mark.long,
        ),
        (put_others_module, "", "has another content of the module shop"),
    ],
    ids=["no reports folder", "no targets.toml", "other data", "other module"],
)
def test_what_a_worker_lacks_is_told_by_the_master_before_anything_is_sent(
    simulator: Any, tmp_path: Path, prepare: Callable[..., None], target: str, why: str
) -> None:
    before = opened(simulator)
    prepare(tmp_path, simulator.url)
    files = [tmp_path / name / "guests.py" for name in ("m", "w")]
    if not files[0].exists():
        files = [locustfile(tmp_path)] * 2
    words = ("--expect-workers", "1", "-u", "2", "-t", "3s")
    with Cluster(tmp_path, target or simulator.url, files[0], *words) as cluster:
        worker = cluster.worker(files[1])
        code, output = finish(cluster.master, within_s=60)
        assert code == 8, output
        assert why in output
        code, output = finish(worker)
        assert code == 8, output
        assert "the master has dismissed this worker" in output
        assert "Traceback" not in output
        assert opened(simulator) == before


def test_a_late_worker_that_can_not_take_part_costs_the_run_nothing(
    simulator: Any, tmp_path: Path
) -> None:
    before = simulator.open_tokens()  # of other tests
    file = locustfile(tmp_path, messages=3, think="200ms")
    (tmp_path / "other").mkdir()
    other = locustfile(tmp_path / "other", messages=2, think="200ms")
    with Cluster(
        tmp_path,
        simulator.url,
        file,
        "--expect-workers",
        "1",
        "-u",
        "6",
        "-t",
        "100s",  # however late it is: the run is stopped below
        "--stop-timeout",
        "5",
    ) as cluster:
        first = cluster.worker(file)
        in_session(tmp_path / "m", 6)
        second = cluster.worker(other, "late")
        code, told = finish(second, within_s=30)
        assert code == 8, told
        assert "the master has dismissed this worker: worker" in told
        ask_to_stop(only_run(tmp_path / "m"))
        code, output = finish(cluster.master, within_s=120)
        finish(first)
        record = cluster.record
        (why,) = [one for one in record["reasons"] if not LATE.search(one)]
        assert "the run was ended by hand" in why, (code, output)
        (why,) = record["how"]["dismissed_workers"]
        assert "has a locustfile with the content" in why
        assert record["generator"]["workers_lost"] == 0
        assert simulator.open_tokens() <= before


def test_a_worker_whose_clock_is_ahead_measures_by_the_masters(
    simulator: Any, tmp_path: Path
) -> None:
    patches = tmp_path / "patches"
    patches.mkdir()
    (patches / "sitecustomize.py").write_text(
        "import time\nns, s = time.time_ns, time.time\n"
        "time.time_ns = lambda: ns() + 120_000_000_000\ntime.time = lambda: s() + 120\n"
    )
    file = locustfile(tmp_path, messages=2)
    with Cluster(
        tmp_path,
        simulator.url,
        file,
        "--expect-workers",
        "2",
        "-u",
        "6",
        "-t",
        "6s",
        "--stop-timeout",
        "5",
    ) as cluster:
        workers = [cluster.worker(file, "one"), cluster.worker(file, "two", PATCHES=str(patches))]
        code, output = finish(cluster.master, within_s=120)
        for worker in workers:
            finish(worker)
        assert passed(code, output), output
        ((_, ahead_s),) = cluster.record["how"]["clocks"].items()
        assert abs(ahead_s - 120) < 1
        first = re.search(r"([0-9.]+) s ahead of the master's: its times are corrected", output)
        assert first is not None, output
        assert abs(float(first[1]) - 120) < 1
        run = only_run(tmp_path / "m")
        ends = [
            json.loads(line)["t"]
            for path in run.glob("intervals-*.jsonl")
            for line in path.read_text().splitlines()
        ]
        assert max(ends) - min(ends) < 60
        assert abs(max(ends) - time.time()) < 60


def test_a_clock_that_is_set_is_told_and_a_slow_answer_is_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = [10**12]
    monkeypatch.setattr("harness.load.cluster.handshake.monotonic_ns", lambda: now[0])
    monkeypatch.setattr("harness.load.cluster.handshake.wall_ns", lambda: now[0] + 7 * 10**9)
    clock = MasterClock()

    def answer(took_s: float, *, masters_ns: int = 0) -> None:
        asked_ns = clock.question()["asked_ns"]
        now[0] += int(took_s * 1e9)
        clock.take({"asked_ns": asked_ns, "wall_ns": asked_ns + int(took_s * 5e8) + masters_ns})

    answer(0.01)
    assert clock.ahead_ns == 7 * 10**9
    answer(5.0, masters_ns=2 * 10**9)  # who was away for five seconds knows no better
    assert not clock.stepped
    answer(0.01, masters_ns=30 * 10**9)
    assert "set by -30.0 s" in clock.stepped
    another = MasterClock()
    asked_ns = another.question()["asked_ns"]
    now[0] += 4 * 10**9  # the master has waited for its disk, and says so
    another.take({"asked_ns": asked_ns, "wall_ns": asked_ns, "held_ns": 4 * 10**9})
    assert another.ahead_ns == 7 * 10**9
