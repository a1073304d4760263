"""Records are read whole, partial, or refused with one sentence that names the place."""

import os
import platform
from collections.abc import Sequence
from pathlib import Path

import orjson
import pytest
from synthetic import make_run

from harness.clock import wall_ns
from harness.errors import ConfigError
from harness.judge.reading import read_live_record, read_record
from harness.ledger.ledger import Stage, Store


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_run(tmp_path_factory.mktemp("runs") / "r1", length_s=40)


def test_a_whole_record(run_dir: Path) -> None:
    record = read_record(run_dir)
    assert (record.run_id, record.verdict, record.complete) == ("r1", "PASS", True)
    assert record.sessions.cleared == record.sessions.opened


def crashed_copy(run_dir: Path, crashed: Path) -> Path:
    """The files of a run as a crash in the middle leaves them."""
    crashed.mkdir()
    for path in run_dir.iterdir():
        data = path.read_bytes()
        if path.suffix == ".jsonl":
            data = data[: len(data) // 2]
        if path.name != "run.json":
            (crashed / path.name).write_bytes(data)
    return crashed


def write_ledger(
    run_dir: Path,
    worker: str,
    *,
    heartbeat_ns: int,
    stages: Sequence[Stage] = (Stage.CLEARED, Stage.JOINED, Stage.INTENDED),
) -> None:
    """Three sessions, one of them cleared, by a process that never said that it ended."""
    meta = {
        "run_id": run_dir.name,
        "worker": worker,
        "heartbeat_ns": str(heartbeat_ns),
        "host": platform.node(),
        "pid": str(os.getpid()),
    }
    store = Store(run_dir / f"ledger-{worker}.sqlite", meta)
    rows = [(number, f"token-{number}", stage, 1, 1) for number, stage in enumerate(stages, 1)]
    store.write(rows, (), {})
    store.close()


def test_a_run_without_record_gives_a_partial_one_from_its_files(
    run_dir: Path, tmp_path: Path
) -> None:
    crashed = crashed_copy(run_dir, tmp_path / "crashed")
    write_ledger(crashed, "w0", heartbeat_ns=0)
    whole, partial = read_record(run_dir), read_record(crashed)
    assert (partial.verdict, partial.complete) == ("INVALID", False)
    assert "without writing its record" in partial.reasons[0]
    assert partial.how.target == whole.how.target
    assert (partial.sessions.intended, partial.sessions.leftover) == (3, 2)
    assert partial.operations["reply"].service_ms.p95 == whole.operations["reply"].service_ms.p95


def test_what_a_sweep_settled_since_is_in_the_account(tmp_path: Path) -> None:
    sessions = {"intended": 3, "opened": 3, "cleared": 1, "settled": 0, "leftover": 2}
    record = {"schema": 1, "run_id": "r", "verdict": "FAIL", "sessions": sessions}
    (tmp_path / "run.json").write_bytes(orjson.dumps(record))
    assert read_record(tmp_path).sessions.leftover == 2
    stages = (Stage.CLEARED, Stage.SETTLED, Stage.JOINED)
    write_ledger(tmp_path, "w0", heartbeat_ns=0, stages=stages)
    swept = read_record(tmp_path)
    assert (swept.sessions.settled, swept.sessions.leftover, swept.verdict) == (1, 1, "FAIL")
    assert swept.sweep == {"left behind at the end of the run": 2, "still left": 1}
    assert swept.sessions_at_end is not None
    assert swept.sessions_at_end.leftover == 2


def test_a_run_that_is_still_going_on_is_not_called_dead(run_dir: Path, tmp_path: Path) -> None:
    going = crashed_copy(run_dir, tmp_path / "going")
    write_ledger(going, "w0", heartbeat_ns=wall_ns())
    assert "still going on" in read_record(going).reasons[0]


def test_without_a_ledger_the_account_is_unknown_and_not_zero(
    run_dir: Path, tmp_path: Path
) -> None:
    record = read_record(crashed_copy(run_dir, tmp_path / "crashed"))
    assert record.sessions.opened is record.sessions.leftover is None
    assert record.objectives == []


def test_a_ledger_that_can_not_be_read_is_told(run_dir: Path, tmp_path: Path) -> None:
    crashed = crashed_copy(run_dir, tmp_path / "crashed")
    (crashed / "ledger-w0.sqlite").write_bytes(b"nonsense" * 100)
    record = read_record(crashed)
    assert (record.verdict, record.sessions.opened) == ("INVALID", None)
    assert "ledger-w0.sqlite" in " ".join(record.reasons)


def test_a_run_that_died_before_its_first_interval(tmp_path: Path) -> None:
    (tmp_path / "start.json").write_bytes(b'{"run_id": "early", "started": "2026-11-22T10:00:00Z"}')
    record = read_record(tmp_path)
    assert (record.complete, record.sessions.opened, record.operations) == (False, None, {})


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "not JSON"),
        (b'{"schema": 1, "run_id": "r", "sess', "not JSON.*cut short"),
        (b"[1, 2]", "expected a JSON object"),
        (b'{"hello": "world"}', 'not the record of a run: expected "schema": 1'),
        (b'{"schema": true}', "not the record of a run"),
        (b'{"schema": 99, "run_id": "r"}', "newer harness .schema 99.*up to schema 1"),
        (b'{"schema": 1}', "run_id: Field required"),
        (b'{"schema":1,"run_id":"r","sessions":{"opened":"many"}}', r"sessions\.opened:.*'many'"),
        (b'{"schema":1,"run_id":"r","sessions":{"opened":-3}}', r"sessions\.opened:.*got -3"),
        (b'{"schema":1,"run_id":"r","objectives":[{"text":"x"}]}', r"objectives\.0\.verdict"),
    ],
)
def test_a_bad_record_is_refused_with_its_place(
    tmp_path: Path, content: bytes, sentence: str
) -> None:
    (tmp_path / "run.json").write_bytes(content)
    with pytest.raises(ConfigError, match=rf"run\.json: .*{sentence}"):
        read_record(tmp_path)


