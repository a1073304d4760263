"""Intervals from blocks enclose the true percentile in spite of good and bad spells."""

from collections import Counter

import numpy as np
import pytest

from harness.errors import ConfigError
from harness.measure.statistics import Blocks


def intervals(rng: np.random.Generator, spells: float, alike: float) -> list[dict[float, int]]:
    seconds = 600
    level = np.zeros(seconds)
    for i in range(1, seconds):
        level[i] = alike * level[i - 1] + spells * rng.normal()
    drawn = (np.exp(level[i] + 0.5 * rng.normal(size=20)) for i in range(seconds))
    return [dict(Counter(np.round(values, 3).tolist())) for values in drawn]


def test_a_percentile_is_that_of_everything_together() -> None:
    parts = [{1.0: 5, 2.0: 1}, {}, {2.0: 3, 9.0: 1}]
    blocks = Blocks([part.items() for part in parts])
    assert blocks.count == 10
    assert [blocks.percentile(p) for p in (10, 50, 51, 90, 91)] == [1, 1, 2, 2, 9]
    assert Blocks([]).percentile(50) is None


@pytest.mark.rates
@pytest.mark.parametrize(
    ("spells", "alike"),
    [(0.0, 0.0), (0.05, 0.8), pytest.param(0.03, 0.98, marks=pytest.mark.long)],
)
def test_intervals_enclose_the_true_percentile_as_often_as_stated(
    spells: float, alike: float
) -> None:
    rng = np.random.default_rng(5)
    # a lognormal level times a lognormal time is lognormal
    true = float(np.exp(1.6449 * np.sqrt(0.25 + spells**2 / (1 - alike**2))))
    inside = 0
    for _ in range(40):
        blocks = Blocks([part.items() for part in intervals(rng, spells, alike)])
        found = blocks.estimate(95, confidence=0.9)
        assert found.low is not None
        assert found.high is not None
        inside += found.low <= true <= found.high
    assert inside >= 40 * 0.9 - 6  # three standard errors


def test_what_is_missing_is_said() -> None:
    assert Blocks([[(1.0, 9)]] * 9).missing(99) == "has 81 values; p99 needs 1000"
    assert Blocks([[(1.0, 999)]] * 7).missing(95) == "has 7 intervals with values; it needs 8"
    assert Blocks([[(1.0, 999)]] * 8).missing(95) == ""
    found = Blocks([[(1.0, 9)]]).estimate(95)
    assert (found.figure, found.low, found.high) == (1, None, None)


@pytest.mark.parametrize(
    "nonsense",
    [
        lambda: Blocks([[(1.0, -1)]]),
        lambda: Blocks([[(0.0, 1)]]),
        lambda: Blocks([[(float("nan"), 1)]]),
        lambda: Blocks([]).missing(100),
    ],
)
def test_nonsense_is_refused(nonsense: object) -> None:
    assert callable(nonsense)
    with pytest.raises(ConfigError):
        nonsense()
