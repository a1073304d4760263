"""Planted drifts are found, flat runs are seldom called drifting, a day's load fools nobody."""

from collections import Counter
from math import inf

import numpy as np
import pytest
from scipy.stats import chi2, theilslopes

from harness.errors import ConfigError
from harness.studies.drift.trend import Drift, Trend, rate_interval, trend

HOURS = 8 * 3600.0


def soak(
    rng: np.random.Generator,
    *,
    drift: float = 0.0,
    alike: float = 0.6,
    noise: float = 0.02,
    diurnal: float = 0.0,
    warmup: float = 0.0,
    points: int = 480,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Times, a p95 of about 800 ms that follows the load, and the load."""
    at = np.linspace(0, HOURS, points)
    error = np.zeros(points)
    for i in range(1, points):
        error[i] = alike * error[i - 1] + noise * np.sqrt(1 - alike**2) * rng.normal()
    load = 100 * (1 + diurnal * np.sin(9 * at / HOURS + rng.uniform(0, 6))) + rng.normal(
        size=points
    )
    p95 = 800 * (1 + drift * at / HOURS) * np.exp(error) * (1 + 0.3 * ((load / 100) ** 2 - 1))
    return at, p95 * (1 + warmup * np.exp(-at / (0.01 * HOURS))), load


def verdicts(seeds: int, *, use_load: bool = False, **kind: float) -> Counter[Drift]:
    counts: Counter[Drift] = Counter()
    for seed in range(seeds):
        at, p95, load = soak(np.random.default_rng(seed), **kind)  # type: ignore[arg-type]
        counts[trend(at, p95, load=load if use_load else None).verdict] += 1
    return counts


@pytest.mark.long
def test_of_200_flat_runs_at_most_5_per_cent_are_called_drifting() -> None:
    counts = verdicts(200)
    assert counts[Drift.DRIFTING] <= 10
    assert counts[Drift.FLAT] >= 150


@pytest.mark.rates
@pytest.mark.parametrize("kind", [{"alike": 0.9}, {"alike": 0.0}, {"warmup": 0.8}])
def test_neither_likeness_nor_warmup_makes_flat_runs_drift(kind: dict[str, float]) -> None:
    assert verdicts(40, **kind)[Drift.DRIFTING] <= 5  # 6 of 40 at 5 % has p = 0.014


@pytest.mark.rates
def test_a_planted_drift_of_5_per_cent_is_found() -> None:
    counts = verdicts(40, drift=0.05)
    assert counts[Drift.DRIFTING] >= 38


@pytest.mark.rates
def test_a_days_load_is_no_drift_and_hides_none() -> None:
    assert verdicts(20, use_load=True, diurnal=0.5)[Drift.DRIFTING] <= 3
    assert verdicts(20, use_load=True, diurnal=0.5, drift=0.05)[Drift.DRIFTING] >= 15
    # without the load beside it nothing is claimed either way
    assert verdicts(20, diurnal=0.5, drift=0.05)[Drift.UNDECIDED] >= 15


def test_load_that_only_rises_cannot_be_told_from_a_drift() -> None:
    at, p95, _ = soak(np.random.default_rng(1))
    fitted = trend(at, p95, load=at)
    assert fitted.verdict is Drift.UNDECIDED
    assert "can't be told from a drift" in fitted.note


@pytest.mark.rates
def test_the_interval_encloses_the_planted_change() -> None:
    inside = 0
    for seed in range(40):
        planted = 0.1 * (seed % 5 - 2)
        at, p95, _ = soak(np.random.default_rng(seed), drift=planted)
        fitted = trend(at, p95, warmup_s=0, confidence=0.9)
        assert fitted.low is not None
        assert fitted.high is not None
        inside += (
            fitted.low <= planted / (1 + planted) <= fitted.high
        )  # share of the level at the end
    assert inside >= 40 * 0.9 - 6  # three standard errors


def test_the_slope_is_theil_sens() -> None:
    at, p95, _ = soak(np.random.default_rng(3), drift=0.2, points=64)
    fitted = trend(at, p95, warmup_s=0)
    assert fitted.slope_per_h == pytest.approx(3600 * float(theilslopes(p95, at).slope))


@pytest.mark.slow
def test_below_what_is_material_nothing_drifts_and_above_it_time_decides() -> None:
    rng = np.random.default_rng(2)
    at = np.linspace(0, HOURS, 480)
    noise = rng.normal(0, 0.02, at.size)
    fitted = trend(at, 100 * (1 + 0.04 * at / HOURS + noise), material=0.05, warmup_s=0)
    assert fitted.verdict is Drift.FLAT
    assert fitted.low is not None
    assert fitted.low > 0
    near = trend(at, 100 * (1 + 0.049 * at / HOURS + noise * 2), material=0.05, warmup_s=0)
    assert near.verdict is Drift.UNDECIDED
    assert near.longer_s is None or near.longer_s > 0
    assert trend(at, 100 * (1 + 0.08 * at / HOURS + noise), material=0.05).cut_s >= 0


def test_a_large_share_of_next_to_nothing_does_not_matter() -> None:
    at = np.linspace(0, HOURS, 480)
    values = 0.1 * (1 + 0.5 * at / HOURS + np.random.default_rng(4).normal(0, 0.05, at.size))
    assert trend(at, values).verdict is Drift.DRIFTING
    assert trend(at, values, floor=1.0).verdict is Drift.FLAT
    assert trend(at, 1000 * values, floor=1.0).verdict is Drift.DRIFTING


def test_what_fills_up_may_take_half_the_run() -> None:
    at = np.linspace(0, HOURS, 480)
    values = 100 + 100 * (1 - np.exp(-at / (0.12 * HOURS)))
    values += np.random.default_rng(3).normal(0, 0.1, at.size)
    plain, filling = trend(at, values), trend(at, values, fills=True)
    assert plain.cut_s <= HOURS / 4 + 60 < filling.cut_s <= HOURS / 2 + 60
    assert (plain.verdict, filling.verdict) == (Drift.UNDECIDED, Drift.FLAT)


@pytest.mark.slow
def test_the_beginning_of_a_drift_is_no_warm_up() -> None:
    for seed in range(10):
        at, p95, _ = soak(np.random.default_rng(seed), drift=0.2)
        assert trend(at, p95).cut_s < 0.05 * HOURS
        at, p95, _ = soak(np.random.default_rng(seed), drift=0.2, warmup=0.8)
        assert 0 < trend(at, p95).cut_s < 0.15 * HOURS


def test_a_few_wild_minutes_do_not_move_the_verdict() -> None:
    for begin in (60, 200, 400):
        at, p95, _ = soak(np.random.default_rng(4))
        p95[begin : begin + 15] *= 20
        fitted = trend(at, p95)
        assert fitted.verdict is not Drift.DRIFTING
        assert abs(fitted.change or 0.0) < 0.025


@pytest.mark.rates
def test_bad_minutes_here_and_there_hide_neither_a_drift_nor_its_absence() -> None:
    """Eight spells, of five to 25 minutes each, in which all took up to 40 % longer."""
    counts = {0.0: Counter[Drift](), 0.05: Counter[Drift]()}
    for drift, counted in counts.items():
        for seed in range(40):
            rng = np.random.default_rng(seed)
            at, p95, _ = soak(rng, drift=drift, alike=0.3)
            for begin in rng.integers(0, at.size - 25, size=8):
                p95[begin : begin + rng.integers(5, 25)] *= 1 + rng.uniform(0.05, 0.4)
            counted[trend(at, p95, confidence=0.95).verdict] += 1
    assert counts[0.0][Drift.FLAT] >= 20
    assert counts[0.0][Drift.DRIFTING] <= 5  # 6 of 40 at 5 % has p = 0.014
    assert counts[0.05][Drift.DRIFTING] >= 28


def test_what_comes_late_and_at_once_is_found() -> None:
    for seed in range(10):
        at, p95, _ = soak(np.random.default_rng(seed))
        p95[-24:] *= 10  # the last twentieth
        fitted = trend(at, p95, confidence=0.996)
        assert fitted.verdict is Drift.DRIFTING
        assert fitted.step is not None
        assert fitted.step.at_s == pytest.approx(0.95 * HOURS, abs=900)
        assert fitted.step.after == pytest.approx(8000, rel=0.1)
        assert not fitted.falls
        assert fitted.limit_reached_in_s(20_000) is None  # a step says nothing of what comes next


@pytest.mark.slow
def test_a_slope_is_told_as_a_slope_though_a_step_would_be_significant() -> None:
    for seed in range(10):
        at, p95, _ = soak(np.random.default_rng(seed), drift=0.5)
        fitted = trend(at, p95)
        assert (fitted.verdict, fitted.step) == (Drift.DRIFTING, None)


def shares(
    rng: np.random.Generator, rate: np.ndarray, trials: int = 100
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Times, shares of errors and how many were tried."""
    many = np.full(rate.size, float(trials))
    return np.linspace(0, HOURS, rate.size), rng.binomial(trials, rate) / trials, many


@pytest.mark.rates
def test_shares_of_errors_have_a_model_of_their_own() -> None:
    """Rare errors have a median of nought all the time; what counts is how many they are."""
    kinds = {"flat": 0.002, "late": 0.002, "rising": 0.002}
    counts = {kind: Counter[Drift]() for kind in kinds}
    for seed in range(20):
        rng = np.random.default_rng(seed)
        rate = np.full(480, 0.002)
        for kind in kinds:
            now = rate.copy()
            if kind == "late":
                now[-144:] = 0.5
            if kind == "rising":
                now += np.linspace(0, 0.02, 480)
            at, share, many = shares(rng, now)
            seen = trend(at, share, trials=many, matters=0.005, relative=False, warmup_s=0)
            counts[kind][seen.verdict] += 1
    assert counts["flat"][Drift.DRIFTING] <= 2
    assert counts["late"][Drift.DRIFTING] == 20
    assert counts["rising"][Drift.DRIFTING] >= 18


def test_few_trials_make_no_share_sure() -> None:
    at, share, many = shares(np.random.default_rng(1), np.full(64, 0.0), trials=5)
    share[10] = 0.2
    fitted = trend(at, share, trials=many, matters=0.005, relative=False, warmup_s=0)
    assert fitted.verdict is Drift.UNDECIDED


def test_too_little_and_too_alike_is_undecided_with_the_reason() -> None:
    at, p95, _ = soak(np.random.default_rng(5), points=22)
    assert "points after the warm-up, at least 20" in trend(at, p95, warmup_s=3 * 3600).note
    steps = np.cumsum(np.random.default_rng(6).normal(size=480))
    at = soak(np.random.default_rng(5))[0]
    near = trend(at, 800 + steps)  # it has moved by less than what matters
    assert (near.verdict, near.note) == (Drift.FLAT, "")
    assert near.low is not None
    assert near.low == -(near.high or 0)
    fitted = trend(at, 800 + 5 * steps)
    assert fitted.verdict is Drift.UNDECIDED
    assert "are correlated" in fitted.note


def test_an_undecided_run_says_how_much_longer_would_decide() -> None:
    at, p95, _ = soak(np.random.default_rng(7), noise=0.15)
    fitted = trend(at, p95)
    assert fitted.verdict is Drift.UNDECIDED
    assert fitted.longer_s is not None
    assert fitted.longer_s > 0


def test_nothing_measured_is_undecided() -> None:
    fitted = trend([], [])
    assert fitted.verdict is Drift.UNDECIDED
    assert fitted.change is None
    assert "0 points" in trend([0.0, 1.0], [float("nan")] * 2).note


def test_a_leak_of_memory_reaches_its_limit_when_it_does() -> None:
    rng = np.random.default_rng(8)
    at = np.linspace(0, HOURS, 480)
    fitted = trend(at, 200 + 10 * at / 3600 + rng.normal(size=480), warmup_s=0)
    assert fitted.verdict is Drift.DRIFTING
    reached = fitted.limit_reached_in_s(380)  # at 10 a hour from 280
    assert reached is not None
    assert reached[0] <= 10 * 3600 <= reached[1]
    assert fitted.limit_reached_in_s(100) is None  # it drifts away from it
    flat = trend(at, 200 + rng.normal(size=480))
    assert flat.limit_reached_in_s(380) is None


def test_an_end_that_never_comes_is_infinite() -> None:
    fitted = Trend(
        verdict=Drift.DRIFTING,
        change=0.1,
        low=0.0,
        high=0.2,
        relative=True,
        slope_per_h=1.0,
        slope_low_per_h=0.0,
        slope_high_per_h=2.0,
        level=10.0,
        span_s=HOURS,
    )
    assert fitted.limit_reached_in_s(20) == (18_000, inf)


def test_absolute_changes() -> None:
    at = np.linspace(0, HOURS, 480)
    noise = np.random.default_rng(9).normal(size=480)
    fitted = trend(at, 3 * at / HOURS + 0.1 * noise, relative=False, matters=1, warmup_s=0)
    assert fitted.verdict is Drift.DRIFTING
    assert fitted.change == pytest.approx(3, rel=0.05)
    assert trend(at, 0.1 * noise, relative=False, matters=1).verdict is Drift.FLAT


def test_poisson_limits_are_garwoods() -> None:
    # F. Garwood (1936), as tabulated since: 95 % limits for 0, 1, 5, 10 events
    table = {0: (0, 3.689), 1: (0.0253, 5.572), 5: (1.623, 11.668), 10: (4.795, 18.390)}
    for events, (low, high) in table.items():
        limits = rate_interval(events, 1.0)
        assert (limits[0], limits[2]) == (
            pytest.approx(low, abs=6e-4),
            pytest.approx(high, abs=6e-4),
        )
    assert rate_interval(10, 2.0)[1] == 5
    assert rate_interval(0, 1.0)[2] == pytest.approx(float(chi2.ppf(0.975, 2)) / 2)


@pytest.mark.parametrize(
    "nonsense",
    [
        lambda: trend([0, 1], [1.0]),
        lambda: trend([0, 1, 1], [1.0, 2.0, 3.0]),
        lambda: trend([0, 1], [1.0, 2.0], load=[1.0]),
        lambda: trend([0, 1], [1.0, 2.0], matters=0),
        lambda: trend([0, 1], [1.0, 2.0], confidence=1),
        lambda: rate_interval(-1, 1),
        lambda: rate_interval(1, 0),
    ],
)
def test_nonsense_is_refused(nonsense: object) -> None:
    assert callable(nonsense)
    with pytest.raises(ConfigError):
        nonsense()
