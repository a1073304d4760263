"""Arrivals go to slots in order; late and dropped ones are counted, none twice and none never."""

import pytest

from harness.clock import monotonic_ns
from harness.load.arrivals import Arrivals
from harness.workload.arrivals import steady

S = 1_000_000_000


def arrivals(start_ns: int, **more: int) -> Arrivals:
    return Arrivals(
        steady(per_second=10, over="10s"),
        start_ns=start_ns,
        late_after_s=0.1,
        drop_after_s=2,
        **more,
    )


def test_each_arrival_is_handed_out_once_and_in_order() -> None:
    start = monotonic_ns() + S
    queue = arrivals(start)
    dues = []
    while (due := queue.take()) is not None:
        dues.append(due)
    assert len(dues) == 100
    assert dues == sorted(dues)
    assert dues[0] == start


def test_what_is_too_late_to_start_is_dropped_and_the_rest_is_late() -> None:
    queue = arrivals(monotonic_ns() - 5 * S)
    due = queue.take()
    assert due is not None
    queue.started(due)
    assert queue.counts.late == 1
    assert queue.counts.dropped == pytest.approx(30, abs=1)


def test_workers_share_the_schedule_exactly() -> None:
    start = monotonic_ns() + S
    whole, parts = arrivals(start), [arrivals(start, worker=n, workers=3) for n in range(3)]

    shared = [due for part in parts for due in iter(part.take, None)]
    assert sorted(shared) == list(iter(whole.take, None))


def test_the_account_closes_what_was_due_was_started_or_dropped() -> None:
    start = monotonic_ns() - 3 * S
    queue = arrivals(start)
    while (due := queue.take()) is not None and due < start + S + S // 2:
        queue.started(due)
    queue.close(monotonic_ns())
    counts = queue.counts
    assert counts.due == counts.started + counts.dropped
    assert counts.due == pytest.approx(30, abs=2)


def test_an_arrival_due_at_the_moment_of_the_end_was_not_turned_away() -> None:
    queue = arrivals(monotonic_ns())
    queue.take()
    queue.close(monotonic_ns())
    assert (queue.counts.due, queue.counts.dropped) == (0, 0)
