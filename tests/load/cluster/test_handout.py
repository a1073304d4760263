"""A worker that has nothing but the package: what it needs comes from its master."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from locusts import ROOT, in_session, locustfile, only_run, passed
from machines import Machines, sessions

from harness.cli.main import main
from harness.errors import ConfigError, ExitCode
from harness.ledger.reader import read_account
from harness.load.cluster import handout
from harness.load.cluster.handout import ask_master, unpack
from harness.supervise.children import free_port
from harness.supervise.worker import read_place

SCRIPT = """\
within: 10s
feeder: rows.csv
texts:
  thanks: {file: said/thanks.txt}
scenarios:
  asking:
    - say: "Where is order {{number}}?"
    - waitForReplyMatching: "."
    - say: "{{thanks}}"
    - waitForReplyMatching: "."
"""


@pytest.fixture
def machines(simulator: Any, tmp_path: Path) -> Iterator[Machines]:
    made = Machines(tmp_path, simulator.url)
    try:
        yield made
    finally:
        made.close()


@pytest.mark.long
@pytest.mark.process
def test_two_workers_with_nothing_but_the_package(simulator: Any, machines: Machines) -> None:
    opened, before = sessions(simulator)
    workers = [machines.worker(name) for name in ("one", "two")]  # who come first wait
    master = machines.master(ROOT / "locustfiles/load.py", "--rate", "4/s", "--over", "6s")
    code, output = machines.end(master)
    told = [machines.end(worker) for worker in workers]
    assert passed(code, output), (output, told)
    assert [code for code, _ in told] == [ExitCode.PASS] * 2, told
    now, still_open = sessions(simulator)
    assert now - opened > 5
    assert still_open <= before
    assert all("starting anew" not in output for _, output in told), told
    assert machines.left_behind == []
    assert [path.name for path in (machines.folder / "one").iterdir()] == ["reports"]


@pytest.mark.process
def test_script_data_texts_and_targets_come_from_the_master(
    simulator: Any, machines: Machines
) -> None:
    opened, before = sessions(simulator)
    home = machines.folder / "m"
    (home / "shop" / "said").mkdir(parents=True)
    (home / "data").mkdir()
    script = home / "shop" / "order.yaml"
    script.write_text(SCRIPT.replace("rows.csv", "../data/rows.csv"))
    (home / "data" / "rows.csv").write_text("number\n17\n18\n19\n")
    (home / "shop" / "said" / "thanks.txt").write_text("Thanks.\nBye.\n")
    (home / "targets.toml").write_text(f'[targets.shop]\nurl = "{simulator.url}"\n')
    (home / "slo.toml").write_text('objectives = ["leftovers == 0"]\n')
    words = ("--rate", "3/s", "--over", "5s", "--arrivals", "even", "--slo", "slo.toml")
    master = machines.master(script, *words, target="shop", workers=1)
    worker = machines.worker("one")
    code, output = machines.end(master)
    worker_code, told = machines.end(worker)
    assert passed(code, output), (output, told)
    assert worker_code == ExitCode.PASS, told
    now, still_open = sessions(simulator)
    assert now - opened > 5
    assert still_open <= before


@pytest.mark.long
@pytest.mark.process
def test_what_a_killed_worker_had_open_is_listed(simulator: Any, machines: Machines) -> None:
    _, before = sessions(simulator)
    file = locustfile(machines.folder / "m", messages=30, think="400ms")
    master = machines.master(file, "-u", "8", "-t", "12s", "--stop-timeout", "2s")
    workers = [machines.worker(name) for name in ("one", "two")]
    for name in ("one", "two"):
        in_session(machines.folder / name, 3)
    time.sleep(1.5)  # the master's copy of its ledger is complete to within a second
    workers[0].kill()
    code, output = machines.end(master)
    assert code in (ExitCode.INVALID, ExitCode.LEFTOVERS), output
    machines.end(workers[1])
    # Whatever it had open was swept from the master's copy.
    assert sessions(simulator)[1] <= before, output


@pytest.mark.process
def test_a_terminated_worker_clears_and_takes_its_files_away(
    simulator: Any, machines: Machines
) -> None:
    _, before = sessions(simulator)
    file = locustfile(machines.folder / "m", messages=30, think="400ms")
    master = machines.master(file, "-u", "4", "-t", "30s", "--stop-timeout", "2s", workers=1)
    worker = machines.worker("one")
    in_session(machines.folder / "one", 3)
    assert machines.left_behind
    worker.terminate()
    machines.end(worker, within_s=40)
    assert machines.left_behind == []
    assert sessions(simulator)[1] <= before
    master.send_signal(signal.SIGINT)
    machines.end(master)


@pytest.mark.process
@pytest.mark.parametrize(
    "number",
    [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.long)],
    ids=["Ctrl-C", "SIGTERM"],
)
def test_a_master_that_is_stopped_lets_its_workers_go(machines: Machines, number: int) -> None:
    file = locustfile(machines.folder / "m", messages=30, think="400ms")
    master = machines.master(file, "-u", "4", "-t", "60s", "--stop-timeout", "1s", workers=1)
    worker = machines.worker("one")
    in_session(machines.folder / "one", 3)
    master.send_signal(number)
    machines.end(master)
    code, told = machines.end(worker, within_s=20)  # without a word they would wait for a minute
    assert code == ExitCode.PASS, told
    assert "quit message from master" in told


@pytest.mark.process
@pytest.mark.parametrize("again", [(), ("--again",)], ids=["once", "again"])
def test_a_second_ctrl_c_clears_at_once_in_all_processes(
    machines: Machines, simulator: Any, again: tuple[str, ...]
) -> None:
    file = locustfile(machines.folder / "m", messages=300, think="400ms")
    master = machines.master(file, "-u", "4", "-t", "2m", "--stop-timeout", "100s")
    before = sessions(simulator)[1]
    worker = machines.worker("one", "--processes", "2", *again)
    in_session(machines.folder / "one", 4)
    for _ in range(2):
        if again:
            worker.send_signal(signal.SIGINT)
        else:  # as a terminal does
            os.killpg(worker.pid, signal.SIGINT)
        time.sleep(1)
    code, told = machines.end(worker, within_s=30)
    assert code == ExitCode.PASS, told
    assert sessions(simulator)[1] <= before
    assert read_account(only_run(machines.folder / "one")).cleared == 4
    master.send_signal(signal.SIGINT)
    machines.end(master)


@pytest.mark.process
def test_a_worker_with_a_locustfile_that_needs_more_says_what(machines: Machines) -> None:
    file = locustfile(machines.folder / "m", more="open('notes.txt').read()")
    (machines.folder / "m" / "notes.txt").write_text("x")
    machines.master(file, "-u", "1", "-t", "3s", workers=1)
    code, told = machines.end(machines.worker("one"))
    assert code == ExitCode.CONFIG, told
    assert "put what else it reads on this machine" in told
    assert "Traceback" not in told
    assert machines.left_behind == []


@pytest.mark.long
@pytest.mark.process
def test_another_version_is_refused_on_both_consoles(machines: Machines) -> None:
    file = locustfile(machines.folder / "m")
    master = machines.master(file, "-u", "1", "-t", "3s", "--workers-within", "20s", workers=1)
    other = (
        "import sys, harness; harness.__version__ = '0.0.1'; "
        "from harness.cli.main import main; sys.exit(main(sys.argv[1:]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", other, "worker", f"127.0.0.1:{machines.port}"],
        cwd=machines.folder, capture_output=True, text=True, timeout=60, check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert done.returncode == ExitCode.CONFIG, done
    assert "refuses this worker: it has the harness in version '0.0.1'" in done.stderr
    assert "Traceback" not in done.stderr
    master.send_signal(signal.SIGINT)
    machines.end(master)
    logs = list((machines.folder / "m").rglob("locust.log"))
    assert any("can't take part: it has the harness" in log.read_text() for log in logs)


@pytest.mark.process
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["Ctrl-C", "SIGTERM"])
def test_who_waits_for_a_master_can_be_stopped(machines: Machines, number: int) -> None:
    worker = machines.worker("one")
    first = worker.stdout.readline()
    assert "waiting for the master" in first
    worker.send_signal(number)
    code, told = machines.end(worker, within_s=20)
    assert code == ExitCode.INTERRUPTED
    assert told.replace(first, "") == "stopped by hand\n"  # no trace of gevent's


def test_nobody_is_there(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["worker", f"127.0.0.1:{free_port()}", "--within", "1s"]) == ExitCode.CONFIG
    told = capsys.readouterr()
    assert "waiting for the master" in told.out
    assert "Start it with harness run FILE --master" in told.err


def test_somebody_else_is_there(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("harness.load.cluster.handout.ANSWER_WITHIN_S", 1.0)
    monkeypatch.setattr("harness.supervise.worker.inspect_locustfile", lambda *_: None)
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(ConfigError, match="does not hand out the files of a run"):
            ask_master("127.0.0.1", port, within_s=60, say=print)
        words = ["--worker", "--master-host", "127.0.0.1", "--master-port", str(port)]
        assert main(["run", str(locustfile(tmp_path)), *words]) == ExitCode.CONFIG
        assert "is this the port of a harness run --master" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["/etc/x", "../x", "a/../../x", "", "a\0b"])
def test_no_file_is_written_elsewhere(tmp_path: Path, name: str) -> None:
    answer = {"files": {name: b"x"}, "locustfiles": [name], "options": {}, "script": ""}
    with pytest.raises(ConfigError, match="by a name that is none"):
        unpack({**answer, "parameters": {}}, tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("text", ["", ":5", "a:b", "a:0", "a:70000", "::1", "ws://a"])
def test_what_is_no_place(text: str) -> None:
    with pytest.raises(ConfigError, match="HOST: expected"):
        read_place(text)


def test_places() -> None:
    assert read_place("10.0.0.1") == ("10.0.0.1", 5557)
    assert read_place("master:99") == ("master", 99)
    assert read_place("[::1]:99") == ("::1", 99)
    assert read_place("[::1]") == ("::1", 5557)


def test_files_keep_their_places_to_each_other(tmp_path: Path) -> None:
    for name in ("a/shop/order.yaml", "a/data/rows.csv", "b/ca.pem"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    found = handout._Collected()
    places = [tmp_path / "a/shop/order.yaml", tmp_path / "a/data/rows.csv"]
    names = found.add("script", places)
    assert list(names.values()) == ["script/shop/order.yaml", "script/data/rows.csv"]
    found.add("ca", [tmp_path / "b/ca.pem"])
    answer = {"files": found.contents, "locustfiles": ["script/shop/order.yaml"], "options": {}}
    handed = unpack({**answer, "script": "", "parameters": {}}, tmp_path / "w")
    assert handed.locustfiles == (tmp_path / "w/script/shop/order.yaml",)
    assert (tmp_path / "w/script/data/rows.csv").read_text() == "a/data/rows.csv"
    assert (tmp_path / "w/ca/ca.pem").read_text() == "b/ca.pem"


def test_large_files_are_not_handed_out(tmp_path: Path) -> None:
    large = tmp_path / "large.csv"
    large.write_bytes(b"x" * (handout.MOST_BYTES + 1))
    with pytest.raises(ConfigError, match=r"more than 8 MB \(large.csv among them\): copy"):
        handout._Collected().add("script", [large])
