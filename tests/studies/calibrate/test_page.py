"""The calibration's page says what to count on, first, and what ended each rise."""

from dataclasses import replace

from harness.report.html.page import render
from harness.studies.calibrate.calibration import (
    Calibration,
    HeldSessions,
    Limit,
    MachineLimits,
    Rate,
    calibration_page,
    disturbances,
    rows_of,
)

CARRIED = MachineLimits(
    guests=Rate(per_s=200.0, lag_ms=20.0, limit=Limit.GENERATOR),
    messages=Rate(per_s=3000.0, lag_ms=9.0, limit=Limit.NOT_REACHED),
    sessions=HeldSessions(held=3000, lag_ms=2, kib_each=60, room=19_000, room_ends_by="open files"),
)
FOUND = Calibration(
    made="2026-11-24T09:00:00Z",
    host="load<b>1",
    cores=2,
    processes=1,
    kinds={"plain": CARRIED, "tls": replace(CARRIED, messages=None)},
)


def test_the_answer_comes_first_and_markup_is_escaped() -> None:
    html = render(calibration_page(FOUND))
    assert "<h1>Count on 140 new guests a second</h1>" in html
    assert "load&lt;b&gt;1" in html
    assert "19,000" in html
    assert "What this assumes" in html
    assert "What it could not tell" in html
    assert "http://" not in html
    assert "https://" not in html


def test_rows_tell_a_limit_from_a_floor() -> None:
    rows = rows_of(FOUND)
    assert [(row.kind, row.reached) for row in rows] == [
        ("plain", "200"),
        ("plain", "at least 3,000"),
        ("plain", "3,000 held"),
        ("TLS", "200"),
        ("TLS", "-"),
        ("TLS", "3,000 held"),
    ]


def test_other_work_on_the_machine_is_said() -> None:
    assert disturbances(FOUND) == ""
    assert disturbances(replace(FOUND, kinds={"tls": replace(CARRIED, others=0.05)})) == ""
    kinds = {"plain": replace(CARRIED, others=0.3), "tls": replace(CARRIED, others=0.52)}
    disturbed = replace(FOUND, kinds=kinds)
    sentence = disturbances(disturbed)
    assert sentence.startswith("Measured while other work took 30% (plain) and 52% (TLS) of this")
    html = render(calibration_page(disturbed))
    assert sentence in html
    assert 'class="verdict no_data"' in html


def test_nothing_measured_is_said() -> None:
    nothing = replace(FOUND, kinds={"tls": replace(CARRIED, guests=None, messages=None)})
    html = render(calibration_page(nothing))
    assert "How many new guests a second is not known" in html
    assert "So much load can come" not in html
