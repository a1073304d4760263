"""Does anything drift in a run? From its files to the figures that are watched, and the verdict.

One of them is how many guests are in session against how many their arrivals imply. Whoever arrived
a while ago is still there with the probability that a session lasts so long, so the arrivals and
the lengths of all sessions of a run give an occupancy to expect at each moment (a system without
waiting, as M/G/∞, for which Little's law is the mean). Sessions that get stuck come on top of it,
while ups and downs of the load, and a run's slow filling with guests who stay long, are in both.
"""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, replace
from functools import partial
from math import inf, nan
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.errors import ConfigError
from harness.judge.objective import Kind, Op, parse_objective
from harness.judge.series import Series, Values, read_series
from harness.ledger.reader import read_account
from harness.measure.histogram import Counted
from harness.measure.model import Outcome, Phase
from harness.measure.recorder import LAG_ARRIVAL, LAG_LOOP, SESSION_CUT, SESSION_LENGTH, service_tag
from harness.rundir.layout import read_start
from harness.studies.drift.assess import TOLERATED_LEAK, DriftReport, Side, Watched, assess
from harness.units import seconds

RESUMES = "resumes a minute"
OCCUPANCY = "occupancy over expected"
LAGS = {tag: f"{tag} p95" for tag in (LAG_ARRIVAL, LAG_LOOP)}
MEMORY, DESCRIPTORS = "memory", "descriptors"
"""Names of figures that are watched."""
MIN_EXPECTED_GUESTS = 1.0
"""Where fewer guests are expected, the share is not computed."""


def occupancy_over_expected(series: Series) -> Values:
    """Guests in session as a share of those to expect, per bin.

    None until the longest session could have ended, and once no guest comes any more.
    """
    lengths = series.totals.get(SESSION_LENGTH)
    started = series.rates.get("started", [])
    present = series.sessions.get("occupancy", [])
    if lengths is None or not lengths.count or not started or not present:
        return []
    cut = series.totals.get(SESSION_CUT)
    expected = expected_occupancy(started, series.width_s, lengths, cut)
    first_s = series.starts_s[0] + (lengths.max_ms or 0.0) / 1000
    last_s = min(
        (at for phase, at in series.phases.items() if phase not in ("", Phase.RUNNING)),
        default=series.starts_s[-1] + series.width_s,
    )
    return [
        guests / fair
        if guests is not None
        and fair >= MIN_EXPECTED_GUESTS
        and first_s <= start
        and start + series.width_s <= last_s
        else None
        for start, guests, fair in zip(series.starts_s, present, expected, strict=True)
    ]


def expected_occupancy(
    started_per_s: Values, width_s: float, lengths: Counted, cut: Counted | None = None
) -> list[float]:
    """The guests to expect at the end of each bin of ``width_s`` seconds.

    ``cut`` are the stays that the end of the run ended.
    """
    arrivals: NDArray[np.float64] = np.array([rate or 0.0 for rate in started_per_s]) * width_s
    length_s, shares = session_lengths(lengths, cut)
    # The share that is still there, averaged over the ages of those who came in each bin before.
    edges_s = np.arange(arrivals.size + 1) * width_s
    stayed_s = np.minimum.outer(edges_s, length_s) @ shares
    still_there = np.diff(stayed_s) / width_s
    return [float(guests) for guests in np.convolve(arrivals, still_there)[: arrivals.size]]


