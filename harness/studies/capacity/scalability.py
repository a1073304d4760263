"""The Universal Scalability Law fitted to throughput at several levels of concurrency.

X(N) = lambda N / (1 + sigma (N - 1) + kappa N (N - 1)): lambda is the throughput of one, sigma the
share of work that has to queue (contention), kappa the cost of keeping copies in step (coherency).
N. J. Gunther, Guerrilla Capacity Planning (2007), chapters 4 to 6.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import inf, isfinite, sqrt

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import least_squares
from scipy.stats import t

from harness.errors import ConfigError

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
    doubts: tuple[str, ...]

    def throughput(self, concurrency: float) -> float:
        """Fitted throughput at a concurrency of 0 or more."""
        n = concurrency
        return self.lambda_ * n / (1 + self.sigma * (n - 1) + self.kappa * n * (n - 1))

    @property
    def peak_concurrency(self) -> float:
        """Where the throughput is highest; infinite without a coherency cost."""
        if self.kappa <= 0:
            return inf
        return max(1.0, sqrt(max(0.0, 1 - self.sigma) / self.kappa))

    @property
    def peak_throughput(self) -> float:
        """The highest throughput there can be."""
        if self.kappa > 0:
            return self.throughput(self.peak_concurrency)
        return self.lambda_ / self.sigma if self.sigma > 0 else inf


def fit_scalability(concurrency: Sequence[float], throughput: Sequence[float]) -> Scalability:
    """Least squares over the levels; three different levels are the fewest that can be fitted.

    Errors of measured throughput grow with it, so relative residuals are made small only when
    judging; the fit itself uses absolute ones as the published examples do.
    """
    n, x = _checked(concurrency, throughput)
    start = _start(n, x)
    scale = np.array([start[0], 0.1, 0.01])

    def residual(scaled: NDArray[np.float64]) -> NDArray[np.float64]:
        off: NDArray[np.float64] = (_law(n, *(scaled * scale)) - x) / x.max()
        return off

    found = least_squares(
        residual,
        np.clip(start / scale, 1e-9, None),
        bounds=([1e-9, 0.0, 0.0], [inf, inf, inf]),
        x_scale=1.0,
        xtol=1e-14,
        ftol=1e-14,
        gtol=1e-14,
        max_nfev=5000,
    )
    lambda_, sigma, kappa = (float(value) for value in found.x * scale)
    fitted = _law(n, lambda_, sigma, kappa)
    residuals = (x - fitted) / fitted
    spread = float(((x - x.mean()) ** 2).sum())
    r_squared = 1 - float(((x - fitted) ** 2).sum()) / spread if spread > 0 else 0.0
    errors = _errors(np.asarray(found.jac) / scale, float((found.fun**2).sum()), n.size)
    law = Scalability(
        lambda_=lambda_,
        sigma=sigma,
        kappa=kappa,
        errors=errors,
        residuals=tuple(float(value) for value in residuals),
        r_squared=r_squared,
        doubts=(),
    )
    return replace(law, doubts=_doubts(law, n, residuals))


def _law(n: NDArray[np.float64], lambda_: float, sigma: float, kappa: float) -> NDArray[np.float64]:
    result: NDArray[np.float64] = lambda_ * n / (1 + sigma * (n - 1) + kappa * n * (n - 1))
    return result


def _start(n: NDArray[np.float64], x: NDArray[np.float64]) -> NDArray[np.float64]:
    """From lambda N/X = (1 - sigma) + (sigma - kappa) N + kappa N², which is linear."""
    square, line, constant = np.polyfit(n, n / x, 2)
    whole = square + line + constant  # = 1/lambda
    if whole <= 0:
        return np.array([float((x / n).max()), 0.05, 1e-4])
    kappa = max(square / whole, 1e-9)
    return np.array([1 / whole, max((line + square) / whole, 1e-9), kappa])


def _errors(
    jacobian: NDArray[np.float64], squares: float, many: int
) -> tuple[float, float, float] | None:
    if many <= 3:
        return None
    try:
        covariance = np.linalg.inv(jacobian.T @ jacobian) * squares / (many - 3)
    except np.linalg.LinAlgError:
        return None
    lambda_, sigma, kappa = np.sqrt(np.abs(np.diag(covariance)))
    return float(lambda_), float(sigma), float(kappa)


def _doubts(
    law: Scalability, n: NDArray[np.float64], residuals: NDArray[np.float64]
) -> tuple[str, ...]:
    doubts = []
    if n.size < FEWEST_LEVELS:
        doubts.append(f"only {n.size} levels; at least {FEWEST_LEVELS} are needed")
    worst = float(np.abs(residuals).max())
    if worst > LARGE_RESIDUAL:
        at = n[int(np.abs(residuals).argmax())]
        doubts.append(f"at {at:g} the law is off by {worst:.0%}: the service does not follow it")
    if n.max() < 4 * n.min():
        doubts.append("the levels are too close together; the largest should be 4 times the least")
    peak = law.peak_concurrency
    if isfinite(peak) and peak > n.max():
        doubts.append(
            f"the peak at {peak:.4g} lies above the highest level measured ({n.max():g}): "
            "it is extrapolated"
        )
    if law.errors is not None and law.kappa > 0:
        sure = float(t.ppf(0.975, max(1, n.size - 3)))
        if law.kappa - sure * law.errors[2] <= 0:
            doubts.append("the coherency cost is not shown to differ from zero, so nor is a peak")
    if law.sigma >= 1:
        doubts.append("sigma is 1 or more: throughput does not grow at all")
    return tuple(doubts)


def _checked(
    concurrency: Sequence[float], throughput: Sequence[float]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    n, x = np.asarray(concurrency, dtype=float), np.asarray(throughput, dtype=float)
    if n.shape != x.shape or n.ndim != 1:
        raise ConfigError("scalability: expected as many concurrencies as throughputs")
    if not (np.isfinite(n).all() and np.isfinite(x).all() and (n > 0).all() and (x > 0).all()):
        raise ConfigError("scalability: expected numbers above zero")
    if np.unique(n).size < 3:
        raise ConfigError(f"scalability: {np.unique(n).size} different levels; it takes three")
    return n, x
