"""Arrivals go to slots in order; late and dropped ones are counted, none twice and none never."""

from typing import Any

import pytest

from harness.clock import monotonic_ns
from harness.load.arrivals import Arrivals
from harness.workload.arrivals import steady
from harness.workload.schedule import Partition, Piece, Share

S = 1_000_000_000
FAR = 1_000 * S


def arrivals(start_ns: int, **more: Any) -> Arrivals:
    return Arrivals(
        steady(per_second=10, over="10s"),
        start_ns=start_ns,
        late_after_s=0.1,
        drop_after_s=2,
        **more,
    )


def take_all(queue: Arrivals, start_ns: int) -> list[int]:
    """Each at its time."""
    found = []
    while (due := queue.due_next_ns()) is not None:
        taken = queue.take(due)
        assert taken == due
        found.append((due - start_ns) // (S // 10))
    return found


def test_each_arrival_is_handed_out_once_in_order_and_not_before_its_time() -> None:
    start = monotonic_ns() + S
    queue = arrivals(start)
    assert queue.take(start - 1) is None
    assert take_all(queue, start) == list(range(100))
    assert queue.take(start + FAR) is None


def test_what_is_too_late_to_start_is_dropped_and_the_rest_is_late() -> None:
    queue = arrivals(monotonic_ns() - 5 * S)
    due = queue.take(monotonic_ns())
    assert due is not None
    queue.started(due)
    assert queue.counts.late == 1
    assert queue.counts.dropped == pytest.approx(30, abs=1)


def test_workers_share_the_schedule_exactly() -> None:
    parts = [take_all(arrivals(0, share=Share.of(100, n, 3)), 0) for n in range(3)]
    assert sorted(index for part in parts for index in part) == list(range(100))


def test_nothing_beyond_the_lease_is_handed_out_or_counted_as_due() -> None:
    queue = arrivals(0, share=Share.of(100, 0, 2), until=9)
    assert take_all(queue, 0) == [0, 2, 4, 6, 8]
    assert queue.take(FAR) is None
    queue.pass_time(FAR)
    assert queue.counts.due == 5
    assert queue.grant([Piece(0, 0, 2)], 15)
    assert take_all(queue, 0) == [10, 12, 14]


def test_a_change_in_mid_run_leaves_no_arrival_out_and_gives_none_twice() -> None:
    partition = Partition(100, ["a", "b"])
    queues = {
        name: arrivals(0, share=Share(100, partition.pieces_of(name)), until=40) for name in "abc"
    }
    taken = {name: take_all(queue, 0) for name, queue in queues.items()}
    partition.change(40, ["b", "c"])  # a is gone, c has come
    for name in "bc":
        assert queues[name].grant(partition.pieces_of(name), 100)
        taken[name] += take_all(queues[name], 0)
    assert sorted(index for indices in taken.values() for index in indices) == list(range(100))
    assert max(taken["a"]) < 40 <= min(taken["c"])


def test_a_share_that_cuts_into_what_was_taken_is_noticed() -> None:
    queue = arrivals(0, share=Share.of(100, 0, 2))
    take_all(queue, 0)
    assert not queue.grant([Piece(0, 0, 2), Piece(50, 0, 3)], 100)


def test_the_account_closes_what_was_due_was_started_or_dropped() -> None:
    start = monotonic_ns() - 3 * S
    queue = arrivals(start)
    while (due := queue.take(monotonic_ns())) is not None and due < start + S + S // 2:
        queue.started(due)
    queue.close(monotonic_ns())
    counts = queue.counts
    assert counts.due == counts.started + counts.dropped
    assert counts.due == pytest.approx(30, abs=2)
    assert queue.take(monotonic_ns()) is None


def test_an_arrival_due_at_the_moment_of_the_end_was_not_turned_away() -> None:
    queue = arrivals(monotonic_ns())
    queue.take(monotonic_ns())
    queue.close(monotonic_ns())
    assert (queue.counts.due, queue.counts.dropped) == (0, 0)


def test_what_comes_due_in_a_pause_is_neither_dropped_nor_made_up_for() -> None:
    start = monotonic_ns() - 4 * S
    queue = arrivals(start)
    queue.take_passed(start + 4 * S)  # without a pause this does nothing
    queue.paused = True
    queue.take_passed(start + 4 * S)
    queue.pass_time(start + 4 * S)
    assert queue.counts.paused == queue.counts.due == 41
    queue.paused = False
    assert queue.take(start + 405 * S // 100) is None
    due = queue.take(start + 411 * S // 100)
    assert due == pytest.approx(start + 41 * S // 10, abs=10)
    queue.started(due)
    queue.close(start + 431 * S // 100)
    assert queue.counts.due == queue.counts.started + queue.counts.paused + queue.counts.dropped
    assert queue.counts.dropped == 1  # the one that was due at 4.2 and nobody took
