"""Guests in session against time, exactly: what Little's law is checked by."""


class Stay:
    """The area under the occupancy, and how long those stayed who have left."""

    def __init__(self, now_ns: int) -> None:
        self._inside = 0
        self._changed_ns = now_ns
        self._area_ns = 0
        self._ended = 0
        self._ended_ns = 0

    def come(self, now_ns: int) -> None:
        """One guest more."""
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
