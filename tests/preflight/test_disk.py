"""What a run will write is forecast on the safe side and held against what is free."""

import platform
from collections import namedtuple
from pathlib import Path

import pytest

from harness.errors import ConfigError
from harness.preflight import disk as room
from harness.preflight.disk import (
    Forecast,
    RoomWatch,
    as_dict,
    check_end,
    check_room,
    ending_bytes,
    forecast,
    free_bytes,
    notable,
)
from harness.preflight.guard import Intent

Disk = namedtuple("Disk", "f_bavail f_frsize")


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The bytes that are free; change the one element."""
    free = [100_000_000]
    monkeypatch.setattr(room.os, "statvfs", lambda _: Disk(free[0] // 1000, 1000))
    return free


def intended(sessions: int | None, *, at_once: int) -> Intent:
    return Intent(sessions=sessions, at_once=at_once, peak_per_s=None, stop_timeout_s=0)


def test_the_ledger_grows_with_sessions_and_the_measurements_with_time() -> None:
    day = forecast(intended(1_000_000, at_once=100), duration_s=86_400)
    assert day.ledger == 134_000_000
    assert day.total == day.ledger + day.measured + day.ending
    # an hour by the second, then ten at a time
    hour = forecast(intended(1_000_000 // 24, at_once=100), duration_s=3600)
    assert 3600 * 2300 < hour.measured < day.measured < 10 * hour.measured
    week = forecast(intended(7_000_000, at_once=100), duration_s=7 * 86_400)
    assert week.measured < 3 * day.measured  # then by the minute
    assert week.ledger == 7 * day.ledger


def test_processes_write_files_of_their_own() -> None:
    one = forecast(intended(1000, at_once=10), duration_s=600)
    four = forecast(intended(1000, at_once=10), duration_s=600, processes=4)
    assert four.ledger == one.ledger
    assert 2 * one.measured < four.measured <= 4 * one.measured
    assert four.ending - one.ending == 3 * ending_bytes()


def test_of_a_closed_workload_only_the_least_is_known(tmp_path: Path, disk: list[int]) -> None:
    closed = forecast(intended(None, at_once=50), duration_s=None)
    assert (closed.ledger, closed.sessions_known) == (0, False)
    assert closed.measured > 3600 * 2300  # an hour, where there is no limit
    disk[0] = 1000
    with pytest.raises(ConfigError, match="at least"):
        check_room(tmp_path, closed)


def test_a_run_that_does_not_fit_is_refused_with_place_and_sizes(
    tmp_path: Path, disk: list[int]
) -> None:
    expected = Forecast(
        ledger=90_000_000, measured=2_000_000, ending=9_000_000, sessions_known=True
    )
    with pytest.raises(ConfigError) as refusal:
        check_room(tmp_path / "reports", expected)
    told = str(refusal.value)
    assert f"about 101 MB to {tmp_path / 'reports'}, where 100 MB are free" in told
    assert "--disk-guard off" in told
    disk[0] = 101_000_000
    assert check_room(tmp_path / "reports", expected) == 101_000_000


def test_only_a_notable_run_is_told_of(tmp_path: Path) -> None:
    small = Forecast(ledger=1_000_000, measured=0, ending=9_000_000, sessions_known=True)
    large = Forecast(ledger=2_000_000_000, measured=0, ending=9_000_000, sessions_known=True)
    assert notable(tmp_path, small, 10**9) == ""
    assert notable(tmp_path, small, None) == ""
    assert "write about 10 MB to" in notable(tmp_path, small, 30_000_000)
    assert "2.01 GB" in notable(tmp_path, large, 10**12)
    assert as_dict(small, 5)["total"] == 10_000_000
    assert as_dict(small, 5)["free"] == 5


def test_free_space_is_known_also_of_a_folder_that_is_not_made_yet(tmp_path: Path) -> None:
    there, later = free_bytes(tmp_path), free_bytes(tmp_path / "not" / "made" / "yet")
    assert there is not None
    assert later is not None
    assert abs(there - later) < 10**9


def test_where_nobody_says_what_is_free_nothing_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: object) -> None:
        raise PermissionError

    monkeypatch.setattr(room.os, "statvfs", refuse)
    assert check_room(tmp_path, forecast(intended(10**9, at_once=1), duration_s=60)) is None
    assert RoomWatch(tmp_path, 10**18).look() == ""


def test_a_process_that_could_only_end_does_not_begin(tmp_path: Path, disk: list[int]) -> None:
    check_end(tmp_path)
    disk[0] = 1000
    with pytest.raises(ConfigError, match=r"1 kB are free in .* --disk-guard off"):
        check_end(tmp_path)


def test_the_watch_speaks_when_the_end_would_no_longer_fit(tmp_path: Path, disk: list[int]) -> None:
    watch = RoomWatch(tmp_path / "run", 9_000_000)
    assert watch.look() == ""
    disk[0] = 8_900_000
    assert watch.look() == (
        f"the disk is nearly full: 8.9 MB are free in {tmp_path} on {platform.node()}, and it "
        "takes 9 MB to end in order: no new guests"
    )
    said = watch.look()
    disk[0] = 8_700_000
    assert watch.look() == said
