"""Read the record of a run, make one if the run left none, and keep it up to date.

A run that was killed has no ``run.json``; its record is then made from the other files, and is
marked as partial. After a sweep or an audit the account of sessions shows the present state. The
verdict does not change: it judges the run, which left those sessions behind. An old run may be
judged again by other objectives.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import orjson

from harness.clock import utc_iso
from harness.errors import ConfigError, HarnessError, LedgerError
from harness.foreign import read_text
from harness.guest.outcomes import Ending
from harness.judge.gate import Verdict, judge
from harness.judge.objective import Objective, parse_objectives
from harness.judge.record import (
    build_record,
    operations_of,
    percentile_of,
    put_verdict,
    record_of_nothing,
    sessions_as_left,
    sessions_block,
    write_record,
)
from harness.judge.validity import left_out
from harness.ledger.reader import read_account
from harness.ledger.runs import RunState, check_started, is_going_on, run_state
from harness.measure.snapshot import Measurements, read_measurements
from harness.rundir.layout import ABORTED, RECORD, RECORD_SCHEMA, START, RunDirectory

if TYPE_CHECKING:  # the models take a while to import: not while guests come
    from harness.rundir.schema import RunRecord

ENDED_EARLY = "the run ended without writing its record; this is what it had written until then"
VERDICT_STAYS = "the verdict is that of the run itself: what is settled afterwards was left by it"
VOID_WITHOUT_WHY = "the record says that the run is INVALID, and not why"
LEFT_AT_END, STILL_LEFT = "left behind at the end of the run", "still left"
"""Of the sessions of a run that was swept since, in its record."""
STILL_GOING = "the run is still going on; this is what it has written so far"


def read_record(run_dir: Path) -> "RunRecord":
    """The record of a run directory; a partial one if the run left no ``run.json``.

    Raises ConfigError if it is no run directory, or if its record can't be read.
    """
    if not run_dir.is_dir():
        raise ConfigError(f"{run_dir}: there is no such run directory")
    path = RunDirectory(run_dir).record
    if path.exists():
        return _brought_up_to_date(parse_record(path), run_dir)
    if not RunDirectory(run_dir).start.exists() and not any(RunDirectory(run_dir).all_intervals()):
        raise ConfigError(
            f"{run_dir}: not a run directory (expected {RECORD}, {START} or "
            f"{RunDirectory(run_dir).intervals('WORKER').name} in it)"
        )
    try:
        record = _made(run_dir)
    except LedgerError as error:
        record = record_of_nothing(run_dir, f"{ENDED_EARLY}; {error}")
    return _validated(record, run_dir)


def read_live_record(run_dir: Path) -> "RunRecord":
    """The record so far of a run that is going on. Raises ConfigError if it is not going on, or
    can't be read."""
    check_started(run_dir)
    if not is_going_on(run_dir):
        name = run_dir.name
        raise ConfigError(f"the run {name} is not going on: use harness report {name}")
    try:
        return _validated(build_record(run_dir, live=True), run_dir)
    except LedgerError as error:
        raise ConfigError(f"{run_dir}: {error}") from error


def parse_record(path: Path) -> "RunRecord":
    """``run.json`` at ``path``. Raises ConfigError with the key that is wrong."""
    return _parsed(_object(path), path)


def _parsed(record: dict[str, Any], path: Path) -> "RunRecord":
    version = record.get("schema")
    if not isinstance(version, int) or isinstance(version, bool) or version < 1:
        raise ConfigError(f'{path}: not the record of a run: expected "schema": {RECORD_SCHEMA}')
    if version > RECORD_SCHEMA:
        raise ConfigError(
            f"{path}: written by a newer harness (schema {version}); this one reads up to "
            f"schema {RECORD_SCHEMA}: use the harness that wrote it"
        )
    return _validated(record, path)