def test_a_directory_of_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "holiday.jpg").write_bytes(b"")
    with pytest.raises(ConfigError, match="not a run directory"):
        read_record(tmp_path)
    with pytest.raises(ConfigError, match="no such run directory"):
        read_record(tmp_path / "missing")


def test_unknown_keys_and_missing_blocks_are_no_fault(tmp_path: Path) -> None:
    record = {"schema": 1, "run_id": "old", "verdict": "PASS", "colour": "blue"}
    (tmp_path / "run.json").write_bytes(orjson.dumps(record))
    assert read_record(tmp_path).generator.workers is None


def test_a_run_that_goes_on_is_read_as_it_stands(run_dir: Path, tmp_path: Path) -> None:
    live = crashed_copy(run_dir, tmp_path / "live")
    with pytest.raises(ConfigError, match="the run live is not going on"):
        read_live_record(live)
    with pytest.raises(ConfigError, match="not a run directory"):
        read_live_record(tmp_path)
    write_ledger(live, "w0", heartbeat_ns=wall_ns())
    found = read_live_record(live)
    assert (found.live, found.complete) == (True, False)
    assert (found.sessions.cleared, found.sessions.in_session, found.sessions.leftover) == (1, 2, 0)
    assert not any("going on" in reason for reason in found.reasons)
    for heartbeat_ns, lost in ((wall_ns(), False), (0, True)):  # a worker on another machine
        meta = {"worker": "far", "copy_of": "far", "heartbeat_ns": str(heartbeat_ns)}
        Store(live / "ledger-far.sqlite", meta).close()
        assert read_live_record(live).sessions.may_lack is lost
        (live / "ledger-far.sqlite").unlink()
    # Asked for as if it were over, it is not valid; but nothing is said to be left behind.
    finished = read_record(live)
    assert (finished.verdict, finished.complete) == ("INVALID", False)
    assert (finished.sessions.in_session, finished.sessions.leftover) == (2, 0)
    assert not any("leftovers == 0" in reason for reason in finished.reasons)
