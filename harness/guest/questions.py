"""What a guest has asked, which message answers what, and what a story waits for.

No field of the service links an answer to a question, so the open questions of a session stand in
a queue, and a message answers the oldest. Where it is not sure which one it answers, the match is
*ambiguous*: it is counted, and its time is in no figure. It is sure only when one question is open
and nothing else can have brought the message:

* two open questions: whose the next message is can't be known;
* an answer that nobody counts on may still come: the greeting of a deployment that may greet, the
  answer to a text that expects none, the late answer to a question that timed out;
* a further message came before the guest spoke again: which of the two was the answer?
* further messages have come before in this session, and this question was asked so soon after one
  that more of them may be on their way.

A wait for certain words, or for the whole turn, says more, and such a match is exact.
"""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from enum import Enum
from functools import lru_cache
from typing import Any

import regex

from harness.clock import monotonic_ns
from harness.errors import ConfigError, NotPossible
from harness.guest.outcomes import in_vain
from harness.measure.model import GREETING, TURN, Outcome, Question, Sample, Wait
from harness.measure.recorder import (
    GUESTS_JOINED,
    GUESTS_REPLIED,
    HEARD,
    LATE_ANSWERS,
    LISTENED,
    UNASKED,
    Recorder,
)
from harness.protocol.codec import Message
from harness.protocol.requests import Button

WITHIN_S = 0.25
"""Of the whole process: an expression that is any good takes some microseconds."""
MOST_TEXT = 100_000
"""Characters of a message that are looked at."""


@lru_cache(maxsize=1024)
def searching(pattern: str | re.Pattern[str]) -> Callable[[str], bool]:
    """Whether a text holds what an expression describes, as ``re`` reads it.

    With a time limit: some expressions need years for some texts (``(a+)+$`` is one), and a search
    that can't be stopped would let the process stand still, and no Clear would leave. Raises
    ConfigError for what is none; the search raises NotPossible when it takes too long.
    """
    try:
        plain = re.compile(pattern)
        ours = regex.compile(plain.pattern, plain.flags | regex.VERSION0)
    except (re.error, regex.error, OverflowError) as error:
        raise ConfigError(f"await_reply(matching={pattern!r}): {error}") from None

    def search(text: str) -> bool:
        try:
            return ours.search(text[:MOST_TEXT], timeout=WITHIN_S) is not None
        except TimeoutError:
            raise NotPossible(
                "a regular expression took too long",
                f"{plain.pattern!r} was cut off after {WITHIN_S:g} s in a text of {len(text):,} "
                "characters: nested repetitions such as (a+)+ need more time with each character",
            ) from None

    return search


Condition = Callable[[Message], bool]
Offers = dict[str, tuple[str, Button, bool]]
"""Shown text → (payload, kind of button, whether it is a picker's)."""
_OK = Outcome.OK  # an enum is slow to give its members
_TIMEOUT = Outcome.TIMEOUT
STAMPS_DIFFER_NS = 100_000
"""A kernel's stamp is converted between clocks, and may fall a little before its cause."""


class Phase(Enum):
    """Where a guest is in its story, as far as questions are concerned."""

    SILENT = "has not spoken"
    TALKING = "talking"
    CLOSED = "listening"
    """its story has ended: what comes now answers nothing that is open"""
    OVER = "leaving"
    """the session is being cleared, and nothing counts any more"""


_TALKING, _OVER = Phase.TALKING, Phase.OVER