def _validated(record: dict[str, Any], path: Path) -> "RunRecord":
    from pydantic import ValidationError

    from harness.rundir.schema import RunRecord

    try:
        return RunRecord.model_validate(record)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        raise ConfigError(f"{path}: {place}: {first['msg']}, got {first['input']!r:.60}") from error


def _object(path: Path) -> dict[str, Any]:
    try:
        value = orjson.loads(path.read_bytes())
    except orjson.JSONDecodeError as error:
        raise ConfigError(
            f"{path}: not JSON: {error} (was the file cut short? move it away and "
            "'harness report' makes a partial report from the intervals)"
        ) from error
    except OSError as error:
        raise ConfigError(f"{path}: can't be read: {error.strerror}") from error
    if not isinstance(value, dict):
        raise ConfigError(f"{path}: expected a JSON object")
    return value


def _brought_up_to_date(record: "RunRecord", run_dir: Path) -> "RunRecord":
    """The record with the sessions that sweeps have settled since; its verdict does not change."""
    before = record.sessions
    if not before.leftover or record.sweep is not None:
        return record
    try:
        account = read_account(run_dir)
    except LedgerError:
        return record
    if account.intended != before.intended or account.leftover >= before.leftover:
        return record
    sessions = before.model_copy(update=sessions_block(account))
    sweep = {LEFT_AT_END: before.leftover, STILL_LEFT: account.leftover}
    return record.model_copy(
        update={"sessions": sessions, "sessions_at_end": before, "sweep": sweep}
    )


def _made(run_dir: Path) -> dict[str, Any]:
    """Make the record of a run that left none, from its other files. Raises LedgerError."""
    ledgers = RunDirectory(run_dir).ledgers()
    alive = is_going_on(run_dir)
    why = STILL_GOING if alive else ENDED_EARLY
    record = build_record(run_dir, incomplete=why, live=alive)  # a live session is no leftover
    if not ledgers or (read_account(run_dir).damaged and not record["sessions"].get("intended")):
        record["sessions"] = record["funnel"] = {}  # unknown, which is not zero
        record["objectives"] = []
    return record


def no_objectives(path: Path | str) -> str:
    """The sentence where there is no file of objectives."""
    return f"there is no file of objectives {str(path)!r}"


def read_objectives(path: Path) -> tuple[Objective, ...]:
    """The objectives of a TOML file. Raises ConfigError naming file, line and key."""
    text = read_text(path, missing=no_objectives(path))
    return parse_objectives(text, name=str(path))


def judge_anew(
    directory: Path, objectives: Sequence[Objective], *, confident: bool = False
) -> dict[str, Any]:
    """The record of a run with the verdict of other objectives; nothing is written.

    The run is judged by its state when it ended; later sweeps and audits do not count. With
    ``confident``, an objective that is met only within chance is NO_DATA. The reasons that made the
    run INVALID when it ended, or an objective that stopped it, still count: other objectives can't
    repair a measurement.
    Raises ConfigError or LedgerError if the run's files can't be read.
    """
    if not directory.is_dir():
        raise ConfigError(f"{directory}: there is no such run directory")
    path = RunDirectory(directory).record
    if not path.exists() and not RunDirectory(directory).ledgers():
        raise ConfigError(f"{directory}: there is no {RECORD} and no ledger (not a run directory?)")
    record = _stored_or_made(directory)
    if path.exists():  # edited, or of another harness, it is refused by the key that is wrong
        _parsed({key: value for key, value in record.items() if value is not None}, path)
    if not isinstance(record.get("sessions"), dict) or "leftover" not in record["sessions"]:
        raise ConfigError(f"{path}: the record has no account of sessions; nothing can be judged")
    measured = read_measurements(directory)

    invalid = record.get("invalid_because")
    if invalid is None:  # the verdict alone tells whether it was
        void = record.get("verdict") == Verdict.INVALID
        invalid = record.get("reasons") or [VOID_WITHOUT_WHY] if void else []
    lost = changed_files(record, measured)
    invalid = [*invalid, *(why for why in lost if why not in invalid)]
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


