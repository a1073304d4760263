"""The list of runs, and what may be taken away."""

import json
import os
from pathlib import Path

import pytest
from synthetic import make_run

from harness.cli.main import main
from harness.ledger.ledger import Stage, Store
from harness.rundir.layout import RunDirectory, write_json, write_start


def leave_behind(run: Path) -> None:
    """A session without proof, of a process that is gone."""
    store = Store(RunDirectory(run).ledger("x"), {"worker": "x", "ended_ns": "9"})
    store.write([(1, "a-token", Stage.INTENDED, 1, 1)], [(Stage.LOST, "cut", "m", 2, 1)], {})
    store.close()


@pytest.fixture
def reports(tmp_path: Path) -> Path:
    folder = tmp_path / "reports"
    for number, name in enumerate(("old", "left", "new")):
        run = make_run(folder / name, length_s=40)
        started = f"2026-0{number + 1}-01T00:00:00Z"
        write_start(run, started=started, target_name=f"t{number}", locustfile="flows/shop.py")
    write_json(RunDirectory(folder / "old").label, {"name": "menu", "note": "after the change"})
    return folder


def listed(reports: Path, capsys: pytest.CaptureFixture[str]) -> dict[str, dict[str, object]]:
    assert main(["runs", "--reports", str(reports), "--json"]) == 0
    return {row["run"]: row for row in json.loads(capsys.readouterr().out)["runs"]}


def test_runs_are_listed_newest_first(reports: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = listed(reports, capsys)
    assert list(rows) == ["new", "left", "old"]
    assert (rows["old"]["name"], rows["old"]["note"]) == ("menu", "after the change")
    assert (rows["left"]["name"], rows["left"]["target"]) == ("shop", "t1")
    assert (
        rows["new"]["verdict"] == json.loads((reports / "new" / "run.json").read_text())["verdict"]
    )
    (reports / "new" / "run.json").write_text("{")
    (reports / "left" / "start.json").write_text("[]")
    assert main(["runs", "--reports", str(reports)]) == 0
    assert "menu" in capsys.readouterr().out


def test_only_what_nothing_is_lost_with_is_removed(
    reports: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    leave_behind(reports / "left")
    assert listed(reports, capsys)["left"]["leftovers"] == 1
    words = ["runs", "--reports", str(reports), "--prune"]
    assert main([*words, "9000d"]) == 0
    assert main([*words, "1s", "--dry-run"]) == 0
    assert "would remove old" in capsys.readouterr().out
    assert sorted(os.listdir(reports)) == ["left", "new", "old"]
    assert main([*words, "1s"]) == 0
    assert sorted(os.listdir(reports)) == ["left", "new"]


def test_a_folder_without_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["runs", "--reports", str(tmp_path / "none")]) == 0
    assert "there is no run" in " ".join(capsys.readouterr().out.split())
    for words in (["--dry-run"], ["--prune", "30d", "--json"]):
        assert main(["runs", *words]) == 2
        assert capsys.readouterr().err.startswith(f"error: {words[-1]} ")
    assert main(["runs", "--prune", "30"]) == 8
    assert "--prune: expected a duration with its unit, such as 30ms, 30s or 30m" in (
        capsys.readouterr().err
    )


def test_an_id_is_shown_whole_however_narrow_the_terminal(
    reports: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = make_run(reports / "20261128-131236-66fb", length_s=40)
    write_start(run, started="2026-11-28T13:12:36Z", target_name="staging.example:443")
    write_json(RunDirectory(run).label, {"name": "a long name", "note": "and a longer remark"})
    monkeypatch.setenv("COLUMNS", "60")
    assert main(["runs", "--reports", str(reports)]) == 0
    assert "20261128-131236-66fb " in capsys.readouterr().out