@dataclass(slots=True, eq=False)
class Questions:
    """The questions of one session: what must be answered, and what may be."""

    _recorder: Recorder
    _silence_ns: int
    """after so long without a message the other side has said all"""
    open: list[Question] = field(default_factory=list)
    """what must be answered, oldest first"""
    _possible: list[Question] = field(default_factory=list)
    """what may be: a greeting that is not known to come, what has timed out, what expects
    nothing. It takes a message only when nothing is open."""
    newest: Question | None = None
    """what was asked last, open or answered"""
    _latest: Question | None = None
    """what was answered last"""
    _unmeasured: Question | None = None
    """the same, as long as it may still turn out not to be sure"""
    _before_ns: int = 0
    """when the question before the newest was sent"""
    _last_ns: int = 0
    """when the newest message arrived"""
    phase: Phase = Phase.SILENT
    _chatty: bool = False
    """whether a further message has come before the guest spoke again"""
    _span_ns: int = 0
    unexplained: int = 0
    """messages after the story's end that nothing explains"""
    missed: Outcome | None = None
    """how the first question or wait ended that had nothing, if there is one"""

    # What the guest does.

    def ask(self, operation: str, due_ns: int, sent_ns: int) -> Question:
        """Something has left that must be answered."""
        unmeasured = self._unmeasured
        if unmeasured is not None:
            self._unmeasured = None
            self._recorder.add_answered(unmeasured)
        question = Question(operation, due_ns, sent_ns)
        newest, self.newest = self.newest, question
        if newest is not None:
            self._before_ns = newest.sent_ns
            if self._chatty:
                question.ambiguous = sent_ns - self._last_ns < self._silence_ns
        self.open.append(question)
        self._recorder.questions_asked += 1
        return question

    @property
    def asked_nothing(self) -> bool:
        """Whether the guest has asked nothing itself; that it may be greeted is no question."""
        return self.newest is None or self.newest.operation == GREETING

    def may_answer(self, operation: str, due_ns: int, sent_ns: int) -> None:
        """Something has left that may be answered, but need not be."""
        self._measure()
        self._possible.append(Question(operation, due_ns, sent_ns))

    @property
    def longest_ns(self) -> int:
        """From asking a question to its answer, the last one's, or to the answer of the next."""
        latest = self._latest
        took_ns = 0 if latest is None else latest.arrived_ns - latest.sent_ns
        return max(self._span_ns, took_ns)

    def measure(self, limit_ns: int) -> None:
        """Measure what was answered before then, unless the story waits for certain words of it."""
        question = self._unmeasured
        if question and question.content is not Wait.OPEN and question.arrived_ns < limit_ns:
            self._measure()

    def _measure(self) -> None:
        question, self._unmeasured = self._unmeasured, None
        if question is not None:
            self._recorder.add_answered(question)

    def note_spoken(self) -> None:
        """The guest has joined or said something."""
        if self.phase is Phase.SILENT:
            self.phase = _TALKING
            self._recorder.count(GUESTS_JOINED)
            self._recorder.talking.add(self)

    def expect_greeting(self) -> None:
        """The story waits for the greeting: now it must come."""
        for question in self._possible:
            if question.operation == GREETING and question.outcome is None:
                self._possible.remove(question)
                self._recorder.questions_asked += 1
                self.open.insert(0, question)
                self.newest = self.newest or question
                return

    def end_wait(self, now_ns: int, *, greeting: bool = False) -> None:
        """A wait is over without what it waited for: what it was for has timed out."""
        question = self._waited_for(greeting)
        if question is None:
            self.note_missed(_TIMEOUT)
            return
        if question in self.open:
            self.open.remove(question)
        self._possible.append(question)
        self._miss(question, now_ns, now_ns, _TIMEOUT)

    def note_missed(self, outcome: Outcome) -> None:
        """Something that the story asked or waited for has not come."""
        if self.missed is None:
            self.missed = outcome

    def missed_by(self, now_ns: int) -> Outcome | None:
        """What was missed already, or the end of a question that has waited in vain: that the run
        ends now is no excuse for it."""
        slowest_ns = self._recorder.slowest_answer_ns()
        if any(in_vain(now_ns - one.sent_ns, slowest_ns) for one in self.open):
            return self.missed or Outcome.CUT_SHORT
        return self.missed

    def _waited_for(self, greeting: bool) -> Question | None:
        for question in reversed(self.open):
            if greeting is (question.operation == GREETING):
                return question
        if self.open:
            return self.open[-1]
        unmeasured = self._unmeasured
        if unmeasured is None or unmeasured is not self.newest:
            return None
        # A message may have come, but not one that fits.
        return unmeasured if unmeasured.content is Wait.OPEN else None

    def wait_for(self, *, content: bool, turn: bool) -> Question | None:
        """The question that a wait is for, if it has not had its answer."""
        newest = self._changeable()
        if newest is None:
            return None
        if content:
            newest.content = Wait.OPEN
        if turn and newest.turn is Wait.NONE:
            newest.turn = Wait.OPEN
        return newest

    def _changeable(self) -> Question | None:
        """The newest question, if the story has not had its answer and it is not measured."""
        newest = self.newest
        if newest is None or newest.taken:
            return None
        return newest if newest.outcome is None or newest is self._unmeasured else None

    def answer_by_content(
        self, arrived_ns: int, seen_ns: int, attributed: Question | None
    ) -> Question | None:
        """A message has the words that were waited for: it answers the newest question.

        ``attributed`` is what it was thought to answer.
        """
        newest = self._changeable()
        if newest is None:
            return None
        if attributed is not newest and newest.outcome is None:
            if attributed is not None and attributed.arrived_ns == arrived_ns:
                self._take_back(attributed)
            self.open.remove(newest)
            self._answer(newest, arrived_ns, seen_ns)
        elif newest.outcome is _OK:
            newest.arrived_ns, newest.seen_ns = arrived_ns, seen_ns
        else:
            return None
        newest.content, newest.taken = Wait.MET, True
        return newest

    def _take_back(self, question: Question) -> None:
        """The message that had been thought to answer it was another's."""
        if question is self._unmeasured:
            self._unmeasured = None
            question.outcome, question.messages = None, 0
            self.open.insert(0, question)

    def answer_doubtfully(self, arrived_ns: int, seen_ns: int) -> None:
        """Only a message has come that another session saw first: it must do as the answer."""
        if self.open:
            question = self.open.pop()
            question.ambiguous = True
            self._answer(question, arrived_ns, seen_ns)

    # What the service does.

    def take_in(self, arrived_ns: int, seen_ns: int) -> Question | None:
        """A message of the other side has arrived; what it answers."""
        if self.phase is _OVER:
            return None
        self._last_ns = arrived_ns
        still_open = self.open
        if not still_open:
            return self._take_in_more(arrived_ns, seen_ns)
        question = still_open[0]
        sent_ns = question.sent_ns
        if arrived_ns < sent_ns and arrived_ns < sent_ns - STAMPS_DIFFER_NS:
            for question in still_open:
                question.ambiguous = True  # more of what came too early may be on its way
            return self._take_in_more(arrived_ns, seen_ns)
        del still_open[0]
        # A greeting that is known to come is known to come first.
        if self._possible or (still_open and question.operation is not GREETING):
            question.ambiguous = True
        self._answer(question, arrived_ns, seen_ns)
        return question

    def _answer(self, question: Question, arrived_ns: int, seen_ns: int) -> None:
        question.outcome = _OK
        question.messages = 1
        question.arrived_ns = arrived_ns
        question.seen_ns = seen_ns
        if self._latest is None:
            self._recorder.count(GUESTS_REPLIED)
        if self._unmeasured is not None:
            self._measure()
        self._latest = self._unmeasured = question
        before_ns = self._before_ns
        if before_ns and arrived_ns - before_ns > self._span_ns:
            self._span_ns = arrived_ns - before_ns

    def _take_in_more(self, arrived_ns: int, seen_ns: int) -> Question | None:
        """A message while nothing is open: late, possible, a further one, or unasked for."""
        if self._possible:
            question = self._possible.pop(0)
            if question.outcome is not None:
                self._recorder.count(LATE_ANSWERS)
            elif question.operation == GREETING:
                self._recorder.questions_asked += 1
                later_question = self.newest is not None and self.newest.sent_ns > question.sent_ns
                question.ambiguous = later_question or bool(self._possible)
                self._answer(question, arrived_ns, seen_ns)
            return question
        if self.phase is Phase.CLOSED:
            self.unexplained += 1
        latest = self._latest
        if latest is None:
            self._recorder.count(UNASKED)
            return None
        if latest.turn is Wait.MET:
            latest.ambiguous = self._chatty = True
            return None
        latest.messages += 1
        latest.last = arrived_ns, seen_ns
        if latest.turn is Wait.NONE:
            self._chatty = True
        return latest

    def fail(self, sent_ns: int, arrived_ns: int, seen_ns: int, outcome: Outcome) -> None:
        """An error has answered what was sent then."""
        for question in [question for question in self.open if question.sent_ns == sent_ns]:
            self.open.remove(question)
            self._miss(question, arrived_ns, seen_ns, outcome)
        self._possible = [one for one in self._possible if one.sent_ns != sent_ns]

    def fail_only(self, arrived_ns: int, seen_ns: int, outcome: Outcome) -> None:
        """An error that names no request has come while none awaits its echo. It answers the open
        question if there is exactly one; of several it can't be known which."""
        if len(self.open) == 1:
            self.fail(self.open[0].sent_ns, arrived_ns, seen_ns, outcome)

    # The end.

    def close(self, now_ns: int, outcome: Outcome) -> None:
        """The story has ended, and with it every question that is open; safe to call twice."""
        if self.phase is not _OVER:
            self.phase = Phase.CLOSED
        while self.open:
            question = self.open.pop(0)
            self._possible.append(question)  # its answer may still come, and explains itself
            self._miss(question, now_ns, now_ns, outcome)
        unmeasured = self._unmeasured
        if unmeasured is None:
            return
        if unmeasured.content is Wait.OPEN:
            self._miss(unmeasured, now_ns, now_ns, outcome)
        else:
            self.miss_turn(unmeasured, now_ns, now_ns, outcome)

    def end_turn(self, question: Question) -> None:
        """The other side has been silent: it has said all."""
        if question.outcome is _OK:
            question.taken = True
            question.content = Wait.NONE
            if question.turn is Wait.OPEN:
                question.turn = Wait.MET

    def miss_turn(
        self, question: Question, arrived_ns: int, seen_ns: int, outcome: Outcome
    ) -> None:
        """The end of an answer was not seen, if anybody waited for it."""
        if question.turn is Wait.OPEN:
            question.turn = Wait.MISSED
            stamps = question.due_ns, question.sent_ns, arrived_ns, seen_ns
            self._recorder.add(Sample(TURN, *stamps, outcome))

    def end(self) -> None:
        """From now on nothing counts: the session is being cleared."""
        self.phase = _OVER
        self._measure()
        self._recorder.talking.discard(self)

    def _miss(self, question: Question, arrived_ns: int, seen_ns: int, outcome: Outcome) -> None:
        question.outcome, question.content = outcome, Wait.NONE
        if question is self._unmeasured:
            self._unmeasured = None
        self.note_missed(outcome)
        stamps = question.due_ns, question.sent_ns, arrived_ns, seen_ns
        self._recorder.add(Sample(question.operation, *stamps, outcome))
        self.miss_turn(question, arrived_ns, seen_ns, outcome)


