"""The answer of a capacity search as plain values: for terminal, page, ``--json`` and a plan.

What the levels of a capacity search say together: scalability law, queue, Little's law.

Each either says something, or why it does not apply. None of them is the answer; they are held
against it.
"""

from collections.abc import Mapping, Sequence
from math import inf, isfinite
from statistics import median
from typing import Any

from harness.errors import ConfigError
from harness.judge.objective import KNOWN, Kind, Unit, parse_objective
from harness.studies.capacity.models import FEWEST_LEVELS, fit_queue, fit_scalability
from harness.studies.capacity.search import Answer, Raised
from harness.units import duration_text

STEADY = 2.0
"""Times the limit, up to which a figure comes from a queue that is in balance."""

Levels = Sequence[Mapping[str, Any]]


def fits_of(by: Raised, levels: Levels) -> dict[str, Any]:
    """``scalability``, ``queueing``, ``little``; each has ``says`` or ``why_not``, and figures."""
    usable = [level for level in levels if level["judged"] != "inconclusive"]
    return {
        "scalability": _scalability(usable),
        "queueing": _queueing(by, usable),
        "little": _little(levels),
    }


def sentences(fits: Mapping[str, Mapping[str, Any]]) -> list[tuple[str, str, str]]:
    """(name, what it says or why it does not, why to doubt it) for a person."""
    names = {
        "scalability": "Universal Scalability Law",
        "queueing": "As a queue (M/M/c)",
        "little": "Little's law",
    }
    return [
        (
            name,
            fits[key].get("says") or fits[key]["why_not"],
            "; ".join(fits[key].get("doubts", ())),
        )
        for key, name in names.items()
    ]


def _scalability(levels: Levels) -> dict[str, Any]:
    points = {
        round(level["occupancy"], 3): level["replies_per_s"]
        for level in levels
        if level.get("occupancy") and level.get("replies_per_s")
    }
    if len(points) < FEWEST_LEVELS:
        return {"why_not": f"needs {FEWEST_LEVELS} different levels, there are {len(points)}"}
    fit = fit_scalability(list(points), list(points.values()))
    peak = fit.peak_concurrency
    if isfinite(peak):
        says = f"most replies at {peak:,.0f} in session: {fit.peak_throughput:,.1f} a second"
    elif isfinite(fit.peak_throughput):
        says = f"no peak, at most {fit.peak_throughput:,.1f} replies a second"
    else:
        says = "replies grow in step with the guests: no end in sight"
    return {
        "says": says,
        "lambda": fit.lambda_,
        "sigma": fit.sigma,
        "kappa": fit.kappa,
        "standard_errors": fit.errors,
        "r_squared": fit.r_squared,
        "peak_occupancy": peak if isfinite(peak) else None,
        "levels": [
            {"occupancy": n, "replies_per_s": x, "off": off}
            for (n, x), off in zip(points.items(), fit.residuals, strict=True)
        ],
        "doubts": list(fit.doubts),
    }


def _queueing(by: Raised, levels: Levels) -> dict[str, Any]:
    if by is Raised.OCCUPANCY:
        return {
            "why_not": "does not apply: the next guest waits for the one before (a closed workload)"
        }
    known = [level for level in levels if level.get("of_limit") and level.get("nearest")]
    texts = {level["nearest"] for level in known}
    objective = next((parse_objective(text, KNOWN, place="level") for text in sorted(texts)), None)
    if (
        len(texts) != 1
        or objective is None
        or objective.subject != "reply"
        or objective.percent is None
        or objective.unit is not Unit.MS
        or (objective.kind or Kind.SERVICE) is not Kind.SERVICE
    ):
        return {"why_not": "needs one percentile of the replies' service time as the objective"}
    steady = {
        level["replies_per_s"]: level["of_limit"][1] * objective.limit / 1000
        for level in known
        if level["of_limit"][1] <= STEADY and level.get("replies_per_s")
    }
    try:
        fit = fit_queue(list(steady), list(steady.values()), objective.percent)
    except ConfigError:
        return {"why_not": f"needs three levels in balance, there are {len(steady)}"}
    each = median(
        level["replies_per_s"] / level["arrivals_per_s"]
        for level in known
        if level.get("replies_per_s") and level.get("arrivals_per_s")
    )
    rate = fit.rate_at(objective.limit / 1000)
    predicted = None if rate is None else by.shown(rate / each)
    workers = f"{fit.servers} workers" if fit.servers > 1 else "one worker"
    says = f"{workers} of {duration_text(float(f'{fit.service_s:.3g}'))} an answer"
    if predicted is not None:
        says += f" would reach the limit at {predicted:,.0f} {by.unit}"
    return {
        "says": says,
        "servers": fit.servers,
        "service_s": fit.service_s,
        "predicted": predicted,
        "levels": [
            {"replies_per_s": x, "time_s": time, "off": off}
            for (x, time), off in zip(steady.items(), fit.residuals, strict=True)
        ],
        "doubts": list(fit.doubts),
    }


def _little(levels: Levels) -> dict[str, Any]:
    off = [level["little_off"] for level in levels if level.get("little_off") is not None]
    if not off:
        return {"why_not": "too few sessions ended to check it"}
    return {
        "says": f"occupancy is arrivals times time in session on {len(off)} of {len(levels)} "
        f"levels, to within {max(off):.1%}",
        "worst_off": max(off),
        "checked": len(off),
    }


ASSUMES = (
    "The service is the same during the whole search. Two early levels are held again at its end "
    "to see whether it still is.",
    "What is found holds for the guests of this locustfile, at these hours, in this deployment.",
    "A level counts as missed when more than 1 % of connects, sessions, messages or replies fail, "
    "also where no objective names them.",
)
"""On which every answer rests."""
AT_OTHER_HOURS = "What the service carries at other hours, or in spells longer than the search."


def could_not_tell(found: Answer, levels: Levels) -> list[str]:
    """What a search leaves open, and what may be done about it."""
    told = [f"{doubt[0].upper()}{doubt[1:]}." for doubt in found.doubts]
    told += [
        f"Level {number} {level['note']}."
        for number, level in enumerate(levels, 1)
        if level.get("note")
    ]
    if found.confidence is not None and not any(level.get("again") for level in levels):
        told.append("Whether the service stayed the same: no level has been held again.")
    return [*told, AT_OTHER_HOURS]


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
        "answer": found.text(by.unit, by.shown(1.0)),
        "assumes": list(ASSUMES),
        "could_not_tell": could_not_tell(found, levels),
        "low": by.shown(found.low),
        "high": None if found.high == inf else by.shown(found.high),
        "centre": None if found.centre is None else by.shown(found.centre),
        "confidence": found.confidence,
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
