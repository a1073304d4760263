"""A guest's questions: which message answers which, and which answer the story waits for.

No field of the service links an answer to a question. So the open questions of a session form a
queue, and a message answers the oldest. A match that is not certain is *ambiguous*: it is counted,
and its time is in no figure. A match is certain only if one question is open and nothing else can
have caused the message. It is ambiguous if

* two questions are open: the message may answer either;
* an unexpected answer may still come: the greeting of a deployment that may greet, the answer to a
  text that expects none, the late answer to a question that timed out;
* a further message came before the guest spoke again: either may be the answer;
* further messages have come before in this session, and this question was asked so soon after one
  of them that more may follow.

A wait for certain words, or for the whole turn, gives an exact match.
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
"""How long a search may stop the whole process: a good expression takes some microseconds."""
MOST_TEXT = 100_000
"""How many characters of a message are searched."""


@lru_cache(maxsize=1024)
def searching(pattern: str | re.Pattern[str]) -> Callable[[str], bool]:
    """A search for a regular expression of ``re`` in a text: True if the text contains a match.

    It has a time limit: some expressions need years for some texts (``(a+)+$`` is one), and an
    endless search would stop the process, so that no Clear could be sent. Raises ConfigError for an
    invalid expression; the search raises NotPossible if it takes too long.
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
_OK = Outcome.OK  # looking up a member of an enum is slow
_TIMEOUT = Outcome.TIMEOUT
STAMPS_DIFFER_NS = 100_000
"""A kernel's stamp is converted between clocks; it can lie this much before the send it answers."""


class Phase(Enum):
    """Where a guest is in its story, as far as questions are concerned."""

    SILENT = "has not spoken"
    TALKING = "talking"
    CLOSED = "listening"
    """its story has ended: a message now answers no open question"""
    OVER = "leaving"
    """the session is being cleared; messages no longer count"""


_TALKING, _OVER = Phase.TALKING, Phase.OVER


@dataclass(slots=True, eq=False)
class Questions:
    """The questions of one session: those that must be answered, and those that may be."""

    _recorder: Recorder
    _silence_ns: int
    """after this silence the other side has said all"""
    open: list[Question] = field(default_factory=list)
    """questions that must be answered, oldest first"""
    _possible: list[Question] = field(default_factory=list)
    """questions that may be answered: a greeting that may not come, a question that has timed out,
    a text that expects no answer. They take a message only when no question is open."""
    newest: Question | None = None
    """the question asked last, open or answered"""
    _latest: Question | None = None
    """the question answered last"""
    _unmeasured: Question | None = None
    """the question answered last, while its match may still become ambiguous"""
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
    """how the first question or wait without an answer ended, if there was one"""

    # The guest's side.

    def ask(self, operation: str, due_ns: int, sent_ns: int) -> Question:
        """A message was sent that must be answered."""
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
        """Whether the guest has asked no question (a possible greeting is none)."""
        return self.newest is None or self.newest.operation == GREETING

    def may_answer(self, operation: str, due_ns: int, sent_ns: int) -> None:
        """A message was sent that may be answered, but need not be."""
        self._measure()
        self._possible.append(Question(operation, due_ns, sent_ns))

    @property
    def longest_ns(self) -> int:
        """The longest time from a question to its own answer or to that of the next question."""
        latest = self._latest
        took_ns = 0 if latest is None else latest.arrived_ns - latest.sent_ns
        return max(self._span_ns, took_ns)

    def measure(self, limit_ns: int) -> None:
        """Measure the question answered last, if that was before ``limit_ns`` and the story waits
        for no certain words of it."""
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
        """The story waits for the greeting: from now on it must be answered."""
        for question in self._possible:
            if question.operation == GREETING and question.outcome is None:
                self._possible.remove(question)
                self._recorder.questions_asked += 1
                self.open.insert(0, question)
                self.newest = self.newest or question
                return

    def end_wait(self, now_ns: int, *, greeting: bool = False) -> None:
        """A wait has timed out, and with it the question that it was for."""
        question = self._waited_for(greeting)
        if question is None:
            self.note_missed(_TIMEOUT)
            return
        if question in self.open:
            self.open.remove(question)
        self._possible.append(question)
        self._miss(question, now_ns, now_ns, _TIMEOUT)

    def note_missed(self, outcome: Outcome) -> None:
        """An answer that the story asked for or waited for has not come."""
        if self.missed is None:
            self.missed = outcome

    def missed_by(self, now_ns: int) -> Outcome | None:
        """The outcome of the first missed answer; CUT_SHORT if an open question has already waited
        longer than any answer took, so that the end of the run does not excuse it; else None."""
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
        # A message may have come, but none with the words that were waited for.
        return unmeasured if unmeasured.content is Wait.OPEN else None

    def wait_for(self, *, content: bool, turn: bool) -> Question | None:
        """The question that a wait is for; None if the story has its answer already."""
        newest = self._changeable()
        if newest is None:
            return None
        if content:
            newest.content = Wait.OPEN
        if turn and newest.turn is Wait.NONE:
            newest.turn = Wait.OPEN
        return newest

    def _changeable(self) -> Question | None:
        """The newest question, if the story has not taken its answer and it is not measured yet."""
        newest = self.newest
        if newest is None or newest.taken:
            return None
        return newest if newest.outcome is None or newest is self._unmeasured else None

    def answer_by_content(
        self, arrived_ns: int, seen_ns: int, attributed: Question | None
    ) -> Question | None:
        """A message has the words that were waited for, so it answers the newest question.

        ``attributed`` is the question to which the message had been matched before.
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
        """The message that had been matched to this question answers another one."""
        if question is self._unmeasured:
            self._unmeasured = None
            question.outcome, question.messages = None, 0
            self.open.insert(0, question)

    def answer_doubtfully(self, arrived_ns: int, seen_ns: int) -> None:
        """The only message that came is one that another session saw first: it counts as the
        answer."""
        if self.open:
            question = self.open.pop()
            question.ambiguous = True
            self._answer(question, arrived_ns, seen_ns)

    # The service's side.

    def take_in(self, arrived_ns: int, seen_ns: int) -> Question | None:
        """A message of the other side has arrived; returns the question that it answers."""
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
                question.ambiguous = True  # more messages like the one before it may follow
            return self._take_in_more(arrived_ns, seen_ns)
        del still_open[0]
        # A greeting that must come comes first.
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
        """A message while no question is open: a late answer, a possible one, a further message, or
        one that nothing explains."""
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
        """An error has answered the message that was sent at ``sent_ns``."""
        for question in [question for question in self.open if question.sent_ns == sent_ns]:
            self.open.remove(question)
            self._miss(question, arrived_ns, seen_ns, outcome)
        self._possible = [one for one in self._possible if one.sent_ns != sent_ns]

    def fail_only(self, arrived_ns: int, seen_ns: int, outcome: Outcome) -> None:
        """An error that names no request has come, and no message awaits its echo. It answers the
        open question if there is exactly one; of several questions it may answer any."""
        if len(self.open) == 1:
            self.fail(self.open[0].sent_ns, arrived_ns, seen_ns, outcome)

    # The end.

    def close(self, now_ns: int, outcome: Outcome) -> None:
        """The story has ended, and every open question with it. May be called twice."""
        if self.phase is not _OVER:
            self.phase = Phase.CLOSED
        while self.open:
            question = self.open.pop(0)
            self._possible.append(question)  # its answer may still come; then it is explained
            self._miss(question, now_ns, now_ns, outcome)
        unmeasured = self._unmeasured
        if unmeasured is None:
            return
        if unmeasured.content is Wait.OPEN:
            self._miss(unmeasured, now_ns, now_ns, outcome)
        else:
            self.miss_turn(unmeasured, now_ns, now_ns, outcome)

    def end_turn(self, question: Question) -> None:
        """The other side was silent for long enough: its turn is over."""
        if question.outcome is _OK:
            question.taken = True
            question.content = Wait.NONE
            if question.turn is Wait.OPEN:
                question.turn = Wait.MET

    def miss_turn(
        self, question: Question, arrived_ns: int, seen_ns: int, outcome: Outcome
    ) -> None:
        """The end of the turn was not seen; counts only if the story waited for it."""
        if question.turn is Wait.OPEN:
            question.turn = Wait.MISSED
            stamps = question.due_ns, question.sent_ns, arrived_ns, seen_ns
            self._recorder.add(Sample(TURN, *stamps, outcome))

    def end(self) -> None:
        """The session is being cleared: messages no longer count."""
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
    """The condition that a reply must meet; None if any reply will do.

    Raises ConfigError for an invalid regular expression; one that takes too long raises NotPossible
    when it is tried on a message.

    ``containing`` ignores case, as ovotech's genesys-web-messaging-tester does. Both search all
    that a reply shows: its text, and the titles and choices of cards and the like.
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
"""Fields of rich content that a person reads, in their order on a screen."""


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
    """A message as it is shown in an error."""
    text = message.text or readable(message) or message.presence or message.kind
    return repr(text if len(text) <= 60 else text[:59] + "…")


