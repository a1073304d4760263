"""Two clocks, kept apart: monotonic nanoseconds measure, wall time only labels.

Times inside the harness are integer nanoseconds of the monotonic clock. The kernel stamps arriving
bytes in wall time, so such a stamp is converted with the offset between both clocks, taken at the
moment of the read; a step of the wall clock therefore spoils at most the reads around it.
"""

import socket
import sys
from datetime import UTC, datetime
from time import monotonic_ns, time_ns

__all__ = ["KERNEL_STAMPS", "monotonic_ns", "utc_iso", "wall_ns", "wall_to_monotonic_ns"]

wall_ns = time_ns

SO_TIMESTAMPNS = 35
"""Not named by the socket module; the same number on every Linux we run on."""


def _kernel_stamps() -> bool:
    """Some sandboxes are a Linux that does not know the option."""
    if sys.platform != "linux":
        return False
    try:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
    except OSError:
        return False
    return True


KERNEL_STAMPS = _kernel_stamps()
"""Whether arrival times come from the kernel here; elsewhere they are our own."""

STEP_LIMIT_NS = 60_000_000_000


def wall_to_monotonic_ns(stamp_wall_ns: int, now_ns: int) -> int:
    """The monotonic time of a wall-clock stamp that the kernel took; ``now_ns`` is just now.

    It is ``now_ns`` when the stamp lies in the future or more than a minute back: then the wall
    clock was stepped, and the caller's own reading is the better one. A process that is held up
    between two readings of its clocks makes the result later, up to ``now_ns``, and never earlier.
    """
    age = time_ns() - stamp_wall_ns
    if not 0 <= age <= STEP_LIMIT_NS:
        return now_ns
    stamp_ns = monotonic_ns() - age
    return stamp_ns if stamp_ns < now_ns else now_ns


def utc_iso(at_ns: int | None = None) -> str:
    """Wall time as ISO 8601 in UTC with milliseconds, for labels."""
    seconds = (time_ns() if at_ns is None else at_ns) / 1e9
    stamp = datetime.fromtimestamp(seconds, tz=UTC).isoformat(timespec="milliseconds")
    return stamp.replace("+00:00", "Z")
