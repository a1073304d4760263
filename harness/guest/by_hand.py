"""A guest whose words are typed: lines become texts, and what begins with a slash is done.

Prints what goes to and fro between one guest and the service, each frame with its times.
"""

import os
import re
import select
import sys
from collections.abc import Callable, Iterator

import orjson

from harness.clock import monotonic_ns
from harness.errors import (
    ConfigError,
    NotPossible,
    ReplyTimeout,
    ServiceError,
    SessionExpired,
    SessionNotFound,
)
from harness.guest.session import GuestSession
from harness.protocol.names import ErrorCode
from harness.protocol.session import State
from harness.safe_text import safe_text

JWT = re.compile(r'("(?:jwt|code|codeVerifier|refreshToken)":")[^"]+"')


class Frames:
    """One line a frame: seconds since the start, direction, how long after what it answers.

    An echo or answer answers the request with its tracingId, a message of the other side the last
    thing that was said. Tokens, JWTs and signatures are shortened.
    """

    def __init__(self, token: str, *, quiet: bool, show: Callable[[str], object] = print) -> None:
        self._token = token
        self._show = show
        self._started = monotonic_ns()
        self._sent: dict[str, int] = {}
        self._said_ns = 0
        self.quiet = quiet

    def frame(self, outgoing: bool, data: bytes, at_ns: int) -> None:
        """One frame."""
        text = data.decode("utf-8", "replace").replace(self._token, self._token[:8] + "…")
        text = safe_text(JWT.sub(r'\1…"', text)).replace("\n", "\\n")
        since_ns = self._answered(outgoing, data, at_ns)
        after = "" if not since_ns else f"+{(at_ns - since_ns) / 1e6:.1f} ms"
        arrow = "→" if outgoing else "←"
        self._show(f"{self._clock(at_ns)} {arrow} {after:>11}  {text}")

    def say(self, text: str) -> None:
        """One line that is no frame."""
        text = safe_text(text.replace(self._token, self._token[:8] + "…")).replace("\n", "\\n")
        self._show(f"{self._clock(monotonic_ns())}   {text}")

    def heard(self, text: str) -> None:
        """What the other side has said to the guest."""
        self.say(f"« {text}")

    def _clock(self, at_ns: int) -> str:
        return f"{(at_ns - self._started) / 1e9:9.3f} s"

    def _answered(self, outgoing: bool, data: bytes, at_ns: int) -> int:
        """When that left which a frame answers; 0 for none."""
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
                self._said_ns = at_ns
            return 0
        if isinstance(tracing_id, str):
            return self._sent.pop(tracing_id, 0)
        body = frame.get("body")
        outbound = isinstance(body, dict) and body.get("direction") == "Outbound"
        return self._said_ns if outbound else 0


LOOK_EVERY_S = 0.05
HEAR_OUT_S = 1.0
"""At the end of the input the last answers may be on their way."""
HOW = "type what the guest says; /help lists what else; Ctrl-D or Ctrl-C leaves and clears"
KNOWN = (
    "known: /join /typing /drop /reconnect /history /health /choose TEXT /attach FILE /new /quit"
)


def talk(guest: GuestSession, shown: Frames) -> None:
    """Until the input ends. Raises what ends the guest's story."""
    if sys.stdin is None:  # closed by whoever started us
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
    """Line by line, None while there is no whole one, so that the guest can hear meanwhile."""
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
    """Show what is said to the guest for a while."""
    try:
        shown.heard(guest.await_reply(within=for_s))
    except ReplyTimeout:
        return
    except (SessionExpired, SessionNotFound):
        raise
    except ServiceError as error:
        _show_error(error, shown)


def _command(guest: GuestSession, shown: Frames, line: str) -> None:
    verb, _, rest = line.partition(" ")
    rest = rest.strip()
    try:
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
            case "/new" if guest.line.state not in (State.READ_ONLY, State.LOST):
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
    except (ConfigError, NotPossible, ReplyTimeout) as error:
        shown.say(str(error))
    except (SessionExpired, SessionNotFound):
        raise
    except ServiceError as error:
        _show_error(error, shown)


def _show_error(error: ServiceError, shown: Frames) -> None:
    hint = "; /new begins another conversation" if error.code == ErrorCode.READ_ONLY else ""
    shown.say(f"{error}{hint}")
