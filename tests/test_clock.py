"""Kernel stamps become monotonic times; impossible ones are refused."""

from harness import clock


def test_a_stamp_just_taken_converts_to_a_moment_just_past() -> None:
    before = clock.monotonic_ns()
    stamp = clock.wall_ns()
    converted = clock.wall_to_monotonic_ns(stamp, clock.monotonic_ns())
    # The two clocks are read one after the other, so allow for a preemption between the reads.
    assert before - 50_000_000 <= converted <= clock.monotonic_ns()


def test_a_stamp_from_the_future_or_long_ago_is_refused() -> None:
    assert clock.wall_to_monotonic_ns(clock.wall_ns() + 10**9, 77) == 77
    assert clock.wall_to_monotonic_ns(clock.wall_ns() - 90 * 10**9, 77) == 77


def test_labels_are_iso_in_utc() -> None:
    assert clock.utc_iso(1_700_000_000_123_000_000) == "2023-11-14T22:13:20.123Z"
