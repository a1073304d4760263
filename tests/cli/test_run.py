"""The main command in real processes: proof on a good day, honesty on every other one."""

import json
import os
import re
import signal
import time
from pathlib import Path
from typing import Any

import psutil
import pytest
from locusts import cut_by_hand, in_session, locustfile, only_run, passed
from processes import harness, start_harness

from harness.machine import MOST_WORKERS
from harness.supervise.children import free_port

pytestmark = pytest.mark.process

ID = "12345678-90ab-cdef-1234-567890abcdef"


def leftovers(directory: Path) -> set[str]:
    done = harness("leftovers", str(directory), "--json", "--show-tokens")
    return {entry["token"] for entry in json.loads(done.stdout)["leftovers"]}


def test_a_run_with_the_embedded_simulator_over_tls(tmp_path: Path) -> None:
    file = str(locustfile(tmp_path))
    out = tmp_path / "reports"
    done = harness("run", file, "-u", "5", "-t", "3s", "--reports", str(out), "--sim-tls")
    assert passed(done.returncode, done.stdout), done.stdout + done.stderr
    account = re.search(r"opened (\d+) · cleared (\d+) · left over 0", done.stdout)
    assert account is not None
    assert account[1] == account[2]
    assert f"the simulator's own count: opened {account[1]} · cleared {account[1]}" in done.stdout
    assert "verdict  PASS" in done.stdout
    directory = only_run(tmp_path)
    record = json.loads((directory / "run.json").read_text())
    assert record["schema"] == 1
    assert record["operations"]["tls"]["count"] == int(account[1])
    assert record["how"]["target_name"] == "simulator"
    assert "→ simulator\n" in done.stdout, "its port is new in each run"
    assert "<html" in (directory / "report.html").read_text()[:200].lower()
    assert (out / "latest").resolve() == directory.resolve()
    secrets = [path for path in directory.iterdir() if path.name.startswith("ledger")]
    assert all(path.stat().st_mode & 0o077 == 0 for path in secrets)


def test_faults_leave_what_is_listed_and_a_sweep_ends_it(simulator: Any, tmp_path: Path) -> None:
    file, out = str(locustfile(tmp_path)), tmp_path / "reports"
    before = simulator.open_tokens()
    simulator.faults(ignore_clear=0.2, lose_clear_reply=0.1, cut=0.02)
    done = harness(
        "run", file, "-u", "20", "-t", "5s", "--reports", str(out), "--target", simulator.url
    )
    assert done.returncode == 4, done.stdout + done.stderr
    assert "harness sweep" in done.stdout
    directory = only_run(tmp_path)
    still_open = simulator.open_tokens() - before
    assert still_open
    assert still_open <= leftovers(directory)
    simulator.faults()
    swept = harness("sweep", str(directory), "--rate", "100/s", "--late-within", "2s")
    assert swept.returncode == 0, swept.stdout + swept.stderr
    assert simulator.open_tokens() <= before
    again = harness("sweep", str(directory))
    assert (again.returncode, "nothing to do" in again.stdout) == (0, True)


@pytest.mark.long
def test_leftovers_of_an_embedded_simulator_end_with_it(tmp_path: Path) -> None:
    words = [
        "run",
        str(locustfile(tmp_path)),
        "-u",
        "2",
        "-t",
        "2s",
        "--sim-fault",
        "ignore_clear=1",
    ]
    done = harness(*words, "--reports", str(tmp_path / "reports"))
    assert done.returncode == 4, done.stdout + done.stderr
    assert "with --keep-sim it stays" in done.stdout


@pytest.mark.long
def test_kill_9_of_locust_in_mid_run(simulator: Any, tmp_path: Path) -> None:
    file, out = str(locustfile(tmp_path, messages=500, think="100ms")), tmp_path / "reports"
    before = simulator.open_tokens()
    process = start_harness(
        "run", file, "-u", "15", "-t", "5m", "--reports", str(out), "--target", simulator.url
    )
    in_session(tmp_path, 15)
    (locust,) = [
        child
        for child in psutil.Process(process.pid).children()
        if "harness.load" in child.cmdline()
    ]
    locust.kill()
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 6, output
    assert "SIGKILL" in output
    assert "sweeping 15 sessions" in output
    assert "+ settled by sweep 15 + leftover 0" in output
    record = json.loads((only_run(tmp_path) / "run.json").read_text())
    assert record["verdict"] == "INVALID"
    assert (record["sweep"]["settled"], record["sweep"]["left"]) == (15, 0)
    assert simulator.open_tokens() <= before


