"""A profile file is read exactly, or refused with file, line and reason."""

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from harness.errors import ConfigError
from harness.workload.schedule import busy_hour, parse_profile, read_profile

MINUTE_NS = 60_000_000_000


@pytest.mark.parametrize(
    "starts",
    [
        ("09:00", "09:15", "09:30"),
        ("0", "15m", "30m"),
        ("0", "900", "1800"),
        ("2026-11-15T23:45", "2026-11-16T00:00", "2026-11-16 00:15:00"),
        ("2026-10-25T02:45+02:00", "2026-10-25T02:00+01:00", "2026-10-25T02:15+01:00"),
    ],
)
def test_starts_in_every_form(starts: tuple[str, ...]) -> None:
    rows = "".join(f"{start},{10 * i}\n" for i, start in enumerate(starts))
    profile = parse_profile("start,guests\n" + rows, name="monday.csv")
    assert profile.interval_ns == 15 * MINUTE_NS
    assert profile.guests == (0, 10, 20)


def test_other_columns_blank_lines_and_decimals_are_fine() -> None:
    text = "Queue, Start ,GUESTS\n\nShop,09:00,0.1\nShop,09:15,12\n\n"
    assert parse_profile(text, name="x").guests == (Fraction(1, 10), 12)


def test_a_byte_order_mark_as_spreadsheets_write_it(tmp_path: Path) -> None:
    file = tmp_path / "monday.csv"
    file.write_bytes(b"\xef\xbb\xbfstart,guests\r\n09:00,1\r\n10:00,2\r\n")
    assert read_profile(file).guests == (1, 2)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", r"m\.csv: empty"),
        ("start,guests\n", r"m\.csv: expected at least two intervals, got 0"),
        ("start,guests\n09:00,1\n", r"m\.csv: expected at least two intervals, got 1"),
        ("time,guests\n09:00,1\n", r"m\.csv, line 1: expected one column 'start'"),
        ("start,guests,guests\n09:00,1,2\n", r"m\.csv, line 1: expected one column 'guests'"),
        ("start,guests\n09:00,1\n09:15,x\n", r"m\.csv, line 3, column guests: .*'x'"),
        ("start,guests\n09:00,-1\n09:15,1\n", r"m\.csv, line 2, column guests: .*'-1'"),
        ("start,guests\n09:00,nan\n09:15,1\n", r"m\.csv, line 2, column guests: .*'nan'"),
        ("start,guests\n09:00,1\n09:15,1\n09:45,1\n", r"m\.csv, line 4: starts 30m .* 15m"),
        ("start,guests\n09:00,1\n09:00,1\n", r"m\.csv, line 3: starts no later"),
        ("start,guests\n09:00,1\nsoon:ish,1\n", r"m\.csv, line 3, column start: .*'soon:ish'"),
        ("start,guests\n09:00,1\n2026-11-16T09:15,1\n", r"m\.csv, line 3, .* is a date and time"),
        ("start,guests\n09:00,1\n15m,1\n", r"line 3, column start: '15m' is an offset, the lines"),
        ("start,guests\n09:00,1\nlater,1\n", r"m\.csv, line 3, column start: .*'later'"),
        ("start,guests\n09:00,1\n09:15\n", r"m\.csv, line 3: expected 2 values, got 1"),
        ('start,guests\n09:00,"1\n', r"m\.csv, line 2: not readable as CSV"),
    ],
)
def test_what_cannot_be_meant_is_refused_with_line_and_reason(text: str, reason: str) -> None:
    with pytest.raises(ConfigError, match=reason):
        parse_profile(text, name="m.csv")


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.csv: No such file"):
        read_profile(tmp_path / "none.csv")
    latin = tmp_path / "latin.csv"
    latin.write_bytes("start,gäste\n".encode("latin-1"))
    with pytest.raises(ConfigError, match=r"latin\.csv, line 1: not UTF-8 text \(byte 7\)"):
        read_profile(latin)


def test_the_busiest_hour_of_a_profile() -> None:
    # quarters of an hour; the busiest hour is 20 + 40 + 30 + 30
    hour = busy_hour([5, 10, 20, 40, 30, 30, 10], 900)
    assert hour.chats_per_h == pytest.approx(120)
    assert hour.peak_factor == pytest.approx(40 * 4 / 120)
    assert hour.how == "in intervals of 15m"
    long = busy_hour([100], 7200)
    assert (long.chats_per_h, long.peak_factor) == (pytest.approx(50), pytest.approx(1))
    assert "is not seen" in long.how
    with pytest.raises(ConfigError, match="no guests"):
        busy_hour([0, 0], 900)


def test_chance_in_short_intervals_is_no_peak() -> None:
    draw = np.random.default_rng(7)
    factors = [busy_hour(draw.poisson(20, 480).tolist(), 60).peak_factor for _ in range(40)]
    assert max(factors) < 1.2  # the fullest minute of an hour: 1.5 times the mean
    hour = busy_hour([20.0] * 480, 60)
    assert (hour.chats_per_h, hour.peak_factor) == (pytest.approx(1200), pytest.approx(1))
    assert "15 of 1m together" in hour.how
    # a real peak of a quarter of an hour is still one, and what is left over is not lost
    assert busy_hour([20.0] * 60 + [60.0] * 15 + [20.0] * 60, 60).peak_factor == pytest.approx(2)
    assert busy_hour([10.0] * 45 + [30.0] * 16, 60).chats_per_h == pytest.approx(930 / 61 * 60)
    assert busy_hour([4.0] * 20, 7 * 60).how.startswith("in intervals of 21m (3 of 7m")
