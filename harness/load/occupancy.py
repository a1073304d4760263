"""How many guests are in session, and how long each is."""

from collections.abc import Callable

from harness.clock import monotonic_ns


class Occupancy:
    """The area under the occupancy, and how long those stayed who have left."""

    def __init__(self, now_ns: int) -> None:
        self._inside = 0
        self._changed_ns = now_ns
        self._area_ns = 0
        self._ended = 0
        self._ended_ns = 0

    def come(self, now_ns: int) -> None:
        self._pass(now_ns)
        self._inside += 1

    def go(self, came_ns: int, now_ns: int) -> None:
        """One guest fewer, who came then."""
        self._pass(now_ns)
        self._inside -= 1
        self._ended += 1
        self._ended_ns += now_ns - came_ns

    def totals(self, now_ns: int) -> dict[str, int]:
        """Running totals: guest-milliseconds in session; guests that left, and their time."""
        self._pass(now_ns)
        return {
            "occupancy_ms": self._area_ns // 1_000_000,
            "ended": self._ended,
            "ended_ms": self._ended_ns // 1_000_000,
        }

    def _pass(self, now_ns: int) -> None:
        self._area_ns += self._inside * (now_ns - self._changed_ns)
        self._changed_ns = now_ns


class Visit:
    """One guest's time inside; a class and no generator, because thousands are held at a time."""

    __slots__ = ("_came_ns", "_occupancy", "_on_gone")

    def __init__(self, occupancy: Occupancy, on_gone: Callable[[int], None]) -> None:
        """``on_gone`` hears of the length in nanoseconds."""
        self._occupancy = occupancy
        self._on_gone = on_gone
        self._came_ns = 0

    def __enter__(self) -> None:
        self._came_ns = monotonic_ns()
        self._occupancy.come(self._came_ns)

    def __exit__(self, *_: object) -> None:
        self.end()

    def end(self) -> None:
        """The guest has left; once, whoever sees it first."""
        came_ns, self._came_ns = self._came_ns, 0
        if came_ns:
            now = monotonic_ns()
            self._occupancy.go(came_ns, now)
            self._on_gone(now - came_ns)
