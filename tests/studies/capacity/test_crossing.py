"""Where a curve meets its limit is read from levels around it, with an honest interval."""

from random import Random

import pytest

from harness.errors import ConfigError
from harness.studies.capacity.crossing import (
    Crossing,
    Reading,
    find_crossing,
    is_near,
    read_share,
    read_time,
)


def levels(
    seed: int, *, error: float = 0.05, rates: tuple[float, ...] = (90, 95, 100, 105, 110)
) -> list[tuple[float, Reading]]:
    """A queue of capacity 125 whose time meets the limit at 100: its inverse falls in a line."""
    rng = Random(seed)
    found = []
    for rate in rates:
        figure = 25.0 / (125 - rate) * (1 + rng.gauss(0, error))
        found.append((rate, read_time(figure, 1.0, error)))
    return found


def test_without_noise_the_crossing_is_exact() -> None:
    exact = [(rate, read_time(25.0 / (125 - rate), 1.0, 0.001)) for rate in (95, 103, 108)]
    found = find_crossing(exact)
    assert found is not None
    assert found.centre == pytest.approx(100)
    assert found.low < 100 < found.high
    assert found.width < 0.02


def test_fiellers_interval_is_that_of_a_worked_example() -> None:
    # Readings -1, 0, 1 hundredths at 99, 100, 101, errors 0.01 each: slope 0.01 (error 0.00707), so
    # with z = 1.4 say it would be bounded; with 2.24 not even the slope is certain.
    flat = [(99 + n, Reading(value=(n - 1) / 100, error=0.01)) for n in range(3)]
    assert find_crossing(flat) is None
    # Ten times as steep: d^2 (0.1^2 - k/2) <= k/3 with k = 2.24^2 0.01^2, by hand d = 0.1310.
    steep = [(99 + n, Reading(value=(n - 1) / 10, error=0.01)) for n in range(3)]
    found = find_crossing(steep)
    assert found is not None
    # the outer readings count for a little less, because no curve is a line
    assert found.high - 100 == pytest.approx(0.131, rel=0.5)
    assert found.high - 100 == pytest.approx(100 - found.low)


def test_the_interval_encloses_the_truth_as_often_as_it_says() -> None:
    inside = 0
    for seed in range(400):
        found = find_crossing(levels(seed))
        assert found is not None
        inside += found.low <= 100 <= found.high
    assert inside >= 0.95 * 400


def test_a_share_that_grows_by_the_same_factor_crosses_where_it_must() -> None:
    shares = [(rate, read_share(0.01 * 1.1 ** (rate - 50), 0.01, 0.05)) for rate in (45, 52, 57)]
    found = find_crossing(shares)
    assert found is not None
    assert found.centre == pytest.approx(50)


def test_too_little_is_no_crossing() -> None:
    assert find_crossing([]) is None
    assert find_crossing(levels(1)[:2]) is None
    # falling, or all at one place
    assert (
        find_crossing([(r, Reading(value=-v.value, error=v.error)) for r, v in levels(1)]) is None
    )
    assert find_crossing([(100.0, reading) for _, reading in levels(1)]) is None
    # far from the limit nothing is told about it
    assert not is_near(read_time(0.1, 1.0, 0.01))
    assert not is_near(read_time(10.0, 1.0, 0.01))


def test_more_noise_more_doubt() -> None:
    narrow, wide = find_crossing(levels(3, error=0.01)), find_crossing(levels(3, error=0.05))
    assert isinstance(narrow, Crossing)
    assert isinstance(wide, Crossing)
    assert narrow.width < wide.width


@pytest.mark.parametrize(("value", "error"), [(float("nan"), 1), (0, 0), (0, float("inf"))])
def test_nonsense_is_refused(value: float, error: float) -> None:
    with pytest.raises(ConfigError, match="capacity: a reading"):
        Reading(value=value, error=error)
