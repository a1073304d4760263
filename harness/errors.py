"""Errors, exit codes, and texts that are safe to show.

Every error that this project raises on purpose is in one tree::

    HarnessError
      ConfigError                 wrong before anything was sent
        UsageError                the words of a command line don't fit together
      PreflightRefused            a guard against harm refused before anything was sent
      TransportError
        ConnectFailed             no connection; says in which phase
        UpgradeRejected           the server answered the upgrade with another status than 101
        ConnectionLost            the connection ended under us; code and reason if any
      ProtocolError
        LocalProtocolError        we tried what the session's state forbids: our bug
        RemoteProtocolError       the service sent what no reading of the protocol allows
      ServiceError                the service answered with an error code
        RateLimited  SessionExpired  SessionNotFound  Forbidden
      ReplyTimeout                nothing that was waited for came in time
      NotPossible                 what the service gave does not let the story go on
      LedgerError                 the record of open sessions can't be kept: always ends the run
      PlatformApiError            the Platform API answered with an error

Attributes hold the data; the text is made from them. Tokens never appear in a text, nor does any
secret that a server repeats: every text goes through :func:`safe_text`. A server may
repeat what it was sent (a login, a signed address, the guest's token), and it may send what a
terminal obeys. What ``harness guest`` shows of frames goes through it too.
"""

import re
from base64 import b64decode
from collections.abc import Callable
from enum import IntEnum

MAX_CHARACTERS = 500
"""Characters of a server's own words that are shown."""
# Each goes over a text in one pass, however long it is: lines of a log pass here.
_SECRETS: tuple[tuple[str, str | Callable[[re.Match[str]], str]], ...] = (
    # The key of an HTTP login; plain words after "basic" are none.
    (
        r"\b((?i:basic|bearer):?\s+)(?=[\w+/=.~-]*(?:[0-9=]|[a-z][A-Z]))[\w+/=.~-]{6,}",
        r"\1…",
    ),
    (r"(?<![\w-])eyJ[\w-]+(?:\.[\w-]*){1,4}", "eyJ…"),
    (r"(//)[^/@\s\"'<>]+@", r"\1…@"),
    # The query of an address; what has none is taken whole, or each address in it would be a start.
    (
        r"(?i)(https?://[^\s?\"'<>]*+\??)([^\s\"'<>]*)",
        lambda found: found[1] + "…" * bool(found[2]),
    ),
    (
        r"(?i)(?<![a-z])((?:signature|x-(?:amz|goog)-[a-z-]{1,60}|sig|jwt|password)=[\"']?)"
        r"[^&\s\"'<>]+",
        r"\1…",
    ),
)
_PATTERNS = tuple((re.compile(pattern), instead) for pattern, instead in _SECRETS)
# An id however it is written: in capitals, without its dashes, in the query of a URL.
_DASH = "(?:-|%2d)?"
_ID = re.compile(
    r"(?:(?<=%[0-9a-f]{2})|(?<![0-9a-z]))([0-9a-f]{8})"
    rf"{_DASH}[0-9a-f]{{4}}{_DASH}[0-9a-f]{{4}}{_DASH}[0-9a-f]{{4}}{_DASH}[0-9a-f]{{12}}(?![0-9a-z])",
    re.I,
)
_BASE64 = re.compile(r"[\w+/-]{42,}", re.ASCII)
"""Long enough to hold an id without its dashes."""
# What moves the cursor, colours, rings, or turns the direction of writing around.
_TRICKS = re.compile(
    r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"
)
FORMULA = ("=", "+", "-", "@", "|", "%", "\uff1d", "\uff0b", "\uff0d", "\uff20")
"""A cell that begins so is run as a formula by one spreadsheet or another."""


def safe_text(text: str) -> str:
    """A sentence of ours in which others may be quoted. Line ends and tabs stay."""
    for pattern, instead in _PATTERNS:
        text = pattern.sub(instead, text)
    return _TRICKS.sub(_number, text)


def safe_line(text: str) -> str:
    """What goes into a log, whoever wrote it: ids are shortened too, as one may be a guest's token.

    Line ends and tabs stay; ends of lines of other systems become ours.
    """
    return safe_text(without_ids(text.replace("\r\n", "\n")))


def safe_quote(text: str, most: int = MAX_CHARACTERS) -> str:
    """What a server says, on one line; an id in it may be a guest's token, so ids are shortened."""
    text = safe_line(text[: 4 * most]).replace("\n", "\\n").replace("\t", " ")
    return text if len(text) <= most else f"{text[:most]}…"


