"""The other side of a conversation: bot and agent answers, ending by them, and threading.

Agents: a queue that takes conversations after the bot, with so many at once per agent.

A conversation holds its place until the guest's leg has ended and the agent has wrapped up, so
leftovers visibly occupy agents.
"""

from collections import deque
from collections.abc import Mapping
from random import Random
from time import monotonic
from typing import TYPE_CHECKING, Any

from harness.simulator import frames
from harness.simulator.settings import limit_wait_s
from harness.simulator.truth import Conversation, Participant, Question, Session

if TYPE_CHECKING:
    from harness.simulator.service import Service


def conversation_of(service: "Service", session: Session) -> Conversation:
    """The conversation that a guest's message belongs to.

    An open one; one that was disconnected within the threading time, which opens again; or a new
    one. A cleared conversation is never continued: clearing ends the session too.
    """
    conversation = session.conversation
    if conversation is None:
        return service.conversations.start(session)
    if conversation.end is not None:
        if service.now() - conversation.end > service.threading_s:
            return service.conversations.start(session)
        service.conversations.reopen(session, conversation)
    return conversation


def outbound(
    service: "Service",
    session: Session,
    conversation: Conversation,
    part: Mapping[str, Any],
    agent: str | None = None,
) -> bool | None:
    """Send one message of the other side to every connection.

    None if nobody is there for it any more; False if no connection got it as it is. ``part`` holds
    ``text``, ``content`` or ``type``; the sender is ``agent``, or whoever has the conversation.
    """
    if session.ended is not None or not conversation.open:
        return None
    number, at, correlation = service.spoken(session, conversation, "reply")
    agent = agent or conversation.agent
    sender, entity = ("Bot", "Bot") if agent is None else (agent, "Human")
    if len(part) == 1 and "text" in part:
        frame = frames.outbound_text(
            part["text"], number, at, correlation=correlation, sender=sender, entity=entity
        )
    else:
        body: dict[str, Any] = {
            "type": "Text",
            "direction": "Outbound",
            "id": number,
            "channel": {"time": at, "type": "Private", "from": {"nickname": sender}},
            "originatingEntity": entity,
            "metadata": {"correlationId": correlation},
            **part,
        }
        frame = frames.message("StructuredMessage", body)
    for tally in session.tallies:
        tally.replies += 1
    service.add_to_history(session, frame)
    arrived = service.fan_out(session, frame)
    if service.faults.active:
        if service.faults.strikes("duplicate_reply"):
            service.fan_out(session, frame)
        if service.faults.strikes("cross_talk") and (other := service.bystander(session)):
            other.send(frame)
    return arrived


def reply(
    service: "Service",
    session: Session,
    conversation: Conversation,
    part: Mapping[str, Any],
    question: Question | None,
    *,
    greeting: bool = False,
) -> bool:
    """A message of an answer, or a greeting; enters it in the question's row.

    False if nobody is there for it any more.
    """
    before_s = monotonic()  # nobody can have it earlier; after writing, we may not get to look soon
    arrived = outbound(service, session, conversation, part)
    if question is not None:
        if arrived:
            delays_s = question.greetings if greeting else question.answers
            delays_s.append(before_s - question.came_s)
        else:
            question.unheard += 1
    return arrived is not None


def send_unasked(
    service: "Service", session: Session, conversation: Conversation, text: str, agent: str | None
) -> bool:
    """Send an agent's message that answers no question. False if no connection is left."""
    arrived = outbound(service, session, conversation, {"text": text}, agent)
    if arrived:
        now = service.now()
        service.truth.questions.add_unasked("agent", session.serial, session.run_id, now)
    return arrived is not None


def typing(service: "Service", session: Session) -> None:
    """Send that the other side is typing, within its limit. Not part of the history."""
    conversation = session.conversation
    if session.ended is not None or conversation is None:
        return
    limit = service.limits.typings_per_conversation_per_minute
    if limit_wait_s(conversation, "typing_times", limit, 60, service.now()):
        return
    number, at = service.head(conversation)
    head = {"id": number, "channel": {"time": at, "type": "Private", "from": {}}}
    body = frames.typing(head, 5000, service.knobs.typing_field)
    service.fan_out(session, frames.message("StructuredMessage", body))


def disconnect(service: "Service", session: Session, disconnect_type: str) -> None:
    """End the conversation by agent, flow or API; a setting decides what the guest receives."""
    conversation = session.conversation
    if conversation is None or not conversation.open or session.ended is not None:
        return
    number, at = service.head(conversation)
    service.conversations.end(conversation, disconnect_type)
    service.note(session, "disconnected", disconnect_type)
    mode = session.deployment.settings.disconnect
    if mode == "off":
        return
    session.read_only = mode == "read_only"
    agent = conversation.agent
    head = {
        "id": number,
        "channel": {"time": at, "type": "Private", "from": {"nickname": agent or "Bot"}, "to": {}},
        "originatingEntity": "Bot" if agent is None else "Human",
        "metadata": {"readOnly": "true" if session.read_only else "false"},
    }
    frame = frames.message("StructuredMessage", frames.presence("Outbound", "Disconnect", head))
    service.add_to_history(session, frame)
    service.fan_out(session, frame)


def disconnect_conversation(
    service: "Service", conversation: Conversation, disconnect_type: str
) -> None:
    """The Platform API ends a conversation, whether or not its guest's session still lives."""
    deployment = service.deployments.get(conversation.deployment_id)
    session = deployment.sessions.get(conversation.token) if deployment else None
    if session is not None and session.conversation is conversation:
        disconnect(service, session, disconnect_type)
    else:
        service.conversations.end(conversation, disconnect_type)
    service.agents.wrapped_up(conversation)


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
        """Queue the conversation for an agent; the bot has finished."""
        if conversation.waiting or conversation.agent is not None or not conversation.open:
            return
        service = self._service
        now = service.now()
        conversation.waiting = True
        conversation.called_by = service.question
        conversation.leave(now, "transfer", "workflow")
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
            conversation.leave(now, "transfer", "acd")
            conversation.participants.append(
                Participant(service.ids.uuid(), "agent", now, name=conversation.agent)
            )
            service.note(session, "agent", conversation.agent)
            self._begin(session, conversation, f"{conversation.agent} is here.")

    def answer(self, session: Session, conversation: Conversation, guest_text: str) -> None:
        """The agent types, then answers; after the set number of texts they end it."""
        conversation.called_by = self._service.question
        self._begin(session, conversation, f"{conversation.agent}: {guest_text[:500]}")

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
        service.loop.call_later(
            delay, self._send_text, session, conversation, text, question, arrived
        )

    def _send_text(
        self,
        session: Session,
        conversation: Conversation,
        text: str,
        question: Question | None,
        arrived: float,
    ) -> None:
        service = self._service
        if service.stall.on:
            service.stall.defer(self._send_text, session, conversation, text, question, arrived)
            return
        conversation.agent_texts += 1
        if question is None:
            delivered = send_unasked(service, session, conversation, text, conversation.agent)
        else:
            delivered = reply(service, session, conversation, {"text": text}, question)
        if delivered:
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
        conversation.leave(self._service.now(), "peer", "agent")
        self._busy[number] -= 1
        self._assign()

    def figures(self) -> dict[str, int]:
        return {
            "agents": self.number,
            "places": self.number * self.concurrency,
            "occupied": self.occupied,
            "waiting": sum(1 for _, conversation in self.waiting if conversation.waiting),
        }
