"""A step of the wall clock is told once, with its size and its way."""

from harness.load.health import ClockWatch


class Clock:
    def __init__(self) -> None:
        self.now_ns = 1_000_000_000_000

    def __call__(self) -> int:
        return self.now_ns


def test_steps_are_told_and_slewing_is_not() -> None:
    wall, monotonic = Clock(), Clock()
    watch = ClockWatch(wall, monotonic)
    for clock in (wall, monotonic):
        clock.now_ns += 5_000_000_000
    assert watch.check() is None
    wall.now_ns += 500_000_000  # half a second of slewing
    assert watch.check() is None
    wall.now_ns += 2_000_000_000
    assert "stepped forward by 2." in str(watch.check())
    wall.now_ns -= 90_000_000_000
    told = watch.check()
    assert told is not None
    assert "stepped back by 90.0 s" in told
    assert watch.check() is None
    wall.now_ns += 3_600_000_000_000
    assert "stepped forward by 3600.0 s" in str(watch.check())
