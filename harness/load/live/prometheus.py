"""The live totals for Prometheus: one endpoint in the process that leads the run.

Histograms have classic buckets in seconds, cut from ours. (Native ones are scraped as protobuf,
which the client library can't write.) Where people wait, from 10 ms to 20 s, a bucket is at most
5 % wide, and so is the error of a percentile.
"""

import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
from prometheus_client import start_http_server
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
)
from prometheus_client.registry import Collector, CollectorRegistry

from harness.clock import monotonic_ns
from harness.errors import ConfigError
from harness.load.live.totals import TOTALS, Live
from harness.measure.histogram import Histogram, highest_us
from harness.measure.model import GROUPS
from harness.measure.recorder import LAG_LOOP, SESSION_LENGTH, corrected_tag, service_tag

GAUGES = ("leftover", "occupancy")
"""Of the sessions' totals those that may fall."""
LINGERS_S = 65.0
"""At most so long the endpoint stays for a last scrape; most come at least once a minute."""


def _bounds_s(lowest: float, highest: float, number: int) -> tuple[float, ...]:
    """Bounds of buckets, each wider than the one before by the same factor."""
    return tuple(float(f"{bound:.4g}") for bound in np.geomspace(lowest, highest, number))


TIMES_S = (*_bounds_s(0.0001, 0.0083, 24), *_bounds_s(0.01, 20, 161), *_bounds_s(25, 3600, 20))
LENGTHS_S = _bounds_s(1, 86_400, 60)


class LiveCollector(Collector):
    """Converts the present totals to metrics at each scrape; stores nothing but when that was.

    ``source`` returns the totals of the present run, because a web UI may start one after another;
    ``facts`` returns the labels that identify it.
    """

    def __init__(self, source: Callable[[], Live], facts: Callable[[], Mapping[str, str]]) -> None:
        self._source = source
        self._facts = facts
        self.scraped_s: deque[float] = deque(maxlen=3)
        """when the last scrapes were"""

    def collect(self) -> Iterator[Any]:
        """All families. Between them others have their turn: guests may run in this process."""
        for family in self._families(self._source()):
            yield family
            time.sleep(0)
        self.scraped_s.append(monotonic_ns() / 1e9)

    def _families(self, live: Live) -> Iterator[Any]:
        yield InfoMetricFamily("harness_run", "Which run this is", value=dict(self._facts()))
        sessions = CounterMetricFamily(
            "harness_sessions", "Sessions of this run by what became of them", labels=["state"]
        )
        for state in TOTALS:
            if state not in GAUGES:
                sessions.add_metric([state], live.total("sessions", state))
        yield sessions
        yield GaugeMetricFamily(
            "harness_leftovers",
            "Sessions without proof of their end",
            value=live.total("sessions", "leftover"),
        )
        yield GaugeMetricFamily(
            "harness_occupancy", "Guests in session now", value=live.total("sessions", "occupancy")
        )
        arrivals = CounterMetricFamily(
            "harness_arrivals", "Arrivals: due, started, late, dropped", labels=["kind"]
        )
        for kind in ("due", "started", "late", "dropped"):
            arrivals.add_metric([kind], live.arrivals.get(kind, 0))
        yield arrivals
        outcomes = CounterMetricFamily(
            "harness_operations", "Operations by how they ended", labels=["operation", "outcome"]
        )
        for operation, counts in live.outcomes.items():
            # Also while none has ended well, so that a share of errors can be made of it.
            for outcome, number in {"ok": 0, **counts}.items():
                outcomes.add_metric([operation, outcome], number)
        yield outcomes
        yield from self._accounts(live)
        service = HistogramMetricFamily(
            "harness_service_seconds", "The service's own time", labels=["operation"]
        )
        corrected = HistogramMetricFamily(
            "harness_corrected_seconds", "From when the guest was due", labels=["operation"]
        )
        for operation in live.outcomes:
            for family, tag in (
                (service, service_tag(operation)),
                (corrected, corrected_tag(operation)),
            ):
                if tag in live.histograms:
                    _add(family, [operation], live.histograms[tag], TIMES_S)
            time.sleep(0)
        yield service
        yield corrected
        length = HistogramMetricFamily("harness_session_seconds", "How long guests were in session")
        _add(length, [], live.histograms.get(SESSION_LENGTH, Histogram()), LENGTHS_S)
        yield length
        lag = GaugeMetricFamily(
            "harness_generator_lag_seconds",
            "How late the generator itself was in the last interval, p99",
            value=(live.recent(LAG_LOOP).percentiles_ms([99])[0] or 0.0) / 1000,
        )
        yield lag
        yield from self._processes(live)

    @staticmethod
    def _accounts(live: Live) -> Iterator[Any]:
        figures = live.figures()
        for name, ways in GROUPS.items():
            family = CounterMetricFamily(
                f"harness_{name}", f"{name.capitalize()} by what became of them", labels=["end"]
            )
            for way in ways:
                family.add_metric([way], figures[name][way])
            yield family

    @staticmethod
    def _processes(live: Live) -> Iterator[Any]:
        for name, key, scale, text in (
            ("harness_process_cpu_share", "cpu", 1.0, "Share of one core that a process uses"),
            ("harness_process_resident_bytes", "rss_mb", 1e6, "Memory of a process"),
            ("harness_process_open_files", "fds", 1.0, "Open files of a process"),
        ):
            family = GaugeMetricFamily(name, text, labels=["process"])
            for process, row in list(live.newest.items()):
                family.add_metric([process], row["process"].get(key, 0.0) * scale)
            yield family
        yield GaugeMetricFamily(
            "harness_processes_quiet",
            "Processes that have said nothing for a while",
            value=len(live.quiet()),
        )


def _add(
    family: HistogramMetricFamily,
    labels: list[str],
    histogram: Histogram,
    bounds: tuple[float, ...],
) -> None:
    places, counts = histogram.used()
    within = np.searchsorted(bounds, highest_us(places) / 1e6)
    sums = np.cumsum(np.bincount(within, counts, len(bounds) + 1)).tolist()
    buckets = list(zip([*map(str, bounds), "+Inf"], sums, strict=True))
    mean_ms = histogram.mean_ms or 0.0
    family.add_metric(labels, buckets=buckets, sum_value=mean_ms / 1000 * histogram.count)


class MetricsServer:
    """The endpoint; :meth:`close` frees the port."""

    def __init__(
        self,
        source: Callable[[], Live],
        *,
        port: int,
        address: str,
        facts: Callable[[], Mapping[str, str]] = dict,
    ) -> None:
        """Listen. Raises ConfigError when the port can't be had."""
        registry = CollectorRegistry()
        self._collector = LiveCollector(source, facts)
        registry.register(self._collector)
        self._collector.scraped_s.clear()  # to register is to be asked once
        try:
            self._server, self._thread = start_http_server(port, addr=address, registry=registry)
        except OSError as error:
            raise ConfigError(
                f"--metrics-port {port}: can't listen on {address}: {error.strerror or error}"
            ) from error

    def linger(self) -> None:
        """Where a scraper comes regularly, wait until it has fetched the last figures too."""
        scraped_s = self._collector.scraped_s
        if len(scraped_s) < 3:
            return
        last_s = scraped_s[-1]
        pause_s = max(last_s - scraped_s[-2], scraped_s[-2] - scraped_s[-3])
        until_s = min(last_s + 2 * pause_s, monotonic_ns() / 1e9 + LINGERS_S)
        while scraped_s[-1] == last_s and monotonic_ns() / 1e9 < until_s:
            time.sleep(0.05)

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5)