def without_ids(text: str, *ids: str) -> str:
    """A text with its ids shortened to their first eight letters: one may be a guest's token.

    ``ids``: only these. They are found in capitals, without dashes, URL-encoded and in base64 too.
    """
    hidden = {_letters(one) for one in ids}

    def shortened(match: re.Match[str]) -> str:
        return match[0] if hidden and _letters(match[0]) not in hidden else f"{match[1]}…"

    def decoded(match: re.Match[str]) -> str:
        data = match[0].replace("-", "+").replace("_", "/")
        data = data[:-1] if len(data) % 4 == 1 else data
        inside = b64decode(data + "=" * (-len(data) % 4)).decode("latin-1")
        return match[0] if _ID.sub(shortened, inside) == inside else f"{match[0][:8]}…"

    return _BASE64.sub(decoded, _ID.sub(shortened, text))


def _letters(one: str) -> str:
    return one.lower().replace("%2d", "").replace("-", "")


def safe_cell(cell: str) -> str:
    """The same as a cell of a CSV file, which no spreadsheet takes for a formula."""
    cell = safe_text(cell).replace("\n", " ").replace("\t", " ").strip(" ")
    return f"'{cell}" if cell.startswith(FORMULA) else cell


def without_secret(text: str, *secrets: str) -> str:
    """A text in which these do not stand, whatever they look like."""
    for secret in secrets:
        if secret:
            text = text.replace(secret, "…")
    return text


def _number(match: re.Match[str]) -> str:
    code = ord(match[0])
    return f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}"


def listed(head: str, reasons: list[str]) -> str:
    """One reason behind ``head`` in the same line, several as a list below it."""
    if len(reasons) == 1:
        return f"{head}: {reasons[0]}"
    return "".join((f"{head}:", *(f"\n  - {reason}" for reason in reasons)))


class HarnessError(Exception):
    """Root of the tree."""

    def __init__(self, text: str = "") -> None:
        super().__init__(safe_text(text))


class ConfigError(HarnessError):
    """Something is wrong with what the user gave; nothing has been sent yet."""


class UsageError(ConfigError):
    """A command line lacks a word that it needs, or has two that do not go together."""


def expect(holds: bool, place: str, expected: str, got: object) -> None:
    """Raises ConfigError that names the place, what was expected there and what it got."""
    if not holds:
        raise ConfigError(f"{place}: expected {expected}, got {got}")


class PreflightRefused(HarnessError):
    """A run was refused by a guard (target, approval, window, cap); nothing has been sent."""


class TransportError(HarnessError):
    """The connection could not be made or did not last.

    Of its kinds: ConnectFailed, UpgradeRejected and ConnectionLost. ``timed_out``: nobody answered
    in time, as opposed to a refusal or a loss.
    """

    timed_out = False


class ConnectFailed(TransportError):
    """No connection could be made.

    ``phase`` is one of ``dns``, ``tcp``, ``proxy``, ``tls``, ``upgrade``; ``why`` is a sentence.
    ``timed_out``: nobody answered in time.
    """

    def __init__(self, phase: str, why: str, *, timed_out: bool = False) -> None:
        super().__init__(f"could not connect ({phase}): {why}")
        self.phase = phase
        self.why = safe_text(why)
        self.timed_out = timed_out


class UpgradeRejected(TransportError):
    """The server refused the websocket upgrade.

    ``status`` is the HTTP status, ``body`` the beginning of the answer, ``retry_after_s`` the
    seconds that the server asked us to wait, or None.
    """

    def __init__(self, status: int, body: str = "", retry_after_s: float | None = None) -> None:
        hint = {
            403: " (unknown deployment id, or this Origin is not allowed)",
            429: " (too many new connections)",
        }.get(status, "")
        super().__init__(f"the server refused the websocket upgrade with HTTP {status}{hint}")
        self.status = status
        self.body = safe_quote(body)
        self.retry_after_s = retry_after_s


class ConnectionLost(TransportError):
    """The connection ended while it was still needed.

    ``code`` is the websocket close code, or None; ``reason`` is the server's text, often empty.
    ``timed_out``: it was given up because no answer came in time.
    """

    def __init__(self, code: int | None, reason: str = "", *, timed_out: bool = False) -> None:
        how = "without a close frame" if code is None else f"with close code {code}"
        reason = safe_quote(reason)
        super().__init__(f"the connection ended {how}" + (f": {reason}" if reason else ""))
        self.code = code
        self.reason = reason
        self.timed_out = timed_out


class ProtocolError(HarnessError):
    """The guest protocol was broken by one side."""


