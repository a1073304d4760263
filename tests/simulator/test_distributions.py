"""Service times: means and spreads are those that were asked for."""

import statistics
from random import Random

import pytest

from harness.errors import ConfigError
from harness.simulator.dialogue import read_distribution


@pytest.mark.parametrize(
    ("text", "mean", "variation"),
    [
        ("50ms", 0.05, 0),
        ("constant:2s", 2, 0),
        ("exponential:200ms", 0.2, 1),
        ("uniform:1s", 1, 0.5774),
        ("lognormal:200ms,0.5", 0.2, 0.5),
        ("lognormal:1s", 1, 1),
        ("bimodal:100ms,300ms,0.5", 0.2, 0.5),
    ],
)
def test_mean_and_variation(text: str, mean: float, variation: float) -> None:
    draw = read_distribution(text, "delay").sampler(Random(1))
    values = [draw() for _ in range(40_000)]
    assert statistics.fmean(values) == pytest.approx(mean, rel=0.03)
    spread = statistics.pstdev(values) / statistics.fmean(values)
    assert spread == pytest.approx(variation, rel=0.08, abs=1e-9)
    assert min(values) >= 0


def test_it_is_repeatable_and_says_what_it_is() -> None:
    for text in ("lognormal:200ms,0.5", "bimodal:50ms,1s,0.001"):
        _check_repeatable(text)


def test_the_seldom_of_two_times_comes_as_often_as_was_asked_for() -> None:
    draw = read_distribution("bimodal:50ms,1s,0.001", "delay").sampler(Random(1))
    values = [draw() for _ in range(200_000)]
    assert set(values) == {0.05, 1.0}
    assert values.count(1.0) == pytest.approx(200, rel=0.25)


def _check_repeatable(text: str) -> None:
    made = read_distribution(text, "delay")
    first, second = made.sampler(Random(4)), made.sampler(Random(4))
    assert [first() for _ in range(5)] == [second() for _ in range(5)]
    assert read_distribution(str(made), "delay") == made


@pytest.mark.parametrize(
    "text",
    [
        "soon",
        "normal:1s",
        "exponential:",
        "exponential:1s,2",
        "lognormal:1s,0",
        "lognormal:1s,x",
        "-1s",
        "bimodal:50ms",
        "bimodal:50ms,1s",
        "bimodal:50ms,1s,1.5",
        "bimodal:50ms,1s,0.1,2",
        "bimodal:50ms,soon,0.1",
    ],
)
def test_nonsense_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="--bot-delay"):
        read_distribution(text, "--bot-delay")
