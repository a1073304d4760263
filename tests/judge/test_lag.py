"""A generator that was late itself voids its run, unless it was a hiccup."""

from harness.judge.validity import lag_complaints, lateness
from harness.measure.histogram import Histogram


def beats(*late_ms: float) -> Histogram:
    found = Histogram()
    found.record_many_ns([int(late * 1e6) for late in late_ms])
    return found


def test_a_process_that_is_late_for_more_than_a_hundredth_of_the_time_voids_the_run() -> None:
    good, bad = beats(*[1] * 990, *[150] * 10), beats(*[1] * 970, *[150] * 30)
    assert lag_complaints(lateness({"good": good})) == []
    (told,) = lag_complaints(lateness({"good": good, "bad": bad}))
    assert told.startswith("the generator lagged: bad was later than 100 ms in 3.0% of the time")


def test_one_process_does_not_hide_behind_the_others() -> None:
    many = {f"w{number}": beats(*[0.5] * 1000) for number in range(20)}
    assert lag_complaints(lateness(many)) == []
    assert lag_complaints(lateness({**many, "frozen": beats(*[0.5] * 900, *[500] * 100)})) != []


def test_a_long_stretch_voids_a_run_however_long_that_is() -> None:
    (told,) = lag_complaints(lateness({"w": beats(*[0.5] * 100_000, 5_200)}))
    assert "stood still for 5.2 s at a stretch" in told


def test_a_single_hiccup_of_a_short_run_is_forgiven() -> None:
    assert lag_complaints(lateness({"w": beats(*[1] * 195, 180, 160, 140, 120)})) == []
    assert lag_complaints(lateness({"w": beats(*[1] * 195, *[400] * 14)})) != []
