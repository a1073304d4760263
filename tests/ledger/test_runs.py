"""A run is found by path, id or as the latest; else the error says which there are."""

import os
import shlex
from pathlib import Path

import pytest

from harness.clock import wall_ns
from harness.errors import ConfigError
from harness.ledger.ledger import Stage, Store
from harness.ledger.reader import meta_of_this_process
from harness.ledger.runs import RunState, resolve_run, run_state, with_leftovers, with_parts
from harness.rundir.layout import RunDirectory, sweep_command


@pytest.fixture
def reports(tmp_path: Path) -> Path:
    for age, name in enumerate(("third", "second", "first")):
        (tmp_path / name).mkdir()
        mark = tmp_path / name / "start.json"
        mark.write_text("{}")
        os.utime(mark, (1000 - age, 1000 - age))
    (tmp_path / "not-a-run").mkdir()
    (tmp_path / "README.md").write_text("")
    return tmp_path


def test_nothing_is_no_run(reports: Path) -> None:
    with pytest.raises(ConfigError, match="got nothing"):
        resolve_run(" ", reports)


def test_by_id_path_and_file(reports: Path) -> None:
    wanted = reports / "second"
    assert resolve_run("second", reports) == wanted
    assert resolve_run(str(wanted)) == wanted
    assert resolve_run(str(wanted / "start.json")) == wanted


def test_latest_is_the_one_started_last(reports: Path) -> None:
    assert resolve_run("latest", reports) == reports / "third"


def test_an_unknown_run_names_those_there_are(reports: Path) -> None:
    with pytest.raises(ConfigError, match=r"no run 'fourth'; the last ones are first, second, thi"):
        resolve_run("fourth", reports)


def test_nothing_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no run in"):
        resolve_run("latest", tmp_path / "missing")


def test_the_command_to_sweep_works_from_where_it_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for parent in (Path("reports"), tmp_path / "else where"):
        (parent / "r-1").mkdir(parents=True)
    assert sweep_command(Path("reports/r-1")) == "harness sweep r-1"
    assert sweep_command(tmp_path / "reports" / "r-1") == "harness sweep r-1"
    elsewhere = sweep_command(tmp_path / "else where" / "r-1")
    command, sweep, path = shlex.split(elsewhere)
    assert (command, sweep) == ("harness", "sweep")
    assert resolve_run(path) == tmp_path / "else where" / "r-1"


def ledger_in(run_dir: Path, stage: Stage, **meta: str) -> None:
    run_dir.mkdir(parents=True, exist_ok=True)
    store = Store(run_dir / "ledger-w.sqlite", {"worker": "w", **meta})
    store.write([(1, "t", Stage.INTENDED, 1, 1)], [(stage, "", "", 2, 1)], {})
    store.close()


def test_latest_is_the_run_begun_last_even_if_it_was_killed(reports: Path) -> None:
    (reports / "third" / "run.json").write_text("{}")
    (reports / "latest").symlink_to("third")
    ledger_in(reports / "killed", Stage.JOINED)  # before it could even say how it was started
    assert resolve_run("latest", reports) == reports / "killed"
    for name, started in (("first", "2026-11-22T12:00:00Z"), ("second", "2036-11-22T12:00:00Z")):
        (reports / name / "start.json").write_text(f'{{"started": "{started}"}}')
    assert resolve_run("latest", reports) == reports / "second"
    for name in ("guest-1", "preflight-1"):  # no runs
        (reports / name).mkdir()
        (reports / name / "start.json").write_text('{"started": "2046-11-22T12:00:00Z"}')
    assert resolve_run("latest", reports) == reports / "second"


def test_the_state_of_a_run(tmp_path: Path) -> None:
    assert run_state(tmp_path) is RunState.BEGUN
    ledger_in(tmp_path / "a", Stage.JOINED)
    assert run_state(tmp_path / "a") is RunState.KILLED
    (tmp_path / "a" / "run.json").write_text("{}")
    assert run_state(tmp_path / "a") is RunState.ENDED
    ledger_in(tmp_path / "b", Stage.JOINED, ended_ns="9")
    assert run_state(tmp_path / "b") is RunState.ENDED
    now = {"heartbeat_ns": str(wall_ns()), **meta_of_this_process()}
    ledger_in(tmp_path / "c", Stage.JOINED, **now)
    assert run_state(tmp_path / "c") is RunState.GOING_ON


def test_every_directory_with_leftovers_is_found(tmp_path: Path) -> None:
    now = {"heartbeat_ns": str(wall_ns()), **meta_of_this_process()}
    ledger_in(tmp_path / "cleared", Stage.CLEARED)
    ledger_in(tmp_path / "at-work", Stage.JOINED, **now)
    ledger_in(tmp_path / "guest-1", Stage.LOST)
    ledger_in(tmp_path / "capacity-1" / "level-2", Stage.CLEARING)
    (tmp_path / "damaged").mkdir()
    (tmp_path / "damaged" / "ledger-w.sqlite").write_bytes(b"garbage")
    elsewhere = {"worker": "far", "copy_of": "far"}
    ledger_in(tmp_path / "lost", Stage.CLEARED, **elsewhere)
    ledger_in(tmp_path / "derived", Stage.CLEARED, **elsewhere, derived="1")
    found = {path.name for path in with_leftovers(tmp_path)}
    assert found == {"guest-1", "level-2", "damaged", "lost"}


def test_a_merged_run_gives_way_to_its_parts_each_once(tmp_path: Path) -> None:
    merged, *parts = [tmp_path / name for name in ("both", "one", "two")]
    for path in (merged, *parts):
        path.mkdir()
    for part in parts:
        ledger = RunDirectory(part).ledger(part.name)
        ledger.touch()
        RunDirectory(merged).ledger(part.name).symlink_to(ledger)
    said: list[str] = []
    assert with_parts([parts[1], merged], said.append) == [parts[1], parts[0]]
    assert said == [f"run both was merged from {parts[0]}, {parts[1]}"]
    (parts[0] / "ledger-one.sqlite").unlink()
    parts[0].rmdir()
    with pytest.raises(ConfigError, match=f"a run that it was merged from is gone: {parts[0]}"):
        with_parts([merged], said.append)
