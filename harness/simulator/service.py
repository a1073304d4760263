"""The simulated service: everything it knows, and the verbs that change it.

What a request means is decided in ``guest_api``; this object opens and ends
sessions and conversations, keeps the account of what really happened, and delivers frames.
"""

import asyncio
import sys
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from contextlib import suppress

from harness.simulator import frames
from harness.simulator.bots import Bot
from harness.simulator.conversing import Agents
from harness.simulator.faults import FaultPlan
from harness.simulator.frames import Ids
from harness.simulator.guest_api.connection import Connection
from harness.simulator.rest import Signer
from harness.simulator.settings import ApiClient, Settings
from harness.simulator.truth import (
    ApiCalls,
    Attachment,
    Conversation,
    Conversations,
    Deployment,
    Question,
    Questions,
    Session,
    SessionEnd,
    Tally,
    Truth,
    Write,
)


class Stall:
    """``on`` while the service stands still. What was held is recorded with how long it waited."""

    __slots__ = ("_loop", "_over", "_truth", "_waiting", "on")

    def __init__(self, loop: asyncio.AbstractEventLoop, truth: Callable[[], Truth]) -> None:
        self.on = False
        self._loop = loop
        self._truth = truth
        self._waiting: list[tuple[float, Callable[..., None], tuple[object, ...]]] = []
        self._over: asyncio.Future[None] | None = None

    def begin(self, seconds: float) -> None:
        """Handle and send nothing for so long. Without effect during a stall."""
        if not self.on:
            self.on = True
            self._over = self._loop.create_future()
            self._loop.call_later(seconds, self._resume, self._over)

    def defer(self, work: Callable[..., None], *args: object) -> None:
        """Call ``work`` once the stall is over."""
        self._waiting.append((time.monotonic(), work, args))

    def _resume(self, over: "asyncio.Future[None]") -> None:
        waiting, self._waiting = self._waiting, []
        self.on = False
        now = time.monotonic()
        for since, work, args in waiting:
            self._truth().delay("stall", now - since)
            work(*args)
        if not over.done():
            over.set_result(None)

    async def wait(self) -> None:
        """Return when the service no longer stands still."""
        over = self._over
        if self.on and over is not None:
            since = time.monotonic()
            await asyncio.shield(over)
            self._truth().delay("stall", time.monotonic() - since)


KEEP_PER_TOKEN = 20
"""Ended sessions remembered of one token, which may be used again and again."""
MAX_LINES = 200
"""Lines on standard error: a pipe that nobody empties must not fill up and block."""
MAX_RUNS = 1000
"""Runs with an account of their own; further run ids only count in the whole."""


