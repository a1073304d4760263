"""One level of a capacity search, judged from its run directory."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from harness.errors import ConfigError
from harness.judge.gate import Verdict
from harness.judge.objective import Objective, parse_objective
from harness.judge.record import DEFAULT_OBJECTIVES, KNOWN, RECORD
from harness.rundir.start import read_start
from harness.studies.capacity.crossing import Reading
from harness.studies.capacity.level_verdict import Judged, Standing, judge_level
from harness.studies.capacity.objective_intervals import (
    Found,
    Window,
    intervals_of,
    read_standings,
    read_window,
)

MISSING = 0.05
"""Of the guests that were to be in session: more, and the level was not the one asked for."""
PACED = 0.01
"""Of the guests: when more had to wait for the limit of new connections, we were the limit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Level:
    """What a level showed; occupancy and figures per second are means of the judged time."""

    judged: Judged
    reason: str
    occupancy: float | None
    arrivals_per_s: float | None
    replies_per_s: float | None
    session_s: float | None
    little_off: float | None
    """by which share the run's occupancy and its arrivals * time in session differ"""
    figures: dict[str, str]
    enough: bool
    """whether every percentile that was asked for has an interval"""
    held_s: float
    """the judged time"""
    reading: Reading | None
    """how far the objective that is nearest to breaking is from its limit"""
    of_limit: tuple[float, float, float] | None
    """that objective's figure and its interval (low, figure, high) as shares of its limit"""
    nearest: str = ""
    """and that objective"""


@dataclass(frozen=True, slots=True)
class Look:
    """What a level that is still going shows: whether it is clear, and how far from the limit."""

    clear: bool
    reading: Reading | None


def held_for(directory: Path, *, warmup_s: float) -> float:
    """How long a level that is still going has been judged so far, in seconds; 0 at first."""
    try:
        return read_window(directory, warmup_s).length_s
    except ConfigError:
        return 0.0  # its files are not there yet


def look_at(directory: Path, *, warmup_s: float, judged_s: float, longest_s: float) -> Look:
    """A level that is still going, by its first ``judged_s`` seconds after the warm-up.

    Raises ConfigError when its files can't be read.
    """
    window = read_window(directory, warmup_s, longest_s=judged_s)
    objectives = _parsed(read_start(directory).get("objectives", ()), directory)
    held = _held(window, longest_s)
    found = read_standings(directory, objectives, window, held=held, verdicts={})
    said = {one.standing for one in found.values()}
    clear = Standing.MISSED in said or said == {Standing.MET}
    return Look(clear, _nearest(found))


def judge_run(
    directory: Path,
    *,
    warmup_s: float,
    judged_s: float | None = None,
    longest_s: float | None = None,
    guests: float | None = None,
) -> Level:
    """Judge a finished level by its first ``judged_s`` seconds after the warm-up (or all of it).

    It was to be held for ``longest_s`` at most, or for exactly as long as it was; ``guests`` were
    to be in session at once, where it was a level of occupancy. Raises ConfigError when its record
    can't be read.
    """
    record = _record(directory)
    window = read_window(directory, warmup_s, longest_s=judged_s)
    entries = record.get("objectives") or [{"text": text} for text in DEFAULT_OBJECTIVES]
    held = 1.0 if longest_s is None else _held(window, longest_s)
    found = read_standings(
        directory,
        _parsed([entry["text"] for entry in entries], directory),
        window,
        held=held,
        verdicts={entry["text"]: entry.get("verdict", "") for entry in entries},
    )
    occupancy, replies_per_s, arrived_per_s = _means(directory, window)
    judged, reason = _judge(record, found, _own_limit(directory, window, occupancy, guests))
    stay = occupancy / arrived_per_s if occupancy and arrived_per_s else None
    nearest = max(
        (text for text, one in found.items() if one.of_limit is not None),
        key=lambda text: (found[text].of_limit or (0, 0, 0))[1],
        default="",
    )
    return Level(
        judged=judged,
        reason=reason,
        occupancy=occupancy,
        arrivals_per_s=arrived_per_s,
        replies_per_s=replies_per_s,
        session_s=stay,  # Little: occupancy = arrival rate x time in session
        little_off=(record.get("little") or {}).get("off"),
        figures={text: one.figure for text, one in found.items()},
        enough=all(one.bounded for one in found.values()),
        held_s=round(window.length_s, 1),
        reading=_nearest(found),
        of_limit=found[nearest].of_limit if nearest else None,
        nearest=nearest,
    )


