"""Prints what goes to and fro between one guest and the service, each frame with its times."""

import re
from collections.abc import Callable

import orjson

from harness.clock import monotonic_ns
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
