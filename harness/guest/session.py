"""A guest session as a story: open it, talk, and leave it ended.

::

    with GuestSession(settings, token, ledger=ledger, recorder=recorder) as guest:
        guest.say("Where is my order?")
        guest.await_reply(within="20s")

A connection that is lost on the way is replaced by another one with the same token, and the story
goes on. Whatever happens inside the block, even a kill, the session is ended in the same way
(:mod:`harness.guest.clear`): in a greenlet of its own, which a kill of the guest can't cut short,
and with a time limit for each step.
"""

import contextlib
import random
import re
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Self

from gevent import GreenletExit

from harness.clock import monotonic_ns
from harness.errors import ConfigError, ConnectionLost, NotPossible, ReplyTimeout
from harness.guest import rest as files
from harness.guest.clear import Clearing, shielded
from harness.guest.connection import Connection, Typing
from harness.guest.inbox import Arrived
from harness.guest.outcomes import (
    STORY_ENDS,
    Ending,
    Killed,
    Story,
    connect_outcome,
    count_guest,
    count_story,
    place_of,
    question_outcome,
    was_cut,
)
from harness.guest.questions import (
    Condition,
    Phase,
    Questions,
    choice,
    condition,
    readable,
    shown,
)
from harness.guest.reconnect import Reconnecting
from harness.guest.rest import fetch_history
from harness.guest.settings import GuestSettings
from harness.ledger.ledger import Ledger, Stage
from harness.limits import MAX_TEXT_BYTES
from harness.measure.model import GREETING, REPLY, Outcome, Question, Sample
from harness.measure.recorder import (
    GUESTS_ARRIVED,
    GUESTS_CONNECTED,
    STORIES_BEGUN,
    Recorder,
)
from harness.protocol import requests
from harness.protocol.codec import Message
from harness.protocol.session import ENDED, ConnectionState, State
from harness.units import seconds

# Looking up a member of an enum is slow.
_OPEN, _CONNECTED, _TALKING = State.OPEN, ConnectionState.OPEN, Story.TALKING


