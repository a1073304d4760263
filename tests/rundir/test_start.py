"""A run directory begins with its name, its start, and the link to it."""

import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from harness.errors import ConfigError
from harness.rundir.layout import (
    START,
    RunDirectory,
    check_reports,
    make_run_directory,
    new_run_id,
    others_may_write,
    read_start,
    write_start,
)


def test_ids_sort_by_time_and_differ() -> None:
    ids = {new_run_id() for _ in range(50)}
    assert len(ids) > 40
    assert all(re.fullmatch(r"\d{8}-\d{6}-[0-9a-f]{4}", one) for one in ids)


def test_latest_leads_to_the_newest(tmp_path: Path) -> None:
    for run_id in ("r-1", "r-2"):
        RunDirectory(make_run_directory(tmp_path, run_id)).point_latest()
    assert (tmp_path / "latest").resolve() == (tmp_path / "r-2").resolve()


def test_a_folder_that_can_not_be_written_to_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="file can't be written to: Not a directory"):
        make_run_directory(tmp_path / "file", "r-1")
    with pytest.raises(ConfigError, match="file can't be written to: "):
        check_reports(tmp_path / "file")
    check_reports(tmp_path / "new")
    assert list((tmp_path / "new").iterdir()) == []


def test_the_start_is_written_and_added_to(tmp_path: Path) -> None:
    write_start(tmp_path, target="ws://x", options={"users": 3})
    write_start(tmp_path, stopped_by_hand=True)
    start = read_start(tmp_path)
    assert (start["target"], start["stopped_by_hand"]) == ("ws://x", True)
    assert start["versions"]["locust"]
    assert read_start(tmp_path / "nowhere") == {}
    (tmp_path / START).write_text("[]")
    with pytest.raises(ConfigError, match="expected a JSON object"):
        read_start(tmp_path)


@pytest.mark.slow
def test_processes_that_start_together_do_not_take_each_others_probe(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda _: make_run_directory(tmp_path, "run"), range(800)))
    assert set(made) == {tmp_path / "run"}
    assert list((tmp_path / "run").iterdir()) == []
    assert sorted(path.name for path in tmp_path.iterdir()) == [".gitignore", "run"]


def test_nothing_of_a_run_goes_into_a_history_unless_its_user_has_said_so(tmp_path: Path) -> None:
    make_run_directory(tmp_path / "reports", "r")
    ignore = tmp_path / "reports" / ".gitignore"
    assert ignore.read_text() == "*\n"
    ignore.write_text("own\n")
    make_run_directory(tmp_path / "reports", "s")
    assert ignore.read_text() == "own\n"


@pytest.mark.parametrize(
    "run_id",
    ["../elsewhere", "/tmp/x", "a/b", "..", ".", "", ".hidden", "latest", "a b", "a\n", "x" * 101],
)
def test_a_run_id_can_not_leave_the_reports_folder(tmp_path: Path, run_id: str) -> None:
    with pytest.raises(ConfigError, match="no name of a folder"):
        make_run_directory(tmp_path / "reports", run_id)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("mode", "who"),
    [(0o755, ""), (0o750, ""), (0o775, "its group"), (0o777, "everybody"), (0o1777, "")],
)
def test_a_folder_that_others_may_change_is_warned_about(
    tmp_path: Path, mode: int, who: str
) -> None:
    reports = tmp_path / "reports"
    reports.mkdir()
    reports.chmod(mode)
    warning = others_may_write(reports)
    assert who in warning
    assert bool(warning) is bool(who)