def offers(message: Message) -> Offers:
    """What a message offers to choose from.

    Quick replies, buttons of cards and carousels, the times of a date picker and the items of a
    list picker. A button that only opens a link is no choice.
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
    """The objects in a list that the service sent; none if it is no list of objects."""
    items = holder.get(key) if type(holder) is dict else None
    return [item for item in items if type(item) is dict] if type(items) is list else []


def offering(messages: Iterable[Message], text: str) -> tuple[Message | None, Offers]:
    """The first of these messages that offers a text, and its offers.

    If none offers it: None, and the offers of all of them.
    """
    there: Offers = {}
    for message in messages:
        offered = offers(message)
        if text in offered:
            return message, offered
        there |= offered
    return None, there


def choice(messages: Iterable[Message], *texts: str) -> tuple[list[tuple[str, str]], Button, str]:
    """The answer that chooses these texts: (text, payload) of each, the kind of button, and the id
    of the picker's message. Raises NotPossible if they are not offered together."""
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
"""How long the first guest of a process listens at least: no answer times are known yet."""
MOST_NS = 30_000_000_000
LOOK_NS = 200_000_000
"""How often a listening guest checks whether it may go on."""


@dataclass(slots=True, eq=False)
class Listening:
    """Chooses the guests who stay silent before they leave, and listen for unexplained messages.

    If a flow greets and the greeting is taken for the first answer, then the first answer is taken
    for the second, and the last one comes after the guest has left; the counts can't show that. So
    the first 20 guests, and one in 20 after them, listen: a message that comes then shows that
    answers were matched to the wrong questions. ``may_go_on`` says whether a guest may go on
    listening, because no other one needs its slot.
    """

    may_go_on: Callable[[], bool] = lambda: True
    _stories: int = 0

    def begins(self) -> bool:
        """Whether the guest whose story has just finished has to listen."""
        number, self._stories = self._stories, self._stories + 1
        return number < FIRST or number % THEN_ONE_IN == 0

    def listen(
        self, recorder: Recorder, questions: Questions, rest_until: Callable[[int], None]
    ) -> None:
        """If it is this guest's turn, stay silent until a message comes or the time is over."""
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
        """How long to listen (ns): the answer to the last question would come within that time."""
        least = LEAST_AT_FIRST_NS if self._stories <= 1 else LEAST_NS
        return min(MOST_NS, max(least, recorder.slowest_answer_ns(), questions.longest_ns))
