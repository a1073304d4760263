"""One guest's visit: it says two texts, listens after each until nobody says more, and clears.

Everything that came is kept with its time: what the visit teaches is read from the wire.

:class:`OperatorView` is the same visit as the operators see it: under which names, and how late.
"""

import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeVar

import orjson

from harness.clock import monotonic_ns, wall_ns
from harness.config.target import Terms
from harness.conform.known import ISO_MS
from harness.errors import ConfigError, HarnessError, PlatformApiError, safe_quote
from harness.foreign import an_object, inner
from harness.guest.session import GuestSession
from harness.guest.settings import GuestSettings, read_sign_ins
from harness.ledger.ledger import Ledger, Store, Tokens, guest_tag
from harness.ledger.reader import meta_of_this_process, read_leftovers
from harness.measure.model import Outcome
from harness.measure.recorder import Recorder
from harness.platform_api.client import PlatformApi
from harness.platform_api.conversations import (
    ConversationState,
    Look,
    Seen,
    Tagged,
    conversation_of_message,
    conversations_by_id,
    conversations_of_guests,
    conversations_of_run,
    look_now,
)
from harness.protocol.requests import journey_id
from harness.rundir.layout import (
    PREFLIGHT_PREFIX,
    RunDirectory,
    make_run_directory,
    new_run_id,
    target_facts,
    write_start,
)

CLEAR_WITHIN_S = 10.0
CLOSE_WITHIN_S = 3.0
TEST_TEXT = "Hello, this is a test of the way here. It ends by itself."
MOST_FRAMES = 5_000
"""Frames that are kept of one visit: nobody says more, unless something is very wrong."""
TEXTS_SENT = 2
"""The same text twice: what is said to the first only is what the flow says of itself."""
LOOK_EVERY_S = 3.0
SHOWN_WITHIN_S = 90.0
"""For so long analytics may take to show the end of the visit; it is not published how long."""
SEARCH_MARGIN = timedelta(minutes=10)
T = TypeVar("T")
_HEX32 = re.compile(r"[0-9a-f]{32}")
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame of the service: its class, its body and when it arrived (monotonic)."""

    name: str
    code: object
    body: Any
    at_ns: int

    @property
    def speaks(self) -> bool:
        """Whether the other side says something: no echo, no typing, no presence."""
        body = an_object(self.body)
        return body.get("direction") == "Outbound" and body.get("type") != "Event"

    @property
    def refusal(self) -> str:
        """The error that it is, in the service's words; empty for any other."""
        if type(self.code) is not int or 200 <= self.code < 300:
            return ""
        body = self.body
        if isinstance(body, dict):
            body = body.get("errorMessage") or body.get("message") or ""
        return f"{self.code}: {safe_quote(str(body))}"


@dataclass(frozen=True, slots=True)
class Turn:
    """What came after one thing that the guest did; times in seconds from then."""

    messages: tuple[Frame, ...]
    since_ns: int
    refusal: str = ""

    @property
    def first_s(self) -> float | None:
        return (self.messages[0].at_ns - self.since_ns) / 1e9 if self.messages else None

    @property
    def last_s(self) -> float | None:
        return (self.messages[-1].at_ns - self.since_ns) / 1e9 if self.messages else None


