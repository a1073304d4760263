"""A stalled loop is seen, with its whole weight."""

import time

import gevent

from harness.measure.histogram import Histogram
from harness.measure.lag import PERIOD_S, LoopLag, complaints, lateness


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


def test_a_stall_that_goes_on_at_the_end_is_seen() -> None:
    seen: list[int] = []
    lag = LoopLag(seen.append)
    lag.start()
    gevent.sleep(PERIOD_S * 2)
    time.sleep(PERIOD_S * 10)
    lag.stop()
    assert max(seen) >= PERIOD_S * 8 * 1e9


def beats(*late_ms: float) -> Histogram:
    found = Histogram()
    found.record_many_ns([int(late * 1e6) for late in late_ms])
    return found


def test_a_process_that_is_late_for_more_than_a_hundredth_of_the_time_voids_the_run() -> None:
    good, bad = beats(*[1] * 990, *[150] * 10), beats(*[1] * 970, *[150] * 30)
    assert complaints(lateness({"good": good})) == []
    (told,) = complaints(lateness({"good": good, "bad": bad}))
    assert told.startswith("the generator lagged: bad was later than 100 ms in 3.0% of the time")


def test_one_process_does_not_hide_behind_the_others() -> None:
    many = {f"w{number}": beats(*[0.5] * 1000) for number in range(20)}
    assert complaints(lateness(many)) == []
    assert complaints(lateness({**many, "frozen": beats(*[0.5] * 900, *[500] * 100)})) != []


def test_a_long_stretch_voids_a_run_however_long_that_is() -> None:
    (told,) = complaints(lateness({"w": beats(*[0.5] * 100_000, 5_200)}))
    assert "stood still for 5.2 s at a stretch" in told


def test_a_single_hiccup_of_a_short_run_is_forgiven() -> None:
    assert complaints(lateness({"w": beats(*[1] * 195, 180, 160, 140, 120)})) == []
    assert complaints(lateness({"w": beats(*[1] * 195, *[400] * 14)})) != []
