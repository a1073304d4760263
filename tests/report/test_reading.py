"""Records are read whole, partial, or refused with one sentence that names the place."""

from pathlib import Path

import orjson
import pytest
from synthetic import make_run

from harness.errors import ConfigError
from harness.report.reading import read_record


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_run(tmp_path_factory.mktemp("runs") / "r1", length_s=40)


def test_a_whole_record(run_dir: Path) -> None:
    record = read_record(run_dir)
    assert (record.run_id, record.verdict, record.complete) == ("r1", "PASS", True)
    assert record.sessions.cleared == record.sessions.opened


def test_a_run_without_record_gives_a_partial_one_from_its_intervals(
    run_dir: Path, tmp_path: Path
) -> None:
    crashed = tmp_path / "crashed"
    crashed.mkdir()
    for path in run_dir.iterdir():
        data = path.read_bytes()
        if path.suffix == ".jsonl":
            data = data[: len(data) // 2]
        if path.name != "run.json":
            (crashed / path.name).write_bytes(data)
    whole, partial = read_record(run_dir), read_record(crashed)
    assert (partial.verdict, partial.complete) == ("INVALID", False)
    assert "without writing its record" in partial.reasons[0]
    assert partial.how.target == whole.how.target
    assert 0 < partial.sessions.opened <= whole.sessions.opened
    assert partial.sessions.intended == partial.sessions.cleared + partial.sessions.leftover
    assert partial.operations["reply"].service_ms.p95 == whole.operations["reply"].service_ms.p95
    assert partial.sessions.settled is None


def test_a_run_that_died_before_its_first_interval(tmp_path: Path) -> None:
    (tmp_path / "start.json").write_bytes(b'{"run_id": "early", "started": "2026-11-22T10:00:00Z"}')
    record = read_record(tmp_path)
    assert (record.run_id, record.complete, record.sessions.opened) == ("early", False, None)
    assert record.operations == {}


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
