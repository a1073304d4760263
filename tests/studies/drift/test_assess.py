"""A soak as a whole: leaks found, the guilty side named, one error rate for all figures."""

from dataclasses import replace

import numpy as np
import pytest

from harness.errors import ConfigError
from harness.studies.drift.assess import Side, Watched, assess, leak_of
from harness.studies.drift.trend import Drift

AT = np.linspace(0, 8 * 3600.0, 480)


def watched(name: str, side: Side, seed: int, drift: float = 0.0, limit: float = 0) -> Watched:
    rng = np.random.default_rng(seed)
    error = np.zeros(AT.size)
    for i in range(1, AT.size):
        error[i] = 0.5 * error[i - 1] + 0.015 * rng.normal()
    values = 500 * (1 + drift * AT / AT[-1]) * np.exp(error)
    return Watched(name=name, side=side, at_s=AT, values=values, limit=limit or None)


def several(seed: int, *, service: float = 0.0, harness: float = 0.0) -> list[Watched]:
    return [
        watched("reply p95", Side.SERVICE, 10 * seed, service, limit=1000),
        watched("session_open p95", Side.SERVICE, 10 * seed + 1),
        watched("resumes", Side.SERVICE, 10 * seed + 2),
        watched("memory", Side.HARNESS, 10 * seed + 3, harness),
        watched("generator lag", Side.HARNESS, 10 * seed + 4),
    ]


@pytest.mark.rates
def test_flat_soaks_are_called_drifting_at_most_as_often_as_stated() -> None:
    runs = 25
    rng = np.random.default_rng(3)
    false = 0
    for seed in range(runs):
        leftovers = int(rng.binomial(20_000, 0.0005))
        report = assess(several(seed), sessions=20_000, leftovers=leftovers)
        false += report.verdict is Drift.DRIFTING
    assert false <= 4  # 5 of 25 at 5 % has p = 0.007


@pytest.mark.rates
def test_a_planted_leak_of_half_a_per_cent_is_found() -> None:
    rng = np.random.default_rng(4)
    for seed in range(10):
        leftovers = int(rng.binomial(20_000, 0.005))
        report = assess(several(seed), sessions=20_000, leftovers=leftovers, duration_s=8 * 3600)
        assert report.verdict is Drift.DRIFTING
        assert report.leak is not None
        assert report.leak.verdict is Drift.DRIFTING
        assert report.leak.low <= 0.005 * 1.25
        assert report.leak.per_hour == pytest.approx(leftovers / 8)
        assert report.sentence.startswith("Sessions leak: 0.")


@pytest.mark.rates
def test_the_guilty_side_is_named() -> None:
    service = assess(several(1, service=0.1))
    assert service.sentence.startswith("The service drifts: reply p95 +")
    assert "limit reached in" in service.sentence
    assert service.sentence.endswith("the harness itself is flat.")
    harness = assess(several(1, harness=0.1))
    assert harness.sentence.startswith("The harness itself drifts, not the service: memory +")
    both = assess(several(1, service=0.1, harness=0.1))
    assert both.sentence.startswith("Service and harness both drift")
    assert assess(several(1)).sentence == "Nothing drifts."


def alike_soak(seed: int, alike: float, many: int = 12, points: int = 240) -> list[Watched]:
    """So many flat figures of the service whose neighbours are so alike."""
    rng = np.random.default_rng(seed)
    at = np.linspace(0, 8 * 3600.0, points)
    watched = []
    for number in range(many):
        error = np.zeros(points)
        error[0] = rng.normal()
        for i in range(1, points):
            error[i] = alike * error[i - 1] + np.sqrt(1 - alike**2) * rng.normal()
        values = 500 * np.exp(0.03 * error)
        watched.append(Watched(name=f"f{number}", side=Side.SERVICE, at_s=at, values=values))
    return watched


@pytest.mark.long
@pytest.mark.parametrize("alike", [0.95, 0.98])
def test_flat_figures_that_wander_slowly_are_no_drift(alike: float) -> None:
    false = sum(assess(alike_soak(seed, alike)).verdict is Drift.DRIFTING for seed in range(20))
    assert false <= 3  # 4 of 20 at 5 % has p = 0.016


