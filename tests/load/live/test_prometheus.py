"""What is exported is what was measured, and the dashboard asks for nothing else."""

import json
import re
import urllib.request

import pytest
from live_rows import interval
from prometheus_client.parser import text_string_to_metric_families

import harness.deploy
from harness.errors import ConfigError
from harness.load.live.prometheus import MetricsServer
from harness.load.live.totals import Live
from harness.measure.model import GROUPS, OPERATIONS
from harness.supervise.locust_process import free_port


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
    return {
        f"{sample.name}{sorted(sample.labels.items())}": sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_the_figures_arrive() -> None:
    found = scrape(measured())
    assert found["harness_occupancy[]"] == 7
    assert found["harness_sessions[('state', 'leftover')]"] == 1
    assert found["harness_operations_total[('operation', 'reply'), ('outcome', 'ok')]"] == 4
    assert found["harness_operations_total[('operation', 'reply'), ('outcome', 'lost')]"] == 1
    assert found["harness_service_seconds_count[('operation', 'reply')]"] == 4
    assert found["harness_service_seconds_bucket[('le', '0.025'), ('operation', 'reply')]"] == 2
    assert found["harness_service_seconds_bucket[('le', '+Inf'), ('operation', 'reply')]"] == 4
    assert found["harness_service_seconds_sum[('operation', 'reply')]"] == pytest.approx(
        0.77, rel=0.01
    )


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
    exported = {key.partition("[")[0] for key in scrape(measured())}
    dashboard = json.loads(harness.deploy.path("grafana-dashboard.json").read_text())
    queries = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    asked = {name for query in queries for name in re.findall(r"\bharness_\w+", query)}
    assert len(queries) >= 8
    assert asked <= exported
    assert "harness_sessions" in asked
    assert {f"harness_{group}_total" for group in GROUPS} <= asked


def test_the_dashboard_asks_only_for_labels_that_are_exported() -> None:
    exported = scrape(measured()).keys()
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