def test_kill_9_of_the_master_lets_its_workers_end_in_order(simulator: Any, tmp_path: Path) -> None:
    file, out = str(locustfile(tmp_path, messages=500, think="100ms")), tmp_path / "reports"
    before = simulator.open_tokens()
    process = start_harness(
        "run", file, "-u", "8", "-t", "5m", "--reports", str(out), "--target", simulator.url,
        "--processes", "2",
    )  # fmt: skip
    in_session(tmp_path, 4)
    (locust,) = [
        child
        for child in psutil.Process(process.pid).children()
        if "harness.load" in child.cmdline()
    ]
    locust.kill()
    output, _ = process.communicate(timeout=90)
    assert process.returncode == 6, output
    assert "+ leftover 0" in output
    assert simulator.open_tokens() <= before


@pytest.mark.long
def test_two_interrupts_clear_at_once(simulator: Any, tmp_path: Path) -> None:
    file, out = str(locustfile(tmp_path, messages=500, think="100ms")), tmp_path / "reports"
    process = start_harness(
        "run", file, "-u", "10", "-t", "5m", "--reports", str(out), "--target", simulator.url,
        "--stop-timeout", "5m",
    )  # fmt: skip
    in_session(tmp_path, 10)
    process.send_signal(signal.SIGINT)
    time.sleep(1.5)
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=60)
    assert cut_by_hand(process.returncode, output), output
    assert "opened 10 · cleared 10 · left over 0" in output


def test_three_interrupts_leave_and_say_how_to_sweep(simulator: Any, tmp_path: Path) -> None:
    file, out = str(locustfile(tmp_path, messages=500, think="100ms")), tmp_path / "reports"
    process = start_harness(
        "run", file, "-u", "5", "-t", "5m", "--reports", str(out), "--target", simulator.url,
        "--stop-timeout", "5m",
    )  # fmt: skip
    in_session(tmp_path, 5)
    simulator.faults(ignore_clear=1)  # so that the second stage takes its time
    for _ in range(3):
        process.send_signal(signal.SIGINT)
        time.sleep(0.05)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 4, output
    simulator.faults()
    assert f"harness sweep {only_run(tmp_path)}" in output  # it works from where it is told
    assert (
        harness(
            "sweep", str(only_run(tmp_path)), "--rate", "100/s", "--late-within", "2s"
        ).returncode
        == 0
    )


def test_an_interrupt_before_anything_was_sent(simulator: Any, tmp_path: Path) -> None:
    file, out = str(locustfile(tmp_path)), tmp_path / "reports"
    process = start_harness(
        "run", file, "-t", "5m", "--reports", str(out), "--target", simulator.url
    )
    assert process.stdout is not None
    assert process.stdout.readline().startswith("run ")
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 130, output
    assert "stopped by hand" in output
    left = [p.pid for p in psutil.process_iter(["cmdline"]) if file in (p.info["cmdline"] or [])]
    assert left == []


@pytest.mark.parametrize(
    ("words", "code", "why"),
    [
        (
            ["no-such-file.py"],
            8,
            "there is no locustfile 'no-such-file.py'; harness new writes one",
        ),
        (["{bad}"], 8, "bad.py:1:"),
        (["{bad}", "--sign-ins", "gone.txt"], 8, "--sign-ins: there is no file gone.txt"),
        (["{good}", "--target", "nowhere"], 8, "'nowhere' is not a websocket URL"),
        pytest.param(
            ["{good}", "--target", "ws://127.0.0.1/v1?deploymentId=x"],
            8,
            "not a UUID",
            marks=pytest.mark.long,
        ),
        (["{good}", "--target", f"ws://127.0.0.1:9/v1?deploymentId={ID}"], 8, "nothing listens"),
        (["{good}", "--target", f"wss://a.example/v1?deploymentId={ID}"], 7, "not on this machine"),
        pytest.param(["{good}", "--sim-fault", "no_such=1"], 8, "no_such", marks=pytest.mark.long),
        (["{good}", "-t", "soon"], 8, "--run-time: expected a duration"),
        pytest.param(
            ["{good}", "-t", "0"],
            8,
            "--run-time: expected one second or more",
            marks=pytest.mark.long,
        ),
        pytest.param(
            ["{good}", "-u", "0"], 8, "--users: expected more than zero", marks=pytest.mark.long
        ),
        (["{good}", "--processes", "0"], 8, "--processes"),
        (["{good}", "--reports", "{file}"], 8, "--reports: expected a folder, got the file"),
    ],
)
def test_bad_input_is_one_sentence_and_nothing_is_sent(
    tmp_path: Path, words: list[str], code: int, why: str
) -> None:
    (tmp_path / "bad.py").write_text("def broken(:\n")
    (tmp_path / "file").touch()
    places = {
        "bad": tmp_path / "bad.py",
        "good": locustfile(tmp_path),
        "file": tmp_path / "file",
    }
    words = [word.format(**places) if word.startswith("{") else word for word in words]
    if "--reports" not in words:
        words += ["--reports", str(tmp_path / "reports")]
    done = harness("run", *words)
    assert done.returncode == code, done.stdout + done.stderr
    assert why in done.stderr
    assert done.stderr.startswith("error: ")
    several = done.stderr.splitlines()[1:]
    assert [line for line in several if not line.startswith("  - ")] == []
    assert "Traceback" not in done.stdout + done.stderr
    assert list(tmp_path.glob("reports/[!.]*")) == []