def changed_files(record: Mapping[str, Any], measured: Measurements) -> list[str]:
    """Sentences where the files, from which figures are read anew, are not the run's any more.

    A file that is gone leaves no damaged line; without it the others would be judged as all.
    """
    return [*left_out(measured.damaged), *_changed_since(record, measured)]


def _changed_since(record: Mapping[str, Any], measured: Measurements) -> list[str]:
    now = operations_of(measured)
    known: Mapping[str, Any] = record.get("operations") or {}
    changed = sorted(
        name for name in known if _by_count(known[name]) != _by_count(now.get(name) or {})
    )
    if not changed:
        return []
    return [
        "the files of measurements were changed or lost after the run: they no longer give its "
        f"figures for {', '.join(changed)}"
    ]


def _by_count(block: Mapping[str, Any]) -> tuple[Any, ...]:
    """The figures that do not depend on how a percentile is computed."""
    times = block.get("service_ms") or {}
    mean = times.get("mean")
    return (
        block.get("outcomes") or {},
        times.get("max"),
        None if mean is None else round(mean, 6),
    )


def since_then(record: dict[str, Any]) -> str:
    """The result of a later sweep or audit, in a sentence; empty if there was none."""
    if not (record.get("sweep") or record.get("audit")):
        return ""
    then, now = (
        block.get("leftover", 0) for block in (sessions_as_left(record), record["sessions"])
    )
    return (
        f"judged as the run left it, with {then:,} leftovers; after a later sweep or audit "
        f"{now:,} remain"
    )


NOTHING: MappingProxyType[str, dict[str, Any]] = MappingProxyType({})


def sweep_block(settled: int, left: int, *, by: str, **more: Any) -> dict[str, Any]:
    """The record's ``sweep``: how many sessions were proved ended, how many remain, and when."""
    return {"settled": settled, "left": left, "by": by, "when": utc_iso(), **more}


def ending_words(ending: str) -> str:
    """A sweep's words for sessions with this ending; the ending itself if it is unknown."""
    return Ending(ending).words if ending in tuple(Ending) else ending


def bring_up_to_date(
    directory: Path,
    key: str,
    block: dict[str, Any],
    *,
    operations: Mapping[str, dict[str, Any]] = NOTHING,
) -> dict[str, Any]:
    """Put ``block`` under ``sweep`` or ``audit`` and count the sessions again; returns the record
    as written.

    ``operations`` are those whose figures only became known now. A run that left no record gets
    one. Raises ConfigError, LedgerError, or OSError if the disk is full.
    """
    record = _stored_or_made(directory)
    record["sessions_at_end"] = sessions_as_left(record)
    record["sessions"] = sessions_block(read_account(directory))
    record["operations"] = {**record.get("operations", {}), **operations}
    record[key] = {**block, "verdict": VERDICT_STAYS}
    write_record(directory, record)
    return record


def _stored_or_made(directory: Path) -> dict[str, Any]:
    """The record as it was written, or made from the other files if the run left none."""
    path = RunDirectory(directory).record
    if path.exists():
        return _object(path)
    return _made(directory)


def make_end_of_killed(directory: Path) -> bool:
    """Write the record of a run whose processes are all dead; returns whether it was written now.

    Called before a sweep, so that the record has the leftovers of the run. Raises ConfigError or
    LedgerError if the run's files can't be read, and OSError.
    """
    if run_state(directory) is not RunState.KILLED:
        return False
    write_record(directory, _made(directory))
    return True


def end_of_killed(directory: Path) -> str:
    """Do the same; returns a sentence about it or about its failure. Empty: nothing was done."""
    try:
        made = make_end_of_killed(directory)
    except (HarnessError, OSError) as error:
        return f"its record can't be made: {error}"
    return "its record was made now, from the files that it had written" if made else ""