@dataclass(slots=True, kw_only=True)
class Trial:
    directory: Path
    token: str = field(repr=False)
    joined: bool = False
    signed_in: bool = False
    greeting: Turn | None = None
    """what came after Join; None where the guest did not join"""
    turns: list[Turn] = field(default_factory=list)
    message_id: str = ""
    spoke_wall_ns: int = 0
    cleared_wall_ns: int = 0
    close_code: int | None = None
    failure: str = ""
    delivered: bool = False
    """the service sent a text of its back: nothing else says that one was taken"""
    reconnects: int = 0
    """how often its connection was lost, and made again"""
    ended: bool = False
    """its session was proved ended"""
    frames: list[Frame] = field(default_factory=list)
    clear_sent_ns: int = 0

    def on_frame(self, outgoing: bool, data: bytes, at_ns: int) -> None:
        """Keep a frame that came, and note when Clear leaves; it never raises."""
        try:
            frame = orjson.loads(data)
        except orjson.JSONDecodeError:
            return
        if not isinstance(frame, dict):
            return
        if outgoing:
            if b'"Clear"' in data:
                self.clear_sent_ns = at_ns
            return
        name, body, code = str(frame.get("class") or ""), frame.get("body"), frame.get("code")
        if "class" not in frame and "message" in frame:  # of the gateway in front
            body, code = frame["message"], code or 400
        if len(self.frames) < MOST_FRAMES:
            self.frames.append(Frame(name, code, body, at_ns))
        if name == "SessionClearedEvent":
            self.cleared_wall_ns = wall_ns()
        echo = inner(body, "direction") == "Inbound" and frame.get("type") != "response"
        if echo and not self.message_id:
            self.message_id = str(an_object(body).get("id") or "")

    @property
    def run_id(self) -> str:
        """What its attributes name."""
        return self.directory.name

    @property
    def refusals(self) -> list[str]:
        """Each text that was answered with an error."""
        return [turn.refusal for turn in self.turns if turn.refusal]

    @property
    def clear_refusal(self) -> str:
        """The error that answered its Clear; empty if none did."""
        after = (
            one for one in self.frames if self.clear_sent_ns and one.at_ns > self.clear_sent_ns
        )
        return next((f"Clear was refused with {one.refusal}" for one in after if one.refusal), "")

    @property
    def answered(self) -> bool:
        """Whether anything at all was said to the guest."""
        return any(turn.messages for turn in (self.greeting, *self.turns) if turn is not None)

    @property
    def reply(self) -> str:
        """The beginning of the newest answer."""
        messages = [
            message for turn in (self.greeting, *self.turns) if turn for message in turn.messages
        ]
        return safe_quote(str(messages[-1].body.get("text") or ""), 40) if messages else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How long a visit waits for what, in seconds."""

    quick: bool = False
    """it says one text and leaves when the first message has come"""
    first_s: float = 20.0
    silence_s: float = 5.0
    """After so long without a message the other side is taken to have said all."""
    turn_s: float = 45.0


def try_one_guest(
    terms: Terms,
    reports: Path,
    *,
    quick: bool = False,
    patience: Patience | None = None,
    while_open: Callable[[Trial], None] = lambda _: None,
) -> Trial:
    """One guest from arrival to proven end, on a ledger of its own, like any other.

    ``quick``: it says one text and leaves when the first message has come. ``while_open`` is called
    before it clears. Raises ConfigError; what the service does is told in the Trial.
    """
    patience = replace(patience or Patience(), quick=quick)
    sign_ins = read_sign_ins(terms.sign_ins) if terms.sign_ins is not None else ()
    directory = make_run_directory(reports, PREFLIGHT_PREFIX + new_run_id())
    write_start(directory, **target_facts(terms.target, terms.sign_ins))
    worker, started = "preflight", str(wall_ns())
    tokens = Tokens.of(directory, worker)
    meta = {
        "run_id": directory.name,
        "worker": worker,
        "number": str(tokens.worker),
        **meta_of_this_process(),
        "started_ns": started,
        "heartbeat_ns": started,
    }
    ledger = Ledger(Store(RunDirectory(directory).ledger(worker), meta))
    trial = Trial(
        directory=directory,
        token=tokens.next(),
        joined=terms.auto_join,
        signed_in=bool(sign_ins),
    )
    settings = GuestSettings(
        target=terms.target,
        tls=terms.target.tls_context(),
        clear_within_s=CLEAR_WITHIN_S,
        close_within_s=CLOSE_WITHIN_S,
        custom_attributes={"runId": directory.name},
        tag_of=guest_tag,
        sign_in=sign_ins[0] if sign_ins else "",
        observer=trial.on_frame,
    )
    recorder = Recorder()
    guest = GuestSession(settings, trial.token, ledger=ledger, recorder=recorder)
    try:
        with guest:
            _visit(guest, trial, patience)
            while_open(trial)
    except ConfigError:
        raise
    except HarnessError as error:
        trial.failure = str(error)
    finally:
        ledger.close()
        trial.close_code = guest.connection.inbox.closed_code
    collected = recorder.take()
    trial.delivered = Outcome.OK in collected.outcomes.get("delivered", {})
    trial.reconnects = collected.counts["reconnects"]
    trial.ended = not any(read_leftovers(directory))
    return trial


def _visit(guest: GuestSession, trial: Trial, patience: Patience) -> None:
    if trial.joined:
        trial.spoke_wall_ns = wall_ns()
        trial.greeting = _listen(guest, trial, guest.join, patience)
    for _ in range(1 if patience.quick else TEXTS_SENT):
        trial.spoke_wall_ns = trial.spoke_wall_ns or wall_ns()
        turn = _listen(guest, trial, lambda: guest.say(TEST_TEXT), patience)
        trial.turns.append(turn)
        if turn.refusal:
            return


def _listen(
    guest: GuestSession, trial: Trial, speak: Callable[[], None], patience: Patience
) -> Turn:
    """What comes after that: until a while of silence, or until it is clear that nothing comes."""
    before, since = len(trial.frames), monotonic_ns()
    speak()
    while True:
        guest.idle(0.1)
        new = trial.frames[before:]
        messages = tuple(frame for frame in new if frame.speaks)
        refusal = next((frame.refusal for frame in new if frame.refusal), "")
        waited_s = (monotonic_ns() - since) / 1e9
        if refusal or (patience.quick and messages):
            return Turn(messages, since, refusal)
        if messages:
            quiet_s = (monotonic_ns() - messages[-1].at_ns) / 1e9
            if quiet_s >= patience.silence_s or waited_s >= patience.turn_s:
                return Turn(messages, since)
        elif waited_s >= patience.first_s:
            return Turn((), since)


def learn(trial: Trial) -> dict[str, Any]:
    """What the guest's own side has taught, as fields of :class:`Learned`."""
    turns = [turn for turn in trial.turns if turn.messages]
    facts: dict[str, Any] = {
        "joined": trial.joined,
        "signed_in": trial.signed_in,
        "close_code": trial.close_code,
        "first_message_s": max((turn.first_s or 0.0 for turn in turns), default=None),
        "last_message_s": max((turn.last_s or 0.0 for turn in turns), default=None),
    }
    if len(trial.turns) == TEXTS_SENT and turns:
        by_itself = _by_itself(trial)
        answers = [
            trial.turns[0].messages[0 if trial.joined else by_itself or 0 :],
            trial.turns[1].messages,
        ]
        facts["turn_messages"] = max(map(len, answers))
        gaps = [
            (after.at_ns - before.at_ns) / 1e9
            for answer in answers
            for before, after in pairwise(answer)
        ]
        facts["turn_gap_s"] = max(gaps, default=None)
        facts["greeting_messages"] = by_itself
        facts["greets"] = None if by_itself is None else by_itself > 0
    bodies = [frame.body for frame in trial.frames if frame.speaks]
    if bodies:
        facts["answered_by"] = (
            safe_quote(str(bodies[-1].get("originatingEntity") or ""), 40) or None
        )
        facts["id_form"] = _form_of_id(bodies[-1].get("id"))
        facts["time_form"] = _form_of_time(inner(bodies[-1], "channel", "time"))
    at = {frame.name: frame.at_ns for frame in reversed(trial.frames)}
    cleared, closed = at.get("SessionClearedEvent"), at.get("ConnectionClosedEvent")
    if cleared is not None and trial.clear_sent_ns:
        facts["clear_s"] = (cleared - trial.clear_sent_ns) / 1e9
        if closed is not None:
            facts["retired_s"] = max(0.0, (closed - cleared) / 1e9)
    return {key: round(v, 6) if type(v) is float else v for key, v in facts.items()}


