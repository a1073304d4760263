"""``harness plan`` prints a table or JSON, writes a locustfile that loads, and refuses nonsense."""

import ast
import json
import shlex
from html import unescape
from pathlib import Path

import pytest
from locusts import ROOT

from harness.cli.capacity import COMMAND as capacity_command
from harness.cli.main import main
from harness.cli.run import COMMAND as run_command
from harness.errors import ExitCode
from harness.studies.calibrate.calibration import (
    Calibration,
    HeldSessions,
    Limit,
    MachineLimits,
    Rate,
    write_calibration,
)
from harness.supervise.children import inspect_locustfile

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
    for words in (
        "80/min",
        "662",
        "agents",
        "headroom",
        "-25%",
        "does not fit:",
        "warning:",
        "assumed:",
        "could not be told:",
    ):
        assert words in out


def test_json_is_the_same_plan(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", *LAUNCH, "--json"]) == ExitCode.PASS
    report = json.loads(capsys.readouterr().out)
    assert report["plan"]["session_s"] == pytest.approx(
        480 + report["plan"]["agents"]["mean_wait_s"]
    )
    assert report["wanted"]["handle_s"] == 480
    assert report["plan"]["obstacles"] == []


def test_a_profile_of_historical_arrivals(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "monday.csv"
    file.write_text("start,guests\n09:00,100\n09:30,300\n10:00,200\n")
    options = ["--from", str(file), "--handle-time", "8m", "--messages", "12", "--json"]
    assert main(["plan", *options]) == ExitCode.PASS
    report = json.loads(capsys.readouterr().out)
    wanted = report["wanted"]
    assert (wanted["chats_per_h"], wanted["peak_factor"]) == (500, pytest.approx(1.2))
    assert report["arrivals"] == (
        "monday.csv in intervals of 30m: what is worse for less than that is not seen"
    )


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
    assert "is there already" in capsys.readouterr().err


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
    assert Path(kept["locustfile"]).read_text() in unescape(html)


TARGETS = """
[targets.staging]
url = "ws://127.0.0.1:9/v1?deploymentId=11111111-1111-4111-8111-111111111111"
treat_as_real = true
time_zone = "Europe/Berlin"
approval = "TICKET-1"
window = "22:00-02:00"
max_sessions = 1000
max_rate = "60/min"
"""


def test_the_target_is_named_in_every_command_and_its_caps_count(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mine.toml").write_text(TARGETS)
    words = ["--target", "staging", "--targets", "mine.toml", "--json"]
    assert main(["plan", *LAUNCH, *words]) == ExitCode.PASS
    report = json.loads(capsys.readouterr().out)
    commands = [run["command"] for run in report["plan"]["runs"]]
    assert commands[0] == "harness preflight --target staging --targets mine.toml"
    assert all(" --target staging --targets mine.toml" in command for command in commands)
    assert not any("80/min" in command for command in commands)
    assert report["wanted"]["window_s"] == 4 * 3600
    obstacles = " ".join(report["plan"]["obstacles"])
    assert "max_rate is 60/min" in obstacles
    assert "max_sessions is 1,000" in obstacles
    assert main(["plan", *LAUNCH, "--target", "nobody", "--targets", "mine.toml"]) == (
        ExitCode.CONFIG
    )
    assert "nobody" in capsys.readouterr().err


@pytest.mark.long
@pytest.mark.process
def test_the_runs_it_tells_can_be_run(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", *LAUNCH, "--json"]) == ExitCode.PASS
    report = json.loads(capsys.readouterr().out)
    commands = [run["command"] for run in report["plan"]["runs"]]
    assert len(commands) == 5
    parsers = {"run": run_command, "capacity": capacity_command}
    for command in commands:
        program, verb, file, *options = shlex.split(command)
        assert program == "harness"
        assert file == report["locustfile"]
        parsers[verb].make_context(verb, [file, *options])  # knows each of the options
        if "--rate" in options:
            rate = options[options.index("--rate") + 1]
            parameters = {"HARNESS_RATE": rate, "HARNESS_OVER": "10m"}
            arrivals = inspect_locustfile(file, parameters)["arrivals"]
            expected = float(rate.removesuffix("/min")) * 10
            assert arrivals["count"] == pytest.approx(expected, abs=4 * expected**0.5)


def test_a_calibration_says_how_many_machines(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    slow = Rate(per_s=1.0, lag_ms=9.0, limit=Limit.GENERATOR)  # 0.7 guests a second to count on
    sessions = HeldSessions(held=10, lag_ms=1, kib_each=60, room=1000, room_ends_by="memory")
    calibration = Calibration(
        made="2026-11-24T00:00:00Z",
        host="load-1",
        cores=2,
        processes=1,
        kinds={"tls": MachineLimits(guests=slow, messages=None, sessions=sessions)},
    )
    path = write_calibration(tmp_path / "kept", calibration)
    for where in (["--calibration", str(path)], ["--reports", str(tmp_path / "kept")]):
        assert main(["plan", *LAUNCH, *where, "--json"]) == ExitCode.PASS
        report = json.loads(capsys.readouterr().out)
        assert report["wanted"]["machine_guests_per_s"] == pytest.approx(0.7)
        assert report["plan"]["machines"] == 4  # 2.6 for the worst minute, 0.9 held
    assert main(["plan", *LAUNCH, "--calibration", str(path), "--rate-per-machine", "9/s"]) == 0
    assert "load-1, calibrated 2026-11-24" in next(tmp_path.glob("reports/*/*.html")).read_text()


def search_of(folder: Path, levels: list[dict[str, object]], **more: object) -> str:
    """A search as it lies on disk."""
    common = {"minutes": 1, "reason": "", "reading": None}
    asked = {"start": "2/s", "highest": "9/s", "resolution": 0.08, "max_levels": 9}
    asked |= {"hold": "60s", "longest": None, "target": "sim", **more}
    search = {"schema": 1, "asked": asked, "levels": [common | level for level in levels]}
    folder.mkdir(exist_ok=True)
    (folder / "search.json").write_text(json.dumps(search))
    return str(folder)


def test_the_capacity_of_a_search(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    launch = [*LAUNCH, "--to-agents", "0%"]
    # 80 a minute of eight minutes and twelve messages each: 640 at once, 16 messages a second
    like = {"arrivals_per_s": 2.0, "session_s": 450.0, "occupancy": 900.0, "replies_per_s": 23.0}
    over = {"rate_per_s": 2.05, "judged": "over"}
    met = {"rate_per_s": 2.0, "judged": "under"}
    folder = search_of(tmp_path / "capacity-1", [met | like, over])
    assert main(["plan", *launch, "--capacity", folder, "--json"]) == ExitCode.PASS
    plan = json.loads(capsys.readouterr().out)["plan"]
    assert plan["headroom"] == pytest.approx(900 / 640 - 1)
    assert plan["headroom_by"] == "guests in session"
    # it has not ended: its own words, and a doubt
    (doubt,) = plan["warnings"]
    assert "has no sure answer (so far between 120 and 123 guests/min): search again" in doubt
    page = next(Path().glob("reports/*/plan.html")).read_text()
    assert "It fits what was met so far, with 41% to spare; that is not sure" in page
    assert "Its capacity, as far as it is known: so far between 120 and 123 guests/min." in page
    assert "It fits, with" not in page
    # sessions of 0.42 s: nothing is said, neither in the terminal nor on the page
    other = {"arrivals_per_s": 2.0, "session_s": 0.42, "occupancy": 0.84, "replies_per_s": 2.0}
    folder = search_of(tmp_path / "capacity-1", [met | other, over])
    assert main(["plan", *launch, "--capacity", folder]) == ExitCode.PASS
    output = capsys.readouterr().out
    assert "used up when demand" not in output
    assert "stay 420ms (the plan's: 8m) and have 1 messages answered each" in output
    # guests at once, each followed by the next
    levels: list[dict[str, object]] = [
        {"guests": 800.0, "judged": "under"},
        {"guests": 810.0, "judged": "over"},
    ]
    by = {"by": "occupancy", "start": "600", "highest": "900"}
    folder = search_of(tmp_path / "capacity-1", levels, **by)
    assert main(["plan", *launch, "--capacity", folder]) == ExitCode.PASS
    output = " ".join(capsys.readouterr().out.split())
    assert "+25%" in output
    assert "800 guests at once" in output
    folder = search_of(tmp_path / "capacity-1", [met | {"judged": "over"}, over])
    assert main(["plan", *launch, "--capacity", folder]) == ExitCode.CONFIG
    assert "has not found any load that is met" in capsys.readouterr().err
