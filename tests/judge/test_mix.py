"""A mix outside chance is told; one within it is not."""

import pytest
from scipy.stats import binomtest

from harness.judge.record import mix_block
from harness.judge.validity import chance_of, mix_complaints
from harness.measure.recorder import GUESTS_OF


def told(came: dict[str, int], shares: dict[str, float]) -> list[str]:
    return mix_complaints(mix_block({f"{GUESTS_OF}{name}": n for name, n in came.items()}, shares))


def test_thirty_to_nought_is_no_mix_of_one_to_one() -> None:
    assert told({"Long": 30}, {"Long": 0.5, "Short": 0.5}) == [
        "the mix asked for was not offered: of 30 guests, "
        "Long 30 instead of 15, Short 0 instead of 15"
    ]


@pytest.mark.parametrize(
    ("came", "shares"),
    [
        ({"A": 18, "B": 12}, {"A": 0.5, "B": 0.5}),
        ({"A": 3}, {"A": 0.5, "B": 0.5}),
        ({"A": 30}, {"A": 1.0}),
        ({}, {"A": 0.5, "B": 0.5}),
        ({"A": 50_000, "B": 49_800}, {"A": 0.5, "B": 0.5}),
    ],
)
def test_what_chance_does_is_not_told(came: dict[str, int], shares: dict[str, float]) -> None:
    assert told(came, shares) == []


@pytest.mark.parametrize(("count", "whole", "share"), [(3, 30, 0.5), (40, 100, 0.3), (0, 9, 0.1)])
def test_the_chance_is_that_of_a_binomial_count(count: int, whole: int, share: float) -> None:
    side = "less" if count < whole * share else "greater"
    exact = binomtest(count, whole, share, alternative=side).pvalue
    assert chance_of(count, whole, share) == pytest.approx(min(1, 2 * exact), rel=1e-9)
