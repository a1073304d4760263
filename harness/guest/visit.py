"""A guest that a person watches: its directory while it lasts, its story, and its result.

Its texts come from a script or are typed: each line is sent, a line with a slash is a command.
"""

import contextlib
import json
import os
import re
import secrets
import select
import shutil
import signal
import sys
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import gevent
import orjson

from harness.clock import monotonic_ns, utc_iso
from harness.config.target import Terms
from harness.errors import (
    ConfigError,
    ExitCode,
    HarnessError,
    NotPossible,
    ReplyTimeout,
    ServiceError,
    SessionExpired,
    SessionNotFound,
    UsageError,
    safe_text,
    without_ids,
)
from harness.guest.player import act
from harness.guest.session import GuestSession
from harness.guest.settings import GuestSettings, Observer
from harness.ledger.ledger import OVER, Ledger, Stage, Store
from harness.machine import handled_signals
from harness.measure.recorder import Recorder
from harness.protocol.requests import ErrorCode
from harness.protocol.session import State
from harness.rundir.layout import GUEST_PREFIX, RunDirectory, target_facts, write_start, writing
from harness.streams import Printer
from harness.workload.data import NO_ROW, Feeder
from harness.workload.har.reading import FORM_VERSION, HEAD_KEY, TEXT, parsed
from harness.workload.har.redaction import Personal, Redactor, learn
from harness.workload.script.file import Loaded

JWT = re.compile(r'("(?:jwt|code|codeVerifier|refreshToken)":")[^"]+"')


class Frames:
    """One line for each frame: seconds since the start, direction, time since what it answers.

    An echo or answer answers the request with its tracingId; a message of the other side answers
    the guest's last message. Tokens, JWTs and signatures are shortened.
    """

    def __init__(self, token: str, *, quiet: bool, show: Callable[[str], object] = print) -> None:
        self._token = token
        self._show = show
        self._started = monotonic_ns()
        self._sent: dict[str, int] = {}
        self._message_sent_ns = 0
        self.quiet = quiet

    def frame(self, outgoing: bool, data: bytes, at_ns: int) -> None:
        """Show one frame."""
        text = without_ids(data.decode("utf-8", "replace"), self._token)
        text = safe_text(JWT.sub(r'\1…"', text)).replace("\n", "\\n")
        since_ns = self._answered(outgoing, data, at_ns)
        after = "" if not since_ns else f"+{(at_ns - since_ns) / 1e6:.1f} ms"
        arrow = "→" if outgoing else "←"
        self._show(f"{self._clock(at_ns)} {arrow} {after:>11}  {text}")

    def say(self, text: str) -> None:
        """Show one line that is no frame."""
        text = safe_text(without_ids(text, self._token)).replace("\n", "\\n")
        self._show(f"{self._clock(monotonic_ns())}   {text}")

    def _clock(self, at_ns: int) -> str:
        return f"{(at_ns - self._started) / 1e9:9.3f} s"

    def _answered(self, outgoing: bool, data: bytes, at_ns: int) -> int:
        """When the request that a frame answers was sent; 0 if it answers none."""
        try:
            frame = orjson.loads(data)
        except orjson.JSONDecodeError:
            return 0
        if not isinstance(frame, dict):
            return 0
        tracing_id = frame.get("tracingId")
        if outgoing:
            self._sent[str(tracing_id)] = at_ns
            if frame.get("action") == "onMessage":
                self._message_sent_ns = at_ns
            return 0
        if isinstance(tracing_id, str):
            return self._sent.pop(tracing_id, 0)
        body = frame.get("body")
        outbound = isinstance(body, dict) and body.get("direction") == "Outbound"
        return self._message_sent_ns if outbound else 0


LOOK_EVERY_S = 0.05
HEAR_OUT_S = 1.0
"""How long to wait at the end of the input: the last answers may still come."""
HOW = "type what the guest says; /help lists what else; Ctrl-D or Ctrl-C leaves and clears"
KNOWN = (
    "known: /join /typing /drop /reconnect /history /health /choose TEXT /attach FILE /new /quit"
)


