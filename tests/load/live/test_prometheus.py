"""What is exported is what was measured, and the dashboard asks for nothing else."""

import json
import re
import threading
import time
import urllib.request

import pytest
from live_rows import interval
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

import harness.deploy
from harness.errors import ConfigError
from harness.load.live.prometheus import LiveCollector, MetricsServer
from harness.load.live.totals import Live
from harness.measure.histogram import Histogram
from harness.measure.model import GROUPS, OPERATIONS
from harness.measure.recorder import service_tag
from harness.supervise.children import free_port


def measured() -> Live:
    live = Live()
    live.take_encoded("a", *interval(10, 20, 700, errors=1, occupancy=5, opened=10, leftover=1))
    live.take_encoded("b", *interval(40, occupancy=2, opened=3))
    return live


def scrape(live: Live) -> dict[str, float]:
    port = int(free_port())
    server = MetricsServer(lambda: live, port=port, address="127.0.0.1")
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
            text = answer.read().decode()
    finally:
        server.close()
    return read(text)


def exported_by(live: Live) -> dict[str, float]:
    """What a scrape brings, without a server: to close one takes half a second."""
    registry = CollectorRegistry()
    registry.register(LiveCollector(lambda: live, dict))
    return read(generate_latest(registry).decode())


def read(text: str) -> dict[str, float]:
    return {
        f"{sample.name}{sorted(sample.labels.items())}": sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_the_figures_arrive() -> None:
    found = scrape(measured())
    assert found["harness_occupancy[]"] == 7
    assert found["harness_leftovers[]"] == 1
    assert found["harness_sessions_total[('state', 'opened')]"] == 13
    assert found["harness_operations_total[('operation', 'reply'), ('outcome', 'ok')]"] == 4
    assert found["harness_operations_total[('operation', 'reply'), ('outcome', 'lost')]"] == 1
    assert found["harness_service_seconds_count[('operation', 'reply')]"] == 4
    up_to = dict(buckets(found, "reply"))
    assert [count for bound, count in up_to.items() if 0.0201 < bound < 0.039] == [2] * 14
    assert found["harness_service_seconds_bucket[('le', '+Inf'), ('operation', 'reply')]"] == 4
    assert found["harness_service_seconds_sum[('operation', 'reply')]"] == pytest.approx(
        0.77, rel=0.01
    )


def buckets(found: dict[str, float], operation: str) -> list[tuple[float, float]]:
    """Each bound of the service's times, with the count up to it."""
    name = re.compile(r"harness_service_seconds_bucket\[\('le', '(.*?)'\), .*'(.*?)'\)\]")
    named = ((name.fullmatch(key), count) for key, count in found.items())
    return sorted((float(key[1]), n) for key, n in named if key and key[2] == operation)


def test_a_run_without_data_is_scraped_too() -> None:
    assert scrape(Live())["harness_occupancy[]"] == 0


def test_a_port_that_is_taken_is_said() -> None:
    port = int(free_port())
    server = MetricsServer(Live, port=port, address="127.0.0.1")
    try:
        with pytest.raises(ConfigError, match=f"--metrics-port {port}"):
            MetricsServer(Live, port=port, address="127.0.0.1")
    finally:
        server.close()


def test_the_dashboard_asks_only_for_what_is_exported() -> None:
    exported = {key.partition("[")[0] for key in exported_by(measured())}
    dashboard = json.loads(harness.deploy.path("grafana-dashboard.json").read_text())
    queries = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    asked = {name for query in queries for name in re.findall(r"\bharness_\w+", query)}
    assert len(queries) >= 8
    assert asked <= exported
    assert "harness_sessions_total" in asked
    assert {f"harness_{group}_total" for group in GROUPS} <= asked


def test_the_dashboard_asks_only_for_labels_that_are_exported() -> None:
    exported = exported_by(measured()).keys()
    dashboard = json.loads(harness.deploy.path("grafana-dashboard.json").read_text())
    queries = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    for query in queries:
        for name, label, value in re.findall(r'\b(harness_\w+)\{(\w+)="(\w+)"\}', query):
            family = [key for key in exported if key.startswith(f"{name}[")]
            known = value in OPERATIONS if label == "operation" else False
            assert known or any(f"('{label}', '{value}')" in key for key in family), query
        for label, name in re.findall(r"by \((?:le, )?(\w+)\) \(?(?:rate\()?(harness_\w+)", query):
            family = [key for key in exported if key.startswith(f"{name}[")]
            assert label == "le" or any(f"('{label}', " in key for key in family), query
    places = [tuple(panel["gridPos"][key] for key in "xy") for panel in dashboard["panels"]]
    assert len(set(places)) == len(places)
    assert len({panel["id"] for panel in dashboard["panels"]}) == len(places)


@pytest.mark.parametrize("middle_ms", [11, 51, 340, 4_700, 13_000])
def test_a_percentile_of_the_buckets_is_within_five_per_cent_of_ours(middle_ms: float) -> None:
    """Also where all values lie in one bucket, at its lower end."""
    for spread in (1.001, 1.5):
        histogram = Histogram()
        values_ms = [middle_ms * spread ** (n / 500 - 1) for n in range(1000)]
        for value in values_ms:
            histogram.record_many_ns([int(value * 1e6)])
        live = Live()
        live.outcomes["reply"] = {"ok": 1000}
        live.histograms[service_tag("reply")] = histogram
        found = exported_by(live)
        cumulated = buckets(found, "reply")
        lower, below = 0.0, 0.0
        for upper, count in cumulated:
            if count >= 950:
                break
            lower, below = upper, count
        quantile_ms = 1000 * (lower + (upper - lower) * (950 - below) / (count - below))
        assert quantile_ms == pytest.approx(histogram.percentile_ms(95), rel=0.05)


def test_the_run_says_which_it_is() -> None:
    port = int(free_port())
    facts = {"run_id": "20261128-1", "target": "staging.example"}
    server = MetricsServer(Live, port=port, address="127.0.0.1", facts=lambda: facts)
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
            assert 'run_id="20261128-1"' in answer.read().decode()
    finally:
        server.close()


def fetch(port: int) -> None:
    urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5).read()


def test_the_end_waits_for_one_more_scrape_of_who_scrapes_again_and_again() -> None:
    port = int(free_port())
    server = MetricsServer(Live, port=port, address="127.0.0.1")
    try:
        server.linger()  # nobody has ever scraped: at once
        for _ in range(3):
            fetch(port)
            time.sleep(0.5)
        late = threading.Timer(0.3, fetch, [port])
        late.start()
        began = time.monotonic()
        server.linger()
        assert not late.is_alive() or time.monotonic() - began > 0.2
        late.join()
        server.linger()  # and whoever does not come again is not waited for long
    finally:
        server.close()
