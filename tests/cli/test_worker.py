"""``harness worker --again``: one run after the other, each as if it were the first."""

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgpack
import psutil
import pytest
import zmq
from cli.test_capacity import GUESTS
from locusts import in_session, locustfile, passed
from machines import Machines, sessions

from harness.cli.main import main
from harness.errors import ExitCode
from harness.rundir.layout import RunDirectory
from harness.supervise import worker
from harness.supervise.worker import RunOver

pytestmark = pytest.mark.process


@pytest.fixture
def machines(simulator: Any, tmp_path: Path) -> Iterator[Machines]:
    made = Machines(tmp_path, simulator.url)
    try:
        yield made
    finally:
        made.close()


@pytest.mark.long
def test_a_worker_comes_again_for_the_next_run(simulator: Any, machines: Machines) -> None:
    before, still_open = sessions(simulator)
    file = locustfile(machines.folder / "m", messages=1)
    worker = machines.worker("one", "--again", "--within", "2m")
    for _ in range(2):
        code, output = machines.end(
            machines.master(file, "-u", "2", "-t", "8s", "--stop-timeout", "5s", workers=1)
        )
        assert passed(code, output), output
        opened, now_open = sessions(simulator)
        assert opened > before
        assert now_open <= still_open
        before = opened
    worker.send_signal(signal.SIGTERM)  # it waits for the next master
    code, output = machines.end(worker)
    assert code == ExitCode.INTERRUPTED, output
    assert len(list((machines.folder / "m" / "reports").glob("2*/run.json"))) == 2
    assert machines.left_behind == []


@pytest.mark.long
@pytest.mark.timeout(300)
def test_workers_come_again_for_each_level_of_a_search(simulator: Any, machines: Machines) -> None:
    opened, before = sessions(simulator)
    file = machines.folder / "m" / "level.py"
    file.write_text(GUESTS)
    workers = [machines.worker(name, "--again", "--within", "2m") for name in ("one", "two")]
    search = machines.capacity(
        file, "--objective", "reply p50 < 3s", "--start", "3/s", "--highest", "6/s", "--hold",
        "5s", "--longest", "6s", "--settle", "1s", "--warm-up", "2s", "--max-levels", "2", "--json",
    )  # fmt: skip
    code, output = machines.end(search, within_s=200)
    for one in workers:
        one.send_signal(signal.SIGTERM)  # they wait for the next master
    ends = [machines.end(one) for one in workers]
    assert code in (ExitCode.PASS, ExitCode.NO_DATA), (output, ends)
    answer = json.loads(output[output.index("{\n") :])
    assert [level["rate_per_s"] for level in answer["levels"]] == [3, 6], output
    runs = [Path(answer["directory"]) / level["run"] for level in answer["levels"]]
    for run in runs:
        record = json.loads((machines.folder / "m" / run / "run.json").read_text())
        assert record["generator"]["workers_lost"] == 0
        assert record["generator"]["workers"] == 2, record["generator"]
    assert [code for code, _ in ends] == [ExitCode.INTERRUPTED] * 2, ends
    now, still_open = sessions(simulator)
    assert now - opened > 40
    assert still_open <= before
    assert machines.left_behind == []


