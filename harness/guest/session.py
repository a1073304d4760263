"""A guest session as a story: open it, talk, and leave it ended.

::

    with GuestSession(settings, token, ledger=ledger, recorder=recorder) as guest:
        guest.say("Where is my order?")
        guest.await_reply(within="20s")

Whatever happens inside, also a kill, the way out is the same: stop speaking, note ``clearing``,
send Clear, wait for the proof, note what came of it, close. It runs in a greenlet of its own, so
that an impatient kill of the guest can't cut it short, and has a time limit for each step.
"""

import contextlib
import random
import re
from collections.abc import Callable
from types import TracebackType
from typing import Self

import gevent

from harness.clock import monotonic_ns
from harness.errors import (
    ConfigError,
    LedgerError,
    ReplyTimeout,
    ServiceError,
    TransportError,
)
from harness.guest.inbox import Arrived
from harness.guest.line import Ending, Line, end_session
from harness.guest.settings import GuestSettings
from harness.ledger.ledger import Entry, Ledger
from harness.ledger.store import OVER, Stage
from harness.measure.recorder import Recorder
from harness.measure.sample import Outcome, Sample
from harness.protocol.events import Message
from harness.protocol.names import MAX_TEXT_BYTES
from harness.protocol.session import State
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
        self._think_s = think_s or (lambda: random.uniform(1, 3))
        self._entry: Entry | None = None
        self._line = Line(
            settings,
            token,
            recorder,
            on_cleared=self._note_cleared,
            on_first_message=self._note_first_message,
        )
        self._ending: Ending | None = None
        self._configure_sent = False
        self._joined = False
        self._spoke_due_ns: int | None = None
        """when the think time before the next message is over: that message's due time"""
        self._question: tuple[int, int] | None = None
        """(due, sent) of the newest message of ours that has had no reply"""
        self.opened_ns: int | None = None

    # The story.

    def __enter__(self) -> Self:
        try:
            self.open()
        except BaseException:
            self._leave()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._leave()

    def open(self) -> None:
        """Announce the session, connect, configure.

        Raises LedgerError, TransportError, ServiceError or ReplyTimeout.
        """
        self._entry = self._ledger.intend(self._line.token)
        self._line.connect(due_ns=self._arrival_due_ns)
        self._ledger.secure()  # the promise: on disk before the first byte that creates a session
        self._configure_sent = True
        self._line.configure(due_ns=self._arrival_due_ns)
        self.opened_ns = monotonic_ns()
        self._ledger.mark(self._entry, Stage.CONFIGURED)

    def join(self) -> None:
        """Enter without a text: the conversation starts and the flow may greet."""
        due = self._take_due()
        self._note_joined()
        self._line.check()
        self._question = (due, self._line.join(due_ns=due))

    def say(self, text: str) -> None:
        """Send a text. Returns at once: delivery is measured when its echo comes.

        Raises ConfigError for a text over 4096 bytes, and what came meanwhile: ConnectionLost,
        SessionExpired, or the ServiceError that answered an earlier message.
        """
        if len(text.encode()) > MAX_TEXT_BYTES:
            raise ConfigError(
                f"a text of {len(text.encode())} bytes can't be said: at most {MAX_TEXT_BYTES}"
            )
        due = self._take_due()
        self._close_question()
        self._raise_failure()
        first = not self._joined
        self._note_joined()
        self._line.check()
        self._line.inbox.give_up_older_than(self.settings.deliver_within_s)
        self._question = (due, self._line.say(text, due_ns=due, first=first))

    def await_reply(
        self,
        *,
        within: str | float | None = None,
        containing: str | None = None,
        matching: str | None = None,
    ) -> str:
        """Wait for the reply to what was said last, and give its text.

        The reply is the first Outbound message after ours by arrival or, with ``containing`` or
        ``matching`` (a regular expression), the first one that fits. Raises ReplyTimeout showing
        what did come, ConnectionLost, SessionExpired, or the ServiceError that answered us.
        """
        limit_s = self.settings.reply_within_s if within is None else seconds(within, "within")
        fits = _condition(containing, matching)
        line = self._line
        deadline = monotonic_ns() + int(limit_s * 1e9)
        seen: list[str] = []
        while True:
            while line.inbox.replies:
                arrived = line.inbox.replies.popleft()
                if fits(arrived.message):
                    self._record_reply(arrived)
                    return arrived.message.text
                seen.append(_shown(arrived.message))
            self._raise_failure()
            line.check()
            left_s = (deadline - monotonic_ns()) / 1e9
            if left_s <= 0:
                self._record_no_reply()
                raise ReplyTimeout("reply", limit_s, tuple(seen))
            line.inbox.bell.wait(left_s)

    def think(self, duration: str | float | None = None) -> None:
        """Pause as a person does; the next message is due when the pause is over."""
        pause_s = self._think_s() if duration is None else seconds(duration, "think")
        due = monotonic_ns() + int(pause_s * 1e9)
        self._line.pause(pause_s)
        self._spoke_due_ns = due

    def health_check(self, *, within: str | float = 10.0) -> None:
        """Send an echo request and wait for its answer (at most 2 a minute are allowed)."""
        self._line.health_check(within_s=seconds(within, "within"))

    def drop(self) -> None:
        """Cut the connection on purpose. The session lives on at the service."""
        self._line.drop()

    def clear(self) -> bool:
        """End the session now; True if the service has proved it. Never raises."""
        return self._end().proof

    # The way out.

    def _leave(self) -> None:
        """End the session in a greenlet that nobody else can kill, and wait for it."""
        ending = gevent.spawn(self._end)
        killed: BaseException | None = None
        while not ending.ready():
            try:
                ending.join()
            except BaseException as error:  # noqa: BLE001 - raised again below, when it is safe
                killed = error
        if killed is not None:
            raise killed

    def _end(self) -> Ending:
        if self._ending is None:
            self._ending = self._try_to_end()
        return self._ending

    def _try_to_end(self) -> Ending:
        line = self._line
        if self._entry is None:
            return Ending.GONE
        self._close_question()
        if not self._configure_sent:
            line.close()
            self._mark(Stage.NEVER_CONFIGURED, "not connected")
            return Ending.GONE
        ending = self._clear_here()
        lost_ns = monotonic_ns()
        for attempt in range(self.settings.end_attempts):
            if ending.proof or ending not in (Ending.CUT, Ending.UNREACHABLE):
                break
            if attempt:
                gevent.sleep(self.settings.end_backoff_s * 2 ** (attempt - 1))
            self._recorder.count("end_resumes")
            again = Line(self.settings, line.token, self._recorder)
            ending = end_session(again, lost_ns=lost_ns)
        self._note_ending(ending)
        return ending

    def _clear_here(self) -> Ending:
        """Clear on the connection that we have."""
        line = self._line
        if line.state is State.REFUSED:
            line.close()
            return Ending.GONE
        if line.state in (State.OPEN, State.READ_ONLY) and line.connected:
            self._mark(Stage.CLEARING)
            self._secure_quietly()
        ending = line.clear(within_s=self.settings.clear_within_s)
        if ending is Ending.CLEARED:
            line.await_retirement(within_s=self.settings.close_within_s)
        line.inbox.give_up(Outcome.LOST)
        line.close()
        return ending

    def _note_ending(self, ending: Ending) -> None:
        if ending is Ending.EXPIRED:
            self._mark(Stage.ENDED, ending)
        elif ending is Ending.GONE and self._line.state is State.REFUSED:
            self._mark(Stage.NEVER_CONFIGURED, "refused")
        elif ending.proof:
            self._mark(Stage.CLEARED, "" if ending is Ending.CLEARED else ending)
        else:
            self._mark(Stage.LOST, ending)
        self._secure_quietly()

    # The ledger.

    def _note_joined(self) -> None:
        """Before the first message leaves: from now on there may be a conversation."""
        if not self._joined and self._entry is not None:
            self._joined = True
            self._ledger.mark(self._entry, Stage.JOINED)
            self._ledger.secure()

    def _note_first_message(self, message_id: str) -> None:
        if self._entry is not None and self._entry.stage not in OVER:
            self._ledger.mark(
                self._entry, self._entry.stage, self._entry.reason, message_id=message_id
            )

    def _note_cleared(self) -> None:
        self._mark(Stage.CLEARED)

    def _mark(self, stage: Stage, reason: str = "") -> None:
        if self._entry is not None:
            self._ledger.mark(self._entry, stage, reason)

    def _secure_quietly(self) -> None:
        """On the way out a broken ledger must not keep us from sending Clear."""
        with contextlib.suppress(LedgerError):  # the ledger itself has told the run, which stops
            self._ledger.secure()

    # Questions and replies.

    def _take_due(self) -> int:
        due, self._spoke_due_ns = self._spoke_due_ns, None
        return monotonic_ns() if due is None else due

    def _close_question(self) -> None:
        """A reply that came without being waited for is measured all the same."""
        if self._line.inbox.replies:
            self._record_reply(self._line.inbox.replies[0])
            self._line.inbox.replies.clear()
        self._question = None

    def _record_reply(self, arrived: Arrived) -> None:
        question, self._question = self._question, None
        if question is not None and arrived.arrived_ns >= question[1]:
            self._recorder.add(Sample("reply", *question, arrived.arrived_ns, arrived.seen_ns))

    def _record_no_reply(self) -> None:
        question, self._question = self._question, None
        if question is not None:
            now = monotonic_ns()
            self._recorder.add(Sample("reply", *question, now, now, Outcome.TIMEOUT))

    def _raise_failure(self) -> None:
        failure, self._line.inbox.failure = self._line.inbox.failure, None
        if failure is not None:
            raise failure


def _condition(containing: str | None, matching: str | None) -> Callable[[Message], bool]:
    if containing is not None:
        return lambda message: containing in message.text
    if matching is not None:
        try:
            pattern = re.compile(matching)
        except re.error as error:
            raise ConfigError(f"await_reply(matching={matching!r}): {error}") from None
        return lambda message: pattern.search(message.text) is not None
    return lambda message: bool(message.text or message.content)


def _shown(message: Message) -> str:
    text = message.text or message.presence or message.kind
    return repr(text if len(text) <= 60 else text[:59] + "…")


STORY_ENDS = (TransportError, ServiceError, ReplyTimeout)
"""What may end a guest's story without being an error of the harness: it is measured already."""
