"""What was due at a lost worker and nobody counted is dropped, not forgotten."""

from pathlib import Path

import pytest

from harness.errors import ConfigError
from harness.judge.validity import lost_arrivals, write_shares
from harness.measure.snapshot import Interval
from harness.rundir.layout import RunDirectory


def interval(worker: str, due: int, started: int) -> Interval:
    return Interval(
        worker=worker, ended_s=1, length_s=1, phase="running", sessions={},
        arrivals={"due": due, "started": started, "dropped": 0}, outcomes={}, counts={}, process={},
    )  # fmt: skip


def test_what_a_lost_worker_did_not_report_any_more(tmp_path: Path) -> None:
    told = [interval("a", 10, 10), interval("a", 5, 4), interval("b", 7, 7)]
    assert lost_arrivals(tmp_path, told) == {}
    write_shares(tmp_path, [], {"a": 40, "never heard of": 3, "b": 7})
    assert lost_arrivals(tmp_path, told) == {"due": 25 + 3, "dropped": 26 + 3}
    write_shares(tmp_path, [], {"a": 12})  # it has lived on for a little longer than was known
    assert lost_arrivals(tmp_path, told) == {"due": 0, "dropped": 0}
    assert [path.name for path in tmp_path.iterdir()] == ["shares.json"]


def test_a_damaged_file_is_told(tmp_path: Path) -> None:
    RunDirectory(tmp_path).shares.write_text("{torn")
    with pytest.raises(ConfigError, match=r"shares\.json: can't be read"):
        lost_arrivals(tmp_path, [])