class Service:
    """One simulated service. Not thread-safe: everything happens on one event loop."""

    def __init__(self, settings: Settings, loop: asyncio.AbstractEventLoop) -> None:
        self.settings = settings
        self.knobs = settings.knobs
        self.limits = settings.limits
        self.loop = loop
        self.ids = Ids(settings.seed)
        self.faults = FaultPlan(seed=settings.seed)
        self.faults.replace(settings.faults)
        self.write_question: Write = lambda _: None
        self.truth = self.new_truth()
        self.question: Question | None = None
        """The question that is being handled."""
        self.deployments = {item.id: Deployment(item) for item in settings.deployments}
        self.connections: set[Connection] = set()
        self.conversations = Conversations(self)
        self.past: OrderedDict[str, list[Session]] = OrderedDict()
        self.bot = Bot(self)
        self.agents = Agents(self)
        self.by_serial: dict[int, Session] = {}
        self.signer = Signer(self.ids.hex())
        self.api_tokens: OrderedDict[str, tuple[ApiClient, float]] = OrderedDict()
        self.api_calls = {client.id: ApiCalls() for client in settings.clients}
        self.threading_s = settings.knobs.threading_s
        self.revoked: OrderedDict[str, None] = OrderedDict()
        self.uploaded_bytes = 0
        self.stall = Stall(loop, lambda: self.truth)
        self.largest_frame = settings.limits.frame_bytes or float("inf")
        self.request_limit = settings.limits.requests_per_connection_per_minute
        self.message_limit = settings.limits.messages_per_session_per_second
        self.arrived_s = 0.0
        """With stamps: when the kernel received the request that is being handled (monotonic)."""
        self.text_limit = settings.limits.texts_per_second
        self.text_times: deque[float] = deque()
        self._second = -1
        self._second_text = ""
        self._serial = 0
        self._most_events = settings.knobs.keep_events
        self._history_logged = False
        self._lines = 0
        self._logged_once: set[str] = set()

    now = staticmethod(time.time)

    def new_truth(self) -> Truth:
        """An empty account."""
        keep = self.knobs.keep_questions
        return Truth(questions=Questions(keep, lambda row: self.write_question(row)))

    def log(self, line: str, *, once: bool = False) -> None:
        """One line on standard error; ``once``: only the first time. Never more than MAX_LINES."""
        if once:
            if line in self._logged_once:
                return
            self._logged_once.add(line)
        self._lines += 1
        if self._lines > MAX_LINES:
            return
        with suppress(OSError, ValueError):  # nobody may be reading any more
            print(f"simulator: {line}", file=sys.stderr, flush=True)

    def later(self, delay_s: float, work: Callable[..., object], *args: object) -> None:
        """Do it after so many seconds; at once for 0."""
        if delay_s > 0:
            self.loop.call_later(delay_s, work, *args)
        else:
            work(*args)

    def note(self, session: Session, what: str, detail: str = "") -> None:
        """Add to the session's timeline, up to the limit of its length."""
        timeline = session.timeline
        if len(timeline) < self._most_events:
            timeline.append((self.now(), what, detail))

    async def end_what_is_old(self) -> None:
        """End what is too old, again and again, until cancelled."""
        durations = [item.session_duration_s for item in self.settings.deployments]
        limits = (self.limits.idle_seconds, self.limits.connection_age_seconds)
        shortest = min([*durations, *(float(limit) for limit in limits if limit)])
        pause = min(max(shortest / 20, 0.02), 5.0)
        while True:
            await asyncio.sleep(pause)
            self.sweep()

    def sweep(self) -> None:
        """One round of that: end sessions past their time, and connections that are too idle or too
        old."""
        now = self.now()
        idle = self.limits.idle_seconds or float("inf")
        age = self.limits.connection_age_seconds or float("inf")
        for connection in list(self.connections):
            if now - connection.last_active > idle or now - connection.opened > age:
                self.truth.count("closed_1001")
                connection.close(1001, "Going away")
        for deployment in self.deployments.values():
            for session in [s for s in deployment.sessions.values() if s.expires <= now]:
                self.expire(session)

    # sessions

    def find_session(self, deployment: Deployment, token: str) -> Session | None:
        """The living session of a token; one whose time has run out is ended here."""
        session = deployment.sessions.get(token)
        if session is not None and session.expires <= self.now():
            self.expire(session)
            return None
        return session

    def open_session(self, deployment: Deployment, token: str) -> Session:
        """A new session for a token that has none."""
        now = self.now()
        self._serial += 1
        duration = deployment.settings.session_duration_s
        session = Session(self._serial, token, deployment, now, now + duration, duration)
        session.tallies = (self.truth.whole,)
        deployment.sessions[token] = session
        self.by_serial[session.serial] = session
        self.truth.whole.sessions_opened += 1
        self.note(session, "opened")
        return session

    def end_session(self, session: Session, how: SessionEnd) -> None:
        """Forget all that belongs to the token; what happened stays in the account."""
        if session.ended is not None:
            return
        session.ended = how
        if session.deployment.sessions.get(session.token) is session:
            del session.deployment.sessions[session.token]
        if how is SessionEnd.CLEARED:
            session.deployment.signed_in.pop(session.token, None)
        for tally in session.tallies:
            counter = f"sessions_{how}"
            setattr(tally, counter, getattr(tally, counter) + 1)
        self.note(session, how.value)
        self.by_serial.pop(session.serial, None)
        for attachment in (session.attachments or {}).values():
            self.uploaded_bytes -= len(attachment.uploaded or b"")
        session.log = session.attachments = session.attributes = None
        session.message_times = session.configure_times = session.history_times = None
        self._remember(session)

    def _remember(self, session: Session) -> None:
        same_token = self.past.setdefault(session.token, [])
        same_token.append(session)
        del same_token[:-KEEP_PER_TOKEN]
        self.past.move_to_end(session.token)
        if len(self.past) > self.knobs.keep_timelines:
            self.past.popitem(last=False)
            self.log(
                f"more than {self.knobs.keep_timelines} ended tokens: the oldest timelines are "
                "forgotten from now on (knob keep_timelines)",
                once=True,
            )

    def expire(self, session: Session) -> None:
        """The session's time to live has passed."""
        conversation = session.conversation
        self.end_session(session, SessionEnd.EXPIRED)
        if conversation is not None and self.knobs.expiry_ends_conversation:
            self.conversations.end(conversation, "sessionExpired")

    # the account

    def assign_run(self, session: Session, run_id: str) -> None:
        """The guest said which run it belongs to: its session counts there from now on."""
        if session.run_id is not None:
            return
        run = self.truth.runs.get(run_id)
        if run is None:
            if len(self.truth.runs) >= MAX_RUNS:
                self.log(f"more than {MAX_RUNS} runs: further ones only count in all", once=True)
                return
            run = self.truth.runs[run_id] = Tally()
        session.run_id = run_id
        session.tallies = (self.truth.whole, run)
        run.sessions_opened += 1
        conversation = session.conversation
        if conversation is not None and conversation.run_id is None:
            conversation.run_id = run_id
            conversation.tallies = session.tallies
            run.conversations_opened += 1
            run.conversations_ended += not conversation.open

    # frames

    def fan_out(self, session: Session, frame: bytes) -> bool:
        """Send to every connection of the session; True if at least one got the frame unchanged."""
        if self.faults.frames:
            return any([connection.send(frame) for connection in session.connections])
        ready = frames.text_frame(frame)
        for connection in session.connections:
            connection.push(ready, frame)
        return bool(session.connections)

    def bystander(self, session: Session) -> Connection | None:
        """The oldest connection of another session: a fault delivers to it what is not its own."""
        others = [one for one in self.connections if one.session not in (None, session)]
        return min(others, key=lambda one: (one.opened, one.id), default=None)

    def add_to_history(self, session: Session, frame: bytes) -> None:
        """Add a message to the session's history, up to the limit of its length."""
        log = session.log
        if log is None:
            log = session.log = deque(maxlen=self.knobs.keep_messages)
        elif len(log) == log.maxlen and not self._history_logged:
            self._history_logged = True
            self.log(
                f"a session has more than {log.maxlen} messages: its history loses the oldest "
                "(knob keep_messages)"
            )
        log.append(frame)

    def store_upload(self, attachment: Attachment, data: bytes) -> None:
        """Store an upload's content while there is room for it."""
        if self.uploaded_bytes + len(data) > self.knobs.keep_upload_bytes:
            self.log(
                f"uploads exceed {self.knobs.keep_upload_bytes} bytes: the content of further ones "
                "is not kept (knob keep_upload_bytes)",
                once=True,
            )
            return
        attachment.uploaded = data
        self.uploaded_bytes += len(data)

    def head(self, conversation: Conversation | None) -> tuple[str, str]:
        """(id, channel time) of the next message of a conversation."""
        at = frames.iso_ms(time.time())
        if conversation is None:
            return self.ids.hex(), at
        conversation.messages = count = conversation.messages + 1
        return self.ids.message(conversation.serial, count), at

    def spoken(
        self, session: Session, conversation: Conversation, what: str
    ) -> tuple[str, str, str]:
        """Account for the next message of either side: (id, channel time, correlation id)."""
        now = time.time()
        second = int(now)
        if second != self._second:
            self._second = second
            self._second_text = frames.iso_ms(second)[:-4]
        conversation.messages = count = conversation.messages + 1
        ids = self.ids
        number = ids.message(conversation.serial, count)
        session.expires = now + session.duration
        timeline = session.timeline
        if len(timeline) < self._most_events:
            timeline.append((now, what, number))
        at = f"{self._second_text}{int((now - second) * 1000):03d}Z"
        return number, at, ids.correlation()
