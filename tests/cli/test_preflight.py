"""``harness preflight`` and the guarded run that rests on it, the whole path on loopback."""

import json
import platform
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cli.test_capacity import GUESTS
from locusts import finish, locustfile, start
from processes import Simulator, harness

from harness.errors import ExitCode
from harness.studies.calibrate.calibration import (
    Calibration,
    Limit,
    MachineLimits,
    Rate,
    write_calibration,
)

pytestmark = pytest.mark.process


def target(tmp_path: Path, url: str, *, ends_in_s: int = 7200, cap: int = 1000) -> list[str]:
    now = datetime.now(UTC)
    opens, ends = now - timedelta(hours=2), now + timedelta(seconds=ends_in_s)
    (tmp_path / "targets.toml").write_text(
        f'[targets.twin]\nurl = "{url}"\ntreat_as_real = true\ntime_zone = "UTC"\n'
        f'window = "{opens:%H:%M}-{ends:%H:%M}"\napproval = "case 1"\nmax_sessions = {cap}\n'
    )
    return [
        "--target", "twin", "--targets", str(tmp_path / "targets.toml"),
        "--reports", str(tmp_path / "reports"),
    ]  # fmt: skip


def record(tmp_path: Path) -> dict[str, Any]:
    (path,) = (tmp_path / "reports").glob("2*/run.json")
    run: dict[str, Any] = json.loads(path.read_text())
    return run


def test_no_run_before_a_preflight_and_a_run_after_it(simulator: Any, tmp_path: Path) -> None:
    words = target(tmp_path, simulator.url)
    run = ["run", str(locustfile(tmp_path)), *words, "-u", "3", "-t", "3s"]
    before = simulator.truth()["sessions"]["opened"]
    refused = harness(*run)
    assert refused.returncode == 7, refused.stdout + refused.stderr
    assert "there has been no preflight" in refused.stderr
    assert simulator.truth()["sessions"]["opened"] == before
    checked = harness("preflight", *words, "--locustfile", run[1])
    assert checked.returncode == 0, checked.stdout + checked.stderr
    for name in ("reach", "config.json", "clear", "one guest", "machine", "clock"):
        assert name in checked.stdout
    done = harness(*run)
    assert done.returncode == 0, done.stdout + done.stderr
    (start,) = (tmp_path / "reports").glob("2*/start.json")
    learned = json.loads(start.read_text())["learned"]
    assert (learned["greets"], learned["turn_messages"], learned["joined"]) == (False, 1, False)
    how = record(tmp_path)["how"]
    assert (how["target_name"], how["approval"], how["overridden"]) == ("twin", "case 1", [])


@pytest.mark.long
def test_a_calibrated_machine_is_told_what_is_too_much(simulator: Any, tmp_path: Path) -> None:
    words = target(tmp_path, simulator.url)
    check = ["preflight", *words, "--no-guest", "--locustfile", "locustfiles/load.py"]
    assert "not done: harness calibrate" in " ".join(harness(*check).stdout.split())
    slow = Rate(per_s=0.01, lag_ms=9, limit=Limit.GENERATOR)
    carried = MachineLimits(guests=slow, messages=None, sessions=None)
    calibration = Calibration(
        made="now", host=platform.node(), cores=2, processes=1, kinds={"plain": carried}
    )
    write_calibration(tmp_path / "reports", calibration)
    done = harness(*check)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "this machine can generate 0.007" in " ".join(done.stdout.split())
    write_calibration(tmp_path / "reports", replace(calibration, host="elsewhere"))
    assert "of another machine (elsewhere)" in " ".join(harness(*check).stdout.split())


def test_a_failed_preflight_permits_nothing(simulator: Any, tmp_path: Path) -> None:
    words = target(tmp_path, simulator.url)
    simulator.faults(ignore_clear=1)
    assert harness("preflight", *words).returncode == 7
    simulator.faults()
    refused = harness("run", str(locustfile(tmp_path)), *words, "-t", "2s")
    assert (refused.returncode, "preflight failed" in refused.stderr) == (7, True)


