"""Queues in closed form: Erlang B, C and A, waiting and response times of M/M/c.

Rates are per second, times in seconds, loads in erlangs (arrival rate times service time).
Sources: L. Kleinrock, Queueing Systems I (1975); for Erlang A: A. Mandelbaum, S. Zeltyn, "Service
engineering in action: the Palm/Erlang-A queue" (2007) and F. Baccelli, G. Hebuterne, "On queues
with impatient customers" (1981).
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from math import ceil, exp, expm1, fsum, inf, isfinite, log, sqrt

import numpy as np
from numpy.typing import NDArray
from scipy.integrate import quad
from scipy.optimize import brentq
from scipy.special import gammaln, pdtr, pdtrik, xlogy

from harness.errors import ConfigError
from harness.measure.statistics import check_percent

MAX_SERVERS = 1_000_000


def erlang_b(load: float, servers: int) -> float:
    """Probability that an arrival finds all servers busy and is turned away (M/G/c/c)."""
    _check(load=load, servers=servers)
    inverse = 1.0
    for k in range(1, servers + 1):  # 1/B(k) = 1 + k/(a B(k-1)): stable at any size
        inverse = 1.0 + inverse * k / load
        if inverse == inf:
            return 0.0
    return 1.0 / inverse


def erlang_c(load: float, servers: int) -> float:
    """Probability that an arrival has to wait (M/M/c); 1 where the queue grows without end."""
    if load >= servers:
        _check(load=load, servers=servers)
        return 1.0
    lost = erlang_b(load, servers)
    return lost / (1.0 - load / servers * (1.0 - lost))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Servers:
    """Poisson arrivals, exponential service, first come first served."""

    arrivals_per_s: float
    service_s: float
    servers: int

    def __post_init__(self) -> None:
        _check(arrivals=self.arrivals_per_s, service=self.service_s, servers=self.servers)

    @property
    def load(self) -> float:
        """Offered load in erlangs: the mean number of busy servers if there were enough."""
        return self.arrivals_per_s * self.service_s


@dataclass(frozen=True, slots=True, kw_only=True)
class Queue(_Servers):
    """An M/M/c queue."""

    @property
    def utilisation(self) -> float:
        """Share of the servers' time that is needed; 1 or more means that the queue grows."""
        return self.load / self.servers

    @property
    def wait_probability(self) -> float:
        """Erlang C."""
        return erlang_c(self.load, self.servers)

    @property
    def mean_wait_s(self) -> float:
        """Mean time in the queue over all arrivals; infinite when overloaded."""
        if self.utilisation >= 1:
            return inf
        return self.wait_probability * self.service_s / (self.servers - self.load)

    def served_within(self, wait_s: float) -> float:
        """P(an arrival is served after a wait of at most wait_s)."""
        if self.utilisation >= 1:
            return 0.0
        return 1.0 - self.wait_probability * exp(-self._drain_per_s * wait_s)

    def response_above(self, time_s: float) -> float:
        """P(queue and service > time_s)."""
        if self.utilisation >= 1:
            return 1.0
        served, drained = 1.0 / self.service_s, self._drain_per_s
        waits = self.wait_probability
        alone = exp(-served * time_s)
        # Waiting and being served is a sum of two exponentials. Where their rates are nearly the
        # same, expm1 keeps the difference exact; where they are far apart it would overflow.
        gap = (served - drained) * time_s
        if abs(gap) > 1.0:
            more = (exp(-drained * time_s) - alone) / gap
        else:
            more = alone * (expm1(gap) / gap if gap else 1.0)
        both = alone + served * time_s * more
        return (1.0 - waits) * alone + waits * both

    def response_percentile_s(self, percent: float) -> float:
        """The time in queue and service that ``percent`` of the arrivals don't exceed."""
        check_percent(percent)
        above = 1.0 - percent / 100.0
        if self.utilisation >= 1:
            return inf
        # Wait and service each stay below their part of it with all but half of what may exceed.
        top = (self.service_s + 1 / self._drain_per_s) * log(2.0 / above)
        return float(brentq(lambda time_s: self.response_above(time_s) - above, 0.0, top))

    @property
    def _drain_per_s(self) -> float:
        return self.servers / self.service_s - self.arrivals_per_s