def condition(containing: str | None, matching: str | re.Pattern[str] | None) -> Condition | None:
    """What a reply has to be like; None where all will do.

    Raises ConfigError for a wrong regular expression; one that takes too long raises NotPossible
    when a message is looked at.

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
        search = searching(matching)
        return lambda message: search(message.text if not message.content else readable(message))
    return None


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

    Quick replies, buttons of cards and carousels, the times of a date picker and the items of a
    list picker; what a button only links to is no choice.
    """
    offered: Offers = {}
    for part in message.content:
        if type(part) is not dict:
            continue
        quick = part.get("quickReply")
        if type(quick) is dict:
            _offer(offered, quick, Button.QUICK_REPLY)
        for card in (part.get("card"), *_objects(part.get("carousel"), "cards")):
            for action in _objects(card, "actions"):
                if action.get("type") == "Postback":
                    _offer(offered, action, Button.BUTTON)
        for time in _objects(part.get("datePicker"), "availableTimes"):
            if type(time.get("dateTime")) is str:
                offered[time["dateTime"]] = (time["dateTime"], Button.DATE_PICKER, True)
        for section in _objects(part.get("listPicker"), "sections"):
            for item in _objects(section, "items"):
                if type(item.get("title")) is str and item["title"]:
                    payload = item["id"] if type(item.get("id")) is str else item["title"]
                    offered[item["title"]] = (payload, Button.LIST_PICKER, True)
    return offered