def talk(guest: GuestSession, shown: Frames) -> None:
    """Talk until the input ends. Raises the error that ends the guest's story."""
    if sys.stdin is None:  # closed by the process that started us
        return _listen(guest, shown, HEAR_OUT_S)
    typed = sys.stdin.isatty()
    if typed:
        shown.say(HOW)
    for line in _lines(sys.stdin.fileno()):
        if line is None:
            _listen(guest, shown, LOOK_EVERY_S)
        elif line == "/quit":
            break
        else:
            _command(guest, shown, line)
            if not typed and line and not line.startswith("/"):
                _listen(guest, shown, HEAR_OUT_S)  # a person would read the answer first
    _listen(guest, shown, HEAR_OUT_S)


def _lines(fd: int) -> Iterator[str | None]:
    """Yield each line; None while there is no whole one, so that the guest can listen."""
    rest = b""
    while True:
        if not select.select([fd], [], [], 0)[0]:
            yield None
            continue
        try:
            data = os.read(fd, 65_536)
        except OSError:  # the terminal has gone
            data = b""
        *lines, rest = (rest + data).split(b"\n")
        if not data:
            lines, rest = [rest] if rest else [], b""
        for line in lines:
            yield line.decode("utf-8", "replace").strip()
        if not data:
            return


def _listen(guest: GuestSession, shown: Frames, for_s: float) -> None:
    """Show the other side's messages for this time (seconds)."""
    with _errors_shown(shown), contextlib.suppress(ReplyTimeout):
        shown.say(f"« {guest.await_reply(within=for_s)}")


def _command(guest: GuestSession, shown: Frames, line: str) -> None:
    verb, _, rest = line.partition(" ")
    rest = rest.strip()
    with _errors_shown(shown):
        match verb:
            case "":
                return
            case "/join":
                guest.join()
            case "/typing":
                guest.typing()
            case "/drop":
                guest.drop()
            case "/reconnect":
                guest.reconnect()
            case "/choose":
                guest.choose(rest)
            case "/attach":
                guest.say(rest, file=guest.upload(rest))
            case "/health":
                guest.health_check()
            case "/new" if guest.connection.state not in (State.READ_ONLY, State.LOST):
                shown.say("the other side has not ended this conversation for good")
            case "/new":
                guest.start_new()
                shown.say("another conversation begins")
            case "/history":
                for message in guest.history():
                    shown.say(f"{message.direction:<8} {message.text}")
            case _ if verb.startswith("/"):
                shown.say(KNOWN)
            case _:
                guest.say(line)


@contextlib.contextmanager
def _errors_shown(shown: Frames) -> Iterator[None]:
    """Show errors and go on, except after the end of the session or its connection."""
    try:
        yield
    except (SessionExpired, SessionNotFound):
        raise
    except (ConfigError, NotPossible, ReplyTimeout) as error:
        shown.say(str(error))
    except ServiceError as error:
        hint = "; /new begins another conversation" if error.code == ErrorCode.READ_ONLY else ""
        shown.say(f"{error}{hint}")