def test_what_could_not_be_ended_is_not_opened(tmp_path: Path) -> None:
    running = Simulator("--limits", "off", "--deployment", "conversation_clear=off")
    try:
        words = target(tmp_path, running.url)
        checked = harness("preflight", *words)
        assert checked.returncode == 7, checked.stdout + checked.stderr
        assert "none is opened: it could not be ended" in " ".join(checked.stdout.split())
        assert running.truth()["sessions"]["opened"] == 0
    finally:
        running.stop()


def test_plain_locust_is_guarded_too(simulator: Any, tmp_path: Path) -> None:
    target(tmp_path, simulator.url)
    words = ("-u", "1", "-t", "1s", "--targets", str(tmp_path / "targets.toml"))
    code, output = finish(start(locustfile(tmp_path), tmp_path, "twin", *words))
    assert code == 7
    assert "there has been no preflight" in output


@pytest.mark.long
def test_an_override_is_told_and_kept(simulator: Any, tmp_path: Path) -> None:
    words = target(tmp_path, simulator.url)
    done = harness(
        "run", str(locustfile(tmp_path)), *words, "-u", "2", "-t", "2s",
        "--override", "preflight=rehearsal in the office",
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "overridden: preflight (rehearsal in the office)" in done.stdout
    (kept,) = record(tmp_path)["how"]["overridden"]
    assert (kept["rule"], kept["reason"]) == ("preflight", "rehearsal in the office")


@pytest.mark.parametrize(
    "more",
    [pytest.param([], marks=pytest.mark.long), ["--processes", "2"]],
    ids=["one", "two workers"],
)
def test_no_more_sessions_than_the_cap(simulator: Any, tmp_path: Path, more: list[str]) -> None:
    words = target(tmp_path, simulator.url, cap=7)
    done = harness(
        "run", str(locustfile(tmp_path)), *words, "-u", "10", "-t", "5s",
        "--override", "preflight=test", *more,
    )  # fmt: skip
    run = record(tmp_path)
    assert run["sessions"]["opened"] == run["sessions"]["cleared"] == 7
    assert done.returncode == ExitCode.INVALID, done.stdout + done.stderr
    assert "the cap of 7 sessions was reached" in str(run["reasons"])


@pytest.mark.long
@pytest.mark.timeout(240)
def test_it_stops_by_itself_before_the_window_ends(simulator: Any, tmp_path: Path) -> None:
    # The way out of two guests takes a minute and a bit in the guard's reckoning, so a window that
    # ends two to three minutes from now leaves the run between one and two minutes.
    words = target(tmp_path, simulator.url, ends_in_s=185, cap=100_000)
    done = harness(
        "run", str(locustfile(tmp_path)), *words, "-u", "2", "-t", "10m",
        "--stop-timeout", "1s", "--override", "preflight=test",
    )  # fmt: skip
    assert done.returncode == ExitCode.INVALID, done.stdout + done.stderr
    assert "stops by itself" in done.stdout
    run = record(tmp_path)
    assert run["how"]["stopped_for_window"]
    assert run["sessions"]["leftover"] == 0


@pytest.mark.long
def test_a_capacity_search_goes_by_the_preflight_of_its_reports_folder(
    simulator: Any, tmp_path: Path
) -> None:
    words = target(tmp_path, simulator.url)
    file = tmp_path / "level.py"
    file.write_text(GUESTS)
    search = [
        "capacity", str(file), *words, "--objective", "reply p50 < 5s", "--start",
        "3/s", "--highest", "3/s", "--hold", "3s", "--longest", "3s", "--warm-up", "1s",
        "--max-levels", "1", "--override", "window=agreed by phone",
    ]  # fmt: skip
    refused = harness(*search)
    assert refused.returncode == 7, refused.stdout + refused.stderr
    assert "there has been no preflight" in refused.stderr
    assert not list((tmp_path / "reports").glob("capacity-*"))
    assert harness("preflight", *words).returncode == 0
    done = harness(*search)
    assert "level  1" in done.stdout, done.stdout + done.stderr
    (record,) = (tmp_path / "reports").glob("capacity-*/level-01/2*/run.json")
    assert json.loads(record.read_text())["how"]["target_name"] == "twin"