def _objects(holder: object, key: str) -> list[dict[str, Any]]:
    """The objects in a list of the service's; none where it has another shape."""
    items = holder.get(key) if type(holder) is dict else None
    return [item for item in items if type(item) is dict] if type(items) is list else []


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


def choice(messages: Iterable[Message], *texts: str) -> tuple[list[tuple[str, str]], Button, str]:
    """What to answer with to choose these texts: (text, payload) of each, the kind of button, and
    the id of the picker's message. NotPossible when they are not offered together."""
    newest, offered = offering(messages, texts[0])
    missing = [text for text in texts if text not in offered]
    if newest is None or missing:
        there = ", ".join(map(repr, offered)) or "nothing"
        why = f"{(missing or texts)[0]!r}; there is {there}"
        raise NotPossible("the choice was not offered", why)
    _, button, picker = offered[texts[0]]
    if len(texts) > 1 and any(offered[text][1] != Button.LIST_PICKER for text in texts):
        raise NotPossible("only one can be chosen", f"of {button}: {texts[0]!r}")
    chosen = [(text, offered[text][0]) for text in texts]
    return chosen, button, newest.message_id if picker else ""


def _offer(offered: Offers, button: dict[str, object], kind: Button) -> None:
    text, payload = button.get("text"), button.get("payload")
    if type(text) is str and text:
        offered[text] = (payload if type(payload) is str else text, kind, False)