@dataclass(frozen=True, slots=True, kw_only=True)
class ImpatientQueue(_Servers):
    """Erlang A (M/M/c+M): as Queue, but who waits leaves after an exponential patience."""

    patience_s: float

    def __post_init__(self) -> None:
        _Servers.__post_init__(self)
        _check(patience=self.patience_s)

    @property
    def wait_probability(self) -> float:
        """P(an arrival finds all servers busy)."""
        return self._states[1]

    @property
    def abandon_probability(self) -> float:
        """P(an arrival leaves before it is served)."""
        return min(1.0, self._states[2] / (self.patience_s * self.arrivals_per_s))

    @property
    def mean_wait_s(self) -> float:
        """Mean time in the queue over all arrivals, served or not."""
        return self.abandon_probability * self.patience_s

    @property
    def utilisation(self) -> float:
        """Share of the servers' time in use; below 1 at any load."""
        return self.load * (1.0 - self.abandon_probability) / self.servers

    def served_within(self, wait_s: float) -> float:
        """P(an arrival is served after a wait of at most wait_s)."""
        log_full, waits, _ = self._states
        served, leave = self.servers / self.service_s, 1.0 / self.patience_s
        arrivals, start = self.arrivals_per_s, log_full + log(served)

        def density(wait: float) -> float:
            grown = -arrivals * expm1(-leave * wait) / leave
            return exp(start + grown - (served + leave) * wait)

        # The density has one hump; integrate piece by piece around it, so that none is missed.
        peak = max(0.0, log(arrivals / (served + leave)) / leave)
        width = 1.0 / (served + leave) + 1.0 / sqrt(leave * (served + leave))
        cuts = [peak + far * width for far in (-64, -8, -2, 0, 2, 8, 64, 512)]
        edges = [0.0, *(cut for cut in cuts if 0.0 < cut < wait_s), wait_s]
        waited = fsum(quad(density, low, high)[0] for low, high in pairwise(edges))
        return float(min(1.0, 1.0 - waits + waited))

    @property
    def _states(self) -> tuple[float, float, float]:
        """log P(all busy, none waits), P(all busy), mean number waiting."""
        served, leave = self.servers / self.service_s, 1.0 / self.patience_s
        logs: list[np.ndarray] = []
        last, first, chunk = 0.0, 1, 4096
        while True:
            k = np.arange(first, first + chunk)
            logs.append(last + np.cumsum(np.log(self.arrivals_per_s / (served + k * leave))))
            last, first, chunk = float(logs[-1][-1]), first + chunk, chunk * 2
            top = max(0.0, *(float(part.max()) for part in logs))
            if last < top - 45.0:  # what is left out is below 1e-19 of the whole
                break
            if first > 100_000_000:
                raise ConfigError("patience is too long to tell this queue from an Erlang C one")
        weights = np.exp(np.concatenate(logs) - top)
        above = float(weights.sum())
        waiting = float((weights * np.arange(1, weights.size + 1)).sum())
        lost = erlang_b(self.load, self.servers)
        below = 1.0 / max(lost, 1e-300)
        # All divided by exp(top), so that a badly overloaded queue doesn't overflow.
        unit = exp(-top)
        whole = below * unit + above
        return -top - log(whole), (unit + above) / whole, waiting / whole


def at_once_percentile(queue: Queue | ImpatientQueue, elsewhere: float, share: float) -> int:
    """How many are in service, waiting, or elsewhere, so that fewer or as many are for ``share``.

    ``elsewhere`` is the mean of an independent Poisson number of guests who need no server.
    """
    return int(np.searchsorted(_at_most(queue, elsewhere), share))


@lru_cache(maxsize=1)  # several percentiles are asked of a queue
def _at_most(queue: Queue | ImpatientQueue, elsewhere: float) -> NDArray[np.float64]:
    """How likely so many or fewer are there, by number."""
    leave = 1.0 / queue.patience_s if isinstance(queue, ImpatientQueue) else 0.0
    top = int(queue.load + elsewhere + 12 * sqrt(queue.load + elsewhere) + 40)
    while True:
        n = np.arange(1, top + 1)
        leaving = np.minimum(n, queue.servers) / queue.service_s
        leaving = leaving + np.maximum(0, n - queue.servers) * leave
        logs = np.concatenate(([0.0], np.cumsum(np.log(queue.arrivals_per_s / leaving))))
        weights = np.exp(logs - logs.max())
        if weights[-1] < 1e-12 or top > MAX_SERVERS * 10:
            break
        top *= 2
    others = np.arange(top)
    of_others = np.exp(xlogy(others, elsewhere) - gammaln(others + 1) - elsewhere)
    # Of the sum of both: the product of their transforms, at least as long as both together; a
    # power of two is transformed fast.
    length = weights.size + others.size - 1
    size = 1 << (length - 1).bit_length()
    product = np.fft.rfft(weights / weights.sum(), size) * np.fft.rfft(of_others, size)
    return np.cumsum(np.fft.irfft(product, size)[:length])


def poisson_quantile(share: float, mean: float) -> int:
    """The smallest number that a Poisson count with this mean exceeds in at most 1 - ``share``."""
    number = max(0, ceil(float(pdtrik(share, mean))))
    return number - 1 if number and pdtr(number - 1, mean) >= share else number


def servers_needed(load: float, enough: Callable[[int], bool]) -> int:
    """The smallest number of servers for which ``enough`` (monotone) holds.

    ``enough`` is asked from about ``load`` upwards. ConfigError when none up to a million is.
    """
    _check(load=load)
    low, high = 0, max(1, int(load))
    while high > MAX_SERVERS or not enough(high):
        low, high = high, high * 2
        if high > MAX_SERVERS:
            raise ConfigError(
                f"not even {MAX_SERVERS:,} servers would be enough for {load:,.0f} erlangs"
            )
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high


def _check(**values: float) -> None:
    for name, value in values.items():
        if not isfinite(value) or value <= 0:
            raise ConfigError(f"{name}: expected a number above zero, got {value!r}")
        if name == "servers" and (value != int(value) or value > MAX_SERVERS):
            raise ConfigError(f"servers: expected 1 to {MAX_SERVERS}, got {value!r}")
