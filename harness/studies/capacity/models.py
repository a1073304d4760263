"""What several levels of load say together: two laws, and where a curve meets its limit.

The Universal Scalability Law fitted to throughput at several levels of concurrency: X(N) =
lambda N / (1 + sigma (N - 1) + kappa N (N - 1)); lambda is the throughput of one, sigma the share
of work that has to queue (contention), kappa the cost of keeping copies in step (coherency).
N. J. Gunther, Guerrilla Capacity Planning (2007), chapters 4 to 6.

The M/M/c queue that fits percentiles of response times measured at several rates. Its closed form
predicts the limit (L. Kleinrock, Queueing Systems I (1975), section 3.5).

A level near the limit is rarely clear by itself, but some of them together tell well where the
curve crosses: a straight line through their readings, each weighed by its error, and the interval
of its zero (E. C. Fieller, 1954). What is read is chosen so that a line is fair. A time in a queue
grows as 1 / (capacity - load), so its inverse falls in a line; a share of errors rises by about the
same factor for each step, so its logarithm does.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from math import exp, inf, isfinite, log, sqrt

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq, least_squares, minimize_scalar
from scipy.special import chdtrc

from harness.errors import ConfigError
from harness.measure.statistics import student_quantile
from harness.studies.queueing import Queue

Floats = NDArray[np.float64]
FEWEST_LEVELS = 6
# A residual this large means that the law does not describe the service.
LARGE_RESIDUAL = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Scalability:
    """The fitted law. ``errors`` are standard errors of (lambda, sigma, kappa), where known.

    ``residuals`` are (measured - fitted) / fitted at each level, in the order given. ``doubts``
    says why not to trust it; empty when nothing speaks against it.
    """

    lambda_: float
    sigma: float
    kappa: float
    errors: tuple[float, float, float] | None
    residuals: tuple[float, ...]
    r_squared: float
    doubts: tuple[str, ...] = ()

    def throughput(self, concurrency: float) -> float:
        """Fitted throughput at a concurrency of 0 or more."""
        return float(_law(np.asarray(concurrency), self.lambda_, self.sigma, self.kappa))

    @property
    def peak_concurrency(self) -> float:
        """Where the throughput is highest; infinite without a coherency cost."""
        if self.kappa <= 0:
            return inf
        return max(1.0, sqrt(max(0.0, 1 - self.sigma) / self.kappa))

    @property
    def peak_throughput(self) -> float:
        if self.kappa > 0:
            return self.throughput(self.peak_concurrency)
        return self.lambda_ / self.sigma if self.sigma > 0 else inf


def fit_scalability(concurrency: Sequence[float], throughput: Sequence[float]) -> Scalability:
    """Least squares over the levels; three different levels are the fewest that can be fitted.

    Errors of measured throughput grow with it, so relative residuals are made small only when
    judging; the fit itself uses absolute ones as the published examples do.
    """
    n, x = _checked("scalability", concurrency, throughput)
    start = _start(n, x)
    scale = np.array([start[0], 0.1, 0.01])

    def residual(scaled: Floats) -> Floats:
        off: Floats = (_law(n, *(scaled * scale)) - x) / x.max()
        return off

    solution = least_squares(
        residual,
        np.clip(start / scale, 1e-9, None),
        bounds=([1e-9, 0.0, 0.0], [inf, inf, inf]),
        x_scale=1.0,
        xtol=1e-14,
        ftol=1e-14,
        gtol=1e-14,
        max_nfev=5000,
    )
    lambda_, sigma, kappa = (float(value) for value in solution.x * scale)
    fitted = _law(n, lambda_, sigma, kappa)
    residuals = (x - fitted) / fitted
    spread = float(((x - x.mean()) ** 2).sum())
    r_squared = 1 - float(((x - fitted) ** 2).sum()) / spread if spread > 0 else 0.0
    errors = _errors(np.asarray(solution.jac) / scale, float((solution.fun**2).sum()), n.size)
    law = Scalability(
        lambda_=lambda_,
        sigma=sigma,
        kappa=kappa,
        errors=errors,
        residuals=tuple(float(value) for value in residuals),
        r_squared=r_squared,
    )
    return replace(law, doubts=(*_doubts(law, n, residuals),))


def _law(n: Floats, lambda_: float, sigma: float, kappa: float) -> Floats:
    result: Floats = lambda_ * n / (1 + sigma * (n - 1) + kappa * n * (n - 1))
    return result


def _start(n: Floats, x: Floats) -> Floats:
    """From lambda N/X = (1 - sigma) + (sigma - kappa) N + kappa N², which is linear."""
    square, line, constant = np.polyfit(n, n / x, 2)
    whole = square + line + constant  # = 1/lambda
    if whole <= 0:
        return np.array([float((x / n).max()), 0.05, 1e-4])
    kappa = max(square / whole, 1e-9)
    return np.array([1 / whole, max((line + square) / whole, 1e-9), kappa])


def _errors(jacobian: Floats, squares: float, many: int) -> tuple[float, float, float] | None:
    if many <= 3:
        return None
    try:
        covariance = np.linalg.inv(jacobian.T @ jacobian) * squares / (many - 3)
    except np.linalg.LinAlgError:
        return None
    lambda_, sigma, kappa = np.sqrt(np.abs(np.diag(covariance)))
    return float(lambda_), float(sigma), float(kappa)


def _doubts(law: Scalability, n: Floats, residuals: Floats) -> Iterator[str]:
    if n.size < FEWEST_LEVELS:
        yield f"only {n.size} levels; at least {FEWEST_LEVELS} are needed"
    worst = float(np.abs(residuals).max())
    if worst > LARGE_RESIDUAL:
        at = f"{n[int(np.abs(residuals).argmax())]:.3g} in session"
        yield f"at {at} the law is off by {worst:.0%}: the service does not follow it"
    if n.max() < 4 * n.min():
        yield "the levels are too close together; the largest should be 4 times the least"
    peak = law.peak_concurrency
    if isfinite(peak) and peak > n.max():
        yield (
            f"the peak at {peak:.4g} lies above the highest level measured ({n.max():.4g}): "
            "it is extrapolated"
        )
    if law.errors is not None and law.kappa > 0:
        sure = student_quantile(0.975, max(1, n.size - 3))
        if law.kappa - sure * law.errors[2] <= 0:
            yield "the coherency cost is not shown to differ from zero, so nor is a peak"
    if law.sigma >= 1:
        yield "sigma is 1 or more: throughput does not grow at all"


def _checked(law: str, loads: Sequence[float], figures: Sequence[float]) -> tuple[Floats, Floats]:
    n, x = np.asarray(loads, dtype=float), np.asarray(figures, dtype=float)
    if n.shape != x.shape or n.ndim != 1:
        raise ConfigError(f"{law}: expected as many loads as figures")
    if not (np.isfinite(n).all() and np.isfinite(x).all() and (n > 0).all() and (x > 0).all()):
        raise ConfigError(f"{law}: expected numbers above zero")
    if (different := np.unique(n).size) < 3:
        raise ConfigError(f"{law}: {different} different levels; it takes three")
    return n, x


QUEUE_FEWEST_LEVELS = 4
QUEUE_LARGE_RESIDUAL = 0.15
"""A residual this large means that no such queue describes the service."""
SERVER_GRID = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128)
MAX_UTILISATION = 0.999
"""The highest utilisation of the workers that is fitted: beyond it there is no steady state."""


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueFit:
    """``residuals`` are (measured - fitted) / fitted at each level, in the order given.

    ``doubts`` says why not to trust it; empty when nothing speaks against it.
    """

    servers: int
    service_s: float
    percent: float
    residuals: tuple[float, ...] = ()
    doubts: tuple[str, ...] = ()

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
    _checked("queue", rates, times_s)
    best = cache(partial(_best_service, rates, times_s, percent))

    def error(servers: int) -> float:
        return best(servers)[0]

    about = min(SERVER_GRID, key=error)
    at = SERVER_GRID.index(about)
    low, high = SERVER_GRID[max(0, at - 1)], SERVER_GRID[min(len(SERVER_GRID) - 1, at + 1)]
    servers = min(range(low, high + 1), key=error)
    queue_fit = QueueFit(servers=servers, service_s=best(servers)[1], percent=percent)
    fitted = [queue_fit.time_s(rate) for rate in rates]
    residuals = tuple(time / fit - 1 for time, fit in zip(times_s, fitted, strict=True))
    doubts = (*_queue_doubts(queue_fit, rates, residuals),)
    return replace(queue_fit, residuals=residuals, doubts=doubts)


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

    most = log(MAX_UTILISATION * servers / max(rates))
    minimum = minimize_scalar(
        error, bounds=(most - 7, most), method="bounded", options={"xatol": 1e-4}
    )
    return float(minimum.fun), exp(float(minimum.x))


def _queue_doubts(
    fit: QueueFit, rates: Sequence[float], residuals: Sequence[float]
) -> Iterator[str]:
    if len(rates) < QUEUE_FEWEST_LEVELS:
        yield f"only {len(rates)} levels; at least {QUEUE_FEWEST_LEVELS} are needed"
    worst = max(residuals, key=abs)
    if abs(worst) > QUEUE_LARGE_RESIDUAL:
        at = rates[list(residuals).index(worst)]
        yield f"at {at:.3g} a second it is off by {abs(worst):.0%}: no such queue describes it"
    if max(rates) * fit.service_s / fit.servers < 0.6:
        yield "no level came near what the workers can do, so their number is a guess"


LOWEST_DISTANCE, HIGHEST_DISTANCE = -1.0, 0.7
"""Only readings in this range of distances from the limit are used to find the crossing."""
CURVATURE_SHARE = 0.15
"""A reading may be off by this share of its distance from the limit, because the curve is not a
line."""
FEWEST_READINGS = 3
OWN_ERROR_FREEDOM = 2
"""The weight of the levels' own errors beside the scatter around the line, in degrees of freedom.
"""
ONE_SIDED_CONFIDENCE = 0.9875
INTERVAL_ERRORS = 2.24
"""The half width of the interval, in standard errors. It would be 97.5 % on each side if the curve
were a line, which is only roughly so."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """A level's distance from the limit: negative below, zero at it; ``error`` is standard."""

    value: float
    error: float

    def __post_init__(self) -> None:
        if not (isfinite(self.value) and isfinite(self.error) and self.error > 0):
            raise ConfigError(f"capacity: a reading of {self.value!r} with error {self.error!r}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Crossing:
    """Where the limit is met, with its interval, in the unit of the loads."""

    low: float
    centre: float
    high: float
    chance: float = 1.0
    """of readings that lie as far off one line"""

    @property
    def width(self) -> float:
        """How far apart the ends are, as a share."""
        return self.high / self.low - 1


def read_time(figure: float, limit: float, error_share: float) -> Reading:
    """From a percentile of a time and its standard error as a share of it."""
    left = limit / figure
    return Reading(value=1 - left, error=left * error_share)


def read_share(figure: float, limit: float, error_share: float) -> Reading:
    """From a share of errors above zero and its standard error as a share of it."""
    # A factor of four is as far as readings tell, as with times.
    return Reading(value=log(figure / limit) / log(4), error=error_share / log(4))


def find_crossing(
    levels: Sequence[tuple[float, Reading]], *, careful: bool = False, wandered: float = 1.0
) -> Crossing | None:
    """``levels`` are (load, reading), all of them around the crossing.

    ``careful``: as for the last word, the interval bears that so few levels say little of how much
    they differ from one another. ``wandered``: by what squared errors are larger than the levels'
    own, at least 1. None where they do not bound it on both sides.
    """
    near = [(rate, one.value, one.error) for rate, one in levels if is_near(one)]
    if len(near) < FEWEST_READINGS:
        return None
    freedom = len(near) - 2
    widths = (
        student_quantile(ONE_SIDED_CONFIDENCE, freedom + OWN_ERROR_FREEDOM)
        if careful
        else INTERVAL_ERRORS
    )
    rates, values, errors = np.array(near).T
    weights = 1 / (errors**2 + (CURVATURE_SHARE * values) ** 2)
    whole = float(weights.sum())
    middle, height = (float(weights @ column) / whole for column in (rates, values))
    spread = float(weights @ (rates - middle) ** 2)
    if spread <= 0:
        return None
    slope = float(weights @ ((rates - middle) * values)) / spread
    if slope <= 0:
        return None
    off = float(weights @ (values - height - slope * (rates - middle)) ** 2)
    # Where the points lie off the line by more than their errors, all is less certain.
    more = max(wandered, off / freedom)
    reach = widths**2 * more
    # Fieller: all d with (height + slope d)^2 <= reach (1 / whole + d^2 / spread).
    a = slope**2 - reach / spread
    if a <= 0:
        return None  # not even the slope is certain
    b, c = height * slope, height**2 - reach / whole
    root = sqrt(max(0.0, b * b - a * c))
    low, high = middle + (-b - root) / a, middle + (-b + root) / a
    centre = middle - height / slope
    if not 0 < low < high:
        return None
    return Crossing(low=low, centre=centre, high=high, chance=chance_of(off, freedom))


def is_near(reading: Reading) -> bool:
    """Whether a reading is near enough to the limit to be used to find the crossing."""
    return LOWEST_DISTANCE <= reading.value <= HIGHEST_DISTANCE


def chance_of(off: float, freedom: int) -> float:
    """The probability that squared standard errors add up to at least ``off`` by chance; 1
    without degrees of freedom."""
    return float(chdtrc(freedom, off)) if freedom else 1.0