class GuestSession:
    """One guest, from arrival to proven end; ``self.guest()`` of a :class:`GuestUser` returns it.

    ::

        def ask(guest: GuestSession, text: str) -> str:
            guest.say(text)
            return guest.await_reply(within="20s")

    Times are texts with a unit (``"20s"``, ``"500ms"``) or seconds. If the service or the network
    fails, each method raises ReplyTimeout, NotPossible, a kind of ServiceError or TransportError,
    or RemoteProtocolError. A story need not catch them: it then counts as broken off, and the
    session is cleared. ConfigError is a mistake in the story itself.

    ``guest.step = "paying"`` names the place in the story; the report shows where stories broke
    off.
    """

    def __init__(
        self,
        settings: GuestSettings,
        token: str,
        *,
        ledger: Ledger,
        recorder: Recorder,
        due_ns: int | None = None,
        think_s: Callable[[], float] | None = None,
        ends_by_choice: tuple[type[BaseException], ...] = (),
        run_kills: Callable[[], bool] = lambda: True,
    ) -> None:
        """``ends_by_choice``: exceptions by which a story ends normally.

        ``run_kills``: whether a kill at this moment is the end of the run.
        """
        self._run_kills = run_kills
        self.settings = settings
        self._ends_by_choice = ends_by_choice
        self._ledger = ledger
        self._recorder = recorder
        self._arrival_due_ns = due_ns
        self._think_s = think_s or (lambda: random.uniform(1, 3))
        self._clearing = Clearing(ledger, recorder)
        self.connection = Connection(
            settings,
            token,
            recorder,
            on_first_message=self._clearing.note_first_message,
            on_configure=self._note_configure_sent,
        )
        self._ending: Ending | None = None
        self._story = Story.ARRIVED
        self._spoke_due_ns: int | None = None
        """when the think time before the next message is over: that message's due time"""
        self._questions = Questions(recorder, int(settings.turn_silence_s * 1e9))
        self.connection.inbox.questions = self._questions
        self._reconnecting = Reconnecting(self.connection, self._questions, recorder)
        self._replies, self._turns = settings.replies, settings.turns
        self._reply_within_ns = int(settings.reply_within_s * 1e9)
        self._met: tuple[Question, Condition] | None = None
        """the question that was answered last by its content, and the condition for that"""
        self._error: BaseException | None = None
        """the exception by which the story has ended"""
        self.step = ""
        """the guest's place in its script, if it has one; at the end, where its story broke off"""
        self._newest: Message | None = None
        self._others: list[Connection] = []
        self._typing: Typing | None = None
        self._max_attribute_bytes: int | None = None

    # The story.

    def __enter__(self) -> Self:
        self._recorder.count(GUESTS_ARRIVED)
        try:
            self.open()
        except BaseException as error:
            self._error = self._end_of(error)
            shielded(self._leave)
            raise
        return self

    def _end_of(self, error: BaseException | None) -> BaseException | None:
        """The error that counts as the story's end: only the end of the run cuts a story."""
        return Killed() if was_cut(error) and not self._run_kills() else error

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if not isinstance(error, self._ends_by_choice):
            self._error = self._end_of(error)
        if self._story is Story.LEFT:
            return  # it was abandoned
        self.step = self.step or place_of(trace)
        count_story(self._recorder, self._error, self.step)
        try:
            if self._error is None:
                self._listen()
        finally:
            shielded(self._leave)

    def open(self) -> None:
        """Record the session in the ledger, connect, and configure it.

        Raises LedgerError, TransportError, ServiceError or ReplyTimeout.
        """
        clearing, connection = self._clearing, self.connection
        clearing.entry = self._ledger.record_intent(connection.token)
        self._connect()
        self._recorder.count(GUESTS_CONNECTED)
        self._ledger.flush()  # the promise: on disk before the first byte that creates a session
        response = connection.configure(due_ns=self._arrival_due_ns)
        self._max_attribute_bytes = response.max_custom_data_bytes
        self._story = Story.BEGUN
        self._recorder.count(STORIES_BEGUN)
        clearing.mark(Stage.CONFIGURED)
        if not response.new_session:
            self._recorder.count("not_new")
        elif self.settings.auto_join:
            self.join()

    def _note_configure_sent(self, sending: bool) -> None:
        """Record every configureSession after the first before it is sent. (When the guest leaves,
        Clearing records it.)"""
        if self.connection.over or self._story is Story.CONNECTED:
            return
        now = monotonic_ns()
        ours = (self.connection, *self._others)
        unanswered = sending or any(each.unanswered(now) for each in ours)
        if self._clearing.note_unanswered(unanswered) and sending:
            self._ledger.flush()

    def _connect(self) -> None:
        """A guest who can't connect has opened no session: both are counted."""
        connection, due = self.connection, self._arrival_due_ns
        try:
            connection.connect(due_ns=due)
        except BaseException as error:
            if tried_ns := connection.tried_ns:
                now, outcome = monotonic_ns(), connect_outcome(error)
                due = tried_ns if due is None else due + connection.paced_ns
                # The session_open clock had not started, so a normal connect is no wait for it.
                early = was_cut(error) and not connection.in_vain
                sent_ns = now if early else tried_ns
                self._recorder.add(Sample("session_open", due, sent_ns, now, now, outcome))
            raise
        self._story = Story.CONNECTED

    def join(self, *, attributes: Mapping[str, str] | None = None) -> None:
        """Enter without a text: the conversation starts and the flow may greet.

        ``guest.join()``. ``attributes`` are custom attributes. Raises NotPossible for attributes
        over the service's limit, ConnectionLost, SessionExpired or another ServiceError.
        """
        sent = self._attributes(attributes, first=True)
        due = self._begin_speaking()
        request = partial(requests.join, custom_attributes=sent)
        left = self._reconnecting.send(request, "join", due)
        if self.settings.greets:
            self._questions.ask(GREETING, due + self.connection.paced_ns, left)
        elif self.settings.greets is None:
            self._questions.may_answer(GREETING, due + self.connection.paced_ns, left)

    def say(
        self,
        text: str,
        *,
        attributes: Mapping[str, str] | None = None,
        file: str = "",
        expect_reply: bool | None = None,
    ) -> None:
        """Send a text: ``guest.say("Where is my order?")``.

        It returns at once: delivery is measured when the echo arrives. ``attributes`` are custom
        attributes, ``file`` is the id that :meth:`upload` returned. With ``expect_reply=False`` no
        answer is expected (the default is True, unless the run's settings say otherwise). Raises
        ConfigError for a text over 4096 bytes, NotPossible for attributes over the service's limit,
        and for what has happened since: ConnectionLost, SessionExpired, or the ServiceError that
        answered an earlier message.
        """
        if len(text) * 4 > MAX_TEXT_BYTES and len(text.encode()) > MAX_TEXT_BYTES:
            raise ConfigError(
                f"a text of {len(text.encode())} bytes can't be sent: at most {MAX_TEXT_BYTES}"
            )
        connection = self.connection
        if self._story is _TALKING and not attributes and not file:
            due = self._begin_speaking()
            left = self._reconnecting.say(text, due)
        else:
            first = self._story is not _TALKING
            sent = self._attributes(attributes, first=first) if attributes or first else None
            due = self._begin_speaking()
            request = partial(requests.text, body=text, custom_attributes=sent, attachment_id=file)
            left = self._reconnecting.send(request, "delivered", due)
            if first and self.settings.greets:
                self._questions.ask(GREETING, due + connection.paced_ns, left)
        self._ask(due, left, expect_reply)

    def choose(self, text: str, *more: str, expect_reply: bool | None = None) -> None:
        """Choose what the other side offers: ``guest.choose("Refund")``.

        The choice may be in the last message that was waited for, or in one that has come since.
        Several items of a list picker (``more``) are chosen in one message. Raises NotPossible if
        no message offers the choice, and the errors of :meth:`say`.
        """
        chosen, button, parent = choice(self._looked_at(), text, *more)
        due = self._begin_speaking()
        request = partial(requests.choices, chosen=chosen, button=button, parent_id=parent)
        left = self._reconnecting.send(request, "delivered", due)
        self._ask(due, left, expect_reply)

    def await_reply(
        self,
        *,
        within: str | float | None = None,
        containing: str | None = None,
        matching: str | re.Pattern[str] | None = None,
        turn: bool | None = None,
    ) -> str:
        """Wait for the reply to what was said last; its text: ``guest.await_reply(within="20s")``.

        The reply is the first Outbound message that arrives after ours or, with ``containing`` or
        ``matching`` (a regular expression), the first one that fits; only ``matching`` is
        case-sensitive. The text of a card and the like is its titles and choices. With ``turn`` the
        wait goes on until the other side was silent for ``--turn-silence``, and the text is all
        that it said, one message a line. Raises ReplyTimeout, which shows the messages that did
        come, ConnectionLost, SessionExpired, or the ServiceError that answered the guest.
        """
        within_ns = self._within_ns(within)
        deadline = monotonic_ns() + within_ns
        whole = self._turns if turn is None else turn
        fits = question = None
        if whole or containing is not None or matching is not None:
            fits = condition(containing, matching)
            question = self._questions.wait_for(content=fits is not None, turn=whole)
        seen: list[str] = []
        arrived = self._next_that(fits, deadline, seen)
        if arrived is None:
            raise self._missed(REPLY, within_ns, seen)
        message, _, arrived_ns, seen_ns, answered = arrived
        if fits is None:
            if answered is not None:
                answered.taken = True
        elif not whole:
            newest = self._questions.answer_by_content(arrived_ns, seen_ns, answered)
            self._met = None if newest is None else (newest, fits)
        if not whole:
            return message.text or readable(message)
        return self._rest_of_turn(question, arrived, deadline, within_ns)

    def await_greeting(self, *, within: str | float | None = None) -> str:
        """Wait for the flow's greeting, after Join or before its first answer; returns its text.

        ``guest.await_greeting(within="20s")``. Raises the errors of :meth:`await_reply`.
        """
        within_ns = self._within_ns(within)
        self._questions.expect_greeting()
        seen: list[str] = []
        arrived = self._next_that(None, monotonic_ns() + within_ns, seen, True)
        if arrived is None:
            raise self._missed(GREETING, within_ns, seen)
        message, *_, answered = arrived
        if answered is not None:
            answered.taken = True
        return message.text or readable(message)

    def _missed(self, operation: str, within_ns: int, seen: list[str]) -> ReplyTimeout:
        """Record a wait that timed out; returns its ReplyTimeout."""
        self._questions.end_wait(monotonic_ns(), greeting=operation is GREETING)
        odd = self.connection.inbox.take_odd()
        return ReplyTimeout(operation, within_ns / 1e9, (*seen, *odd))

    def _within_ns(self, within: str | float | None) -> int:
        if within is None:
            return self._reply_within_ns
        return int(seconds(within, "within") * 1e9)

    def _next_that(
        self, fits: Condition | None, deadline: int, seen: list[str], greeting: bool = False
    ) -> Arrived | None:
        """The next message that fits, or None when the time is over. The others go to ``seen``.

        Without a condition, any message fits that shows something; but once the guest has said a
        text, a message known to be a greeting does not fit, unless ``greeting`` is true.
        """
        connection = self.connection
        inbox, session = connection.inbox, connection.session
        may_be_over = False
        while True:
            while inbox.replies:
                arrived = inbox.replies.popleft()
                message, shows, _, _, question = arrived
                self._newest = message
                if fits(message) if fits is not None else shows:
                    if question is None or question.operation is not GREETING:
                        return arrived
                    newest = self._questions.newest
                    if greeting or fits is not None or newest is None or newest is question:
                        return arrived  # also where nothing was said after it
                seen.append(shown(message))
            if inbox.failure is not None:
                raise connection.take_failure()
            if may_be_over and monotonic_ns() >= deadline:
                doubtful = inbox.doubtful
                if doubtful is not None and (fits is None or fits(doubtful[0])):
                    inbox.doubtful = None
                    self._questions.answer_doubtfully(doubtful[2], doubtful[3])
                    return doubtful
                return None
            if session.state is not _OPEN or session.connection is not _CONNECTED:
                try:
                    connection.check()
                except ConnectionLost as lost:
                    self._reconnecting.reconnect(lost)
                    continue
            may_be_over = not connection.rest(deadline)

    def _rest_of_turn(
        self, question: Question | None, first: Arrived, deadline: int, within_ns: int
    ) -> str:
        """Wait until the other side's turn is over; returns its messages, one a line."""
        silence_ns = int(self.settings.turn_silence_s * 1e9)
        message, _, last_ns, _, _ = first
        lines = [message.text or readable(message)]
        while True:
            over_ns = last_ns + silence_ns
            if over_ns > deadline:
                if question is not None:
                    now = monotonic_ns()
                    self._questions.miss_turn(question, now, now, Outcome.TIMEOUT)
                self._questions.note_missed(Outcome.TIMEOUT)
                raise ReplyTimeout("end of the turn", within_ns / 1e9, tuple(map(repr, lines)))
            more = self._next_that(None, over_ns, [], True)
            if more is None:
                break
            message, _, last_ns, _, _ = more
            lines.append(message.text or readable(message))
        if question is not None:
            self._questions.end_turn(question)
        return "\n".join(lines)

    def think(self, duration: str | float | None = None) -> None:
        """Pause as a person does, for the class's ``think_time`` or for ``duration``.

        ``guest.think()`` or ``guest.think("5s")``. The next message is due when the pause is over.
        A connection that is lost meanwhile is replaced. Raises ConnectionLost or another
        TransportError if that fails, SessionExpired, and ConfigError if ``duration`` is no time.
        """
        pause_s = self._think_s() if duration is None else seconds(duration, "think")
        due = monotonic_ns() + int(pause_s * 1e9)
        self._reconnecting.rest_until(due)
        self._spoke_due_ns = due

    def idle(self, duration: str | float) -> None:
        """Stay in session and say nothing: ``guest.idle("10m")``.

        Echo requests keep the connection alive. The next message is due when this time is over.
        Raises the errors of :meth:`think`.
        """
        self.think(seconds(duration, "idle"))

    def typing(self) -> None:
        """Show that the guest is typing: ``guest.typing()``.

        Sent at most once in 5 s, and only once if the deployment has switched the indicator off.
        Raises ConnectionLost, SessionExpired or another ServiceError.
        """
        connection = self.connection
        self._typing = self._typing or Typing()
        if tracing_id := self._typing.next_id(connection, self._recorder):
            self._reconnecting.send(lambda token, _: requests.typing(token, tracing_id), "")
            connection.inbox.pending.pop(tracing_id, None)  # only a refusal is answered

    def health_check(self, *, within: str | float = 10.0) -> None:
        """Send an echo request and wait for its answer: ``guest.health_check(within="10s")``.

        The service allows 2 a minute. Raises ReplyTimeout, ConnectionLost, SessionExpired or
        another ServiceError.
        """
        self._reconnecting.health_check(seconds(within, "within"))

    # Files and history.

    def upload(
        self,
        file: Path | str,
        *,
        data: bytes | None = None,
        mime: str = "",
        within: str | float = 30.0,
        on_progress: Callable[[int, int], None] | None = None,
    ) -> str:
        """Upload a file (or ``data`` under that name); returns the id that :meth:`say` takes.

        ``guest.say("Here it is.", file=guest.upload("photo.png"))``. ``mime`` is its type; without
        it, the type is guessed from the name. ``on_progress`` is called with the bytes sent and the
        bytes in total. Raises ConfigError for a file that can't be read, ServiceError for one that
        the deployment refuses, ReplyTimeout, TransportError or RemoteProtocolError.
        """
        content = files.read(file) if data is None else data
        self._reconnecting.keep()
        return files.upload(
            self.connection,
            self._recorder,
            name=Path(file).name,
            mime=mime,
            data=content,
            within_s=seconds(within, "within"),
            on_progress=on_progress,
        )

    def history(self) -> list[Message]:
        """The session's messages over REST, oldest first: ``guest.history()[-1].text``.

        Raises ReplyTimeout, TransportError, ServiceError or RemoteProtocolError.
        """
        self._reconnecting.keep()
        return fetch_history(self.connection, self._recorder)

    # Connections.

    def drop(self) -> None:
        """Cut the connection on purpose; the session lives on.

        ``guest.drop(); guest.think("5s"); guest.reconnect()``. Raises nothing.
        """
        self.connection.drop()

    def reconnect(self) -> None:
        """Come back after :meth:`drop`, with the same session: measured as ``resume``.

        ``guest.drop(); guest.think("5s"); guest.reconnect()``. Raises TransportError, and
        SessionNotFound if the service no longer knows the session.
        """
        self._reconnecting.keep()

    def connect_again(self) -> Connection:
        """Open one more connection of the same session, like a second browser tab.

        ``guest.connect_again()``. The service allows three; a fourth retires the oldest. The
        connection ends with the session. Raises ConnectionLost if the session is over,
        TransportError or ServiceError.
        """
        if self._questions.phase is Phase.OVER or self.connection.state in ENDED:
            raise ConnectionLost(None, "the session is over")  # configuring would open a new one
        others = self._others
        connection = Connection(
            self.settings,
            self.connection.token,
            self._recorder,
            on_configure=self._note_configure_sent,
            owner=self.connection.owner,
            number=len(others) + 1,
        )
        others.append(connection)
        connection.connect()
        connection.configure(operation="resume")
        return connection

    def start_new(self) -> None:
        """Begin a new conversation with the same token, after the other side has ended the last.

        ``guest.start_new()``. Raises TransportError or ServiceError.
        """
        self._reconnecting.start_new()
        self._story = Story.BEGUN
        if self.settings.auto_join:
            self.join()

    def clear(self) -> bool:
        """End the session now; returns whether the service has proved its end.

        ``proved = guest.clear()``. Otherwise the end of the ``with`` block does the same. Raises
        nothing if the service or the network fails.
        """
        if self._ending is None:
            self._listen()
        return self._end().proof

    def abandon(self) -> None:
        """End the session of a story whose greenlet died without leaving: it counts as cut."""
        self._error = self._error or GreenletExit()
        if self._story in (Story.BEGUN, Story.TALKING):
            count_story(self._recorder, self._error, self.step)
        shielded(self._leave)

    # Leaving.

    def _listen(self) -> None:
        """Before leaving, listen for unexplained messages, if it is this guest's turn."""
        listening, questions = self.settings.listening, self._questions
        if listening is not None and self._ending is None and questions.newest is not None:
            with contextlib.suppress(*STORY_ENDS):  # its story is over
                listening.listen(self._recorder, questions, self._reconnecting.rest_until)

    def _leave(self) -> None:
        killed = was_cut(self._error)
        missed = self._questions.missed_by(monotonic_ns()) if killed else None
        if self.connection.in_vain:
            missed = missed or Outcome.CUT_SHORT
        ending = self._end()
        count_guest(
            self._recorder,
            self._story,
            error=self._error,
            missed=missed if killed else self._questions.missed,
            ending=ending,
            asked_nothing=self._replies and self._questions.asked_nothing,
        )
        self._story = Story.LEFT

    def _end(self) -> Ending:
        if self._ending is None:
            if self.connection.inbox.replies:
                self._look_at_replies()
            outcome = question_outcome(self._error, connected=self.connection.connected)
            self._questions.close(monotonic_ns(), outcome)
            self._questions.end()
            self._ending = self._clearing.end(self.connection, others=self._others)
            for connection in self._others:
                connection.close()
                connection.detach()
            self.connection.detach()
        return self._ending

    # Speaking.

    def _ask(self, due_ns: int, left_ns: int, expect_reply: bool | None) -> None:
        """Note that a text was sent: a question, unless no answer is expected.

        The time for which our own pacing held it back is not part of the guest's wait.
        """
        if self.connection.paced_ns:
            due_ns += self.connection.paced_ns
        if self._replies if expect_reply is None else expect_reply:
            self._questions.ask(REPLY, due_ns, left_ns)
        else:
            self._questions.may_answer(REPLY, due_ns, left_ns)

    def _begin_speaking(self) -> int:
        """Prepare to send a message of the conversation; returns when it is due."""
        inbox, due = self.connection.inbox, self._spoke_due_ns or monotonic_ns()
        self._spoke_due_ns = None
        if inbox.replies or inbox.doubtful is not None:
            self._look_at_replies()
        if inbox.failure is not None:
            raise self.connection.take_failure()
        if self._story is not _TALKING:
            # Before the first message leaves: from now on there may be a conversation.
            self._story = _TALKING
            self._questions.note_spoken()
            self._clearing.mark(Stage.JOINED)
            self._ledger.flush()
        if inbox.pending:
            inbox.pending.give_up_older_than(self.settings.deliver_within_s)
        return due

    def _attributes(
        self, attributes: Mapping[str, str] | None, *, first: bool
    ) -> Mapping[str, str]:
        """The attributes of a message: the story's, and with the first message the run's too."""
        ours = self.settings.first_attributes(self.connection.token) if first else {}
        if not attributes:
            return ours
        merged = {**ours, **attributes}
        size, limit = requests.attributes_size(merged), self._max_attribute_bytes
        if limit is not None and size > limit:
            raise NotPossible(
                "the attributes are too large",
                f"custom attributes of {size} bytes can't be sent: at most {limit}",
            )
        return merged

    # Questions and replies.

    def _looked_at(self) -> list[Message]:
        """The messages of the other side that the guest can see now, newest first."""
        messages = [message for message, *_ in reversed(self.connection.inbox.replies or ())]
        return messages if self._newest is None else [*messages, self._newest]

    def _look_at_replies(self) -> None:
        """Take the messages that the story did not wait for (they are measured already)."""
        inbox = self.connection.inbox
        inbox.doubtful = None
        while inbox.replies:
            message = self._newest = inbox.replies.popleft()[0]
            if self._met is not None and self._met[0] is self._questions.newest:
                question, fits = self._met
                with contextlib.suppress(
                    NotPossible
                ):  # a search that takes too long decides nothing
                    if fits(message):
                        question.doubt()
