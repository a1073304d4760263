"""Reads the record of a run, and says in one sentence why it can't where it can't.

A run that ended in the middle has no ``run.json``; what its intervals and ``start.json`` hold is
then put together into a partial record that says of itself that it is one.
"""

from pathlib import Path
from typing import Any

import orjson
from pydantic import ValidationError

from harness.errors import ConfigError
from harness.measure.recorder import LAG_ARRIVAL, LAG_LOOP, corrected_tag, service_tag
from harness.measure.snapshot import INTERVALS, Measurements, read_intervals, read_measurements
from harness.report.schema import SCHEMA, RunRecord

RECORD = "run.json"
START = "start.json"
HOW = ("target", "deployment_id", "locustfile", "options", "versions", "seed", "host")
TIMES = {"p50": 50.0, "p90": 90.0, "p95": 95.0, "p99": 99.0, "p99_9": 99.9, "max": 100.0}


def read_record(run_dir: Path) -> RunRecord:
    """The record of a run directory, a partial one where the run left no ``run.json``.

    Raises ConfigError when the directory is none of a run, or its record can't be read.
    """
    if not run_dir.is_dir():
        raise ConfigError(f"{run_dir}: there is no such run directory")
    path = run_dir / RECORD
    if path.exists():
        return parse_record(path)
    if not (run_dir / START).exists() and not any(run_dir.glob(INTERVALS.format(worker="*"))):
        raise ConfigError(
            f"{run_dir}: not a run directory (expected {RECORD}, {START} or "
            f"{INTERVALS.format(worker='WORKER')} in it)"
        )
    return _partial(run_dir)


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


def _partial(run_dir: Path) -> RunRecord:
    start = _object(run_dir / START) if (run_dir / START).exists() else {}
    how = start["how"] if isinstance(start.get("how"), dict) else start
    measured = read_measurements(run_dir)
    sessions, generator, ended = _last_state(run_dir)
    generator |= {
        "workers": len(measured.workers),
        "lag_arrival_ms": _times(measured, LAG_ARRIVAL),
        "lag_loop_ms": _times(measured, LAG_LOOP),
    }
    found = {
        "schema": SCHEMA,
        "run_id": str(start.get("run_id", run_dir.name)),
        "verdict": "INVALID",
        "complete": False,
        "reasons": [
            "The run ended without writing its record; this report is made from the intervals it "
            "had written until then."
        ],
        "started": start.get("started"),
        "ended": ended,
        "sessions": sessions,
        "operations": {
            name: {
                "count": sum(outcomes.values()),
                "outcomes": outcomes,
                "service_ms": _times(measured, service_tag(name)),
                "corrected_ms": _times(measured, corrected_tag(name)),
            }
            for name, outcomes in measured.outcomes.items()
        },
        "arrivals": measured.arrivals,
        "generator": generator,
        "forensics": measured.counts,
        "how": {key: how[key] for key in HOW if key in how},
    }
    return _validated(found, run_dir / START)


def _times(measured: Measurements, tag: str) -> dict[str, float | None]:
    histogram = measured.histograms.get(tag)
    if histogram is None:
        return {}
    values = histogram.percentiles_ms(list(TIMES.values()))
    return dict(zip(TIMES, values, strict=True)) | {"mean": histogram.mean_ms}


def _last_state(run_dir: Path) -> tuple[dict[str, int], dict[str, Any], float | None]:
    """Running totals as each process last wrote them, added up; peaks; the last interval's end."""
    totals: dict[str, int] = {}
    peaks: dict[str, float] = {}
    ended: float | None = None
    for path in sorted(run_dir.glob(INTERVALS.format(worker="*"))):
        last = None
        for last in read_intervals(path):
            for key, name in (("cpu", "cpu_max"), ("rss_mb", "rss_mb_max")):
                if key in last.process:
                    peaks[name] = max(peaks.get(name, 0.0), last.process[key])
        if last is None:
            continue
        ended = max(ended or last.ended_s, last.ended_s)
        for key in ("intended", "opened", "cleared"):
            if key in last.sessions:
                totals[key] = totals.get(key, 0) + last.sessions[key]
    if {"intended", "cleared"} <= totals.keys():
        # without the ledger nothing is proved ended but what was cleared
        totals["leftover"] = max(0, totals["intended"] - totals["cleared"])
    return totals, peaks, ended
