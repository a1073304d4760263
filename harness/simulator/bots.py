"""The service model: who answers a text, and when.

With workers, an answer waits in one queue for the first free worker (first come, first served), so
that queueing theory (M/M/c, M/D/c, M/G/c) predicts the waiting exactly. The times are computed on
a virtual schedule when the text arrives and only carried out by timers, so that a timer's lateness
never adds up.
"""

import heapq
from collections.abc import Callable
from dataclasses import InitVar, dataclass, field, replace
from random import Random
from time import monotonic
from typing import TYPE_CHECKING

from harness.simulator.conversing import disconnect, reply, send_unasked, typing
from harness.simulator.dialogue import Distribution, Turn, spoken
from harness.simulator.truth import Conversation, Question, Session

if TYPE_CHECKING:
    from harness.simulator.service import Service


TIMER_LATE_S = 0.0005
"""The event loop's timers count whole milliseconds and so fire half of one late on average."""
AGAIN_S = 0.002
"""After so long an answer checks again whether the one before it was sent."""


GREETS_ON_TEXT = ("text", "either")
FILLERS = ("One moment, please.", "I am looking into it.", "Nearly there.")
"""Messages before the answer, where it has several and the dialogue defines only one."""


@dataclass(slots=True)
class Answer:
    """One turn of the bot under way. Times are monotonic."""

    session: Session
    conversation: Conversation
    turn: Turn
    guest_text: str
    question: Question | None
    arrived: float
    """When the kernel had the question; without stamps, when it was read."""
    read: float
    moments: list[float]
    """When each message is due."""
    greeting: bool = False


@dataclass(slots=True)
class WorkQueue:
    """``workers`` servers with one queue; 0 workers: as many as needed.

    They may hinder each other: with ``contention`` s and ``coherency`` k, work that begins while n
    are busy (itself counted) takes 1 + s(n - 1) + kn(n - 1) times as long, as in the Universal
    Scalability Law (N. J. Gunther, 1993).

    ``more`` workers are added, once, when work has had to wait for ``more_after_s`` without a
    break; they take what comes from then on.
    """

    workers: int
    time: Distribution
    seed: InitVar[str | None]
    contention: float = 0.0
    coherency: float = 0.0
    more: int = 0
    more_after_s: float = 0.0
    done: int = 0
    _busy_since: float | None = None
    _free_at: list[float] = field(init=False)
    _sample: Callable[[], float] = field(init=False)

    def __post_init__(self, seed: str | None) -> None:
        self._free_at = [0.0] * self.workers
        self._sample = self.time.sampler(Random() if seed is None else Random(seed))

    def finish(self, arrival: float, *, burden: float = 1.0, work_s: float | None = None) -> float:
        """When work that arrives now will be done; times in seconds of any one clock.

        ``burden`` makes it take so many times as long; ``work_s`` is how long it takes, if that is
        not to be drawn.
        """
        self.done += 1
        if work_s is None:
            work_s = self._sample()
        if not self.workers:
            return arrival + work_s * burden
        if self.more:
            self._add_workers(arrival)
        start = max(heapq.heappop(self._free_at), arrival)
        if self.contention or self.coherency:
            others = sum(free_at > start for free_at in self._free_at)
            burden *= 1 + others * (self.contention + self.coherency * (others + 1))
        end = start + work_s * burden
        heapq.heappush(self._free_at, end)
        return end

    def _add_workers(self, now: float) -> None:
        if self._free_at[0] <= now:
            self._busy_since = None
        elif self._busy_since is None:
            self._busy_since = now
        elif now - self._busy_since >= self.more_after_s:
            for _ in range(self.more):
                heapq.heappush(self._free_at, now)
            self.workers += self.more
            self.more = 0