def _nearest(found: Mapping[str, Found]) -> Reading | None:
    readings = [one.reading for one in found.values() if one.reading is not None]
    return max(readings, key=lambda reading: reading.value, default=None)


def _held(window: Window, longest_s: float) -> float:
    return min(1.0, max(window.length_s, 0.001) / longest_s)


def _own_limit(
    directory: Path, window: Window, occupancy: float | None, guests: float | None
) -> str:
    """What kept us from putting the load on that was asked for; empty when nothing did.

    What could not be started after the window, while the run was being ended, does not count.
    """
    dropped = started = paced = 0
    for interval in intervals_of(directory, window):
        dropped += interval.arrivals.get("dropped", 0)
        started += interval.arrivals.get("started", 0)
        paced += interval.counts.get("paced_connects", 0)
    if dropped:
        return f"{dropped} arrivals dropped"
    if paced > PACED * started:
        return (
            f"{paced} guests waited for the limit of new connections that the harness keeps "
            "(HARNESS_CONNECTIONS)"
        )
    if guests is not None and (occupancy or 0.0) < guests * (1 - MISSING):
        return f"{occupancy or 0.0:,.1f} of {guests:,.0f} guests were in session"
    return ""


def _judge(
    record: Mapping[str, Any], found: Mapping[str, Found], own_limit: str
) -> tuple[Judged, str]:
    broke = next(
        (f"{text}: {one.figure}" for text, one in found.items() if one.standing is Standing.MISSED),
        "",
    )
    leftover = int(record["sessions"].get("leftover", 0))
    if leftover and not broke:
        broke = f"{leftover} sessions left over"
    # Whether the load was held back has been asked in the level's own window.
    reasons = record.get("invalid_because") or record.get("reasons", ())
    besides = [why for why in reasons if why not in record.get("not_offered", ())]
    healthy = record["verdict"] != Verdict.INVALID or not besides
    judged = judge_level(
        [one.standing for one in found.values()],
        leftovers_growing=leftover > 0,
        generator_healthy=healthy,
        held_back=bool(own_limit),
    )
    if judged is Judged.INCONCLUSIVE:
        why = "; ".join(besides[:1]) if not healthy else own_limit or "nothing was measured"
        broke = f"the generator was the limit: {why}"
    elif judged is Judged.CLOSE:
        broke = next(
            f"{text}: {one.figure}" for text, one in found.items() if one.standing is Standing.CLOSE
        )
    return judged, broke


def _record(directory: Path) -> dict[str, Any]:
    path = directory / RECORD
    try:
        found = orjson.loads(path.read_bytes())
    except (OSError, orjson.JSONDecodeError) as error:
        raise ConfigError(f"{path} can't be read: {error}") from error
    if not isinstance(found, dict) or "sessions" not in found:
        raise ConfigError(f"{path} is not the record of a run")
    return found


def _parsed(texts: Any, directory: Path) -> list[Objective]:
    return [parse_objective(text, KNOWN, place=directory.name) for text in texts]


def _means(directory: Path, window: Window) -> tuple[float | None, float | None, float | None]:
    """Occupancy over all processes, replies and arrivals per second."""
    occupancy = replies = arrivals = 0.0
    spans: dict[str, float] = {}
    for interval in intervals_of(directory, window):
        spans[interval.worker] = spans.get(interval.worker, 0.0) + interval.length_s
        occupancy += interval.sessions.get("occupancy", 0) * interval.length_s
        replies += interval.outcomes.get("reply", {}).get("ok", 0)
        arrivals += interval.arrivals.get("started", 0)
    span = max(spans.values(), default=0.0)
    if not span:
        return None, None, None
    return occupancy / span, replies / span, arrivals / span
