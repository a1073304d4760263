"""Where the record of a run and the files beside it do not tell the same: cut short, or tampered
with. A reader must know that before believing either.
"""

from collections.abc import Iterator

from harness.judge.reading import STILL_GOING
from harness.judge.series import Series
from harness.measure import model as sample
from harness.measure.histogram import Counted
from harness.measure.model import OPERATIONS, ordered
from harness.measure.recorder import service_tag
from harness.report.figures import count_text, ms_text
from harness.rundir.schema import RunRecord, Times

TIMED = tuple(sorted(sample.TIMED))
"""Outcomes whose times are in the histograms."""
CHECKED = {"p50": 50.0, "p95": 95.0, "p99": 99.0, "max": 100.0}
TOLERANCE = 0.005
"""Of a time; both come from the same three digits."""
LEAST_MS = 0.003
SHOWN = 3
WHY = "one of them was changed or cut short"


def disagreements(record: RunRecord, series: Series | None) -> list[str]:
    """A sentence for each kind of it; none where all agree."""
    if STILL_GOING in record.reasons:
        return []  # the files grow while they are read
    if series is None:
        return ["There are no interval files beside the record: nothing can be shown over time."]
    names = ordered(record.operations)
    found = []
    for what, differences in (
        ("how often these happened", [_counted(record, series, name) for name in names]),
        ("how many times were measured", [_measured(record, series, name) for name in names]),
        ("the service times themselves", [_times(record, series, name) for name in names]),
    ):
        known = [difference for difference in differences if difference]
        if known:
            more = f" and {len(known) - SHOWN} more" if len(known) > SHOWN else ""
            found.append(
                f"The record and the files beside it differ in {what}: "
                f"{', '.join(known[:SHOWN])}{more}; {WHY}."
            )
    return found


def _counted(record: RunRecord, series: Series, name: str) -> str:
    ours = record.operations[name].count
    held = sum(series.outcomes.get(name, {}).values())
    if ours is None or ours == held or (name in OPERATIONS and OPERATIONS[name].afterwards):
        return ""  # what is learnt after the run stands in no interval
    return f"{name} {count_text(ours)} against {count_text(held)}"


def _measured(record: RunRecord, series: Series, name: str) -> str:
    outcomes = record.operations[name].outcomes
    if not outcomes:
        return ""
    timed = sum(outcomes.get(outcome, 0) for outcome in TIMED)
    timed -= record.operations[name].ambiguous or 0
    total = series.totals.get(service_tag(name))
    held = 0 if total is None else total.count
    return f"{name} {count_text(timed)} against {count_text(held)}" if timed != held else ""


def _times(record: RunRecord, series: Series, name: str) -> str:
    total = series.totals.get(service_tag(name))
    if total is None or _measured(record, series, name):
        return ""  # said already
    return next(_differing(record.operations[name].service_ms, total, name), "")


def _differing(times: Times, total: Counted, name: str) -> Iterator[str]:
    values = total.percentiles_ms(list(CHECKED.values()))
    for quantile, value in zip(CHECKED, values, strict=True):
        ours: float | None = getattr(times, quantile)
        if ours is None or value is None or times.lower_bounds or times.unsure:
            continue
        if abs(ours - value) > max(LEAST_MS, TOLERANCE * value):
            yield f"{name} {quantile} {ms_text(ours)} against {ms_text(value)}"
