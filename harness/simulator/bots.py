"""The service model: who answers a text, and when.

With workers, an answer waits in one queue for the first free worker (first come, first served), so
that queueing theory (M/M/c, M/D/c, M/G/c) predicts the waiting exactly. The times are computed on
a virtual schedule when the text arrives and only carried out by timers, so that a timer's lateness
never adds up.
"""

import heapq
from random import Random
from time import monotonic
from typing import TYPE_CHECKING, NamedTuple

from harness.simulator.conversing import disconnect, reply, typing
from harness.simulator.dialogue import Turn, spoken
from harness.simulator.distributions import Distribution
from harness.simulator.state import Conversation, Session

if TYPE_CHECKING:
    from harness.simulator.service import Service


TIMER_LATE_S = 0.0005
"""The event loop's timers count whole milliseconds and so fire half of one late on average."""


class Times(NamedTuple):
    """When a text was there: for the kernel, for us, and when its answer is due (monotonic)."""

    arrived: float
    read: float
    due: float


class WorkQueue:
    """``workers`` servers with one queue; 0 workers: as many as needed.

    They may hinder each other: with ``contention`` s and ``coherency`` k, work that begins while n
    are busy (itself counted) takes 1 + s(n - 1) + kn(n - 1) times as long, as in the Universal
    Scalability Law (N. J. Gunther, 1993).
    """

    __slots__ = ("_coherency", "_contention", "_free_at", "_sample", "done", "workers")

    def __init__(
        self,
        workers: int,
        time: Distribution,
        seed: str | None,
        *,
        contention: float = 0.0,
        coherency: float = 0.0,
    ) -> None:
        self.workers = workers
        self._contention = contention
        self._coherency = coherency
        self._free_at = [0.0] * workers
        self._sample = time.sampler(Random() if seed is None else Random(seed))
        self.done = 0

    def finish(self, arrival: float, *, burden: float = 1.0) -> float:
        """When work that arrives now will be done; times in seconds of any one clock.

        ``burden`` makes it take so many times as long.
        """
        self.done += 1
        if not self.workers:
            return arrival + self._sample() * burden
        start = max(heapq.heappop(self._free_at), arrival)
        if self._contention or self._coherency:
            others = sum(free_at > start for free_at in self._free_at)
            burden *= 1 + others * (self._contention + self._coherency * (others + 1))
        end = start + self._sample() * burden
        heapq.heappush(self._free_at, end)
        return end

    def waiting_s(self, now: float) -> float:
        """How long work arriving now would wait."""
        return max(min(self._free_at) - now, 0.0) if self._free_at else 0.0


class Bot:
    """Greets and answers, through the queue, and hands over to the agents."""

    def __init__(self, service: "Service") -> None:
        settings = service.settings.bot
        seed = service.settings.seed
        self.on = settings.on
        self.dialogue = settings.dialogue
        self.hand_over_after = settings.hand_over_after
        self.queue = WorkQueue(
            settings.workers,
            settings.time,
            None if seed is None else f"{seed}:service",
            contention=settings.contention,
            coherency=settings.coherency,
        )
        self._memory = settings.memory_sessions
        self._slower_per_s = settings.slower_per_hour / 3600
        self._began = monotonic()
        self._service = service

    def greet(self, session: Session, conversation: Conversation) -> None:
        """The answer to a Join."""
        if not self.on:
            self._hand_over(session, conversation)
        elif self.dialogue.greeting is not None:
            self._work(session, conversation, self.dialogue.greeting, "")

    def answer(self, session: Session, conversation: Conversation, heard: str) -> None:
        """The answer to a text, by whoever has the conversation."""
        service = self._service
        if conversation.waiting:
            return
        if conversation.agent is not None:
            service.agents.answer(session, conversation, heard)
            return
        if not self.on:
            self._hand_over(session, conversation)
            return
        if service.faults.active and service.faults.strikes("no_reply"):
            return
        turn = self.dialogue.turn(heard)
        if turn is not None:
            self._work(session, conversation, turn, heard)

    def _work(self, session: Session, conversation: Conversation, turn: Turn, heard: str) -> None:
        now = monotonic()
        open_now = len(self._service.by_serial)
        burden = max(1.0, open_now / self._memory) if self._memory else 1.0
        burden *= 1 + self._slower_per_s * (now - self._began)
        due = self.queue.finish(now, burden=burden)
        delay = due - now - TIMER_LATE_S
        loop = self._service.loop
        times = Times(self._service.arrived_s or now, now, due)
        if turn.typing_s:
            loop.call_later(max(delay - turn.typing_s, 0), typing, self._service, session)
        if delay > 0:
            loop.call_later(delay, self._say, session, conversation, turn, heard, times)
        else:
            self._say(session, conversation, turn, heard, times)

    def _say(
        self, session: Session, conversation: Conversation, turn: Turn, heard: str, times: Times
    ) -> None:
        service = self._service
        for part in turn.parts:
            sent = reply(service, session, conversation, spoken(part, heard), times.arrived)
            if sent and service.settings.stamps:
                service.truth.delay("reply.planted", times.due - times.read)
                service.truth.delay("reply.read_late", times.read - times.arrived)
                service.truth.delay("reply.written_late", monotonic() - times.due)
        if session.ended is not None or not conversation.open:
            return
        limit = self.hand_over_after
        if turn.end:
            disconnect(service, session, "endpoint")
        elif turn.hand_over or (limit and conversation.guest_texts >= limit):
            self._hand_over(session, conversation)

    def _hand_over(self, session: Session, conversation: Conversation) -> None:
        if self._service.agents.number:
            self._service.agents.queue(session, conversation)
