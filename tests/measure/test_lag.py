"""A stalled loop is seen, with its whole weight."""

import time

import gevent

from harness.measure.lag import PERIOD_S, LoopLag


def test_a_stall_is_reported_by_each_beat_that_it_swallowed() -> None:
    seen: list[int] = []
    lag = LoopLag(seen.append)
    lag.start()
    gevent.sleep(PERIOD_S * 2)
    calm = len(seen)
    time.sleep(PERIOD_S * 10)  # blocks the loop on purpose
    gevent.sleep(PERIOD_S * 2)
    lag.stop()
    late = [value for value in seen[calm:] if value > PERIOD_S * 1e9]
    assert len(late) >= 5
    assert max(late) >= PERIOD_S * 8 * 1e9