def _by_itself(trial: Trial) -> int | None:
    """How many messages the flow says of itself; None where it can't be told.

    Without a Join these come with the first answer, before what is said to the same text again.
    Their number alone tells nothing: a flow may answer now in one message and now in three.
    """
    if trial.greeting is not None:
        return len(trial.greeting.messages)
    first, second = (
        [(message.body.get("text"), message.body.get("content")) for message in turn.messages]
        for turn in trial.turns
    )
    if len(first) <= 1:
        return 0
    return next((number for number, content in enumerate(first) if content in second), None)


def _form_of_id(value: object) -> str:
    text = str(value)
    if _HEX32.fullmatch(text):
        return "32 hexadecimal digits"
    return "UUID" if _UUID.fullmatch(text) else "another form"


def _form_of_time(value: object) -> str:
    if value is None:
        return "none"
    return "ISO 8601, milliseconds, Z" if ISO_MS.fullmatch(str(value)) else "another form"


@dataclass(slots=True)
class OperatorView:
    """What the Platform API showed of one visit.

    It is asked while the conversation is open, and again after Clear until it is shown as over or
    the time is up.
    """

    api: PlatformApi
    learned: dict[str, Any] = field(default_factory=dict)
    """fields of :class:`harness.preflight.guard.Learned`"""
    conversation: str = ""
    state: ConversationState = ConversationState.UNKNOWN
    """the last that was told, by the conversation itself or by analytics"""
    refused: set[str] = field(default_factory=set)

    def look_while_open(self, trial: Trial) -> None:
        """Find the conversation and see that it counts as open. Never raises."""
        self._find(trial)
        if self.conversation:
            self._look_directly()
            self._analytics(trial, wall_ns())

    def look_after(self, trial: Trial, *, within_s: float = SHOWN_WITHIN_S) -> None:
        """Look until all views show the end, or the time is up. Never raises."""
        deadline = monotonic_ns() + int(within_s * 1e9)
        while True:
            self._look(trial)
            if self._all_known() or monotonic_ns() >= deadline:
                break
            time.sleep(min(LOOK_EVERY_S, max(0.05, (deadline - monotonic_ns()) / 1e9)))
        if "search" not in self.refused:
            self.learned.setdefault("search_shown", False)

    def _all_known(self) -> bool:
        known = self.learned
        direct = known.get("ended_s") is not None or known.get("direct_shown") is False
        analytics = known.get("analytics_ends_s") is not None or "analytics" in self.refused
        searched = known.get("search_shown") is not None or "search" in self.refused
        return direct and analytics and searched

    def _look(self, trial: Trial) -> None:
        if not self.conversation:
            self._find(trial)
        self._search(trial)
        if not self.conversation:
            return
        known, cleared_ns = self.learned, trial.cleared_wall_ns or wall_ns()
        shown = known.get("ended_s") is None and known.get("direct_shown") is not False
        if shown and self._look_directly().over:
            known["ended_s"] = _since(cleared_ns)
        if known.get("analytics_ends_s") is None:
            self._analytics(trial, cleared_ns)

    def _look_directly(self) -> ConversationState:
        now = self._ask(
            lambda: look_now(self.api, self.conversation), Look(ConversationState.UNKNOWN)
        )
        self.learned["direct_shown"] = now.state is not ConversationState.UNKNOWN
        self.learned["purpose_direct"] = now.purpose or self.learned.get("purpose_direct")
        self.state = now.state
        return now.state

    def _find(self, trial: Trial) -> None:
        if not trial.message_id:
            return
        conversation = self._ask(
            lambda: conversation_of_message(self.api, trial.message_id), None, "messages"
        )
        self.learned["message_leads"] = conversation is not None
        self.conversation = conversation or self.conversation

    def _search(self, trial: Trial) -> None:
        if "search" in self.refused or self.learned.get("search_shown"):
            return
        start, end = _span(trial)
        nothing: dict[str, Tagged] = {}
        matches = self._ask(
            lambda: conversations_of_run(self.api, trial.run_id, start, end), nothing, "search"
        )
        for conversation, tagged in matches.items():
            self.conversation = self.conversation or conversation
            self.learned |= {
                "search_shown": True,
                "attribute_prefix": tagged.prefix,
                "purpose_search": tagged.purpose or None,
            }

    def _analytics(self, trial: Trial, cleared_ns: int) -> None:
        if "analytics" in self.refused:
            return
        start, end = _span(trial)
        nothing: list[Seen] = []
        wanted = journey_id(trial.token)
        shown = self._ask(
            lambda: list(conversations_by_id(self.api, [self.conversation], start, end)),
            nothing,
            "analytics",
        )
        for seen in shown:
            known = self.learned
            known.setdefault("analytics_shows_s", _since(trial.spoke_wall_ns))
            known["purpose_analytics"] = seen.purpose or None
            known["journey_shown"] = seen.journey == wanted and any(
                one.id == seen.id
                for one in self._ask(
                    lambda: list(conversations_of_guests(self.api, [wanted], start, end)), nothing
                )
            )
            if seen.state.over:
                known["analytics_ends_s"] = _since(cleared_ns)
            if known.get("direct_shown") is False:
                # That it shows it as open says nothing: it shows what was a while ago.
                self.state = seen.state if seen.state.over else ConversationState.UNKNOWN

    def _ask(self, question: Callable[[], T], otherwise: T, name: str = "") -> T:
        """An answer; ``otherwise`` where there is none, whatever the reason: it was told before."""
        try:
            return question()
        except PlatformApiError as error:
            if name and error.refused:
                self.refused.add(name)
            return otherwise


def _span(trial: Trial) -> tuple[datetime, datetime]:
    spoke = datetime.fromtimestamp((trial.spoke_wall_ns or wall_ns()) / 1e9, UTC)
    return spoke - SEARCH_MARGIN, spoke + SEARCH_MARGIN


def _since(wall: int) -> float:
    return round(max(0.0, (wall_ns() - wall) / 1e9), 1)
