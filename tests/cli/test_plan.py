"""``harness plan`` prints a table or JSON, writes a locustfile that loads, and refuses nonsense."""

import ast
import json
from pathlib import Path

import pytest

from harness.cli.main import main
from harness.exit_codes import ExitCode

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
    public = ast.parse(Path("harness/load/__init__.py").read_text())
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


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (["--handle-time", "8m", "--messages", "12"], "either --chats-per-hour or --from"),
        ([*LAUNCH, "--from", "x.csv"], "either --chats-per-hour or --from"),
        ([*LAUNCH, "--chats-per-hour", "many"], "--chats-per-hour: expected a number"),
        ([*LAUNCH, "--chats-per-hour", "nan"], "chats per hour: expected a number above zero"),
        ([*LAUNCH, "--chats-per-hour", "-5"], "chats per hour: expected a number above zero"),
        ([*LAUNCH, "--handle-time", "8 moons"], "--handle-time: expected a duration"),
        ([*LAUNCH, "--to-agents", "0.5"], "--to-agents: expected a share such as 5%"),
        ([*LAUNCH, "--capacity", "60"], "--capacity: expected a rate"),
        (["--from", "none.csv", *LAUNCH[4:]], "none.csv: No such file"),
    ],
)
def test_nonsense_is_refused_in_one_sentence(
    options: list[str], reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["plan", *options]) == ExitCode.CONFIG
    told = capsys.readouterr()
    assert reason in told.err
    assert told.err.count("\n") == 1
    assert told.out == ""