def session_lengths(
    lengths: Counted, cut: Counted | None
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Lengths in seconds and the share of guests who stay so long (E. L. Kaplan, P. Meier, 1958).

    A session that was cut counts as longer than that. None is expected to be longer than the
    longest that ended by itself: a session beyond that is stuck, and those are to be detected.
    """
    rows = [(us / 1e6, ended, 0) for us, ended in lengths.buckets_us()]
    longest_s = rows[-1][0]
    if cut is not None:
        rows += [(min(us / 1e6, longest_s), 0, many) for us, many in cut.buckets_us()]
    rows.sort()
    length_s, ended, ended_by_us = np.array(rows, dtype=float).T
    leaving = ended + ended_by_us
    at_risk = leaving.sum() - np.concatenate([[0.0], np.cumsum(leaving)[:-1]])
    left = np.cumprod(1 - ended / at_risk)
    shares = -np.diff(left, prepend=1.0)
    shares[-1] += left[-1]
    return length_s, shares


FEWEST_BINS = 20
TIMED_OPERATIONS = ("session_open", "delivered", "reply", "clear", "resume")
"""Operations whose p50 and p95 are watched, where they happened."""
ERRORS_MATTER = 0.005
"""A change of the share of errors by half a percentage point over the run counts."""
TIMES_MATTER_MS = 1.0
"""Nobody waits longer for less than a millisecond, also where that is a large share."""
LAG_MATTERS_MS = 5.0
DESCRIPTORS_MATTER = 10.0
"""A process has about twenty, and one more for each guest in session."""
RESUMES_MATTER = 1.0
"""A minute, over the run."""


def assess_run(
    run_dir: Path,
    *,
    warmup_s: float | None = None,
    tolerated_leak: float = TOLERATED_LEAK,
    limits: Mapping[str, str] = MappingProxyType({}),
) -> DriftReport:
    """Judge a soak from its run directory. Raises ConfigError when there is nothing to judge.

    ``limits`` are by figure, as people write them; the run's own objectives hold beside them.
    """
    series = read_series(run_dir)
    if series is None:
        raise ConfigError(f"{run_dir.name}: there are no measurements to judge")
    account = read_account(run_dir)
    watched = list(watched_of(series))
    units = {one.name: one.unit for one in watched}
    known = limits_of_objectives(run_dir) | read_limits(limits, units)
    return assess(
        [replace(one, limit=known.get(one.name)) for one in watched],
        sessions=account.opened,
        # What a sweep has ended since then was left over by the run all the same.
        leftovers=account.leftover + account.settled + account.disconnected,
        ended_later=account.settled + account.disconnected,
        duration_s=len(series) * series.width_s,
        tolerated_leak=tolerated_leak,
        warmup_s=warmup_s,
    )


def limits_of_objectives(run_dir: Path) -> dict[str, float]:
    """Where a watched figure of the service would miss an objective of its run."""
    limits: dict[str, float] = {}
    for text in read_start(run_dir).get("objectives", ()):
        objective = parse_objective(text)
        if objective.op not in (Op.LESS, Op.AT_MOST) or objective.kind is Kind.CORRECTED:
            continue
        name = f"{objective.subject} {objective.figure}"
        if objective.percent is not None:
            name = f"{objective.subject} p{objective.percent:g}"
        limits[name] = min(objective.limit, limits.get(name, objective.limit))
    return limits


def read_limits(limits: Mapping[str, str], units: Mapping[str, str]) -> dict[str, float]:
    """``{"reply p95": "5s", "memory": "2000", "reply errors": "1%"}`` in each figure's own unit.

    Raises ConfigError naming the figure, or those that there are.
    """
    in_units = {}
    for name, text in limits.items():
        if name not in units:
            raise ConfigError(f"--limit: {name!r} is not watched; there are: {', '.join(units)}")
        what, unit, text = f"--limit: {name}", units[name], text.strip()
        if unit in ("ms", "s"):
            in_units[name] = seconds(text, what) * (1000 if unit == "ms" else 1)
            continue
        try:
            number = float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
        except ValueError:
            number = nan
        if not 0 <= number < inf:
            kind = {"share": "a share such as 1%", "MB": "megabytes"}.get(unit, "a number")
            raise ConfigError(f"{what}: expected {kind}, got {text!r}")
        in_units[name] = number
    return in_units


def watched_of(series: Series) -> Iterator[Watched]:
    """The service's figures, then the harness's own; those with too few bins are left out."""
    load = series.sessions.get("occupancy", [])
    service, harness = (partial(_watched, series, side) for side in Side)
    for operation in TIMED_OPERATIONS:
        bands = series.bands_ms.get(service_tag(operation), {})
        for percent in (50.0, 95.0):
            name, values = f"{operation} p{percent:g}", bands.get(percent, [])
            least = series.at_least(service_tag(operation), percent)
            times: dict[str, Any] = {
                "unit": "ms",
                "floor": TIMES_MATTER_MS,
                "lower_bounds": sum(least),
            }
            yield from service(name, values, load=load, **times)
    absolute: dict[str, Any] = {"relative": False}
    for operation in TIMED_OPERATIONS:
        shares, trials = _error_shares(series, operation)
        how = absolute | {"matters": ERRORS_MATTER, "unit": "share"}
        yield from service(f"{operation} errors", shares, trials=trials, **how)
    lost = series.counts.get("reconnects", [])
    resumes: Values = [60 * (count or 0.0) / series.width_s for count in lost]
    if any(resumes):
        how = absolute | {"matters": RESUMES_MATTER, "fills": True}
        yield from service(RESUMES, resumes, **how)
    shares = occupancy_over_expected(series)
    how = {"matters": 0.1, "fills": True, "less_is_better": False}
    yield from service(OCCUPANCY, shares, **how)
    for tag in LAGS:
        values = series.bands_ms.get(tag, {}).get(95.0, [])
        how = absolute | {"matters": LAG_MATTERS_MS, "unit": "ms"}
        yield from harness(LAGS[tag], values, load=load, **how)
    memory, descriptors = (series.process.get(name, []) for name in ("rss_mb", "fds"))
    yield from harness(MEMORY, memory, load=load, fills=True, unit="MB")
    yield from harness(DESCRIPTORS, descriptors, load=load, fills=True, floor=DESCRIPTORS_MATTER)


def _watched(
    series: Series,
    side: Side,
    name: str,
    values: Values,
    *,
    load: Values | None = None,
    trials: Values | None = None,
    less_is_better: bool = True,
    **how: Any,
) -> Iterator[Watched]:
    loads: Values = load or [0.0] * len(values)
    tried: Values = trials or [1.0] * len(values)
    rows = [
        (at, value, beside, many)
        for at, value, beside, many in zip(series.starts_s, values, loads, tried, strict=False)
        if value is not None and beside is not None and many is not None
    ]
    if len(rows) >= FEWEST_BINS:
        at_s, figures, beside_them, many = zip(*rows, strict=True)
        follows = len(set(beside_them)) > 1
        yield Watched(
            name=name,
            side=side,
            at_s=at_s,
            values=figures,
            load=beside_them if follows else None,
            trials=None if trials is None else many,
            less_is_better=less_is_better,
            **how,
        )


def _error_shares(series: Series, operation: str) -> tuple[Values, Values]:
    """The share of errors in each bin, and of how many; what the run's end cut short is none."""
    prefix = f"{operation}."
    counted = {
        name.removeprefix(prefix): values
        for name, values in series.operations.items()
        if name.startswith(prefix) and name != f"{prefix}{Outcome.CUT_SHORT}"
    }
    shares: Values = []
    trials: Values = []
    for place in range(len(series)):
        counts = {name: values[place] or 0.0 for name, values in counted.items()}
        total = sum(counts.values())
        shares.append(None if not total else 1 - counts.get("ok", 0.0) / total)
        trials.append(total or None)
    # Without a single error there is no series to speak of: the share is zero throughout.
    return (shares, trials) if any(shares) else ([], [])


LEAK = ("verdict", "share", "low", "high", "tolerated", "per_hour", "ended_later")
TREND = (
    "verdict", "change", "low", "high", "relative", "level", "slope_per_h", "span_s", "cut_s",
    "longer_s", "note",
)  # fmt: skip
"""A leak and a trend as JSON, for other programs."""


def as_dict(report: DriftReport) -> Mapping[str, Any]:
    leak = report.leak
    return {
        "verdict": str(report.verdict),
        "sentence": report.sentence,
        "leak": leak and {key: getattr(leak, key) for key in LEAK},
        "findings": [
            {
                "name": finding.watched.name,
                "side": str(finding.watched.side),
                **{key: getattr(finding.trend, key) for key in TREND},
                "unit": finding.watched.unit,
                "step": finding.trend.step and asdict(finding.trend.step),
                "limit": finding.watched.limit,
                "limit_in_s": finding.limit_in_s
                and [at if at < inf else None for at in finding.limit_in_s],
            }
            for finding in report.findings
        ],
    }
