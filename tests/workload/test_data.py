"""Rows are shared fairly and exactly among workers; bad files are refused with place and reason."""

from collections import Counter
from itertools import islice
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import ConfigError
from harness.workload.data import Feeder, Mode, Table, parse_table, read_table

GUESTS = parse_table("name,order\nAda,1\nBob,2\nEve,3\n", name="guests.csv")


def orders(feeder: Feeder, guests: range) -> list[str]:
    return [feeder.row_for(guest)["order"] for guest in guests]


def test_sequential_starts_again_at_the_end() -> None:
    assert orders(Feeder(table=GUESTS), range(7)) == ["1", "2", "3", "1", "2", "3", "1"]


def test_random_is_the_same_for_the_same_guest_and_seed_and_uses_all_rows() -> None:
    feeder = Feeder(table=GUESTS, mode=Mode.RANDOM, seed=5)
    drawn = orders(feeder, range(3000))
    assert drawn == orders(Feeder(table=GUESTS, mode=Mode.RANDOM, seed=5), range(3000))
    assert drawn != orders(Feeder(table=GUESTS, mode=Mode.RANDOM, seed=6), range(3000))
    assert all(850 < many < 1150 for many in Counter(drawn).values())  # five standard errors


def test_unique_ends_with_the_last_row_and_says_so_beforehand() -> None:
    feeder = Feeder(table=GUESTS, mode=Mode.UNIQUE)
    assert orders(feeder, range(3)) == ["1", "2", "3"]
    with pytest.raises(ConfigError, match=r"guests\.csv: 4 guests need a row of their own .* 3;"):
        feeder.row_for(3)
    with pytest.raises(ConfigError, match=r"4,800 guests"):
        feeder.check_enough(4800)
    feeder.check_enough(3)
    Feeder(table=GUESTS).check_enough(10**9)


@given(
    st.integers(min_value=1, max_value=40),
    st.integers(min_value=1, max_value=7),
    st.sampled_from(list(Mode)),
)
def test_workers_share_the_rows_as_one_would_use_them(many: int, workers: int, mode: Mode) -> None:
    table = Table(name="t", columns=("n",), rows=tuple((str(i),) for i in range(many)))
    feeder = Feeder(table=table, mode=mode, seed=1)
    guests = many if mode is Mode.UNIQUE else 3 * many
    alone = [feeder.row_for(guest)["n"] for guest in range(guests)]
    shared = []
    for worker in range(workers):
        share = len(range(worker, guests, workers))
        shared += [row["n"] for row in islice(feeder.rows_of(worker, workers), share)]
    assert Counter(shared) == Counter(alone)
    if mode is Mode.UNIQUE:
        rest = [row for worker in range(workers) for row in feeder.rows_of(worker, workers)]
        assert len(rest) == many


def test_rows_keep_quotes_commas_and_line_breaks() -> None:
    table = parse_table('text\n"Hello, ""you""\nthere"\n', name="t")
    assert table.row(0)["text"] == 'Hello, "you"\nthere'
    assert table.sizes("text")[1] == len('Hello, "you"\nthere')
    assert parse_table("a\nü\nx\n", name="t").sizes("a") == (1, 2)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", r"g\.csv: empty; expected a header"),
        ("\n\n", r"g\.csv: empty"),
        ("name\n", r"g\.csv: no row below the header"),
        ("name,order\nAda\n", r"g\.csv, line 2: expected 2 values, got 1"),
        ("name,name\nAda,1\n", r"g\.csv, line 1: column 'name' is there twice"),
        ("first name\nAda\n", r"g\.csv, line 1: 'first name' is no column name"),
        ("name,\nAda,1\n", r"g\.csv, line 1: '' is no column name"),
        ('name\n"Ada\n', r"g\.csv, line 2: not readable as CSV"),
    ],
)
def test_bad_files_are_refused_with_line_and_reason(text: str, reason: str) -> None:
    with pytest.raises(ConfigError, match=reason):
        parse_table(text, name="g.csv")


def test_files(tmp_path: Path) -> None:
    good = tmp_path / "guests.csv"
    good.write_bytes(b"\xef\xbb\xbfname\r\nAda\r\n")
    assert read_table(good).row(0) == {"name": "Ada"}
    bad = tmp_path / "latin.csv"
    bad.write_bytes(b"name\nJos\xe9\n")
    with pytest.raises(ConfigError, match=r"latin\.csv, line 2: not UTF-8 text \(byte 8\)"):
        read_table(bad)
    with pytest.raises(ConfigError, match=r"none\.csv: No such file"):
        read_table(tmp_path / "none.csv")
    with pytest.raises(ConfigError, match="no guest number -1"):
        Feeder(table=GUESTS).row_for(-1)
    with pytest.raises(ConfigError, match="worker 2 of 2"):
        next(Feeder(table=GUESTS).rows_of(2, 2))
