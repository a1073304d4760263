"""A real Prometheus scrapes a distributed run to its end, and stores what the record says."""

import json
import shutil
import subprocess
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from locusts import environment_for, locustfile
from processes import start_harness

import harness.deploy
from harness.supervise.children import free_port

pytestmark = [
    pytest.mark.process,
    pytest.mark.skipif(
        shutil.which("prometheus") is None,
        reason="no prometheus here (apt-get install prometheus on Debian)",
    ),
]

CONFIG = """
global:
  scrape_interval: 2s
  scrape_timeout: 2s
scrape_configs:
  - job_name: harness
    static_configs:
      - targets: ["127.0.0.1:{port}"]
"""
SHAPE = "class Shape(ArrivalShape):\n    arrivals = steady(per_second=8, over='40s')\n"


class Prometheus:
    """Scrapes one endpoint; its own pages are on loopback."""

    def __init__(self, directory: Path, metrics_port: str) -> None:
        (directory / "prometheus.yml").write_text(CONFIG.format(port=metrics_port))
        self._port = free_port()
        self.process = subprocess.Popen(
            ["prometheus", f"--config.file={directory / 'prometheus.yml'}",
             f"--storage.tsdb.path={directory / 'data'}",
             f"--web.listen-address=127.0.0.1:{self._port}"],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip

    def ask(self, path: str, **query: str) -> Any:
        """What its API answers; None while it is not there yet."""
        address = f"http://127.0.0.1:{self._port}/api/v1/{path}?{urllib.parse.urlencode(query)}"
        try:
            with urllib.request.urlopen(address, timeout=5) as answer:
                return json.load(answer)["data"]
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{query}: {error.read().decode()}") from error
        except OSError:
            return None

    def values(self, query: str) -> list[float]:
        """The present values of a query, those that are numbers."""
        found = self.ask("query", query=query)
        numbers = [float(item["value"][1]) for item in found["result"]] if found else []
        return [number for number in numbers if number == number]  # not NaN

    def metadata(self) -> dict[str, str]:
        """The type of each metric that was scraped."""
        found = self.ask("targets/metadata") or []
        return {item["metric"]: item["type"] for item in found if "harness_" in item["metric"]}


@pytest.fixture
def scraped(simulator: Any, tmp_path: Path) -> Iterator[tuple[Prometheus, Any]]:
    file = locustfile(tmp_path, messages=3, think="200ms", more=SHAPE)
    metrics = free_port()
    run = start_harness(
        "run", str(file), "--target", simulator.url, "--processes", "2",
        "--metrics-port", metrics, "--stop-timeout", "0s", "--reports", str(tmp_path / "reports"),
        env=environment_for(tmp_path, simulator.url), stdout=subprocess.DEVNULL,
    )  # fmt: skip
    prometheus = Prometheus(tmp_path, metrics)
    yield prometheus, run
    for process in (prometheus.process, run):
        if process.poll() is None:
            process.terminate()
    for process in (prometheus.process, run):
        process.wait(60)


def dashboard_queries() -> list[str]:
    dashboard = json.loads(harness.deploy.path("grafana-dashboard.json").read_text())
    return [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]


def test_what_is_stored_is_what_the_record_says(
    scraped: tuple[Prometheus, Any], tmp_path: Path
) -> None:
    prometheus, run = scraped
    queries = dashboard_queries()
    unanswered = set(queries)
    deadline = time.monotonic() + 70
    while unanswered and time.monotonic() < deadline:
        time.sleep(1)
        unanswered = {query for query in unanswered if not prometheus.values(query)}
    assert unanswered == set()
    types = prometheus.metadata()
    assert types["harness_service_seconds"] == "histogram"
    assert types["harness_arrivals"] == types["harness_sessions"] == "counter"
    assert types["harness_occupancy"] == "gauge"
    assert prometheus.values("count(harness_process_resident_bytes)") == [2.0]
    assert prometheus.values("sum(up)") == [1.0]
    run.wait(90)
    record = json.loads((tmp_path / "reports" / "latest" / "run.json").read_text())
    begun = 'last_over_time(harness_run_info{run_id!=""}[5m])'
    (info,) = prometheus.ask("query", query=begun)["result"]
    assert info["metric"]["run_id"] == record["run_id"]
    # The endpoint was there until the last figures had been fetched.
    for query, expected in (
        ('sessions_total{state="opened"}', record["sessions"]["opened"]),
        ('sessions_total{state="cleared"}', record["sessions"]["cleared"]),
        ('arrivals_total{kind="started"}', record["arrivals"]["started"]),
        (
            'operations_total{operation="reply",outcome="ok"}',
            record["operations"]["reply"]["count"],
        ),
    ):
        assert prometheus.values(f"sum(last_over_time(harness_{query}[5m]))") == [expected], query
    for operation in ("reply", "connect"):
        buckets = f'last_over_time(harness_service_seconds_bucket{{operation="{operation}"}}[5m])'
        (p95_s,) = prometheus.values(f"histogram_quantile(0.95, sum by (le) ({buckets}))")
        p95_ms = record["operations"][operation]["service_ms"]["p95"]
        wide = 0.05 if p95_ms > 10 else 0.22  # below that buckets are wider
        assert p95_s * 1000 == pytest.approx(p95_ms, rel=wide), operation
