"""Intervals of shares hold what they promise, also where errors come in clusters."""

from math import inf
from random import Random

import pytest

from harness.errors import ConfigError
from harness.measure.statistics import estimate_share, student_quantile


def test_the_exact_interval_is_that_of_the_tables() -> None:
    # Clopper and Pearson, 95 %: 1 of 10 is 0.0025 to 0.4450; none of 10 is 0 to 0.3085.
    one = estimate_share([(1, 10)])
    assert (one.low, one.high) == pytest.approx((0.0025, 0.4450), abs=5e-5)
    none = estimate_share([(0, 10)])
    assert (none.figure, none.low, none.high) == pytest.approx((0.0, 0.0, 0.3085), abs=5e-5)
    assert estimate_share([(10, 10)]).high == 1.0


def test_students_t_is_that_of_the_tables() -> None:
    table = {1: 12.706, 2: 4.303, 10: 2.228, 30: 2.042, inf: 1.960}
    for freedom, value in table.items():
        assert student_quantile(0.975, freedom) == pytest.approx(value, abs=5e-4)


def test_nothing_counted_is_nothing_known() -> None:
    found = estimate_share([(0, 0)])
    assert (found.figure, found.enough) == (None, False)


@pytest.mark.parametrize("cluster", [1, 5])
def test_the_true_share_lies_inside_as_often_as_promised(cluster: int) -> None:
    rng = Random(cluster)
    inside = 0
    for _ in range(300):
        blocks = [
            (cluster * sum(rng.random() < 0.05 for _ in range(40)), 40 * cluster) for _ in range(30)
        ]
        found = estimate_share(blocks)
        inside += (found.low or 0) <= 0.05 <= (found.high or 0)
    assert inside >= 0.92 * 300


def test_the_figures_are_plain_numbers_that_go_into_a_file() -> None:
    found = estimate_share([(20 * (number % 4 == 0), 40) for number in range(40)])
    assert {type(value) for value in (found.figure, found.low, found.high)} == {float}


@pytest.mark.parametrize("blocks", [[(3, 2)], [(-1, 2)]])
def test_nonsense_is_refused(blocks: list[tuple[int, int]]) -> None:
    with pytest.raises(ConfigError, match="share"):
        estimate_share(blocks)
    with pytest.raises(ConfigError, match="confidence"):
        estimate_share([(1, 2)], confidence=1.0)
