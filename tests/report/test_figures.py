"""Figures keep their meaning as text: units, three digits, and a dash for what is not known."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.report import wording as figures

MAKERS = (
    figures.count_text,
    figures.ms_text,
    figures.number_text,
    figures.percent_text,
    figures.length_text,
    figures.moment_text,
)


@pytest.mark.parametrize("make", MAKERS, ids=lambda make: make.__name__)
def test_unknown_is_a_dash_and_never_zero(make) -> None:
    assert make(None) == figures.UNKNOWN


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0.00 ms"),
        (0.001, "0.001 ms"),
        (0.823, "0.82 ms"),
        (12.34, "12.3 ms"),
        (245.4, "245 ms"),
        (999.6, "1.00 s"),
        (12_340, "12.3 s"),
        (90_000, "1m30s"),
    ],
)
def test_milliseconds(value: float, text: str) -> None:
    assert figures.ms_text(value) == text


@given(st.floats(min_value=0.01, max_value=59_000))
def test_a_time_reads_back_to_three_digits(value_ms: float) -> None:
    number, unit = figures.ms_text(value_ms).split()
    assert float(number) * {"ms": 1, "s": 1000}[unit] == pytest.approx(
        value_ms, rel=0.01, abs=0.005
    )


def test_a_small_share_is_not_shown_as_none() -> None:
    assert figures.percent_text(1e-9) == "< 0.01 %"
    assert figures.percent_text(0.0) == "0 %"
    assert figures.share_text(0, 0) == figures.UNKNOWN
    assert figures.share_text(1, 3) == "33.3 %"


def test_units_of_objectives() -> None:
    assert figures.with_unit(1.2, "s") == "1.20 s"
    assert figures.with_unit(0.0025, "share") == "0.25 %"
    assert figures.with_unit(0.0, "count") == "0"
    assert figures.with_unit(None, "s") == figures.UNKNOWN


def test_moments_are_utc() -> None:
    assert (
        figures.moment_text(datetime(2026, 11, 22, 9, 5, tzinfo=UTC)) == "2026-11-22 09:05:00 UTC"
    )
    assert figures.clock_text(0) == "00:00:00"


def test_the_disk_in_one_line() -> None:
    disk = {"total": 9_843_394, "free": 79_144_583_168, "sessions_known": True}
    assert figures.disk_text(disk) == "9.84 MB expected; 79.1 GB were free"
    assert figures.disk_text({"total": 5_000_000, "free": None}) == "5 MB expected"
