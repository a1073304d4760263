"""A guest whose words are typed: lines become texts, and what begins with a slash is done."""

import os
import select
import sys
from collections.abc import Iterator

from harness.cli.frames import Frames
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
