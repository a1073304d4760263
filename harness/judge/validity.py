"""Was the load that was asked for the load that was given? Sentences for a run where it was not.

A verdict on the service rests on the load: half of the guests are served twice as well. So a run
whose arrivals were dropped or late, whose slots were gone, or whose schedule was cut is INVALID,
unless an objective says what to make of that.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from math import ceil
from typing import Any

from harness.measure.snapshot import Interval
from harness.rundir.start import (
    ABORTED,
    ENDED_BY_HAND,
    ENDED_BY_SEARCH,
    ENDED_FOR_DISK,
    ENDED_FOR_WINDOW,
)
from harness.units import duration_text

ALLOWED = 0.01
"""Of the arrivals: so many may be dropped or late, or not have come due before the end."""
NOT_OFFERED = "the load asked for was not offered: "
ENDED_EARLY_S = 2.0
"""A closed workload that ends by so much before its time was cut. How long it ran is known to an
interval at each end, and these last a second."""
CUT_BY = (
    (ENDED_BY_HAND, "by hand"),
    (ENDED_FOR_WINDOW, "for the end of the target's window"),
    (ENDED_FOR_DISK, "for want of room on the disk"),
)
"""Keys of ``start.json`` that say why a run was ended early."""
DECIDED_BY = (ABORTED, ENDED_BY_SEARCH)
"""Keys of ``start.json`` with which the end of a run is no cut: an objective or a search did it."""


def not_offered(
    start: Mapping[str, Any],
    intervals: Sequence[Interval],
    arrivals: Mapping[str, int],
    judged_counters: Collection[str],
) -> list[str]:
    """Why the load of a run that is over was not what its locustfile and options ask for.

    ``arrivals`` are the counts of all processes, lost ones included; ``judged_counters`` are those
    that an objective of the run names: it says what may be dropped or late then.
    """
    ran = _ran_s(intervals)
    reasons = [
        _turned_away(arrivals, judged_counters),
        _paused(arrivals, judged_counters),
        _slots_gone(arrivals, start.get("slots")),
        _cap(start, intervals),
        _cut(start, arrivals, ran),
    ]
    return [f"{NOT_OFFERED}{reason}" for reason in reasons if reason]


def _turned_away(arrivals: Mapping[str, int], judged: Collection[str]) -> str:
    due = arrivals.get("due", 0)
    many = {kind: arrivals.get(kind, 0) for kind in ("dropped", "late")}
    if sum(number for kind, number in many.items() if kind not in judged) <= ALLOWED * due:
        return ""
    told = f"of {due:,} arrivals due, {many['dropped']:,} were dropped and {many['late']:,} late"
    no_slot = arrivals.get("no_slot", 0)
    if no_slot * 2 >= sum(many.values()):
        return f"{told}, for want of free slots ({no_slot:,}): give the shape more of them"
    return f"{told} though slots were free: the generator itself, or its master, was late"


def _paused(arrivals: Mapping[str, int], judged: Collection[str]) -> str:
    due, paused = arrivals.get("due", 0), arrivals.get("paused", 0)
    if "paused" in judged or paused <= ALLOWED * due:
        return ""
    return f"of {due:,} arrivals due, {paused:,} fell into a pause of the run: no guest came"


def _slots_gone(arrivals: Mapping[str, int], slots: Any) -> str:
    gone = arrivals.get("slots_gone", 0)
    if not gone:
        return ""
    of = f" of {slots:,}" if isinstance(slots, int) else ""
    return f"{gone:,}{of} slots ended for good before the run did"


def _cap(start: Mapping[str, Any], intervals: Sequence[Interval]) -> str:
    reached = [interval.ended_s for interval in intervals if interval.arrivals.get("at_cap")]
    if not reached:
        return ""
    began = min(interval.ended_s - interval.length_s for interval in intervals)
    cap = start.get("cap")
    of = f" of {cap:,} sessions" if isinstance(cap, int) else ""
    second = max(0, ceil(max(reached) - began) - 1)
    return f"the cap{of} was reached at second {second:,}; no guest came after that"


def _cut(start: Mapping[str, Any], arrivals: Mapping[str, int], ran_s: float) -> str:
    if any(start.get(key) for key in DECIDED_BY):
        return ""
    planned = start.get("schedule") or {}
    run_time_s = (start.get("options") or {}).get("run_time_s")
    by = next((words for key, words in CUT_BY if start.get(key)), "")
    if count := planned.get("count"):
        came = arrivals.get("due", 0)
        length_s = float(planned["duration_s"])
        if came >= (1 - ALLOWED) * count:
            return ""
        if not by and run_time_s is not None and run_time_s < length_s:
            by = f"by the run time of {duration_text(run_time_s)}"
        how = f"the schedule was cut {by}".rstrip()
        return (
            f"{how} after {duration_text(round(min(ran_s, length_s), 1))} of "
            f"{duration_text(length_s)}, when {came:,} of its {count:,} arrivals had come due"
        )
    if arrivals.get("at_cap"):
        return ""  # that is why it ended
    if arrivals.get("slots_done"):  # each row of a script was used once: that is all there is
        return ""
    if run_time_s is None or ran_s >= run_time_s - ENDED_EARLY_S:
        return ""
    how = f"the run was ended {by}".rstrip()
    return f"{how} after {duration_text(round(ran_s, 1))} of {duration_text(run_time_s)}"


def _ran_s(intervals: Iterable[Interval]) -> float:
    """How long guests could come, in seconds, to an interval: until the first of the way out.

    An interval says what the phase was at its end.
    """
    first, last = float("inf"), float("-inf")
    coming: dict[str, bool] = {}
    for interval in intervals:
        first = min(first, interval.ended_s - interval.length_s)
        if coming.get(interval.worker, True):
            last = max(last, interval.ended_s)
        coming[interval.worker] = interval.phase in ("running", "paused")
    return max(0.0, last - first)
