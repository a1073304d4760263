"""Where a run's guests went, and when."""

from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from rich.console import Console

from harness.config.target import parse_target
from harness.errors import ConfigError
from harness.preflight.guard import Learned
from harness.reconcile.audit import MatchedBy
from harness.reconcile.platform import (
    MARGIN,
    SEARCHED_AFTER,
    failed_ways,
    learned_of,
    long_enough_s,
    note_afterwards,
    span_of,
    target_of,
)
from harness.rundir.layout import target_facts, write_start

URL = "ws://127.0.0.1:8080/v1?deploymentId=12345678-90ab-cdef-1234-567890abcdef"


def test_a_run_says_where_its_guests_went_and_when(tmp_path: Path) -> None:
    write_start(tmp_path, target=URL, started="2026-11-22T10:00:00.000Z")
    assert target_of(tmp_path).netloc == "127.0.0.1:8080"
    span = span_of(tmp_path)
    assert span.start == datetime(2026, 11, 22, 10, tzinfo=UTC) - MARGIN
    assert span.end == span.began_until > datetime.now(UTC)  # nobody says that it has ended
    (tmp_path / "run.json").write_text('{"ended": "2026-11-22T11:00:00.000+00:00"}')
    span, ended = span_of(tmp_path), datetime(2026, 11, 22, 11, tzinfo=UTC)
    assert (span.began_until, span.end) == (ended + MARGIN, ended + SEARCHED_AFTER)


def test_roads_that_lead_nowhere_are_known_from_a_preflight(tmp_path: Path) -> None:
    assert failed_ways(learned_of(tmp_path)) == frozenset()
    some = Learned(message_leads=True, search_shown=False, analytics_ends_s=40)
    write_start(tmp_path, learned=asdict(some))
    assert learned_of(tmp_path) == some
    assert failed_ways(some) == {MatchedBy.ATTRIBUTES}
    none = Learned(message_leads=False, search_shown=False, journey_shown=False)
    assert failed_ways(none) == frozenset()  # all are tried again


def test_a_service_that_was_seen_to_lag_is_asked_for_longer() -> None:
    assert long_enough_s(120.0, None, None) == 120.0
    assert long_enough_s(120.0, 30.0) == 120.0
    assert long_enough_s(120.0, 10.0, 50.0) == 150.0


def test_a_sweep_goes_the_way_the_guests_went(tmp_path: Path) -> None:
    target = parse_target(
        URL.replace("ws:", "wss:"), ca_file="ca.pem", origin="https://o", proxy="http://p:3128"
    )
    write_start(tmp_path, **target_facts(target))
    assert target_of(tmp_path) == target


def test_a_run_that_does_not(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="does not say where"):
        target_of(tmp_path)
    span = span_of(tmp_path)
    assert span.end - span.start > timedelta(days=1)


def test_a_record_that_can_not_be_renewed_is_told_and_stops_nothing(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text("torn")
    console = Console(width=200)
    with console.capture() as captured:
        note_afterwards(tmp_path, "sweep", {"left": 0}, console)
    assert "could not be brought up to date" in captured.get()
    assert (tmp_path / "run.json").read_text() == "torn"
