"""A service that carries out late what it was asked, and keeps the truth of it for itself.

It never lies: what it says has happened. But a configureSession may be carried out when nobody
waits for it any more, and nobody is told then.
"""

import random
import threading
from collections.abc import Callable, Iterator
from itertools import chain, repeat
from typing import Any

from fakes import Peer
from liar import error, event, response, say, structured

LATE = (
    "cut",
    "silence",
    "failed",
    "error without name",
)
"""How a configureSession goes without an answer that is carried out late."""


class Late:
    """``serve`` is the script of a fake server; ``open`` are the tokens with a living session.

    ``moves`` says, for each configureSession in order, how it goes unanswered, or ``"answer"``;
    ``late_s`` draws after how many seconds it is carried out. ``cut`` says of each text whether it
    costs the connection, and of each Clear that was honoured whether nobody is told.
    """

    def __init__(
        self,
        moves: Iterator[str],
        *,
        late_s: Callable[[], float],
        cut: Callable[[], bool] = lambda: False,
    ) -> None:
        self.open: set[str] = set()
        self.opened_late = 0
        self._moves = moves
        self._late_s = late_s
        self._cut = cut
        self._lock = threading.Lock()
        self._timers: list[threading.Timer] = []
        self._number = 0

    def settle(self) -> None:
        """Wait until all is carried out that was asked for."""
        for timer in self._timers:
            timer.join()

    def serve(self, peer: Peer) -> None:
        """Answer one connection until it ends."""
        while (message := peer.receive()) is not None:
            with self._lock:
                answers = self._answers(message)
            if answers is None:
                peer.reset()
                return
            say(peer, *answers)

    def _answers(self, message: dict[str, Any]) -> list[object] | None:
        """None: the connection is cut."""
        token, name = message["token"], message["tracingId"]
        if message["action"] in ("configureSession", "configureAuthenticatedSession"):
            return self._configure(token, name)
        if token not in self.open:
            return [error(4007, name)]
        said = message["message"]
        if said["type"] == "Event":
            events = [{"eventType": "Presence", "presence": {"type": "Clear"}}]
            echo = structured("Inbound", self._id(), name, type="Event", events=events)
            self.open.discard(token)
            ended = [echo, event("SessionClearedEvent"), event("ConnectionClosedEvent")]
            return None if self._cut() else ended
        if self._cut():
            return None
        text = {"type": "Text", "text": said["text"]}
        return [
            structured("Inbound", self._id(), name, **text),
            structured("Outbound", self._id(), None, **text),
        ]

    def _configure(self, token: str, name: str) -> list[object] | None:
        move = next(self._moves)
        if move == "answer":
            new = token not in self.open
            self.open.add(token)
            return [response(name, connected=True, new=new)]
        timer = threading.Timer(self._late_s(), self._open_late, (token,))
        self._timers.append(timer)
        timer.start()
        if move == "cut":
            return None
        errors = {
            "failed": [error(504, name)],
            "error without name": [error(400, None)],
            "another sign-in, without name": [error(4017, None)],
        }
        return errors.get(move, [])

    def _open_late(self, token: str) -> None:
        with self._lock:
            self.opened_late += token not in self.open
            self.open.add(token)

    def _id(self) -> str:
        self._number += 1
        return f"m{self._number}"


class Deaf(Late):
    """It does not carry out the first Clear: it says what it is given instead, or cuts (None)."""

    def __init__(self, *moves: str, instead: list[object] | None) -> None:
        super().__init__(in_order(*moves), late_s=lambda: 1.5)
        self._first, self._instead = True, instead

    def _answers(self, message: dict[str, Any]) -> list[object] | None:
        if self._first and message.get("message", {}).get("type") == "Event":
            self._first = False
            return self._instead
        return super()._answers(message)


def in_order(*moves: str) -> Iterator[str]:
    """These, then answers."""
    return chain(moves, repeat("answer"))


def at_random(rng: random.Random, share: float) -> Iterator[str]:
    """So large a share of them goes unanswered."""
    while True:
        yield rng.choice(LATE) if rng.random() < share else "answer"
