"""Objectives from files, and an old run judged anew by them.

Brings a run's record and report up to date after a sweep or an audit.

The account of sessions becomes what it is now. The verdict stays what it was: it judges the run,
and what was ended afterwards was left behind by it all the same.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import orjson

from harness.clock import utc_iso
from harness.errors import ConfigError
from harness.judge.gate import judge
from harness.judge.objective import Objective
from harness.judge.objectives_file import parse_objectives
from harness.judge.record import (
    KNOWN,
    RECORD,
    VERDICT_STAYS,
    build_record,
    later_blocks,
    percentile_of,
    put_verdict,
    sessions_as_left,
    sessions_block,
    write_record,
)
from harness.ledger.leftovers import read_account
from harness.measure.snapshot import read_measurements
from harness.rundir.start import ABORTED


def read_objectives(path: Path) -> tuple[Objective, ...]:
    """The objectives of a TOML file. Raises ConfigError naming file, line and key."""
    try:
        text = path.read_text()
    except FileNotFoundError:
        raise ConfigError(f"there is no file of objectives {str(path)!r}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} can't be read: {error}") from error
    return parse_objectives(text, KNOWN, name=str(path))


def judge_anew(
    directory: Path, objectives: Sequence[Objective], *, confident: bool = False
) -> dict[str, Any]:
    """The record of a run with the verdict of other objectives; nothing is written.

    The run is judged as it left things: what a sweep or an audit did afterwards is not its merit.
    With ``confident`` what is met within chance is NO_DATA.
    What made it INVALID when it ended still does, and so does an objective that stopped it: new
    objectives can't mend a measurement.
    Raises ConfigError or LedgerError when the run's files can't be read.
    """
    if not directory.is_dir():
        raise ConfigError(f"{directory}: there is no such run directory")
    path = directory / RECORD
    try:
        record: dict[str, Any] = orjson.loads(path.read_bytes())
    except FileNotFoundError:
        why = "" if any(directory.glob("ledger-*.sqlite*")) else " (not a run directory?)"
        if why:
            raise ConfigError(f"{directory}: there is no {RECORD} and no ledger{why}") from None
        record = build_record(directory, incomplete="the run ended without writing its record")
    except orjson.JSONDecodeError as error:
        raise ConfigError(f"{path}: not JSON: {error}") from None
    if not isinstance(record.get("sessions"), dict) or "leftover" not in record["sessions"]:
        raise ConfigError(f"{path}: the record has no account of sessions; nothing can be judged")
    measured = read_measurements(directory)

    invalid = record.get("invalid_because")
    if invalid is None:  # a record from before that key: its verdict says whether it was
        invalid = record.get("reasons", []) if record["verdict"] == "INVALID" else []
    as_left = {**record, "sessions": sessions_as_left(record)}
    result = judge(
        objectives,
        as_left,
        percentile=percentile_of(measured),
        invalid=invalid,
        confident=confident,
    )
    put_verdict(record, result, aborted=(record.get("how") or {}).get(ABORTED) or ())
    return record


def since_then(record: dict[str, Any]) -> str:
    """What a sweep or an audit found after the run, in a sentence; empty where there was none."""
    if not later_blocks(record):
        return ""
    then, now = (
        block.get("leftover", 0) for block in (sessions_as_left(record), record["sessions"])
    )
    return (
        f"judged as the run left it, with {then:,} leftovers; a sweep or audit was since: "
        f"{now:,} remain now"
    )


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
