"""How many guests are in session against how many their arrivals imply.

Whoever arrived a while ago is still there with the probability that a session lasts so long, so the
arrivals and the lengths of all sessions of a run give an occupancy to expect at each moment (a
system without waiting, as M/G/∞, for which Little's law is the mean). Sessions that get stuck come
on top of it, while ups and downs of the load, and a run's slow filling with guests who stay long,
are in both.
"""

import numpy as np
from numpy.typing import NDArray

from harness.measure.counted import Counted
from harness.measure.recorder import SESSION_CUT, SESSION_LENGTH
from harness.rundir.intervals import Series, Values

LEAST_EXPECTED = 1.0
"""Where fewer guests are expected, their share says nothing."""


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
        (at for phase, at in series.phases.items() if phase not in ("", "running")),
        default=series.starts_s[-1] + series.width_s,
    )
    return [
        guests / fair
        if guests is not None
        and fair >= LEAST_EXPECTED
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
    length_s, shares = stays(lengths, cut)
    # The share that is still there, averaged over the ages of those who came in each bin before.
    edges_s = np.arange(arrivals.size + 1) * width_s
    stayed_s = np.minimum.outer(edges_s, length_s) @ shares
    still_there = np.diff(stayed_s) / width_s
    return [float(guests) for guests in np.convolve(arrivals, still_there)[: arrivals.size]]


def stays(lengths: Counted, cut: Counted | None) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Lengths in seconds and the share of guests who stay so long (E. L. Kaplan, P. Meier, 1958).

    A stay that was cut tells that it is longer. None is expected to be longer than the longest that
    ended by itself: who stays beyond that is stuck, which is what is looked for.
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
