"""A guest session as a story: open it, talk, and leave it ended.

::

    with GuestSession(settings, token, ledger=ledger, recorder=recorder) as guest:
        guest.say("Where is my order?")
        guest.await_reply(within="20s")

A connection that is lost on the way is followed by another one with the same token, and the story
goes on. Whatever happens inside, also a kill, the way out is the same (:mod:`harness.guest.
leaving`); it runs in a greenlet of its own, so that an impatient kill of the guest can't cut it
short, and has a time limit for each step.
"""

import random
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from harness.clock import monotonic_ns
from harness.errors import ConfigError, ConnectionLost, ReplyTimeout
from harness.guest import files
from harness.guest.failures import Ending
from harness.guest.leaving import Leaving, undisturbed
from harness.guest.line import Line
from harness.guest.questions import Question, anything, condition, offering, readable, shown
from harness.guest.reconnect import Lasting
from harness.guest.rest import fetch_history
from harness.guest.settings import GuestSettings
from harness.guest.typing import Typing
from harness.ledger.ledger import Ledger
from harness.ledger.store import OVER, Stage
from harness.measure.recorder import GUESTS_CONNECTED, Recorder
from harness.protocol import requests
from harness.protocol.events import Message
from harness.protocol.names import MAX_TEXT_BYTES
from harness.protocol.requests import Button, Request
from harness.protocol.session import ENDED
from harness.units import seconds


