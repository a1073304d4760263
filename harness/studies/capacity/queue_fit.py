"""The M/M/c queue that fits percentiles of response times measured at several rates.

Where it fits, the limit can be predicted from the queue's closed form and held against the one that
was found; where it does not, that is said. L. Kleinrock, Queueing Systems I (1975), section 3.5.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import exp, isfinite, log

from scipy.optimize import brentq, minimize_scalar

from harness.errors import ConfigError
from harness.studies.queueing import Queue

FEWEST_LEVELS = 4
LARGE_RESIDUAL = 0.15
"""A residual this large means that no such queue describes the service."""
COARSE = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128)
FULL = 0.999
"""Of what the workers can do: beyond that there is no steady state to fit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueFit:
    """``residuals`` are (measured - fitted) / fitted at each level, in the order given.

    ``doubts`` says why not to trust it; empty when nothing speaks against it.
    """

    servers: int
    service_s: float
    percent: float
    residuals: tuple[float, ...]
    doubts: tuple[str, ...]

    def time_s(self, rate: float) -> float:
        """The fitted percentile at a rate per second; infinite beyond what the workers can do."""
        queue = Queue(arrivals_per_s=rate, service_s=self.service_s, servers=self.servers)
        return queue.response_percentile_s(self.percent)

    def rate_at(self, limit_s: float) -> float | None:
        """The rate at which the percentile meets a limit; None where even an idle queue is over."""
        most = self.servers / self.service_s
        if self.time_s(most * 1e-6) >= limit_s:
            return None
        return float(
            brentq(lambda rate: self.time_s(rate) - limit_s, most * 1e-6, most * (1 - 1e-9))
        )


def fit_queue(rates: Sequence[float], times_s: Sequence[float], percent: float) -> QueueFit:
    """Least squares of the logarithms: each level counts by its relative error.

    Raises ConfigError for fewer than three different rates, and for what is no number above zero.
    """
    if len(rates) != len(times_s):
        raise ConfigError("queue: expected as many rates as times")
    if not all(isfinite(value) and value > 0 for value in (*rates, *times_s)):
        raise ConfigError("queue: expected numbers above zero")
    if len(set(rates)) < 3:
        raise ConfigError(f"queue: {len(set(rates))} different rates; it takes three")
    tried: dict[int, tuple[float, float]] = {}

    def error(servers: int) -> float:
        if servers not in tried:
            tried[servers] = _best_service(rates, times_s, percent, servers)
        return tried[servers][0]

    about = min(COARSE, key=error)
    at = COARSE.index(about)
    low, high = COARSE[max(0, at - 1)], COARSE[min(len(COARSE) - 1, at + 1)]
    servers = min(range(low, high + 1), key=error)
    found = QueueFit(
        servers=servers, service_s=tried[servers][1], percent=percent, residuals=(), doubts=()
    )
    fitted = [found.time_s(rate) for rate in rates]
    residuals = tuple(time / fit - 1 for time, fit in zip(times_s, fitted, strict=True))
    return QueueFit(
        servers=servers,
        service_s=found.service_s,
        percent=percent,
        residuals=residuals,
        doubts=_doubts(found, rates, residuals),
    )


def _best_service(
    rates: Sequence[float], times_s: Sequence[float], percent: float, servers: int
) -> tuple[float, float]:
    """(error, service time) that is best for so many servers."""

    def error(log_s: float) -> float:
        squares = 0.0
        for rate, time_s in zip(rates, times_s, strict=True):
            queue = Queue(arrivals_per_s=rate, service_s=exp(log_s), servers=servers)
            squares += log(time_s / queue.response_percentile_s(percent)) ** 2
        return squares

    most = log(FULL * servers / max(rates))
    found = minimize_scalar(
        error, bounds=(most - 7, most), method="bounded", options={"xatol": 1e-4}
    )
    return float(found.fun), exp(float(found.x))


def _doubts(fit: QueueFit, rates: Sequence[float], residuals: Sequence[float]) -> tuple[str, ...]:
    doubts = []
    if len(rates) < FEWEST_LEVELS:
        doubts.append(f"only {len(rates)} levels; at least {FEWEST_LEVELS} are needed")
    worst = max(residuals, key=abs)
    if abs(worst) > LARGE_RESIDUAL:
        at = rates[list(residuals).index(worst)]
        doubts.append(f"at {at:.4g} a second it is off by {worst:+.0%}: no such queue describes it")
    if max(rates) * fit.service_s / fit.servers < 0.6:
        doubts.append("no level came near what the workers can do, so their number is a guess")
    return tuple(doubts)