class LocalProtocolError(ProtocolError):
    """Our side asked for something that the session's state does not allow."""


class RemoteProtocolError(ProtocolError):
    """A frame that cannot be read as anything the service is known to send."""


class ServiceError(HarnessError):
    """The service answered a request with an error (the codes: the vendor's mobile SDK).

    ``code`` is its number, ``text`` what it says, ``tracing_id`` our request's, or None. Of its
    kinds: RateLimited, SessionExpired, SessionNotFound and Forbidden.
    """

    def __init__(self, code: int, text: str, tracing_id: str | None = None) -> None:
        text = safe_quote(text)
        super().__init__(f"the service answered {code}: {text}")
        self.code = code
        self.text = text
        self.tracing_id = tracing_id


class RateLimited(ServiceError):
    """429 or 4029: too many requests. ``retry_after_s``: seconds after which to try again."""

    def __init__(
        self, code: int, text: str, tracing_id: str | None = None, *, retry_after_s: float = 0.0
    ) -> None:
        super().__init__(code, text, tracing_id)
        self.retry_after_s = retry_after_s


class SessionExpired(ServiceError):
    """4006 or SessionExpiredEvent: the session's time to live has passed."""


class SessionNotFound(ServiceError):
    """4007: the service does not know this session."""


class Forbidden(ServiceError):
    """403: the deployment's configuration does not allow it."""


class ReplyTimeout(HarnessError):
    """Nothing that was waited for came in time.

    ``waited_for`` says what, ``waited_s`` how long (seconds); ``seen`` lists what did come, in
    order. A story that goes on without an answer catches it::

        try:
            guest.await_reply(within="20s")
        except ReplyTimeout as late:
            guest.say("Are you still there?")
    """

    def __init__(self, waited_for: str, waited_s: float, seen: tuple[str, ...] = ()) -> None:
        received_text = "; seen meanwhile: " + ", ".join(seen) if seen else "; nothing came at all"
        super().__init__(f"no {waited_for} within {waited_s:g} s{received_text}")
        self.waited_for = waited_for
        self.waited_s = waited_s
        self.seen = seen


class NotPossible(HarnessError):
    """The story can't go on with what the service gave: a choice that is not offered, a limit that
    leaves no room, an address that is none. ``what`` says so in few fixed words, ``details`` in
    those of the case.
    """

    def __init__(self, what: str, details: str) -> None:
        super().__init__(f"{what}: {details}")
        self.what = what
        self.details = details


class LedgerError(HarnessError):
    """The ledger can't be written or read; an unrecorded session must not exist."""


NO_ANSWER = "no.answer"
"""Code for what came with a good status and does not say what was asked."""


class PlatformApiError(HarnessError):
    """The Platform API answered with an error status (0: not at all), or beside the question.

    ``signing_in``: it was its sign-in, so that nothing at all can be asked.
    """

    def __init__(
        self, status: int, code: str, message: str = "", *, signing_in: bool = False
    ) -> None:
        code = safe_quote(code)
        who = "the sign-in of the Platform API" if signing_in else "the Platform API"
        answered = f"answered HTTP {status}" if status else "did not answer"
        text = f"{who} {answered} ({code}) {safe_quote(message)}"
        super().__init__(text.rstrip())
        self.status = status
        self.code = code
        self.message = message
        self.signing_in = signing_in

    @property
    def refused(self) -> bool:
        """Whether this client may not ask so, the service knows no such thing, or does not say."""
        told = self.status in (400, 403, 404) or self.code == NO_ANSWER
        return told and not self.signing_in


class ExitCode(IntEnum):
    """Exit codes of every command; where several apply, the first in this order of weight wins:
    CONFIG, PREFLIGHT, LEFTOVERS, UNKNOWN, INVALID, OBJECTIVES, NO_DATA, PASS."""

    PASS = 0
    """All objectives met and every session proved ended."""
    LOCUST = 1
    """Locust's own code for failed requests; ours never use it."""
    USAGE = 2
    """The command line could not be understood."""
    OBJECTIVES = 3
    """An objective was missed."""
    LEFTOVERS = 4
    """Sessions remain without proof of their end."""
    NO_DATA = 5
    """Nothing was measured that could be judged."""
    INVALID = 6
    """The generator or its record was not good enough to say."""
    PREFLIGHT = 7
    """A check before the run refused it; nothing was sent."""
    CONFIG = 8
    """Configuration or input is wrong; nothing was sent."""
    UNKNOWN = 9
    """It could not be told how all conversations of a run stand at the service."""
    INTERRUPTED = 130
    """Stopped by hand before there was a result."""
