"""Objectives from files, and an old run judged anew by them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import orjson

from harness.errors import ConfigError
from harness.judge.gate import judge
from harness.judge.objective import Objective
from harness.judge.objectives_file import parse_objectives
from harness.judge.record import (
    KNOWN,
    RECORD,
    build_record,
    later_blocks,
    percentile_of,
    put_verdict,
    sessions_as_left,
)
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
