"""What a process needs is told, what must end its run, and how its event loop stalled."""

import time
from pathlib import Path

import gevent
import pytest

from harness.load import health
from harness.load.health import LoopLag, ProcessHealth
from harness.measure.recorder import LAG_BEAT_S
from harness.preflight.disk import RoomWatch, ending_bytes


def test_the_needs_of_this_process(tmp_path: Path) -> None:
    found = ProcessHealth(tmp_path, disk_guard=True).needs()
    assert found["rss_mb"] > 10
    assert found["fds"] >= 3
    assert found["cpu"] >= 0


def test_a_moment_is_too_short_for_a_share_of_cpu(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(health, "LEAST_CPU_S", 60.0)  # however long a busy machine takes
    looked = ProcessHealth(tmp_path, disk_guard=False)
    end = time.process_time() + 0.03
    while time.process_time() < end:
        looked.needs()
    assert looked.needs()["cpu"] == 0


def test_a_full_disk_is_a_complaint_unless_nobody_minds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    class Full(RoomWatch):
        def __init__(self, directory: Path, needed: int) -> None:
            asked.append(needed)
            super().__init__(directory, 10**18)

    monkeypatch.setattr(health, "RoomWatch", Full)
    (why,) = ProcessHealth(tmp_path / "run", disk_guard=True).complaints()
    assert "the disk is nearly full" in why
    assert asked == [ending_bytes() // 2]
    assert list(ProcessHealth(tmp_path / "run", disk_guard=False).complaints()) == []


def test_a_stall_is_reported_by_each_beat_that_it_swallowed() -> None:
    seen: list[int] = []
    lag = LoopLag(seen.append)
    lag.start()
    gevent.sleep(LAG_BEAT_S * 2)
    calm = len(seen)
    time.sleep(LAG_BEAT_S * 10)  # blocks the loop on purpose
    gevent.sleep(LAG_BEAT_S * 2)
    lag.stop()
    late = [value for value in seen[calm:] if value > LAG_BEAT_S * 1e9]
    assert len(late) >= 5
    assert max(late) >= LAG_BEAT_S * 8 * 1e9


def test_a_stall_that_goes_on_at_the_end_is_seen() -> None:
    seen: list[int] = []
    lag = LoopLag(seen.append)
    lag.start()
    gevent.sleep(LAG_BEAT_S * 2)
    time.sleep(LAG_BEAT_S * 10)
    lag.stop()
    assert max(seen) >= LAG_BEAT_S * 8 * 1e9