class RecordFile:
    """The file of ``harness guest --record``: each frame in either direction, one JSON object a
    line.

    Redacted by default, so that it can be passed on. ``harness script from-har``, ``harness
    conform`` and ``harness simulate --from`` read it. Times are seconds since it was opened. An
    error in writing it does not disturb the guest: :attr:`failure` holds it.
    """

    def __init__(self, path: Path, *, token: str, redacted: bool) -> None:
        """Raises ConfigError if the file exists, or can't be written."""
        self.path = path
        self.frames = 0
        self.failure = ""
        self._started_ns = monotonic_ns()
        self._personal = Personal([token])
        self._redactor = Redactor(self._personal, key=secrets.token_bytes(32))
        self._redacted = redacted
        try:
            number = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError:
            raise ConfigError(f"--record: {path} is there already") from None
        except OSError as error:
            raise ConfigError(f"--record: {path}: {error.strerror}") from None
        self._file = os.fdopen(number, "w", encoding="utf-8")
        head = {HEAD_KEY: "harness guest", "version": FORM_VERSION, "redacted": redacted}
        self._write(head)

    def frame(self, outgoing: bool, data: bytes, at_ns: int) -> None:
        """Write one frame; called as an observer of the guest."""
        text = data.decode("utf-8", "replace")
        if self._redacted:
            learn(self._personal, parsed(text)[0])
            text = self._redactor.frame(text)
        at_s = max(at_ns - self._started_ns, 0) / 1e9
        kind = "send" if outgoing else "receive"
        self._write({"type": kind, "time": round(at_s, 6), "opcode": TEXT, "data": text})
        self.frames += 1

    def close(self) -> None:
        """Close the file."""
        try:
            self._file.close()
        except OSError as error:
            self.failure = self.failure or str(error.strerror)

    @property
    def sentence(self) -> str:
        """What the file holds, or why it is not complete."""
        if self.failure:
            return f"{self.path} is incomplete: {self.failure}"
        what = "redacted" if self._redacted else "with the guest's token and all texts in it"
        sentence = f"{self.path}: {self.frames:,} frames, {what}"
        return f"{sentence}; read it before you pass it on" if self._redacted else sentence

    def _write(self, line: dict[str, Any]) -> None:
        if self.failure:
            return
        try:
            self._file.write(json.dumps(line) + "\n")
            self._file.flush()
        except OSError as error:
            self.failure = str(error.strerror)


