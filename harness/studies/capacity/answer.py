"""The answer of a capacity search as plain values: for ``--json``, for the page, for a plan."""

from collections.abc import Mapping, Sequence
from math import inf
from typing import Any

from harness.studies.capacity.fits import fits_of
from harness.studies.capacity.load_axis import Raised
from harness.studies.capacity.search import Answer

CONFIDENCE = 0.95
"""With which the limit lies between the two ends of a finished search's answer."""
Levels = Sequence[Mapping[str, Any]]


def as_dict(
    by: Raised, found: Answer, levels: Levels, *, wanted: float | None, directory: str
) -> dict[str, Any]:
    """All of it; loads in the unit that ``unit`` names. ``wanted`` is a load as searched."""
    top = highest_met(by, found, levels)
    # Levels of an older search know only the rate that was asked of them.
    arrivals_per_s = top.get("arrivals_per_s", top.get("rate_per_s"))
    return {
        "by": str(by),
        "unit": by.unit,
        "found": str(found.found),
        "low": by.shown(found.low),
        "high": None if found.high == inf else by.shown(found.high),
        "centre": None if found.centre is None else by.shown(found.centre),
        "confidence": CONFIDENCE if found.centre is not None else None,
        "broke_first": found.broke_first,
        "wanted": None if wanted is None else by.shown(wanted),
        "headroom": None if wanted is None or not found.low else found.headroom(wanted),
        "at_the_highest_met": {
            "occupancy": top.get("occupancy"),
            "arrivals_per_minute": None if arrivals_per_s is None else arrivals_per_s * 60,
            "session_s": top.get("session_s"),
        },
        "fits": fits_of(by, levels),
        "levels": list(levels),
        "minutes": found.minutes,
        "directory": directory,
    }


def highest_met(by: Raised, found: Answer, levels: Levels) -> Mapping[str, Any]:
    """The highest level below the answer, empty when there is none."""
    at = [level for level in levels if by.load_of(level) <= found.low * (1 + 1e-9)]
    return max(at, key=by.load_of, default={})
