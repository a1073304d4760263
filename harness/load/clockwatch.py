"""Watches the wall clock: what a run writes down is labelled by it, so it must not be stepped."""

from collections.abc import Callable

from harness.clock import monotonic_ns, wall_ns

STEP_S = 1.0
"""A clock that is slewed (as time services do) never drifts so far between two looks."""


class ClockWatch:
    """Compares the wall clock with the monotonic one, again and again."""

    def __init__(
        self,
        wall: Callable[[], int] = wall_ns,
        monotonic: Callable[[], int] = monotonic_ns,
    ) -> None:
        self._wall = wall
        self._monotonic = monotonic
        self._offset_ns = wall() - monotonic()

    def check(self) -> str | None:
        """One sentence if the clock was stepped since the last look."""
        offset_ns = self._wall() - self._monotonic()
        step_s = (offset_ns - self._offset_ns) / 1e9
        self._offset_ns = offset_ns
        if abs(step_s) < STEP_S:
            return None
        way = "back" if step_s < 0 else "forward"
        return (
            f"the wall clock was stepped {way} by {abs(step_s):.1f} s: "
            "the times in this run's record can't be trusted"
        )
