"""Reads the record of a run, and says in one sentence why it can't where it can't.

A run that ended in the middle has no ``run.json``; it is then made from the other files, and says
of itself that it is partial.
"""

from pathlib import Path
from typing import Any

import orjson
from pydantic import ValidationError

from harness.errors import ConfigError, LedgerError
from harness.judge.record import build_record, record_of_nothing
from harness.ledger.leftovers import ledger_files, read_account, read_process
from harness.measure.snapshot import INTERVALS
from harness.rundir.control import is_going_on
from harness.rundir.schema import SCHEMA, RunRecord

RECORD = "run.json"
START = "start.json"
ENDED_EARLY = "the run ended without writing its record; this is what it had written until then"
STILL_GOING = "the run is still going on; this is what it has written so far"


def read_record(run_dir: Path) -> RunRecord:
    """The record of a run directory, a partial one where the run left no ``run.json``.

    Raises ConfigError when the directory is none of a run, or its record can't be read.
    """
    if not run_dir.is_dir():
        raise ConfigError(f"{run_dir}: there is no such run directory")
    path = run_dir / RECORD
    if path.exists():
        return _brought_up_to_date(parse_record(path), run_dir)
    if not (run_dir / START).exists() and not any(run_dir.glob(INTERVALS.format(worker="*"))):
        raise ConfigError(
            f"{run_dir}: not a run directory (expected {RECORD}, {START} or "
            f"{INTERVALS.format(worker='WORKER')} in it)"
        )
    return _partial(run_dir)


def read_live_record(run_dir: Path) -> RunRecord:
    """How a run stands that is going on. Raises ConfigError when it is not, or can't be read."""
    if not (run_dir / START).is_file():
        raise ConfigError(f"{run_dir}: not a run directory (expected {START} in it)")
    if not is_going_on(run_dir):
        name = run_dir.name
        raise ConfigError(f"the run {name} is not going on: use harness report {name}")
    try:
        return _validated(build_record(run_dir, live=True), run_dir)
    except LedgerError as error:
        raise ConfigError(f"{run_dir}: {error}") from error


def parse_record(path: Path) -> RunRecord:
    """``run.json`` at ``path``. Raises ConfigError with the key that is wrong."""
    found = _object(path)
    version = found.get("schema")
    if not isinstance(version, int) or isinstance(version, bool) or version < 1:
        raise ConfigError(f'{path}: not the record of a run: expected "schema": {SCHEMA}')
    if version > SCHEMA:
        raise ConfigError(
            f"{path}: written by a newer harness (schema {version}); this one reads up to "
            f"schema {SCHEMA}: use the harness that wrote it"
        )
    return _validated(found, path)


def _validated(found: dict[str, Any], path: Path) -> RunRecord:
    try:
        return RunRecord.model_validate(found)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        raise ConfigError(f"{path}: {place}: {first['msg']}, got {first['input']!r:.60}") from error


def _object(path: Path) -> dict[str, Any]:
    try:
        found = orjson.loads(path.read_bytes())
    except orjson.JSONDecodeError as error:
        raise ConfigError(
            f"{path}: not JSON: {error} (was the file cut short? move it away and "
            "'harness report' makes a partial report from the intervals)"
        ) from error
    except OSError as error:
        raise ConfigError(f"{path}: can't be read: {error.strerror}") from error
    if not isinstance(found, dict):
        raise ConfigError(f"{path}: expected a JSON object")
    return found


def _brought_up_to_date(record: RunRecord, run_dir: Path) -> RunRecord:
    """The record with what sweeps have settled since; its verdict stays that of the run's end."""
    before = record.sessions
    if not before.leftover or record.sweep is not None:
        return record
    try:
        account = read_account(run_dir)
    except LedgerError:
        return record
    if account.intended != before.intended or account.leftover >= before.leftover:
        return record
    sessions = before.model_copy(
        update={
            "cleared": account.cleared,
            "ended_by_service": account.ended_by_service,
            "never_configured": account.never_configured,
            "settled": account.settled,
            "disconnected": account.disconnected,
            "leftover": account.leftover,
            "leftover_reasons": dict(account.reasons),
        }
    )
    sweep = {"left behind at the end of the run": before.leftover, "still left": account.leftover}
    return record.model_copy(update={"sessions": sessions, "sweep": sweep})


def _partial(run_dir: Path) -> RunRecord:
    try:
        ledgers = ledger_files(run_dir)
        alive = any(read_process(path).alive for path in ledgers)
        why = STILL_GOING if alive else ENDED_EARLY
        found = build_record(run_dir, incomplete=why, live=alive)  # in session is no leftover
        if not ledgers or (read_account(run_dir).damaged and not found["sessions"].get("intended")):
            found["sessions"] = found["funnel"] = {}  # not known, which is not none
            found["objectives"] = []
    except LedgerError as error:
        found = record_of_nothing(run_dir, f"{ENDED_EARLY}; {error}")
    return _validated(found, run_dir)
