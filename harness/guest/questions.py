"""Which message of the other side answers which of ours, and what a story waits for.

No field of the service links a reply to a question, so the newest message of ours is the question
and the first message after it by arrival is the reply, or the first one that fits.
"""

import re
from collections.abc import Callable, Iterable

from harness.clock import monotonic_ns
from harness.errors import ConfigError
from harness.guest.inbox import Arrived
from harness.measure.recorder import GUESTS_JOINED, GUESTS_REPLIED, Recorder
from harness.measure.sample import Outcome, Sample
from harness.protocol.events import Message

Condition = Callable[[Message], bool]
Offers = dict[str, tuple[str, str, bool]]
"""Shown text → (payload, kind of button, whether it is a picker's)."""


class Question:
    """The newest message of ours that has had no reply, if any."""

    __slots__ = ("_answered", "_recorder", "_spoken", "asked")

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder
        self.asked: tuple[int, int] | None = None
        """when it was due and when it was sent; None without a question"""
        self._answered = False
        self._spoken = False

    def ask(self, due_ns: int, sent_ns: int) -> None:
        """A message of ours has left."""
        self.asked = (due_ns, sent_ns)
        if not self._spoken:
            self._spoken = True
            self._recorder.count(GUESTS_JOINED)

    def answer(self, arrived: Arrived) -> None:
        """This is the reply to it; one that had come before it was sent answers nothing."""
        asked, self.asked = self.asked, None
        if asked is not None and arrived.arrived_ns >= asked[1]:
            due_ns, sent_ns = asked
            self._recorder.add_ok("reply", due_ns, sent_ns, arrived.arrived_ns, arrived.seen_ns)
            if not self._answered:
                self._answered = True
                self._recorder.count(GUESTS_REPLIED)

    def time_out(self) -> None:
        """Nobody waits for the reply any longer."""
        asked, self.asked = self.asked, None
        if asked is not None:
            now = monotonic_ns()
            self._recorder.add(Sample("reply", asked[0], asked[1], now, now, Outcome.TIMEOUT))


def anything(message: Message) -> bool:
    """Any message that shows something."""
    return bool(message.text or message.content)


def condition(containing: str | None, matching: str | re.Pattern[str] | None) -> Condition:
    """What a reply has to be like. Raises ConfigError for a wrong regular expression.

    ``containing`` takes no notice of case, as ovotech's genesys-web-messaging-tester does not.
    Both look at all that a reply shows: its text, and titles and choices of cards and the like.
    """
    if containing is not None:
        wanted = containing.lower()
        return lambda message: (
            wanted in message.text.lower()
            or (bool(message.content) and wanted in readable(message).lower())
        )
    if matching is not None:
        try:
            pattern = re.compile(matching)
        except re.error as error:
            raise ConfigError(f"await_reply(matching={matching!r}): {error}") from None
        return lambda message: (
            pattern.search(message.text if not message.content else readable(message)) is not None
        )
    return anything


SHOWN_KEYS = ("title", "subtitle", "description", "text", "filename", "dateTime")
"""Fields of rich content that a person reads, in the order in which they stand on a screen."""


def readable(message: Message) -> str:
    """All that a person can read of a message: a line each for text, titles and choices."""
    lines = [message.text] if message.text else []
    pending: list[object] = list(reversed(message.content))
    while pending:
        part = pending.pop()
        if type(part) is dict:
            lines += [part[key] for key in SHOWN_KEYS if type(part.get(key)) is str]
            pending += reversed(part.values())
        elif type(part) is list:
            pending += reversed(part)
    return "\n".join(lines)


def shown(message: Message) -> str:
    """A message in an error's text."""
    text = message.text or readable(message) or message.presence or message.kind
    return repr(text if len(text) <= 60 else text[:59] + "…")


def offers(message: Message) -> Offers:
    """What a message offers to choose from.

    Quick replies, buttons of cards and carousels, and the times of a date picker; what a button
    only links to is no choice.
    """
    found: Offers = {}
    for part in message.content:
        if type(part) is not dict:
            continue
        quick = part.get("quickReply")
        if type(quick) is dict:
            _offer(found, quick, "QuickReply")
        carousel = part.get("carousel")
        cards = carousel.get("cards") if type(carousel) is dict else [part.get("card")]
        for card in cards if type(cards) is list else ():
            for action in (card.get("actions") or ()) if type(card) is dict else ():
                if type(action) is dict and action.get("type") == "Postback":
                    _offer(found, action, "Button")
        picker = part.get("datePicker")
        for time in (picker.get("availableTimes") or ()) if type(picker) is dict else ():
            if type(time) is dict and type(time.get("dateTime")) is str:
                found[time["dateTime"]] = (time["dateTime"], "DatePicker", True)
    return found


def offering(messages: Iterable[Message], text: str) -> tuple[Message | None, Offers]:
    """The first of these messages that offers a text, and its offers.

    None, and all that they do offer, where none offers it.
    """
    there: Offers = {}
    for message in messages:
        offered = offers(message)
        if text in offered:
            return message, offered
        there |= offered
    return None, there


def _offer(found: Offers, button: dict[str, object], kind: str) -> None:
    text, payload = button.get("text"), button.get("payload")
    if type(text) is str and text:
        found[text] = (payload if type(payload) is str else text, kind, False)
