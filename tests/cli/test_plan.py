"""``harness plan`` prints a table or JSON, writes a locustfile that loads, and refuses nonsense."""

import ast
import json
from pathlib import Path

import pytest
from locusts import ROOT

from harness.cli.main import main
from harness.exit_codes import ExitCode
from harness.studies.calibrate.calibration import (
    Calibration,
    Carried,
    HeldSessions,
    Limit,
    Rate,
    write_calibration,
)
from harness.supervise.run_process import inspect_locustfile

pytestmark = pytest.mark.usefixtures("elsewhere")


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Plans are kept in ``reports`` of the current folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


LAUNCH = [
    "--chats-per-hour",
    "3000",
    "--peak-factor",
    "1.6",
    "--handle-time",
    "8m",
    "--messages",
    "12",
]


def test_the_table(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", *LAUNCH, "--capacity", "60/min"]) == ExitCode.PASS
    out = capsys.readouterr().out
    for words in ("80/min", "640", "agents", "headroom", "-25%", "warning:", "ramp(per_minute="):
        assert words in out


def test_json_is_the_same_plan(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", *LAUNCH, "--json"]) == ExitCode.PASS
    found = json.loads(capsys.readouterr().out)
    assert found["plan"]["occupancy"] == pytest.approx(640)
    assert found["wanted"]["handle_s"] == 480
    assert found["plan"]["warnings"] == []


def test_a_profile_of_historical_arrivals(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "monday.csv"
    file.write_text("start,guests\n09:00,100\n09:30,300\n10:00,200\n")
    options = ["--from", str(file), "--handle-time", "8m", "--messages", "12", "--json"]
    assert main(["plan", *options]) == ExitCode.PASS
    wanted = json.loads(capsys.readouterr().out)["wanted"]
    assert (wanted["chats_per_h"], wanted["peak_factor"]) == (500, pytest.approx(1.2))


def test_the_locustfile_is_ready_and_never_replaces_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "launch_plan.py"
    assert main(["plan", *LAUNCH, "--locustfile", str(file)]) == ExitCode.PASS
    tree = ast.parse(file.read_text())
    imported = {
        alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module == "harness.load"
        for alias in node.names
    }
    public = ast.parse((ROOT / "harness/load/__init__.py").read_text())
    names = {
        item.value
        for node in public.body
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.List)
        for item in node.value.elts
        if isinstance(item, ast.Constant)
    }
    assert imported
    assert imported <= names
    assert main(["plan", *LAUNCH, "--locustfile", str(file)]) == ExitCode.CONFIG
    assert "is already there" in capsys.readouterr().err


def test_the_page_and_the_json_are_kept(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", *LAUNCH, "--capacity", "100/min", "--reports", "here"]) == ExitCode.PASS
    out = capsys.readouterr().out
    (page,) = tmp_path.glob("here/plan-*/plan.html")
    assert page.name in out
    html = page.read_text()
    assert "<h1>It fits, with 25% to spare</h1>" in html
    assert "not calibrated" in html
    assert "class Launch(ArrivalShape)" in html
    kept = json.loads((page.parent / "plan.json").read_text())
    assert kept["plan"]["machines"] == 1


@pytest.mark.process
def test_the_runs_it_tells_are_runs_that_there_are(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", *LAUNCH, "--json"]) == ExitCode.PASS
    commands = [one["command"] for one in json.loads(capsys.readouterr().out)["plan"]["commands"]]
    assert len(commands) == 5
    for command in commands:
        program, verb, file, *options = command.split()
        assert (program, verb in ("run", "capacity")) == ("harness", True)
        assert (ROOT / file).is_file()
        if "--rate" in options:
            rate = options[options.index("--rate") + 1]
            asked = {"HARNESS_RATE": rate, "HARNESS_OVER": "10m"}
            assert inspect_locustfile(str(ROOT / file), asked)["arrivals"] is not None


def test_a_calibration_says_how_many_machines(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    slow = Rate(per_s=1.0, lag_ms=9.0, limit=Limit.GENERATOR)  # 0.7 guests a second to count on
    held = HeldSessions(held=10, lag_ms=1, kib_each=60, room=1000, room_ends_by="memory")
    found = Calibration(
        made="2026-11-24T00:00:00Z",
        host="load-1",
        cores=2,
        processes=1,
        kinds={"tls": Carried(guests=slow, messages=None, sessions=held)},
    )
    path = write_calibration(tmp_path / "kept", found)
    for where in (["--calibration", str(path)], ["--reports", str(tmp_path / "kept")]):
        assert main(["plan", *LAUNCH, *where, "--json"]) == ExitCode.PASS
        told = json.loads(capsys.readouterr().out)
        assert told["wanted"]["machine_guests_per_s"] == pytest.approx(0.7)
        assert told["plan"]["machines"] == 3  # 109 in the worst minute
    assert main(["plan", *LAUNCH, "--calibration", str(path), "--rate-per-machine", "9/s"]) == 0
    assert "load-1, calibrated 2026-11-24" in next(tmp_path.glob("reports/*/*.html")).read_text()


def test_the_capacity_of_a_search(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "capacity-1"
    folder.mkdir()
    level = {"judged": "under", "minutes": 1, "reason": "", "reading": None}
    levels = [
        {**level, "rate_per_s": 2.0},
        {**level, "rate_per_s": 2.05, "judged": "over"},
    ]
    asked = {"start": "2/s", "highest": "9/s", "resolution": 0.08, "max_levels": 9}
    asked |= {"hold": "60s", "longest": None, "target": "sim"}
    (folder / "search.json").write_text(json.dumps({"schema": 1, "asked": asked, "levels": levels}))
    assert main(["plan", *LAUNCH, "--capacity", str(folder), "--json"]) == ExitCode.PASS
    assert json.loads(capsys.readouterr().out)["plan"]["headroom"] == pytest.approx(0.5)
    # 3,000 chats an hour with a factor of 1.6 for eight minutes each: 640 at once
    by = asked | {"by": "occupancy", "start": "600", "highest": "900"}
    at_once = [{**level, "guests": 800.0}, {**level, "guests": 810.0, "judged": "over"}]
    search = json.dumps({"schema": 1, "asked": by, "levels": at_once})
    (folder / "search.json").write_text(search)
    assert main(["plan", *LAUNCH, "--capacity", str(folder)]) == ExitCode.PASS
    told = " ".join(capsys.readouterr().out.split())
    assert "+25%" in told
    assert "800 guests at once" in told
    levels[0]["judged"] = "over"
    (folder / "search.json").write_text(json.dumps({"schema": 1, "asked": asked, "levels": levels}))
    assert main(["plan", *LAUNCH, "--capacity", str(folder)]) == ExitCode.CONFIG
    assert "has not found any load that is met" in capsys.readouterr().err
