"""Agents: a queue that takes conversations after the bot, with so many at once per agent.

A conversation holds its place until the guest's leg has ended and the agent has wrapped up, so
leftovers visibly occupy agents.
"""

from collections import deque
from random import Random
from time import monotonic
from typing import TYPE_CHECKING

from harness.simulator.behaviour.conversing import disconnect, reply, say_unasked, typing
from harness.simulator.truth.state import Conversation, Leg, Participant, Session
from harness.simulator.truth.truth import Question

if TYPE_CHECKING:
    from harness.simulator.service import Service


class Agents:
    """``number`` agents with ``concurrency`` places each; 0 agents: nobody takes over."""

    def __init__(self, service: "Service") -> None:
        settings = service.settings.agents
        seed = service.settings.seed
        self.number = settings.number
        self.concurrency = settings.concurrency
        self.waiting: deque[tuple[Session, Conversation]] = deque()
        self._busy = [0] * settings.number
        self._settings = settings
        self._service = service
        self._sample = settings.time.sampler(Random() if seed is None else Random(f"{seed}:agents"))

    @property
    def occupied(self) -> int:
        """Places taken, wrap-up included."""
        return sum(self._busy)

    def queue(self, session: Session, conversation: Conversation) -> None:
        """The bot is done: the conversation waits for a free place."""
        if conversation.waiting or conversation.agent is not None or not conversation.open:
            return
        service = self._service
        now = service.now()
        conversation.waiting = True
        conversation.called_by = service.question
        for one in conversation.participants:
            if one.purpose == "workflow" and one.state is Leg.CONNECTED:
                one.state, one.end, one.disconnect_type = Leg.DISCONNECTED, now, "transfer"
        conversation.participants.append(Participant(service.ids.uuid(), "acd", now))
        service.note(session, "queued")
        self.waiting.append((session, conversation))
        self._assign()

    def _assign(self) -> None:
        while self.waiting and min(self._busy) < self.concurrency:
            session, conversation = self.waiting.popleft()
            if not conversation.open or not conversation.waiting:
                continue
            number = self._busy.index(min(self._busy))
            self._busy[number] += 1
            service = self._service
            now = service.now()
            conversation.waiting = False
            conversation.agent = f"Agent {number + 1}"
            conversation.agent_number = number
            for one in conversation.participants:
                if one.purpose == "acd" and one.state is Leg.CONNECTED:
                    one.state, one.end, one.disconnect_type = Leg.DISCONNECTED, now, "transfer"
            conversation.participants.append(
                Participant(service.ids.uuid(), "agent", now, name=conversation.agent)
            )
            service.note(session, "agent", conversation.agent)
            self._begin(session, conversation, f"{conversation.agent} is here.")

    def answer(self, session: Session, conversation: Conversation, heard: str) -> None:
        """The agent types, then answers; after the set number of texts they end it."""
        conversation.called_by = self._service.question
        self._begin(session, conversation, f"{conversation.agent}: {heard[:500]}")

    def _begin(self, session: Session, conversation: Conversation, text: str) -> None:
        """What an agent says on coming in answers what called them, unless the bot has done so."""
        service = self._service
        question, conversation.called_by = conversation.called_by, None
        delay = self._sample()
        if delay > 0:
            typing(service, session)
        arrived = service.arrived_s or monotonic()
        if question is not None:
            question.due = [monotonic() + delay - question.came_s]
        service.loop.call_later(delay, self._say, session, conversation, text, question, arrived)

    def _say(
        self,
        session: Session,
        conversation: Conversation,
        text: str,
        question: Question | None,
        arrived: float,
    ) -> None:
        service = self._service
        if service.stall.on:
            service.stall.hold(self._say, session, conversation, text, question, arrived)
            return
        conversation.agent_texts += 1
        if question is None:
            said = say_unasked(service, session, conversation, text, conversation.agent)
        else:
            said = reply(service, session, conversation, {"text": text}, question)
        if said:
            service.truth.delay("agent_reply", monotonic() - arrived)
        limit = self._settings.ends_after
        if limit and conversation.agent_texts >= limit:
            disconnect(service, session, "peer")

    def guest_left(self, conversation: Conversation) -> None:
        """The guest's leg has ended: the agent wraps up, and only then has a free place."""
        conversation.waiting = False
        if conversation.agent_number is not None:
            self._service.loop.call_later(self._settings.wrapup_s, self.wrapped_up, conversation)

    def wrapped_up(self, conversation: Conversation) -> None:
        """The agent's leg ends now; nothing if it has ended already."""
        number = conversation.agent_number
        if number is None or conversation.open:  # reopened meanwhile: still theirs
            return
        conversation.agent_number = conversation.agent = None
        conversation.agent_texts = 0
        now = self._service.now()
        for one in conversation.participants:
            if one.purpose == "agent" and one.state is not Leg.DISCONNECTED:
                one.state, one.end, one.disconnect_type = Leg.DISCONNECTED, now, "peer"
        self._busy[number] -= 1
        self._assign()

    def figures(self) -> dict[str, int]:
        """For the truth."""
        return {
            "agents": self.number,
            "places": self.number * self.concurrency,
            "occupied": self.occupied,
            "waiting": sum(1 for _, conversation in self.waiting if conversation.waiting),
        }