NOTICES = {
    "reconnects": "the connection was lost: trying to come back with the same token",
    "resumed_anew": "the service had forgotten the session meanwhile",
    "disconnected_by_service": "the other side has ended the conversation",
    "paced": "waiting for the guest's own limit",
    "typing_is_off": "typing is switched off in this deployment's configuration",
    "clear_is_off": "Clear Conversation is switched off in this deployment's configuration",
    "cross_talk": "that was another session's message",
}
"""Counters that are shown to the person, in words."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Visit:
    """The options of a visit."""

    reports: Path
    loaded: Loaded | None = None
    """the script to play; None: a person types"""
    script: Path = Path()
    scenario: str | None = None
    """its scenario; None: drawn by weight"""
    row: int = 0
    seed: int = 0
    sign_in: str = field(default="", repr=False)
    sign_in_file: Path | None = None
    """the file from which the sign-in was read"""
    auto_join: bool = False
    quiet: bool = False
    record: Path | None = None
    unredacted: bool = False


def visit(terms: Terms, wanted: Visit) -> int:
    """Talk, always clear, and show the result; returns the exit code."""
    tls = terms.target.tls_context()
    token = str(uuid.uuid4())
    with contextlib.closing(Printer()) as printer, contextlib.ExitStack() as stack:
        record = _record_file(wanted, token)
        if record is not None:
            stack.callback(record.close)
        directory = _directory(wanted, terms)
        shown = Frames(token, quiet=wanted.quiet, show=printer.line)
        settings = GuestSettings(
            target=terms.target,
            tls=tls,
            history=True,
            auto_join=wanted.auto_join or terms.auto_join,
            sign_in=wanted.sign_in,
            observer=_observer(shown, record),
        )
        result = _story(wanted, settings, token, directory, shown)
        if record is not None:
            record.close()
            shown.say(record.sentence)
        return _report(result, shown, directory)


def _record_file(wanted: Visit, token: str) -> RecordFile | None:
    if wanted.record is not None:
        return RecordFile(wanted.record, token=token, redacted=not wanted.unredacted)
    if wanted.unredacted:
        raise UsageError("--unredacted goes with --record")
    return None


def _observer(shown: Frames, record: RecordFile | None) -> Observer:
    """The observer of the frames: for the file and the screen, as far as they are wanted."""

    def observe(outgoing: bool, data: bytes, at_ns: int) -> None:
        if record is not None:
            record.frame(outgoing, data, at_ns)
        if not shown.quiet:
            shown.frame(outgoing, data, at_ns)

    return observe


def _story(
    wanted: Visit,
    settings: GuestSettings,
    token: str,
    directory: Path,
    shown: Frames,
) -> "_VisitResult":
    ledger = Ledger(Store(RunDirectory(directory).ledger("guest"), {"worker": "guest"}))
    guest = GuestSession(settings, token, ledger=ledger, recorder=_AnnouncingRecorder(shown))
    result = _VisitResult()
    with _interrupts(shown, result):
        try:
            with guest:
                if wanted.loaded is None:
                    talk(guest, shown)
                else:
                    _play(wanted, guest, wanted.loaded, shown)
        except HarnessError as error:
            result.failure = error
        except KeyboardInterrupt:
            result.stopped = True
        finally:
            tally = ledger.tally
            # Only a proved end counts: without proof the directory with the token is kept.
            result.lost = sum(tally.values()) > sum(tally[stage] for stage in OVER)
            result.opened = tally[Stage.NEVER_CONFIGURED] == 0
            ledger.close()
    return result


@dataclass(slots=True)
class _VisitResult:
    """The result of a visit."""

    failure: HarnessError | None = None
    stopped: bool = False
    opened: bool = True
    lost: bool = True


def _directory(wanted: Visit, terms: Terms) -> Path:
    """The directory of the ledger while it is needed, in a form that ``harness sweep`` reads."""
    stamp = utc_iso().replace(":", "").replace(".", "")
    name = f"{GUEST_PREFIX}{stamp}-{secrets.token_hex(2)}"  # many may begin at once
    directory = wanted.reports / name
    facts = target_facts(terms.target, wanted.sign_in_file)
    with writing(directory):
        directory.mkdir(parents=True)
        write_start(directory, started=utc_iso(), target_name=terms.name or None, **facts)
    return directory


def _play(wanted: Visit, guest: GuestSession, loaded: Loaded, shown: Frames) -> None:
    rng = Random(wanted.seed)
    name = wanted.scenario or loaded.script.pick(rng)
    row = NO_ROW
    if loaded.feeder is not None:  # the row that was named, even if rows are drawn at random
        row = Feeder(table=loaded.feeder.table).row_for(wanted.row)
    shown.say(f"scenario: {name}")
    texts = loaded.texts
    act(guest, loaded.script, name, row=row, rng=rng, folder=loaded.folder, texts=texts)


def _report(result: _VisitResult, shown: Frames, directory: Path) -> int:
    if result.failure is not None:
        print(f"the story ended: {result.failure}", file=sys.stderr)
    if result.lost:
        print(
            f"the session may still be open; end it with: harness sweep {directory}",
            file=sys.stderr,
        )
        return ExitCode.LEFTOVERS
    shutil.rmtree(directory, ignore_errors=True)  # no session is left for which it is needed
    proved = "the session is over, and the service has said so"
    shown.say(proved if result.opened else "no session was opened")
    if result.stopped:
        return ExitCode.INTERRUPTED
    return ExitCode.OBJECTIVES if result.failure is not None else ExitCode.PASS


@contextlib.contextmanager
def _interrupts(shown: Frames, result: _VisitResult) -> Iterator[None]:
    """The first Ctrl-C ends the story; another only shows that leaving takes a moment.

    Watched by the event loop: otherwise the interrupt is raised wherever the loop happens to be.
    """
    story = gevent.getcurrent()

    def interrupted() -> None:
        shown.say("one moment: the session is being ended" if result.stopped else "stopped by hand")
        if not result.stopped:
            result.stopped = True
            gevent.kill(story, KeyboardInterrupt)

    before = {number: signal.getsignal(number) for number in handled_signals()}
    watchers = [gevent.signal_handler(number, interrupted) for number in before]
    try:
        yield
    finally:
        for watcher in watchers:
            watcher.cancel()
        for number, handler in before.items():
            signal.signal(number, handler)


class _AnnouncingRecorder(Recorder):
    """A recorder that shows some counters to the person."""

    def __init__(self, shown: Frames) -> None:
        super().__init__()
        self._shown = shown

    def count(self, what: str, by: int = 1) -> None:
        """Count it, and show it in words."""
        super().count(what, by)
        if what in NOTICES:
            self._shown.say(NOTICES[what])
