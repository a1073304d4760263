"""A calibration survives its file, and rises are read second by second from a run's files."""

from dataclasses import replace
from pathlib import Path

import pytest

from harness.errors import ConfigError
from harness.measure.model import Sample
from harness.measure.recorder import LAG_LOOP, Recorder
from harness.measure.snapshot import IntervalWriter
from harness.rundir.layout import CALIBRATION
from harness.studies.calibrate.calibration import (
    Calibration,
    HeldSessions,
    Limit,
    MachineLimits,
    Rate,
    read_calibration,
    write_calibration,
)
from harness.studies.calibrate.runs import read_peak_sessions, read_rise

MS = 1_000_000
FOUND = Calibration(
    made="2026-11-24T09:00:00Z",
    host="load-1",
    cores=2,
    processes=1,
    kinds={
        "plain": MachineLimits(
            guests=Rate(per_s=400.0, lag_ms=12.0, limit=Limit.GENERATOR),
            messages=None,
            sessions=None,
        ),
        "tls": MachineLimits(
            guests=Rate(per_s=200.0, lag_ms=20.0, limit=Limit.NOT_REACHED),
            messages=Rate(per_s=3000.0, lag_ms=9.0, limit=Limit.OTHER_SIDE),
            sessions=HeldSessions(
                held=3000, lag_ms=2.0, kib_each=60.0, room=19_000, room_ends_by="open files"
            ),
        ),
    },
)


def run(directory: Path, worker: str, *, rate: int, lag_ms: float, rss_mb: float = 0.0) -> None:
    """Ten seconds of one process: ``rate`` guests cleared each, memory growing to ``rss_mb``."""
    writer = IntervalWriter(directory, worker, started_ns=10**18)
    for second in range(1, 11):
        recorder = Recorder()
        for _ in range(rate):
            recorder.add(Sample("clear", 0, 0, 4 * MS, 4 * MS))
        recorder.add_duration(LAG_LOOP, int(lag_ms * MS))
        writer.write(
            recorder.take(),
            ended_ns=10**18 + second * 10**9,
            length_s=1.0,
            state={
                "phase": "running",
                "sessions": {"occupancy": 10 * second},
                "arrivals": {},
                "process": {"rss_mb": 50 + rss_mb * second / 10, "fds": 20},
            },
        )
    writer.close()


def test_it_is_read_as_it_was_written(tmp_path: Path) -> None:
    path = write_calibration(tmp_path / "reports", FOUND)
    assert path.name == CALIBRATION
    assert read_calibration(path) == FOUND
    assert FOUND.best().guests == Rate(per_s=200.0, lag_ms=20.0, limit=Limit.NOT_REACHED)
    only = replace(FOUND, kinds={"plain": FOUND.kinds["plain"]})
    assert only.best().guests is not None
    assert only.best().guests.safe_per_s == pytest.approx(280)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        '{"schema": 9}',
        '{"schema": 1, "kinds": {}}',
        '{"schema": 1, "kinds": 3}',
        '{"schema": 1, "kinds": {"tls": {"sessions": {"held": 1}}}}',
        '{"schema": 1, "kinds": {"tls": {"guests": {"per_s": -5}}}}',
    ],
)
def test_what_is_no_calibration_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / CALIBRATION
    path.write_text(text)
    with pytest.raises(ConfigError, match=CALIBRATION) as refused:
        read_calibration(path)
    assert "\n" not in str(refused.value)
    with pytest.raises(ConfigError, match="can't be read"):
        read_calibration(tmp_path / "none.json")


def test_the_seconds_of_all_processes_are_put_together(tmp_path: Path) -> None:
    run(tmp_path, "one", rate=30, lag_ms=3)
    run(tmp_path, "two", rate=20, lag_ms=80)
    seconds = read_rise(tmp_path, "clear")
    assert len(seconds) == 10
    assert {round(second.done) for second in seconds} == {50}
    assert all(second.lag_ms == pytest.approx(80, rel=0.01) for second in seconds)
    assert all(second.answer_ms == pytest.approx(4, rel=0.01) for second in seconds)
    assert read_rise(tmp_path / "nowhere", "clear") == []


def test_held_sessions_and_the_memory_of_one(tmp_path: Path) -> None:
    run(tmp_path, "one", rate=1, lag_ms=3, rss_mb=10)
    sessions, lag_ms, kib_each = read_peak_sessions(tmp_path)
    assert sessions == 100
    assert lag_ms == pytest.approx(3, rel=0.01)
    # from the first second (51 MB) to the last (60 MB)
    assert kib_each == pytest.approx(9e6 / 1024 / 100, rel=0.02)
    (tmp_path / "same").mkdir()
    run(tmp_path / "same", "one", rate=1, lag_ms=3)
    assert read_peak_sessions(tmp_path / "same")[2] is None
    with pytest.raises(ConfigError, match="no session was held"):
        read_peak_sessions(tmp_path / "nowhere")
