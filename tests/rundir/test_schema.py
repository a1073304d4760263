"""The published schema is the one the models make, and real records satisfy it."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from locusts import finish, locustfile, only_run, start
from pydantic import BaseModel
from synthetic import make_run

from harness.config.target import parse_target
from harness.judge.record import build_record, write_record
from harness.rundir import schema
from harness.rundir.layout import target_facts, write_start

TARGET = parse_target("ws://127.0.0.1:1/v1?deploymentId=12345678-90ab-cdef-1234-567890abcdef")
PUBLISHED = Path(schema.__file__).parent / "run.schema.json"


def test_the_published_schema_is_up_to_date() -> None:
    """Renew it with ``python -m harness.rundir.schema > harness/rundir/run.schema.json``."""
    assert PUBLISHED.read_text() == schema.published()


def test_a_whole_record_satisfies_it(tmp_path: Path) -> None:
    record = json.loads((make_run(tmp_path / "r", length_s=40) / "run.json").read_text())
    jsonschema.validate(record, json.loads(PUBLISHED.read_text()))


def unknown_keys(part: object, place: str = "") -> list[str]:
    """Keys of a record that no model of it has."""
    if isinstance(part, BaseModel):
        more = [f"{place}{key}" for key in part.model_extra or {}]
        inner = [(f"{place}{name}.", getattr(part, name)) for name in type(part).model_fields]
        return more + [key for where, one in inner for key in unknown_keys(one, where)]
    if isinstance(part, Mapping):
        return [key for one in part.values() for key in unknown_keys(one, f"{place}*.")]
    if isinstance(part, list):
        return [key for one in part for key in unknown_keys(one, f"{place}[].")]
    return []


@pytest.mark.parametrize("schedule", [True, False])
def test_nothing_is_written_that_is_not_published(tmp_path: Path, schedule: bool) -> None:
    run = make_run(tmp_path / "r", length_s=40)
    more: dict[str, Any] = {"mix": {"Shopper": 1.0}, "warm_up_s": 5.0} if schedule else {}
    write_start(run, **target_facts(TARGET), aborted=["why"], confident=True, **more)
    for live in (False, True):
        record = build_record(run, live=live)
        assert unknown_keys(schema.RunRecord.model_validate(record)) == []
        stored = json.loads(write_record(run, record).read_text())
        for key in ("started", "ended"):  # one form for all times
            assert stored.pop(key).endswith("Z")
            assert record.pop(key)
        assert stored == json.loads(json.dumps(record))


def test_a_record_that_is_none_is_kept_and_says_so(tmp_path: Path) -> None:
    record = {"schema": 1, "run_id": "r", "reasons": ["one"], "sessions": {"opened": -1}}
    stored = json.loads(write_record(tmp_path, record).read_text())
    assert stored["sessions"] == {"opened": -1}
    assert stored["reasons"][0] == "one"
    assert "does not keep to its schema: sessions.opened" in stored["reasons"][1]


@pytest.mark.process
def test_a_real_run_writes_what_is_published(simulator: Any, tmp_path: Path) -> None:
    process = start(locustfile(tmp_path), tmp_path, simulator.url, "-u", "3", "-r", "3", "-t", "3")
    finish(process)
    stored = json.loads((only_run(tmp_path) / "run.json").read_text())
    jsonschema.validate(stored, json.loads(PUBLISHED.read_text()))
    assert stored["operations"]["reply"]["count"] > 3
    assert unknown_keys(schema.RunRecord.model_validate(stored)) == []


@pytest.mark.parametrize(
    "change",
    [
        {"verdict": "GOOD"},
        {"sessions": {"opened": -1}},
        {"operations": {"reply": {"service_ms": {"p50": "fast"}}}},
        {"schema": 0},
    ],
)
def test_a_wrong_record_does_not(change: dict) -> None:
    record = {"schema": 1, "run_id": "r"} | change
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(record, json.loads(PUBLISHED.read_text()))


def test_what_is_missing_is_none_and_what_is_unknown_is_kept() -> None:
    record = schema.RunRecord.model_validate({"schema": 1, "run_id": "r", "later": 5})
    assert record.sessions.opened is None
    assert record.generator.lag_loop_ms.p99 is None
    assert record.model_extra == {"later": 5}
