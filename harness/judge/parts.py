"""The parts of a run, each with figures of its own: the steps and ramps of its schedule, the drain.

What is judged is all that began after the warm-up; a step that was too high, or a drain that took
long, must not hide in it. An operation is in the part in which it ended, to an interval.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness.judge.accounts import with_warm_up
from harness.measure.histogram import Histogram
from harness.measure.recorder import WARM_UP, service_tag
from harness.measure.snapshot import Interval, read_histograms
from harness.rundir.layout import RunDirectory
from harness.workload.schedule import Chain, Poisson, Rates, Schedule

LEAD_S = 0.5
"""From the start of a run to that of its schedule."""
SHOWN = ("session_open", "reply")
MOST_PARTS = 24
"""A schedule of more parts than this is a curve, which the charts show better."""
DRAIN = "drain"
RUNNING = ("running", "paused")


@dataclass(slots=True)
class _Part:
    name: str
    from_s: float
    to_s: float
    guests: int = 0
    outcomes: dict[str, dict[str, int]] = field(default_factory=dict)
    times: dict[str, Histogram] = field(default_factory=dict)


def schedule_parts(schedule: Schedule) -> list[dict[str, Any]]:
    """The stretches of a schedule in which its rate is steady or a straight line."""
    if isinstance(schedule, Chain):
        found = []
        for part, start_ns in zip(schedule.parts, schedule.starts_ns, strict=False):
            for one in schedule_parts(part):
                shifted = {key: one[key] + start_ns / 1e9 for key in ("from_s", "to_s")}
                found.append(one | shifted)
        return found
    if isinstance(schedule, Poisson):
        return schedule_parts(schedule.base)
    if not isinstance(schedule, Rates):
        return [{"name": schedule.describe(), "from_s": 0.0, "to_s": schedule.duration_s}]
    found = []
    for segment, start_ns in zip(schedule.segments, schedule.starts_ns, strict=False):
        first, last = (60 * float(rate) for rate in (segment.first, segment.last))
        name = f"{first:.4g}/min" if first == last else f"{first:.4g} to {last:.4g}/min"
        end_ns = start_ns + segment.length_ns
        found.append({"name": name, "from_s": start_ns / 1e9, "to_s": end_ns / 1e9})
    return found


def parts_block(
    directory: Path, parts: Sequence[Mapping[str, Any]], intervals: Sequence[Interval]
) -> list[dict[str, Any]]:
    """The record's ``parts``, in order; empty where there is nothing to tell apart.

    Raises ConfigError on a damaged line.
    """
    if not intervals or len(parts) > MOST_PARTS:
        return []
    began = min(one.ended_s - one.length_s for one in intervals)
    ended = max(one.ended_s for one in intervals)
    running = [one.ended_s for one in intervals if one.phase in RUNNING]
    drained = max(running, default=began)
    first = began + LEAD_S if parts else began
    found = [
        _Part(str(part["name"]), first + float(part["from_s"]), first + float(part["to_s"]))
        for part in parts
        if first + float(part["from_s"]) < drained
    ] or [_Part("guests come", began, drained)]
    found[0].from_s, found[-1].to_s = began, drained
    found.append(_Part(DRAIN, drained, ended))
    if len(found) < 3:
        return []
    for interval in intervals:
        part = _part_of(found, interval.ended_s - interval.length_s / 2)
        part.guests += interval.arrivals.get("started", 0)
        for name in SHOWN:
            outcomes = part.outcomes.setdefault(name, {})
            for outcome, many in with_warm_up(interval.outcomes, name).items():
                outcomes[outcome] = outcomes.get(outcome, 0) + many
    tags = {service_tag(f"{what}{name}"): name for name in SHOWN for what in ("", WARM_UP)}
    for path in RunDirectory(directory).all_histograms():
        for line in read_histograms(path):
            if line.tag in tags:
                part = _part_of(found, line.started_s + line.length_s / 2)
                times = part.times.setdefault(tags[line.tag], Histogram())
                times.merge_encoded(line.encoded)
    return [_block(part, began) for part in found]


def _part_of(parts: Sequence[_Part], at_s: float) -> _Part:
    return next((part for part in parts if at_s < part.to_s), parts[-1])


def _block(part: _Part, began_s: float) -> dict[str, Any]:
    operations = {}
    for name, outcomes in part.outcomes.items():
        count = sum(outcomes.values())
        p50, p95 = part.times.get(name, Histogram()).percentiles_ms([50, 95])
        errors = count - outcomes.get("ok", 0)
        operations[name] = {"count": count, "errors": errors, "p50_ms": p50, "p95_ms": p95}
    return {
        "name": part.name,
        "from_s": round(part.from_s - began_s, 1),
        "to_s": round(part.to_s - began_s, 1),
        "guests": part.guests,
        "operations": operations,
    }
