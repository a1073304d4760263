"""The published schema is the one the models make, and real records satisfy it."""

import json
from pathlib import Path

import jsonschema
import pytest
from synthetic import make_run

from harness.rundir import schema

PUBLISHED = Path(schema.__file__).parent / "run.schema.json"


def test_the_published_schema_is_up_to_date() -> None:
    """Renew it with ``python -m harness.rundir.schema > harness/rundir/run.schema.json``."""
    assert PUBLISHED.read_text() == schema.published()


def test_a_whole_record_satisfies_it(tmp_path: Path) -> None:
    record = json.loads((make_run(tmp_path / "r", length_s=40) / "run.json").read_text())
    jsonschema.validate(record, json.loads(PUBLISHED.read_text()))


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
