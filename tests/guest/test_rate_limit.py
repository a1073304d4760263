"""Whatever is asked for, no window ever holds more than its limit."""

import gevent
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.guest.settings import MINUTE_NS, SECOND_NS, UNLIMITED, Budget, ConnectionBudget, Pace


@given(
    st.lists(st.tuples(st.integers(0, 2 * SECOND_NS), st.booleans()), max_size=200),
    st.integers(3, 60),
    st.integers(1, 5),
)
def test_no_window_holds_more_than_its_limit(
    wishes: list[tuple[int, bool]], per_minute: int, per_s: int
) -> None:
    pace = Pace(Budget(requests_per_minute=per_minute, messages_per_s=per_s))
    now, requests, messages = 0, [], []
    for pause, message in wishes:
        now += pause
        now += pace.book(now, message=message)  # the guest waits as it is told
        requests.append(now)
        if message:
            messages.append(now)
    for times, limit, window in ((requests, per_minute, MINUTE_NS), (messages, per_s, SECOND_NS)):
        for first, last in zip(times, times[limit:], strict=False):
            assert last - first >= window


def test_a_new_connection_has_a_new_minute_and_no_limit_is_none() -> None:
    pace = Pace(Budget(requests_per_minute=4, messages_per_s=0))
    assert [pace.book(0, message=True) for _ in range(3)] == [0, 0, MINUTE_NS]
    pace.begin()
    assert pace.book(0, message=True) == 0
    free = Pace(UNLIMITED)
    assert {free.book(0, message=True) for _ in range(500)} == {0}


def test_connections_wait_for_their_share_of_the_deployments_minute() -> None:
    budget = ConnectionBudget(12, share=0.25)
    assert [budget.acquire() for _ in range(3)] == [0.0, 0.0, 0.0]
    with pytest.raises(gevent.Timeout), gevent.Timeout(0.05):
        budget.acquire()
    assert ConnectionBudget(0).acquire() == 0.0
