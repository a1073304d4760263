"""Durations and rates are read as people write them, and nonsense is refused by name."""

import pytest

from harness.errors import ConfigError
from harness.units import (
    about_text,
    duration_text,
    figure_text,
    rate_per_s,
    read_retry_after_s,
    seconds,
    size_text,
)


@pytest.mark.parametrize(
    ("text", "value"),
    [("50ms", 0.05), ("20s", 20.0), ("1m30s", 90.0), ("72h", 259200.0), ("2.5", 2.5), (3, 3.0)],
)
def test_durations(text: str | float, value: float) -> None:
    assert seconds(text) == pytest.approx(value)


@pytest.mark.parametrize("text", ["", "5 parsecs", "10s!", "-3s", "nan", "1e9", "s", float("nan")])
def test_nonsense_durations_are_refused_by_name(text: str | float) -> None:
    with pytest.raises(ConfigError, match="think_time"):
        seconds(text, "think_time")


def test_figures_are_never_written_with_an_exponent() -> None:
    values = (0.12345, 97.5, 2400.4, 1234567)
    assert [figure_text(value) for value in values] == ["0.1235", "97.5", "2,400", "1,234,567"]


def test_rates() -> None:
    assert rate_per_s("10/s") == 10.0
    assert rate_per_s("600/min") == pytest.approx(10.0)
    with pytest.raises(ConfigError, match="rate"):
        rate_per_s("fast")


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0s"), (0.05, "50ms"), (2.5, "2.5s"), (90, "1m30s"), (259200, "3d"), (0.0005, "500us")],
)
def test_durations_are_written_short(value: float, text: str) -> None:
    assert duration_text(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.05, "50ms"),
        (149, "2m29s"),
        (779, "13m"),
        (14_576, "4h"),
        (15_176, "4h10m"),
        (103_500, "1d5h"),
        (900_000, "10d"),
    ],
)
def test_what_is_only_known_about_is_written_about(value: float, text: str) -> None:
    assert about_text(value) == text


@pytest.mark.parametrize(
    ("size", "text"),
    [(900, "1 kB"), (134_000, "134 kB"), (9_200_000, "9.2 MB"), (2.5e9, "2.5 GB"), (3e12, "3 TB")],
)
def test_sizes_as_people_read_them(size: float, text: str) -> None:
    assert size_text(size) == text


@pytest.mark.parametrize(
    ("value", "wait_s"),
    [
        (3, 3.0), (0.5, 0.5), (0, 0.0), ("12", 12.0), (1e308, 3600.0), (float("inf"), 3600.0),
        (float("nan"), None), (-1, None), (True, None), (None, None), ("", None), ("1e3", None),
        ("\u0663", None), ([], None),
    ],
)  # fmt: skip
def test_what_a_server_asks_to_wait_is_bounded(value: object, wait_s: float | None) -> None:
    assert read_retry_after_s(value) == wait_s
