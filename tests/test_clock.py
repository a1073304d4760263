"""Kernel stamps become monotonic times; impossible ones are refused."""

import pytest

from harness import clock


def test_a_stamp_just_taken_converts_to_a_moment_just_past() -> None:
    before = clock.monotonic_ns()
    stamp = clock.wall_ns()
    converted = clock.wall_to_monotonic_ns(stamp, clock.monotonic_ns())
    # The two clocks run at slightly different speeds.
    assert before - 1_000_000 <= converted <= clock.monotonic_ns()


@pytest.mark.parametrize("held_up", ["before", "between"])
def test_who_is_held_up_between_the_clocks_makes_no_answer_earlier(
    held_up: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stamp of 1 ms ago, read at once; 20 ms pass before the wall clock or after it is read."""
    now = {"ms": 0}

    def wall() -> int:
        now["ms"] += 20 if held_up == "before" else 0
        read = 10**15 + now["ms"] * 10**6
        now["ms"] += 20 if held_up == "between" else 0
        return read

    monkeypatch.setattr(clock, "time_ns", wall)
    monkeypatch.setattr(clock, "monotonic_ns", lambda: 5 * 10**9 + now["ms"] * 10**6)
    read_ns, stamp = 5 * 10**9, 10**15 - 10**6
    assert read_ns - 10**6 <= clock.wall_to_monotonic_ns(stamp, read_ns) <= read_ns


def test_a_stamp_from_the_future_or_long_ago_is_refused() -> None:
    assert clock.wall_to_monotonic_ns(clock.wall_ns() + 10**9, 77) == 77
    assert clock.wall_to_monotonic_ns(clock.wall_ns() - 90 * 10**9, 77) == 77


def test_labels_are_iso_in_utc() -> None:
    assert clock.utc_iso(1_700_000_000_123_000_000) == "2023-11-14T22:13:20.123Z"
