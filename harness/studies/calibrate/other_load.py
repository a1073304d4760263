"""How much of this machine others use while we measure what it can do.

What others take is missing from the figures, and they make a generator late. Our own part is that
of this process and of all its children that have ended, and theirs (``harness run`` waits for
Locust and the simulator, Locust for its workers).
"""

import os
import time

import psutil


class OtherWork:
    """The processor time of others since it was made, as a share of all there was."""

    def __init__(self) -> None:
        self._cores = sorted(os.sched_getaffinity(0))
        self._began_s = time.monotonic()
        self._busy_s = _busy_s(self._cores)
        self._own_s = _own_s()

    def share(self) -> float:
        """0 to 1; ask when the children have ended."""
        return share_of_others(
            busy_s=_busy_s(self._cores) - self._busy_s,
            own_s=_own_s() - self._own_s,
            all_s=(time.monotonic() - self._began_s) * len(self._cores),
        )


def share_of_others(*, busy_s: float, own_s: float, all_s: float) -> float:
    """Of ``all_s`` seconds of all cores ``busy_s`` were used, ``own_s`` of these by us."""
    return min(1.0, max(0.0, busy_s - own_s) / all_s) if all_s > 0 else 0.0


def _busy_s(cores: list[int]) -> float:
    every = psutil.cpu_times(percpu=True)
    found = 0.0
    for core in cores:
        if core < len(every):
            times = every[core]._asdict()
            kinds = ("user", "nice", "system", "irq", "softirq", "steal")
            found += sum(times.get(kind, 0.0) for kind in kinds)
    return found


def _own_s() -> float:
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system
