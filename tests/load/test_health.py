"""What a process needs is told, and what must end its run."""

import time
from pathlib import Path

import pytest

from harness.load import health
from harness.load.health import ProcessHealth
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