def test_it_leaves_with_0_where_no_further_run_begins(
    machines: Machines, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    codes = iter([0, 0, ExitCode.CONFIG])

    def life(*_: object) -> int:
        time.sleep(0.01)
        return next(codes)

    monkeypatch.setattr(worker, "_wait_for", life)
    monkeypatch.setattr(subprocess, "Popen", lambda *_, **__: None)
    words = [f"127.0.0.1:{machines.port}", "--again", "--reports", str(tmp_path)]
    assert main(["worker", *words, "--within", "0.001s"]) == ExitCode.PASS
    codes = iter([0, ExitCode.CONFIG])
    assert main(["worker", *words, "--within", "5m"]) == ExitCode.CONFIG, "it was refused"
    codes = iter([1, 1, 1])
    assert main(["worker", *words]) == ExitCode.LOCUST, "it would be no better the next time"


def test_a_run_that_is_moved_away_while_it_is_looked_at_stops_no_worker(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = RunDirectory(tmp_path / "20261128-101500-gone").start
    monkeypatch.setattr(Path, "glob", lambda *_: [gone])
    assert not RunOver(tmp_path, since_s=0).look()


@pytest.mark.parametrize("name", ["20261128-101500-abcd", "nightly"])
def test_a_run_is_over_when_each_of_its_processes_has_ended(tmp_path: Path, name: str) -> None:
    over = RunOver(tmp_path, since_s=time.time() - 1)
    visit = RunDirectory(tmp_path / "preflight-20261128-101400-beef")  # no run, and none of ours
    visit.path.mkdir()
    visit.start.write_text("{}")
    visit.intervals("preflight").write_text('{"phase": "running"}\n')
    files = RunDirectory(tmp_path / name)
    files.path.mkdir()
    assert not over.look()
    files.start.write_text("{}")
    for process, phase in (("one", "running"), ("two", "running"), ("one", "ended")):
        with files.intervals(process).open("a") as file:
            file.write(f'{{"phase": "{phase}"}}\n')
        assert not over.look()
    with files.intervals("two").open("a") as file:
        file.write('{"phase": "ended"}\n')
    assert over.look()
    assert not RunOver(tmp_path, since_s=time.time() + 60).look(), "an older one"


def test_ctrl_c_while_it_joins_is_no_traceback_and_leaves_no_file(machines: Machines) -> None:
    file = locustfile(machines.folder / "m")
    machines.master(file, "-u", "1", "-t", "3s", workers=2)
    process = machines.worker("one")
    output = ""
    while "joining" not in output:
        line = process.stdout.readline()
        assert line, output
        output += line
    time.sleep(0.3)  # it is another program by now, which takes longer than that to be imported
    process.send_signal(signal.SIGINT)
    code, rest = machines.end(process, within_s=30)
    assert "Traceback" not in rest
    assert code == ExitCode.PASS, rest
    assert machines.left_behind == []


@pytest.mark.parametrize(
    "number",
    [pytest.param(signal.SIGTERM, marks=pytest.mark.long), signal.SIGKILL],
    ids=["SIGTERM", "kill -9"],
)
def test_who_ends_it_ends_the_present_life_in_order(
    simulator: Any, machines: Machines, number: int
) -> None:
    _, before = sessions(simulator)
    file = locustfile(machines.folder / "m", messages=30, think="400ms")
    master = machines.master(file, "-u", "4", "-t", "40s", "--stop-timeout", "1s", workers=1)
    parent = machines.worker("one", "--again")
    in_session(machines.folder / "one", 3)
    (life,) = psutil.Process(parent.pid).children()
    os.kill(parent.pid, number)
    life.wait(timeout=40)
    assert not life.is_running()
    assert sessions(simulator)[1] <= before, "cleared by the worker itself"
    master.send_signal(signal.SIGINT)
    machines.end(master)


@pytest.mark.parametrize(
    "frame",
    [
        b"\xff" * 50,
        msgpack.dumps(("harness_files", {"problems": [["a", b"b"]], "harness": 3}, "x")),
        *(
            pytest.param(frame, marks=pytest.mark.long)
            for frame in (
                b"", b"\xc1", msgpack.dumps(5), msgpack.dumps(("harness_files", 7, "x")),
                msgpack.dumps(("harness_files", {"files": {"a": 1}}, "x")),
            )
        ),
    ],
)  # fmt: skip
def test_what_no_master_sends_is_one_sentence(machines: Machines, frame: bytes) -> None:
    with zmq.Context() as context, context.socket(zmq.ROUTER) as liar:
        port = liar.bind_to_random_port("tcp://127.0.0.1")
        machines.port = str(port)
        process = machines.worker("one")
        who, *_ = liar.recv_multipart()
        liar.send_multipart([who, frame])
        code, output = machines.end(process, within_s=30)
        liar.setsockopt(zmq.LINGER, 0)
    assert code == ExitCode.CONFIG, output
    assert "Traceback" not in output
    assert output.startswith("error: ")
    assert len(output.splitlines()) == 1
    assert machines.left_behind == []


def test_it_does_not_come_again_where_it_was_refused(machines: Machines) -> None:
    file = locustfile(machines.folder / "m", more="open('notes.txt').read()")
    (machines.folder / "m" / "notes.txt").write_text("x")
    machines.master(file, "-u", "1", "-t", "3s", workers=1)
    code, output = machines.end(machines.worker("one", "--again"))
    assert code == ExitCode.CONFIG, output
    assert output.count("put what else it reads on this machine") == 1