class GuestSession:
    """One guest, from arrival to proven end. Use it as a context manager."""

    def __init__(
        self,
        settings: GuestSettings,
        token: str,
        *,
        ledger: Ledger,
        recorder: Recorder,
        due_ns: int | None = None,
        think_s: Callable[[], float] | None = None,
    ) -> None:
        self.settings = settings
        self._ledger = ledger
        self._recorder = recorder
        self._arrival_due_ns = due_ns
        self._think_s = think_s or _a_few_seconds
        self.line = Line(
            settings,
            token,
            recorder,
            on_cleared=self._note_cleared,
            on_first_message=self._note_first_message,
        )
        self._lasting = Lasting(self.line, recorder)
        self._leaving = Leaving(self.line, ledger, recorder)
        self._ending: Ending | None = None
        self._joined = False
        self._spoke_due_ns: int | None = None
        """when the think time before the next message is over: that message's due time"""
        self._question = Question(recorder)
        self._newest: Message | None = None
        self._others: list[Line] | None = None
        self._typing: Typing | None = None
        self._max_attribute_bytes: int | None = None
        self.opened_ns: int | None = None

    # The story.

    def __enter__(self) -> Self:
        try:
            self.open()
        except BaseException:
            undisturbed(self._end)
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        undisturbed(self._end)

    def open(self) -> None:
        """Announce the session, connect, configure.

        Raises LedgerError, TransportError, ServiceError or ReplyTimeout.
        """
        leaving, line = self._leaving, self.line
        leaving.entry = self._ledger.intend(line.token)
        line.connect(due_ns=self._arrival_due_ns)
        self._recorder.count(GUESTS_CONNECTED)
        self._ledger.secure()  # the promise: on disk before the first byte that creates a session
        response = line.configure(due_ns=self._arrival_due_ns)
        self._max_attribute_bytes = response.max_custom_data_bytes
        self.opened_ns = monotonic_ns()
        leaving.mark(Stage.CONFIGURED)
        if self.settings.auto_join and response.new_session:
            self.join()

    def join(self, *, attributes: Mapping[str, str] | None = None) -> None:
        """Enter without a text: the conversation starts and the flow may greet."""
        sent = self._attributes(attributes, first=True)
        line = self.line
        self._speak(
            lambda: requests.join(line.token, line.next_id(), custom_attributes=sent), "join"
        )

    def say(
        self, text: str, *, attributes: Mapping[str, str] | None = None, file: str = ""
    ) -> None:
        """Send a text. Returns at once: delivery is measured when its echo comes.

        ``attributes`` are custom attributes, ``file`` is the id that :meth:`upload` gave. Raises
        ConfigError for a text over 4096 bytes or attributes over the service's limit, and what
        came meanwhile: ConnectionLost, SessionExpired, or the ServiceError that answered an
        earlier message.
        """
        if len(text) * 4 > MAX_TEXT_BYTES and len(text.encode()) > MAX_TEXT_BYTES:
            raise ConfigError(
                f"a text of {len(text.encode())} bytes can't be said: at most {MAX_TEXT_BYTES}"
            )
        sent = None
        if attributes or not self._joined:
            sent = self._attributes(attributes, first=not self._joined)
        if not sent and not file:
            due = self._begin_speaking()
            self._question.ask(due, self._lasting.say(text, due))
            return
        line = self.line
        self._speak(
            lambda: requests.text(
                line.token, line.next_id(), text, custom_attributes=sent, attachment_id=file
            ),
            "delivered",
        )

    def choose(self, text: str) -> None:
        """Choose what the message that was waited for last offers, or one that has come since.

        ConfigError when none of them offers it.
        """
        newest, offered = offering(self._looked_at(), text)
        if newest is None:
            there = ", ".join(map(repr, offered)) or "nothing"
            raise ConfigError(f"choose({text!r}): the newest message offers {there}")
        payload, button, picker = offered[text]
        line, parent = self.line, newest.message_id if picker else ""
        self._speak(
            lambda: requests.choice(
                line.token, line.next_id(), text, payload, button=Button(button), parent_id=parent
            ),
            "delivered",
        )

    def await_reply(
        self,
        *,
        within: str | float | None = None,
        containing: str | None = None,
        matching: str | re.Pattern[str] | None = None,
    ) -> str:
        """Wait for the reply to what was said last, and give its text.

        The reply is the first Outbound message after ours by arrival or, with ``containing`` or
        ``matching`` (a regular expression), the first one that fits; case is minded by the latter
        only. Of a card and its like, titles and choices count as its text. Raises ReplyTimeout
        showing what did come, ConnectionLost, SessionExpired, or the ServiceError that answered us.
        """
        limit_s = self.settings.reply_within_s if within is None else seconds(within, "within")
        fits = anything if containing is matching is None else condition(containing, matching)
        line = self.line
        inbox = line.inbox
        deadline = monotonic_ns() + int(limit_s * 1e9)
        seen: list[str] = []
        while True:
            while inbox.replies:
                arrived = inbox.replies.popleft()
                message = self._newest = arrived.message
                if fits(message):
                    self._question.answer(arrived)
                    return message.text or readable(message)
                seen.append(shown(message))
            if inbox.failure is not None:
                self._raise_failure()
            if monotonic_ns() >= deadline:
                doubtful = inbox.doubtful
                if doubtful is not None and fits(doubtful.message):
                    inbox.doubtful = None
                    self._question.answer(doubtful)
                    return doubtful.message.text or readable(doubtful.message)
                self._question.time_out()
                raise ReplyTimeout("reply", limit_s, tuple(seen))
            try:
                line.check()
            except ConnectionLost as lost:
                self._lasting.come_back(lost)
                continue
            line.rest(deadline)

    def think(self, duration: str | float | None = None) -> None:
        """Pause as a person does; the next message is due when the pause is over."""
        pause_s = self._think_s() if duration is None else seconds(duration, "think")
        due = monotonic_ns() + int(pause_s * 1e9)
        self._lasting.rest_until(due)
        self._spoke_due_ns = due

    def idle(self, duration: str | float) -> None:
        """Stay in session and say nothing; the next message is due when that is over.

        Echo requests keep the connection alive.
        """
        due = monotonic_ns() + int(seconds(duration, "idle") * 1e9)
        self._lasting.rest_until(due)
        self._spoke_due_ns = due

    def typing(self) -> None:
        """Tell that the guest is typing, at most once in 5 s; once where it is switched off."""
        line = self.line
        self._typing = self._typing or Typing()
        if tracing_id := self._typing.next_id(line, self._recorder):
            self._lasting.send(lambda: requests.typing(line.token, tracing_id), "")
            line.inbox.pending.pop(tracing_id, None)  # it is answered only where it is refused

    def health_check(self, *, within: str | float = 10.0) -> None:
        """Send an echo request and wait for its answer (at most 2 a minute are allowed)."""
        self._lasting.health_check(seconds(within, "within"))

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
        """Upload a file (or ``data`` under that name); the id by which to say it."""
        content = files.read(file) if data is None else data
        self._lasting.keep()
        return files.upload(
            self.line,
            self._recorder,
            name=Path(file).name,
            mime=mime,
            data=content,
            within_s=seconds(within, "within"),
            on_progress=on_progress,
        )

    def history(self) -> list[Message]:
        """The session's messages over REST, oldest first."""
        self._lasting.keep()
        return fetch_history(self.line, self._recorder)

    # Connections.

    def drop(self) -> None:
        """Cut the connection on purpose; the session lives on."""
        self._lasting.away = True
        self.line.drop()

    def reconnect(self) -> None:
        """Come back after :meth:`drop`."""
        self._lasting.keep()

    def connect_again(self) -> Line:
        """One more connection of the same session, as of a second browser tab.

        The service allows three; a fourth retires the oldest. It ends with the session.
        """
        if self._lasting.over or self.line.state in ENDED:
            raise ConnectionLost(None, "the session is over")  # this would make another one
        others = self._others = self._others or []
        line = Line(
            self.settings,
            self.line.token,
            self._recorder,
            owner=self.line.owner,
            number=len(others) + 1,
        )
        others.append(line)
        line.connect()
        line.configure(operation="resume")
        return line

    def start_new(self) -> None:
        """After the other side has ended the conversation for good: a new one, same token."""
        self._lasting.start_new()
        self._joined = False
        if self.settings.auto_join:
            self.join()

    def clear(self) -> bool:
        """End the session now; True if the service has proved it. Never raises."""
        return self._end().proof

    # The way out.

    def _end(self) -> Ending:
        if self._ending is None:
            self._lasting.over = True
            self._close_question()
            self._ending = self._leaving.end()
            for line in self._others or ():
                line.close()
            self.line.inbox.part()
        return self._ending

    # Speaking.

    def _speak(self, request: Callable[[], Request], operation: str) -> None:
        """Send something that may create a conversation and has an answer."""
        due = self._begin_speaking()
        self._question.ask(due, self._lasting.send(request, operation, due))

    def _begin_speaking(self) -> int:
        """What comes before that; when it is due."""
        inbox, due = self.line.inbox, self._spoke_due_ns or monotonic_ns()
        self._spoke_due_ns = None
        if inbox.replies or inbox.doubtful is not None:
            self._close_question()
        self._question.asked = None  # the next message makes it void: nobody waited for a reply
        if inbox.failure is not None:
            self._raise_failure()
        if not self._joined:
            # Before the first message leaves: from now on there may be a conversation.
            self._joined = True
            self._leaving.mark(Stage.JOINED)
            self._ledger.secure()
        if inbox.pending:
            inbox.pending.give_up_older_than(self.settings.deliver_within_s)
        return due

    def _attributes(self, given: Mapping[str, str] | None, *, first: bool) -> Mapping[str, str]:
        """What goes with a message: the run's attributes with the first one, the story's always."""
        ours = self.settings.first_attributes(self.line.token) if first else {}
        if not given:
            return ours
        together = {**ours, **given}
        size, limit = requests.attributes_size(together), self._max_attribute_bytes
        if limit is not None and size > limit:
            raise ConfigError(f"custom attributes of {size} bytes can't be sent: at most {limit}")
        return together

    # The ledger.

    def _note_first_message(self, message_id: str) -> None:
        entry = self._leaving.entry
        if entry is not None and entry.stage not in OVER:
            self._ledger.mark(entry, entry.stage, entry.reason, message_id=message_id)

    def _note_cleared(self) -> None:
        self._leaving.mark(Stage.CLEARED)

    # Questions and replies.

    def _looked_at(self) -> list[Message]:
        """What a guest who looks now sees of the other side, the newest first."""
        come = [arrived.message for arrived in reversed(self.line.inbox.replies or ())]
        return come if self._newest is None else [*come, self._newest]

    def _close_question(self) -> None:
        """A reply that came without being waited for is measured all the same."""
        inbox = self.line.inbox
        inbox.doubtful = None
        while arrived := inbox.next_reply():
            self._question.answer(arrived)
            self._newest = arrived.message

    def _raise_failure(self) -> None:
        inbox = self.line.inbox
        if inbox.failure is not None:
            failure, inbox.failure = inbox.failure, None
            raise failure


def _a_few_seconds() -> float:
    return random.uniform(1, 3)