@pytest.mark.slow
def test_an_improvement_is_told_and_fails_nothing() -> None:
    faster = [replace(one, less_is_better=True) for one in several(1, service=-0.1)]
    report = assess(faster)
    assert report.verdict is Drift.IMPROVING
    assert report.sentence.startswith("Nothing drifts. Improving: reply p95 -")
    slower = [replace(one, less_is_better=True) for one in several(1, service=0.1)]
    assert assess(slower).verdict is Drift.DRIFTING


def test_a_late_step_is_told_with_its_time() -> None:
    rng = np.random.default_rng(2)
    values = 500 * np.exp(0.02 * rng.normal(size=AT.size))
    values[-24:] *= 10
    item = Watched(name="reply p95", side=Side.SERVICE, at_s=AT, values=values, unit="ms")
    sentence = assess([item]).sentence
    assert "reply p95 went from 499.5 ms to 4990 ms at once, 7h3" in sentence


def filling(seed: int, *, leak: float = 0.0, noise_mb: float = 0.05) -> Watched:
    """Memory of a short run, looked at each second: it fills up in the first quarter and stays."""
    rng = np.random.default_rng(seed)
    at = np.arange(360.0)
    tau = at[-1] * rng.uniform(0.1, 0.2)
    steps = np.cumsum(rng.random(at.size) < 0.02) * 0.05  # an allocator's small change
    rss = 93 + 12 * (1 - np.exp(-at / tau)) + steps + rng.normal(0, noise_mb, at.size)
    rss += 97 * leak * at / at[-1]
    return Watched(name="memory", side=Side.HARNESS, at_s=at, values=rss, fills=True)


@pytest.mark.rates
def test_memory_that_fills_up_and_stays_is_no_drift() -> None:
    for seed in range(25):
        fitted = assess([filling(seed)]).findings[0].trend
        assert fitted.verdict is Drift.FLAT, seed
        assert 0 < fitted.cut_s <= 180


@pytest.mark.rates
def test_memory_that_leaks_is_never_called_flat_though_it_fills_up_first() -> None:
    smooth = [assess([filling(seed, leak=0.3)]).verdict for seed in range(12)]
    assert Drift.FLAT not in smooth
    for seed in range(12):
        report = assess([filling(seed, leak=0.3, noise_mb=0.8)])
        assert report.sentence.startswith("The harness itself drifts, not the service: memory")


def test_what_does_not_matter_of_the_harness_is_flat_and_of_the_service_drifts() -> None:
    rng = np.random.default_rng(1)
    values = 100 + 2.0 * AT / AT[-1] + rng.normal(0, 0.1, AT.size)
    for side, verdict in ((Side.HARNESS, Drift.FLAT), (Side.SERVICE, Drift.DRIFTING)):
        item = Watched(name="x", side=side, at_s=AT, values=values)
        assert assess([item]).verdict is verdict


def test_undecided_says_what_would_decide() -> None:
    report = assess([], sessions=100, leftovers=0)
    assert report.verdict is Drift.UNDECIDED
    assert report.leak is not None
    assert report.leak.more_sessions is not None
    enough = 100 + report.leak.more_sessions
    assert leak_of(0, enough).verdict is Drift.FLAT
    assert f"{report.leak.more_sessions:,} more would decide" in report.sentence
    short = Watched(name="reply p95", side=Side.SERVICE, at_s=AT[:5], values=[1.0] * 5)
    assert "reply p95 (5 points" in assess([short], warmup_s=0).sentence


@pytest.mark.parametrize(
    "nonsense",
    [
        lambda: assess([]),
        lambda: leak_of(3, 2),
        lambda: leak_of(0, 0),
        lambda: leak_of(0, 10, tolerated=0),
        lambda: assess([Watched(name="x", side=Side.SERVICE, at_s=[1, 1], values=[1.0, 2.0])]),
    ],
)
def test_nonsense_is_refused(nonsense: object) -> None:
    assert callable(nonsense)
    with pytest.raises(ConfigError):
        nonsense()
