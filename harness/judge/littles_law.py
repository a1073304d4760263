"""Does the account of guests in session agree with itself?

The area under the occupancy against the arrivals times the length of the sessions that ended. Both
sides are noted by us as guests come and go, so this is bookkeeping: it finds guests who were
counted twice, or never left, and no more. It has the form of Little's law (occupancy = arrival rate
* time in session), but it is no independent test of it.
"""

from collections.abc import Iterable
from typing import Any

from harness.measure.snapshot import Interval

TOLERANCE = 0.05
ENOUGH = 20
"""Sessions below which one cut short at the end weighs too much to say anything."""


def check_little(intervals: Iterable[Interval], duration_s: float | None) -> dict[str, Any] | None:
    """Both sides of the law over the whole run, and how far they are apart (a share).

    None where too few sessions ended, or where the run was written before this was counted.
    """
    last: dict[str, Interval] = {}
    started = 0
    for interval in intervals:
        last[interval.worker] = interval
        started += interval.arrivals.get("started", 0)
    total = {
        name: sum(interval.sessions.get(name, 0) for interval in last.values())
        for name in ("occupancy_ms", "ended", "ended_ms")
    }
    if not duration_s or total["ended"] < ENOUGH or not total["ended_ms"]:
        return None
    stay_s = total["ended_ms"] / total["ended"] / 1000
    rate = started / duration_s
    occupancy = total["occupancy_ms"] / 1000 / duration_s
    return {
        "occupancy": occupancy,
        "arrivals_per_s": rate,
        "in_session_s": stay_s,
        "expected_occupancy": rate * stay_s,
        "off": abs(occupancy - rate * stay_s) / (rate * stay_s) if rate else 1.0,
    }


def broken(little: dict[str, Any] | None) -> str:
    """The sentence for a run whose figures break the law; empty when they don't."""
    if little is None or little["off"] <= TOLERANCE:
        return ""
    return (
        f"the account of guests does not hold: {little['occupancy']:.3g} in session on average, "
        f"but {little['arrivals_per_s']:.3g}/s * {little['in_session_s']:.3g} s = "
        f"{little['expected_occupancy']:.3g}: arrivals or sessions were miscounted"
    )
