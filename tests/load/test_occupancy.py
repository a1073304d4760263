"""The area under the occupancy is the time that guests spent, whatever the order they leave in."""

import random

import pytest
from gevent import GreenletExit

from harness.clock import monotonic_ns
from harness.load.dispatch import Occupancy, Visit

S = 1_000_000_000


def test_the_area_is_the_sum_of_all_stays() -> None:
    rng = random.Random(3)
    stays = []
    for _ in range(200):
        came = rng.randrange(60 * S)
        stays.append((came, came + rng.randrange(20 * S)))
    moves = sorted([(came, None) for came, _ in stays] + [(left, came) for came, left in stays])
    stay = Occupancy(0)
    for at, came in moves:
        if came is None:
            stay.enter(at)
        else:
            stay.leave(came, at)
    totals = stay.totals(100 * S)
    spent_ms = sum(left - came for came, left in stays) // 1_000_000
    assert totals == {"occupancy_ms": spent_ms, "ended": 200, "ended_ms": spent_ms}


def test_who_is_still_inside_counts_up_to_now() -> None:
    stay = Occupancy(0)
    stay.enter(1 * S)
    assert stay.totals(4 * S) == {"occupancy_ms": 3000, "ended": 0, "ended_ms": 0}


def test_a_visit_ends_whatever_happens_inside() -> None:
    stay, lengths = Occupancy(monotonic_ns()), []
    with pytest.raises(GreenletExit), Visit(stay, lengths.append):
        assert stay.totals(monotonic_ns())["ended"] == 0
        raise GreenletExit
    assert stay.totals(monotonic_ns())["ended"] == 1
    assert lengths[0] > 0
