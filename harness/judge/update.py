"""Brings a run's record and report up to date after a sweep or an audit.

The account of sessions becomes what it is now. The verdict stays what it was: it judges the run,
and what was ended afterwards was left behind by it all the same.
"""

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import orjson

from harness.clock import utc_iso
from harness.errors import ConfigError
from harness.judge.record import (
    RECORD,
    VERDICT_STAYS,
    build_record,
    sessions_as_left,
    sessions_block,
    write_record,
)
from harness.ledger.leftovers import read_account

NOTHING: MappingProxyType[str, dict[str, Any]] = MappingProxyType({})


def sweep_block(settled: int, left: int, *, by: str, **more: Any) -> dict[str, Any]:
    """The record's ``sweep``: how many sessions were proved ended, how many remain, and when."""
    return {"settled": settled, "left": left, "by": by, "when": utc_iso(), **more}


def bring_up_to_date(
    directory: Path,
    key: str,
    block: dict[str, Any],
    *,
    operations: Mapping[str, dict[str, Any]] = NOTHING,
) -> dict[str, Any]:
    """Put ``block`` under ``sweep`` or ``audit``, count the sessions anew; the record as written.

    ``operations`` are those whose figures only became known now. A run that left no record gets
    one. Raises ConfigError or LedgerError; OSError when the disk takes no more.
    """
    record = _record_of(directory)
    record["sessions_at_end"] = sessions_as_left(record)
    record["sessions"] = sessions_block(read_account(directory))
    record["operations"] = {**record.get("operations", {}), **operations}
    record[key] = {**block, "verdict": VERDICT_STAYS}
    write_record(directory, record)
    return record


def _record_of(directory: Path) -> dict[str, Any]:
    path = directory / RECORD
    try:
        found = orjson.loads(path.read_bytes())
    except FileNotFoundError:
        return build_record(directory, incomplete="the run ended without making its record")
    except (OSError, orjson.JSONDecodeError) as error:
        raise ConfigError(f"{path} can't be read: {error}") from error
    if not isinstance(found, dict):
        raise ConfigError(f"{path}: expected a JSON object")
    return found
