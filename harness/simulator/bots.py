"""The service model: who answers a text, and when.

With workers, an answer waits in one queue for the first free worker (first come, first served), so
that queueing theory (M/M/c, M/D/c, M/G/c) predicts the waiting exactly. The times are computed on
a virtual schedule when the text arrives and only carried out by timers, so that a timer's lateness
never adds up.
"""

import heapq
from collections.abc import Callable
from random import Random
from time import monotonic
from typing import TYPE_CHECKING

from harness.simulator.distributions import Distribution

if TYPE_CHECKING:
    from harness.simulator.service import Service


class WorkQueue:
    """``workers`` equal servers with one queue; 0 workers: as many as needed."""

    __slots__ = ("_free_at", "_sample", "done", "workers")

    def __init__(self, workers: int, time: Distribution, seed: int | None) -> None:
        self.workers = workers
        self._free_at = [0.0] * workers
        self._sample = time.sampler(Random() if seed is None else Random(f"{seed}:service"))
        self.done = 0

    def finish(self, arrival: float) -> float:
        """When work that arrives now will be done; times in seconds of any one clock."""
        self.done += 1
        if not self.workers:
            return arrival + self._sample()
        start = max(heapq.heappop(self._free_at), arrival)
        end = start + self._sample()
        heapq.heappush(self._free_at, end)
        return end

    def waiting_s(self, now: float) -> float:
        """How long work arriving now would wait."""
        return max(min(self._free_at) - now, 0.0) if self._free_at else 0.0


class Bot:
    """Answers texts through the queue."""

    def __init__(self, service: "Service") -> None:
        settings = service.settings.bot
        self.on = settings.on
        self.queue = WorkQueue(settings.workers, settings.time, service.settings.seed)
        self._service = service

    def work(self, then: Callable[[float], None]) -> None:
        """Call ``then(arrival)`` when a worker has finished; arrival in monotonic seconds."""
        arrival = monotonic()
        self._service.loop.call_later(self.queue.finish(arrival) - arrival, then, arrival)
