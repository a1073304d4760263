"""The platform's conversations: started, ended, opened again, found, forgotten within bounds."""

from collections import OrderedDict
from collections.abc import ValuesView
from typing import TYPE_CHECKING

from harness.simulator.guest_api.frames import dashed
from harness.simulator.truth.state import Conversation, Leg, Participant, Session

if TYPE_CHECKING:
    from harness.simulator.service import Service


class Conversations:
    """Every open conversation, and the ended ones up to the knob ``keep_conversations``."""

    def __init__(self, service: "Service") -> None:
        self._service = service
        self._held: OrderedDict[int, Conversation] = OrderedDict()
        self._serial = 0
        self._forget_at = int(service.knobs.keep_conversations * 1.1) + 10

    def values(self) -> ValuesView[Conversation]:
        """In the order of their start."""
        return self._held.values()

    def clear(self) -> None:
        """Forget all of them."""
        self._held.clear()

    def start(self, session: Session) -> Conversation:
        """A new one of the session's guest, in the bot's hands."""
        service = self._service
        now = service.now()
        self._serial += 1
        conversation = Conversation(
            self._serial,
            dashed(service.ids.message(self._serial, 0)),
            session.token,
            session.deployment.id,
            now,
            run_id=session.run_id,
            tallies=session.tallies,
            attributes=dict(session.attributes or {}),
            journey_customer_id=session.journey_customer_id,
        )
        conversation.customer = Participant(service.ids.uuid(), "customer", now)
        conversation.participants = [
            conversation.customer,
            Participant(service.ids.uuid(), "workflow", now),
        ]
        session.conversation = conversation
        self._held[conversation.serial] = conversation
        for tally in session.tallies:
            tally.conversations_opened += 1
        service.note(session, "conversation opened", conversation.id)
        if len(self._held) > self._forget_at:
            self._forget()
        return conversation

    def _forget(self) -> None:
        """Ended ones beyond the limit go, oldest first; open ones are never forgotten."""
        keep = self._service.knobs.keep_conversations
        surplus = len(self._held) - keep
        gone = [serial for serial, item in self._held.items() if not item.open][:surplus]
        for serial in gone:
            del self._held[serial]
        # look again only when a tenth more have come: open ones alone may be more than the limit
        self._forget_at = max(keep, len(self._held)) + keep // 10 + 10
        self._service.log(
            f"more than {keep} conversations: the oldest ended ones are forgotten from now on "
            "(knob keep_conversations)",
            once=True,
        )

    def find(self, some_id: str) -> tuple[Conversation, int] | None:
        """(conversation, message number) of a message id or, with number 0, a conversation id."""
        known = self._service.ids.conversation_of(some_id)
        conversation = self._held.get(known[0]) if known else None
        if known is None or conversation is None or known[1] > conversation.messages:
            return None
        return conversation, known[1]

    def end(self, conversation: Conversation, disconnect_type: str) -> None:
        """The customer's leg ends, and with it the bot's; an agent still has to wrap up."""
        if not conversation.open:
            return
        now = self._service.now()
        conversation.end = now
        for participant in conversation.participants:
            if participant.state is not Leg.DISCONNECTED and participant.purpose != "agent":
                participant.state = Leg.DISCONNECTED
                participant.end = now
                participant.disconnect_type = disconnect_type
        for tally in conversation.tallies:
            tally.conversations_ended += 1
        self._service.agents.guest_left(conversation)

    def reopen(self, session: Session, conversation: Conversation) -> None:
        """A message within the threading time continues one that was disconnected."""
        conversation.end = None
        customer = conversation.customer
        if customer is not None:
            customer.state, customer.end, customer.disconnect_type = Leg.CONNECTED, None, None
        for tally in conversation.tallies:
            tally.conversations_ended -= 1
        self._service.truth.count("conversations_reopened")
        self._service.note(session, "conversation reopened", conversation.id)
