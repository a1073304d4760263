"""A run is found by path, id or as the latest; else the error says which there are."""

import os
import shlex
from pathlib import Path

import pytest

from harness.errors import ConfigError
from harness.report.rundir import resolve_run, sweep_command


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
