"""Think times: the drawn values have the stated distribution, the written forms read back."""

from itertools import islice
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import ConfigError
from harness.workload import think as thinking
from harness.workload.think import (
    Lognormal,
    ThinkTime,
    constant,
    from_data,
    lognormal,
    parse_think,
    uniform,
)

MANY = 20_000


def draws(think: ThinkTime, seed: int = 7) -> list[float]:
    rng = Random(seed)
    return sorted(think(rng) for _ in range(MANY))


@pytest.mark.parametrize(
    "think",
    [
        constant("6s"),
        uniform("4s", "12s"),
        lognormal("6s", p95="20s"),
        lognormal("6s", sigma=0.7),
        lognormal("6s", sigma=1.2, maximum="9s"),
        from_data(["2s", 3, 9.5]),
    ],
)
def test_the_mean_of_many_draws_is_the_stated_mean(think: ThinkTime) -> None:
    assert sum(draws(think)) / MANY == pytest.approx(think.mean_s, rel=0.03)


def test_lognormal_has_the_median_and_p95_asked_for() -> None:
    values = draws(lognormal("6s", p95="20s"))
    assert values[MANY // 2] == pytest.approx(6, rel=0.03)
    assert values[MANY * 95 // 100] == pytest.approx(20, rel=0.05)


def test_uniform_fills_its_range_and_a_maximum_is_kept() -> None:
    values = draws(uniform("4s", "12s"))
    assert 4 <= values[0] < 4.01
    assert 11.99 < values[-1] <= 12
    assert draws(lognormal("6s", sigma=2, maximum="30s"))[-1] == 30


def test_the_same_seed_draws_the_same() -> None:
    think = lognormal("6s", p95="20s")
    assert draws(think, 3) == draws(think, 3) != draws(think, 4)


@pytest.mark.parametrize(
    ("text", "think"),
    [
        ("6s", constant(6)),
        (2.5, constant(2.5)),
        ("uniform(4s, 12s)", uniform(4, 12)),
        ("between(4,12)", uniform(4, 12)),
        ("lognormal(6s, p95=20s)", lognormal(6, p95=20)),
        (" lognormal( 6s , sigma = 0.7, max=1m )", lognormal(6, sigma=0.7, maximum=60)),
        ("data(2s, 3s)", from_data([2, 3])),
    ],
)
def test_written_forms(text: str | float, think: ThinkTime) -> None:
    assert parse_think(text) == think


times = st.floats(min_value=0.001, max_value=3600, allow_subnormal=False)


@given(times, st.floats(min_value=0.01, max_value=3), st.floats(min_value=1, max_value=9))
def test_what_describe_writes_reads_back(median: float, sigma: float, factor: float) -> None:
    for think in (
        constant(median),
        uniform(median, median * factor),
        Lognormal(median, sigma),
        Lognormal(median, sigma, median * factor),
        from_data([median, median * factor]),
    ):
        assert parse_think(think.describe()) == think


@pytest.mark.parametrize(
    "text",
    [
        "soon",
        "uniform(12s, 4s)",
        "uniform(4s)",
        "lognormal(6s)",
        "lognormal(0s, sigma=1)",
        "lognormal(6s, sigma=0.7, p95=20s)",
        "lognormal(6s, p95=2s)",
        "lognormal(6s, sigma=much)",
        "lognormal(6s, sigma=nan)",
        "lognormal(6s, sigma=0.7, max=1s)",
        "lognormal(6s, mode=3s)",
        "data()",
        "gauss(1s, 2s)",
        "30d",
        "-4s",
        float("nan"),
    ],
)
def test_nonsense_is_refused_with_place_and_forms(text: str | float) -> None:
    with pytest.raises(ConfigError, match=r"^shop\.yaml, line 3, think: .*lognormal\(6s, p95"):
        parse_think(text, "shop.yaml, line 3, think")


def test_draws_go_on_and_are_the_same_for_the_same_seed() -> None:
    def first(seed: int) -> list[float]:
        return list(islice(thinking.draws(uniform("1s", "3s"), seed), 100))

    assert first(5) == first(5) != first(6)
    assert len(set(first(5))) == 100
    assert all(1 <= one <= 3 for one in first(5))