class Bot:
    """Greets and answers, through the queue, and hands over to the agents."""

    def __init__(self, service: "Service") -> None:
        settings = service.settings.bot
        seed = service.settings.seed
        self.queue = WorkQueue(
            settings.workers,
            settings.time,
            None if seed is None else f"{seed}:service",
            contention=settings.contention,
            coherency=settings.coherency,
            more=settings.more_workers,
            more_after_s=settings.more_after_s,
        )
        self.silent_until = 0.0
        """The flow has fallen silent, until then (monotonic)."""
        self._settings = settings
        self._draws = Random() if seed is None else Random(f"{seed}:turns")
        self.dialogue = settings.dialogue.begin(self._draws)
        self._gap = settings.gap.sampler(self._draws)
        time = settings.greeting_time
        self._greeting_time = None if time is None else time.sampler(self._draws)
        self._began = monotonic()
        self._service = service

    def greet(self, session: Session, conversation: Conversation) -> None:
        """The answer to a Join."""
        greets = self._settings.greets
        if not self._settings.on:
            self._hand_over(session, conversation)
            return
        greeting = self.dialogue.greeting
        if greeting is None or greets in ("off", "text"):
            return
        if greets == "either" and conversation.greeted:
            return
        conversation.greeted = True
        now = monotonic()
        time, first_s = self._greeting_time, greeting.first_s
        if first_s is not None:
            due = now + first_s
        else:
            due = self._finish(now, None) if time is None else now + time()
        self._begin(session, conversation, greeting, "", now, due, greeting=True)

    def answer(self, session: Session, conversation: Conversation, guest_text: str) -> None:
        """The answer to a text, by whoever has the conversation."""
        service = self._service
        faults = service.faults
        if faults.active:
            interruption = faults.strikes("interruption")
            if interruption:
                service.later(interruption.seconds, self._interrupt, session, conversation)
        if conversation.waiting:
            return
        if conversation.agent is not None:
            service.agents.answer(session, conversation, guest_text)
            return
        settings = self._settings
        if not settings.on:
            self._hand_over(session, conversation)
            return
        late = None
        if faults.active:
            silence = faults.strikes("silence")
            if silence:
                now = monotonic()
                lasts = silence.seconds or float("inf")
                self.silent_until = max(self.silent_until, now + lasts)
            if self._is_silent() or faults.strikes("no_reply"):
                return
            late = faults.strikes("late_answer")
        now = monotonic()
        not_before = now
        greeting = self.dialogue.greeting
        if greeting is not None and not conversation.greeted and settings.greets in GREETS_ON_TEXT:
            conversation.greeted = True
            if greeting.first_s is not None:
                not_before += greeting.first_s
            elif self._greeting_time is not None:
                not_before += self._greeting_time()
            self._begin(session, conversation, greeting, "", now, not_before, greeting=True)
        turn = self.dialogue.turn(guest_text)
        if turn is not None:
            due = max(self._finish(now, turn.first_s), not_before)
            if late:
                due += late.seconds
            self._begin(session, conversation, turn, guest_text, now, due)

    def _is_silent(self) -> bool:
        return self.silent_until > monotonic() and self._service.faults.armed("silence")

    def _finish(self, now: float, work_s: float | None) -> float:
        """When the bot will have finished the work that arrives now."""
        settings = self._settings
        room = settings.memory_sessions
        burden = max(1.0, len(self._service.by_serial) / room) if room else 1.0
        burden *= 1 + settings.slower_per_hour / 3600 * (now - self._began)
        return self.queue.finish(now, burden=burden, work_s=work_s)

    def _begin(
        self,
        session: Session,
        conversation: Conversation,
        turn: Turn,
        guest_text: str,
        now: float,
        due: float,
        *,
        greeting: bool = False,
    ) -> None:
        service = self._service
        if self._settings.messages != (1, 1) and len(turn.parts) == 1 and not greeting:
            turn = self._with_fillers(turn)
        moments = [due]
        for number in range(1, len(turn.parts)):
            after = turn.after[number] if number < len(turn.after) else None
            moments.append(moments[-1] + (self._gap() if after is None else after))
        question = service.question
        if question is not None and turn.parts and not greeting:
            question.due = [moment - question.came_s for moment in moments]
        arrived = service.arrived_s or now
        answer = Answer(
            session, conversation, turn, guest_text, question, arrived, now, moments, greeting
        )
        self._wait(answer, 0)

    def _with_fillers(self, turn: Turn) -> Turn:
        """The same answer with others before it."""
        before = self._draws.randint(*self._settings.messages) - 1
        fillers = tuple({"text": FILLERS[number % len(FILLERS)]} for number in range(before))
        return replace(turn, parts=(*fillers, *turn.parts), after=())

    def _wait(self, answer: Answer, number: int) -> None:
        """Say a message of the answer when it is due, typing before it."""
        now = monotonic()
        loop = self._service.loop
        delay = answer.moments[number] - now - TIMER_LATE_S
        typing_s = answer.turn.typing_s if number == 0 else 0.0
        typing_s = typing_s or self._settings.typing_s
        if typing_s:
            loop.call_later(max(delay - typing_s, 0), typing, self._service, answer.session)
        if delay > 0:
            loop.call_later(delay, self._send_due, answer, number)
        else:
            self._send_due(answer, number)

    def _send_due(self, answer: Answer, number: int) -> None:
        service, conversation = self._service, answer.conversation
        if conversation.early is answer:
            conversation.early = None
        if service.stall.on:
            service.stall.defer(self._send_due, answer, number)
            return
        early_s = answer.moments[number] - monotonic() - TIMER_LATE_S
        if early_s > 0:  # a timer in whole milliseconds may also come one early
            conversation.early = conversation.early or answer
            service.loop.call_later(early_s, self._send_due, answer, number)
            return
        if conversation.early is not None:  # one before it waits again: none overtakes another
            service.loop.call_later(AGAIN_S, self._send_due, answer, number)
            return
        moments, parts = answer.moments, answer.turn.parts
        last = len(parts) - 1
        while parts:
            if self.silent_until and self._is_silent():
                if answer.question is not None and not answer.greeting:
                    answer.question.unheard += len(moments) - number
                return
            self._send_part(answer, number)
            if number == last:
                break
            number += 1
            if moments[number] > moments[number - 1]:
                self._wait(answer, number)
                return
        self._end_turn(answer.session, answer.conversation, answer.turn)

    def _send_part(self, answer: Answer, number: int) -> None:
        service = self._service
        part = spoken(answer.turn.parts[number], answer.guest_text)
        sent = reply(
            service,
            answer.session,
            answer.conversation,
            part,
            answer.question,
            greeting=answer.greeting,
        )
        if not sent:
            return
        truth = service.truth
        took_s = monotonic() - answer.arrived
        if answer.greeting:
            truth.delay("greeting", took_s)
            return
        if number == len(answer.moments) - 1:
            truth.delay("turn", took_s)
        if number:
            return
        truth.delay("reply", took_s)
        if service.settings.stamps:
            due = answer.moments[0]
            truth.delay("reply.planted", due - answer.read)
            truth.delay("reply.read_late", answer.read - answer.arrived)
            truth.delay("reply.written_late", monotonic() - due)

    def _interrupt(self, session: Session, conversation: Conversation) -> None:
        agent = conversation.agent or "Agent 1"
        send_unasked(self._service, session, conversation, "Is there anything else?", agent)

    def _end_turn(self, session: Session, conversation: Conversation, turn: Turn) -> None:
        if session.ended is not None or not conversation.open:
            return
        limit = self._settings.hand_over_after
        if turn.end:
            disconnect(self._service, session, "endpoint")
        elif turn.hand_over or (limit and conversation.guest_texts >= limit):
            self._hand_over(session, conversation)

    def _hand_over(self, session: Session, conversation: Conversation) -> None:
        if self._service.agents.number:
            self._service.agents.queue(session, conversation)
