"""The live totals for Prometheus: one endpoint in the process that leads the run.

Histograms have classic buckets in seconds, cut from ours, which are finer by far.
"""

from bisect import bisect_left
from collections.abc import Iterator
from typing import Any

from prometheus_client import start_http_server
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
)
from prometheus_client.registry import Collector, CollectorRegistry

from harness.errors import ConfigError
from harness.load.live.totals import TOTALS, Live
from harness.measure.histogram import Histogram
from harness.measure.model import GROUPS
from harness.measure.recorder import SESSION_LENGTH, corrected_tag, service_tag

BOUNDS_S = (
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 30.0,
    60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0,
)  # fmt: skip


class LiveCollector(Collector):
    """Makes metrics of the present totals at each scrape; keeps nothing of its own.

    ``source`` gives the totals of the present run, because a web UI may start one after another.
    """

    def __init__(self, source: Any) -> None:
        self._source = source

    def collect(self) -> Iterator[Any]:
        """All families."""
        live: Live = self._source()
        sessions = GaugeMetricFamily(
            "harness_sessions", "Sessions of this run by what became of them", labels=["state"]
        )
        for state in TOTALS:
            if state != "occupancy":
                sessions.add_metric([state], live.total("sessions", state))
        yield sessions
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
                    _add(family, [operation], live.histograms[tag])
        yield service
        yield corrected
        length = HistogramMetricFamily("harness_session_seconds", "How long guests were in session")
        _add(length, [], live.histograms.get(SESSION_LENGTH, Histogram()))
        yield length
        lag = GaugeMetricFamily(
            "harness_generator_lag_seconds",
            "How late the generator itself was in the last interval, p99",
            value=(live.lag(recent=True).percentile_ms(99) or 0.0) / 1000,
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


def _add(family: HistogramMetricFamily, labels: list[str], histogram: Histogram) -> None:
    counts = [0] * (len(BOUNDS_S) + 1)
    for highest_us, count in histogram.buckets_us():
        counts[bisect_left(BOUNDS_S, highest_us / 1e6)] += count
    total, buckets = 0, []
    for bound, count in zip([*map(str, BOUNDS_S), "+Inf"], counts, strict=True):
        total += count
        buckets.append((bound, float(total)))
    mean_ms = histogram.mean_ms or 0.0
    family.add_metric(labels, buckets=buckets, sum_value=mean_ms / 1000 * histogram.count)


class MetricsServer:
    """The endpoint; :meth:`close` frees the port."""

    def __init__(self, source: Any, *, port: int, address: str) -> None:
        """Listen. Raises ConfigError when the port can't be had."""
        registry = CollectorRegistry()
        registry.register(LiveCollector(source))
        try:
            self._server, self._thread = start_http_server(port, addr=address, registry=registry)
        except OSError as error:
            raise ConfigError(
                f"--metrics-port {port}: can't listen on {address}: {error.strerror or error}"
            ) from error

    def close(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5)
