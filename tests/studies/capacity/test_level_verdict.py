"""A level is judged in an order that never calls the generator's limit the service's."""

import pytest

from harness.errors import ConfigError
from harness.measure.statistics import Estimate
from harness.studies.capacity.search import Judged, Standing, judge_level, standing

MISSED, MET, CLOSE = Standing.MISSED, Standing.MET, Standing.CLOSE


@pytest.mark.parametrize(
    ("objectives", "growing", "healthy", "held_back", "expected"),
    [
        ([MET], False, True, False, Judged.UNDER),
        ([MET, MISSED], False, True, False, Judged.OVER),
        ([MET, MISSED], False, False, True, Judged.OVER),
        ([MET], True, False, False, Judged.OVER),
        ([MET], False, False, False, Judged.INCONCLUSIVE),
        ([MET], False, True, True, Judged.INCONCLUSIVE),
        ([CLOSE], False, False, False, Judged.INCONCLUSIVE),
        ([MET, CLOSE], False, True, False, Judged.CLOSE),
        ([], False, True, False, Judged.INCONCLUSIVE),
    ],
)
def test_levels_are_judged_in_order(
    objectives: list[Standing], growing: bool, healthy: bool, held_back: bool, expected: Judged
) -> None:
    judged = judge_level(
        objectives, leftovers_growing=growing, generator_healthy=healthy, held_back=held_back
    )
    assert judged is expected


def test_an_objective_stands_by_its_interval() -> None:
    def estimate(low: float | None) -> Estimate:
        return Estimate(percent=95, count=9, figure=2, low=low, high=4, confidence=0.99)

    assert standing(estimate(1), 4.1) is MET
    assert standing(estimate(1), 1.5) is CLOSE
    assert standing(estimate(1), 0.9) is MISSED
    assert standing(estimate(None), 9) is CLOSE
    # at a quarter of the time the interval counts as twice as wide: 0.5 to 8
    assert standing(estimate(1), 7.9, held=0.25) is CLOSE
    assert standing(estimate(1), 8.1, held=0.25) is MET
    assert standing(estimate(1), 0.4, held=0.25) is MISSED


@pytest.mark.parametrize("held", [0, -1, 1.1, float("nan")])
def test_a_level_is_held_for_a_part_of_its_time(held: float) -> None:
    found = Estimate(percent=95, count=9, figure=2, low=1, high=4, confidence=0.9)
    with pytest.raises(ConfigError, match="capacity: held"):
        standing(found, 1, held=held)