FIRST = 20
THEN_ONE_IN = 20
LEAST_NS = 1_000_000_000
LEAST_AT_FIRST_NS = 5_000_000_000
"""The first guest of a process listens for so long: nothing is known yet."""
MOST_NS = 30_000_000_000
LOOK_NS = 200_000_000
"""So often a listening guest asks whether it may go on."""


@dataclass(slots=True, eq=False)
class Listening:
    """Which guests of a process stay silent before they leave, to hear what nobody asked for.

    Counting can't see a flow whose greeting is taken for the first answer, the first answer for the
    second, and whose last answer comes when the guest is gone. So the first guests, and one in so
    many after them, listen: a message then shows that answers were taken for others'.
    ``may_go_on`` says whether nobody needs what a listening guest holds.
    """

    may_go_on: Callable[[], bool] = lambda: True
    _stories: int = 0

    def begins(self) -> bool:
        """Whether the guest whose story has just finished is one of those who listen."""
        number, self._stories = self._stories, self._stories + 1
        return number < FIRST or number % THEN_ONE_IN == 0

    def listen(
        self, recorder: Recorder, questions: Questions, rest_until: Callable[[int], None]
    ) -> None:
        """Stay silent, if it is this guest's turn to, until something comes or the time is over."""
        if not self.begins():
            return
        questions.close(monotonic_ns(), Outcome.UNANSWERED)
        until = monotonic_ns() + self.length_ns(recorder, questions)
        try:
            while not questions.unexplained and self.may_go_on():
                now = monotonic_ns()
                if now >= until:
                    recorder.count(LISTENED)
                    return
                rest_until(min(until, now + LOOK_NS))
        finally:
            if questions.unexplained:
                recorder.count(LISTENED)
                recorder.count(HEARD)

    def length_ns(self, recorder: Recorder, questions: Questions) -> int:
        """For how long: an answer that was taken for another's would come within that time."""
        least = LEAST_AT_FIRST_NS if self._stories <= 1 else LEAST_NS
        return min(MOST_NS, max(least, recorder.slowest_answer_ns(), questions.longest_ns))