def test_an_unknown_deployment_is_refused_at_the_door(simulator: Any, tmp_path: Path) -> None:
    before = simulator.truth()["sessions"]["opened"]
    url = simulator.url.rpartition("=")[0] + f"={ID}"
    done = harness(
        "run", str(locustfile(tmp_path)), "--target", url, "--reports", str(tmp_path / "reports")
    )
    assert done.returncode == 8
    assert "HTTP 403 (unknown deployment id" in done.stderr
    assert simulator.truth()["sessions"]["opened"] == before


@pytest.mark.skipif(os.geteuid() == 0, reason="root writes to read-only folders")
def test_a_read_only_reports_folder(tmp_path: Path) -> None:
    out = tmp_path / "reports"
    out.mkdir(mode=0o500)
    done = harness("run", str(locustfile(tmp_path)), "--reports", str(out))
    assert done.returncode == 8
    assert "Permission denied" in done.stderr


ABORT = """
[[objective]]
expect = "reply p95 < 1ms"
abort_on_fail = true
grace = "2s"
delay = "1s"
"""


@pytest.mark.parametrize(
    "more",
    [[], pytest.param(["--processes", "2"], marks=pytest.mark.long)],
    ids=["one process", "two workers"],
)
def test_a_missed_objective_stops_the_run_early(tmp_path: Path, more: list[str]) -> None:
    file, out = str(locustfile(tmp_path, messages=50, think="50ms")), tmp_path / "reports"
    slo = tmp_path / "slo.toml"
    slo.write_text(ABORT)
    began = time.monotonic()
    done = harness(
        "run", file, "-u", "6", "-t", "90s", "--reports", str(out), "--slo", str(slo),
        "--stop-timeout", "0s", *more,
    )  # fmt: skip
    assert done.returncode == 3, done.stdout + done.stderr
    assert time.monotonic() - began < 60
    record = json.loads((only_run(tmp_path) / "run.json").read_text())
    assert record["verdict"] == "FAIL"
    assert "stopped early: FAIL  reply p95 < 1ms" in "\n".join(record["reasons"])
    assert record["sessions"]["opened"] == record["sessions"]["cleared"] > 0


def test_an_objective_on_an_unknown_operation_is_refused(tmp_path: Path) -> None:
    slo = tmp_path / "slo.toml"
    slo.write_text('objectives = ["answers p95 < 5s"]\n')
    done = harness("run", str(locustfile(tmp_path)), "--slo", str(slo), "--reports", str(tmp_path))
    assert done.returncode == 8
    assert "slo.toml, line 1" in done.stderr


def test_a_master_says_for_whom_it_waits_and_not_for_ever(simulator: Any, tmp_path: Path) -> None:
    done = harness(
        "run", str(locustfile(tmp_path)), "-u", "2", "-t", "5s", "--target", simulator.url,
        "--reports", str(tmp_path / "reports"), "--master", "--expect-workers", "2",
        "--master-port", free_port(), "--workers-within", "4s",
    )  # fmt: skip
    assert done.returncode == 8, done.stdout + done.stderr
    assert "waiting for workers: 0 of 2" in done.stdout
    assert done.stderr == "error: only 0 of 2 workers came within 4s\n"


@pytest.mark.long
def test_too_many_workers_are_warned_of_before_anything_is_waited_for(tmp_path: Path) -> None:
    file = locustfile(tmp_path)
    port, many = free_port(), MOST_WORKERS + 1
    done = harness(
        "run", str(file), "--master", "--expect-workers", str(many), "--master-port", port,
        "--workers-within", "1s", "--reports", str(tmp_path),
    )  # fmt: skip
    assert done.returncode == 8
    assert f"warning: {many} workers are more than one master can lead" in done.stderr


@pytest.mark.process
def test_a_mistake_in_a_script_is_told_by_the_scripts_own_line(tmp_path: Path) -> None:
    script = tmp_path / "shop.yaml"
    script.write_text("steps:\n  - say: hello\n")
    done = harness("run", str(script), "--reports", str(tmp_path))
    assert done.returncode == 8
    assert done.stderr.startswith(f"error: {script}, line 1: unknown key 'steps'")
