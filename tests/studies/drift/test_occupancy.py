"""Guests who stay long, and a load that comes and goes, are expected; stuck sessions are not."""

import random

import pytest

from harness.judge.series import Series
from harness.measure.histogram import Counted, Histogram, decoded
from harness.measure.recorder import SESSION_CUT, SESSION_LENGTH
from harness.studies.drift.figures import (
    expected_occupancy,
    occupancy_over_expected,
    session_lengths,
)

WIDTH_S = 60.0


def counted(lengths_s: list[float]) -> Counted:
    histogram = Histogram()
    for length_s in lengths_s:
        histogram.record_many_ns([int(length_s * 1e9)])
    return decoded([histogram.encode()])


def simulated(minutes: int, *, stuck: float = 0.0, seed: int = 1) -> Series:
    """Guests of whom one in ten stays for forty minutes; the load swings; ``stuck`` never go."""
    rng = random.Random(seed)
    started, ends, lengths, occupancy = [], [], [], []
    for minute in range(minutes):
        coming = round(60 * (1 + 0.5 * (minute % 100 > 50)) + rng.gauss(0, 5))
        for _ in range(coming):
            length_s = 2400.0 if rng.random() < 0.1 else rng.uniform(30, 150)
            lengths.append(length_s)
            gone = rng.random() >= stuck
            ends.append(minute * 60 + rng.uniform(0, 60) + length_s if gone else 1e9)
        started.append(coming / WIDTH_S)
        occupancy.append(float(sum(end > (minute + 1) * 60 for end in ends)))
    return Series(
        width_s=WIDTH_S,
        starts_s=[minute * WIDTH_S for minute in range(minutes)],
        rates={"started": list(started)},
        sessions={"occupancy": list(occupancy)},
        totals={SESSION_LENGTH: counted(lengths), SESSION_CUT: counted([60.0])},
        phases={"running": 0.0},
    )


def test_a_load_that_is_steady_is_littles_law() -> None:
    expected = expected_occupancy([2.0] * 60, 10.0, counted([100.0] * 10))
    assert expected[0] == pytest.approx(20)
    assert expected[-1] == pytest.approx(200, rel=0.001)
    assert expected == sorted(expected)
    coarse = expected_occupancy([2.0] * 10, 3600.0, counted([100.0] * 10))
    assert coarse == pytest.approx([200] * 10, rel=0.001)  # also where bins are much longer


def test_long_stays_and_a_swinging_load_are_expected() -> None:
    shares = occupancy_over_expected(simulated(240))
    known = [share for share in shares if share is not None]
    assert set(shares[:40]) == {None}  # until the longest could have ended
    assert len(known) in (199, 200)  # the histogram rounds up
    assert all(0.75 < share < 1.25 for share in known)
    assert sum(known) / len(known) == pytest.approx(1, abs=0.03)


def test_a_stay_that_the_end_of_the_run_cut_is_longer_than_it_looks() -> None:
    """Guests of whom one in ten stays for three hours, in a run of eight."""
    rng = random.Random(3)
    natural: list[float] = []
    cut: list[float] = []
    for minute in range(480):
        for _ in range(rng.randint(6, 14)):
            length_s = 10_800 + rng.uniform(0, 600) if rng.random() < 0.1 else 90.0
            left_s = (480 - minute) * WIDTH_S
            (natural if length_s <= left_s else cut).append(min(length_s, left_s))
    length_s, shares = session_lengths(counted(natural), counted(cut))
    assert shares.sum() == pytest.approx(1)
    assert shares[length_s > 3600].sum() == pytest.approx(0.1, abs=0.01)
    mean_s = float(length_s @ shares)
    assert mean_s == pytest.approx(0.9 * 90 + 0.1 * 11_100, rel=0.1)
    naive = float(sum(natural + cut)) / len(natural + cut)
    assert naive < 0.9 * mean_s  # as if each stay had ended by itself


def test_who_stays_longer_than_anybody_who_left_is_stuck_and_not_expected() -> None:
    length_s, shares = session_lengths(counted([100.0] * 99), counted([5000.0]))
    assert float(length_s @ shares) == pytest.approx(100, rel=0.001)


def test_sessions_that_get_stuck_come_on_top() -> None:
    known = [s for s in occupancy_over_expected(simulated(240, stuck=0.01)) if s is not None]
    assert known[-1] > known[0] + 0.1


def test_when_no_guest_comes_any_more_nothing_is_said() -> None:
    series = simulated(120)
    series.phases["finishing"] = 100 * WIDTH_S
    shares = occupancy_over_expected(series)
    assert None not in shares[41:100]
    assert shares[100:] == [None] * 20


def test_without_sessions_or_lengths_there_is_nothing_to_say() -> None:
    series = simulated(60)
    series.totals = {}
    assert occupancy_over_expected(series) == []
    series = simulated(60)
    series.rates = {}
    assert occupancy_over_expected(series) == []
    series = simulated(60)
    series.rates["started"] = [0.0] * 60
    assert set(occupancy_over_expected(series)) == {None}
