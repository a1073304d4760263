"""Live totals are the sums over processes and intervals; a damaged histogram harms nothing else."""

import tracemalloc

from live_rows import interval

from harness.judge.objective import Kind
from harness.load.live.totals import KEPT_POINTS, Live


def test_intervals_add_up_and_states_do_not() -> None:
    live = Live()
    live.take_encoded("a", *interval(10, 20, occupancy=5, opened=10))
    live.take_encoded("a", *interval(30, occupancy=3, opened=11))
    live.take_encoded("b", *interval(40, errors=2, occupancy=4, opened=7))
    figures = live.figures()
    assert figures["sessions"]["occupancy"] == 7
    assert figures["sessions"]["opened"] == 18
    assert figures["arrivals"] == {"due": 4}
    reply = figures["operations"]["reply"]
    assert (reply["count"], reply["outcomes"]) == (6, {"ok": 4, "lost": 2})
    assert figures["forensics"] == {"duplicate": 3}
    most = live.percentile("reply", Kind.SERVICE, 100).ms
    assert most is not None
    assert abs(most - 40) < 0.1
    assert live.recent("reply.service").count == 2


def test_a_damaged_histogram_is_left_out() -> None:
    live = Live()
    row, encoded = interval(10)
    live.take_encoded("a", row, {**encoded, "delivered.service": "nonsense"})
    assert live.percentile("delivered", Kind.SERVICE, 50).ms is None
    assert live.percentile("reply", Kind.SERVICE, 50).ms is not None


def test_leftovers_by_reason_are_those_of_now() -> None:
    live = Live()
    for process, left in (("a", {"no proof": 3}), ("a", {"no proof": 1}), ("b", {"lost": 2})):
        row, encoded = interval(10)
        live.take_encoded(process, {**row, "left_by_reason": left}, encoded)
    live.add_point(1)
    assert live.points[-1]["left"] == {"no proof": 1, "lost": 2}


def test_the_history_is_bounded() -> None:
    live = Live()
    live.take_encoded("a", *interval(10, occupancy=1))
    for second in range(KEPT_POINTS + 10):
        live.add_point(second)
    assert len(live.points) == KEPT_POINTS
    assert live.points[0]["t"] == 10
    assert live.points[-1]["times_ms"].keys() == {"reply"}


def test_a_further_worker_costs_the_master_hardly_any_memory() -> None:
    handed_in = interval(*range(1, 400, 7), occupancy=5)
    live = Live()
    live.take_encoded("worker 0", *handed_in)
    tracemalloc.start()
    try:
        for number in range(1, 41):
            live.take_encoded(f"worker {number}", *handed_in)
        taken, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert taken / 40 < 100_000, "one histogram with all its places is more than that"
    assert live.recent("reply.service").count == 41 * len(range(1, 400, 7))
