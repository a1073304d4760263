"""A service that lies, loses and contradicts itself by a plan, and keeps the truth for itself.

What is open is noted when it is opened and struck when it is ended, by the service alone: nothing
of it is read from what the harness says.
"""

import contextlib
import json
import threading
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain, repeat
from typing import Any

from fakes import Peer
from websockets.exceptions import InvalidState

LATE_S = 0.05
"""How long after its refusal of it a session is told of."""
FOREIGN = "99999999-0000-4000-8000-000000000000"

CONFIGURES = (
    "answer",
    "error without name, then answer",
    "refuse, then answer",
    "refuse, then answer late",
    "refuse, then answer without its field",
    "refuse, then answer with an error's code",
    "refuse, then half an answer",
    "answer with an error's code",
    "answer that it is not connected",
    "silent",
    "refuse",
    "limit",
    "refuse without name",
    "fail but open",
    "cut before",
    "cut after",
)
CLEARS = (
    "honour",
    "honour in silence",
    "forbid",
    "refuse without name",
    "take back without name",
    "another's",
    "another's event",
    "both, but one event",
    "another's session",
    "limit",
    "ignore",
    "echo only",
    "cut before",
    "cut after",
)
NAMED_BY_THE_SERVICE = "honour, event with an id of its own"
"""A move of Clear that is no lie. A service that mixes it with "another's event" can deceive: after
the first of them its own ids are believed."""
LIES = (
    "cleared",
    "expired event",
    "4006 foreign",
    "4006 without name",
    "4006 ours",
    "error foreign",
    "error without name",
    "another's session, new",
    "another's session, not new",
    "a session without name",
    "connection closed",
    "read-only",
    "junk",
)
AT_CLEAR = tuple(lie for lie in LIES if lie != "connection closed")
"""SessionClearedEvent with ConnectionClosedEvent after a Clear that was not honoured can't be told
from the proof; nor with the echo of that Clear (see :meth:`Liar._event`)."""


@dataclass
class Plan:
    """What the service does with each request of a kind, in order; honest when that is used up."""

    configures: Sequence[str] = ()
    clears: Sequence[str] = ()
    lies: Sequence[Sequence[str]] = ()
    """said before the answers to configureSession, in turn; before the answer to a text it says the
    lies that the text asks for (see :func:`asking_for`)"""
    lies_at_clear: Sequence[str] = ()


@dataclass
class Liar:
    """``serve`` is the script of a fake server; ``open`` are the tokens with a living session."""

    plan: Plan
    open: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self._lock = threading.Lock()
        self._configures = _then(self.plan.configures, "answer")
        self._clears = _then(self.plan.clears, "honour")
        self._lies: Iterator[Sequence[str]] = chain(self.plan.lies, repeat(()))
        self._number = 0

    def serve(self, peer: Peer) -> None:
        """Answer one connection until it ends."""
        session: dict[str, bool] = {"here": False}
        while (message := peer.receive()) is not None:
            with self._lock:
                if not self._answer(peer, message, session):
                    return

    def _answer(self, peer: Peer, message: dict[str, Any], session: dict[str, bool]) -> bool:
        action, token, name = message["action"], message["token"], message["tracingId"]
        if action == "configureSession":
            return self._configure(peer, message, session)
        if action == "closeSession":
            session["here"] = False
            say(peer, response(name, connected=False))
        elif not session["here"] or token not in self.open:
            say(peer, error(4007, name))
        elif message.get("message", {}).get("type") == "Event":
            return self._event(peer, message, session)
        elif action == "onMessage":
            text = {"type": "Text", "text": message["message"].get("text", "")}
            say(
                peer,
                *self._lie([lie for lie in LIES if f"[{lie}]" in text["text"]], name),
                structured("Inbound", self._id(), name, **text),
                structured("Outbound", self._id(), None, **text),
            )
        return True

    def _configure(self, peer: Peer, message: dict[str, Any], session: dict[str, bool]) -> bool:
        token, name = message["token"], message["tracingId"]
        move, lies = next(self._configures), self._lie(next(self._lies), name)
        if move == "cut before":
            peer.reset()
            return False
        if move in ("refuse", "limit", "refuse without name"):
            named = None if move == "refuse without name" else name
            say(peer, *lies, error(429 if move == "limit" else 400, named))
            return True
        new = token not in self.open or message["startNew"]
        self.open.add(token)
        session["here"] = True
        answer = response(name, connected=True, new=new)
        if move == "cut after":
            peer.reset()
            return False
        if move == "silent":
            say(peer, *lies)
        elif move == "fail but open":
            say(peer, *lies, error(5000, name))
        elif move == "refuse, then answer":
            say(peer, *lies, error(400, name), answer)
        elif move == "refuse, then answer late":
            say(peer, *lies, error(400, name))
            peer.heed(LATE_S)
            say(peer, answer)
        elif damaged := _damaged(move, answer):
            refusals = [error(400, name)] if move.startswith("refuse") else []
            say(peer, *lies, *refusals, damaged)
        elif move == "error without name, then answer":
            say(peer, *lies, error(400, None), answer)
        else:
            say(peer, *lies, answer)
        return True

    def _event(self, peer: Peer, message: dict[str, Any], session: dict[str, bool]) -> bool:
        token, name = message["token"], message["tracingId"]
        presence = message["message"]["events"][0].get("presence", {}).get("type")
        echo = structured(
            "Inbound",
            self._id(),
            name,
            type="Event",
            events=[{"eventType": "Presence", "presence": {"type": presence}}],
        )
        if presence != "Clear":
            say(peer, echo)
            return True
        move = next(self._clears)
        if move == "cut before":
            peer.reset()
            return False
        if move in ("honour", "honour in silence", "cut after", NAMED_BY_THE_SERVICE):
            self.open.discard(token)
            session["here"] = False
        if move == "cut after":
            peer.reset()
            return False
        answers = {
            "honour": (echo, event("SessionClearedEvent"), event("ConnectionClosedEvent")),
            "forbid": (error(403, name),),
            "refuse without name": (error(400, None),),
            "take back without name": (echo, event("SessionClearedEvent"), error(400, None)),
            "another's": (
                {**echo, "tracingId": FOREIGN},
                event("SessionClearedEvent"),
                event("ConnectionClosedEvent"),
            ),
            "another's event": (
                echo,
                {**event("SessionClearedEvent"), "tracingId": FOREIGN},
                event("ConnectionClosedEvent"),
            ),
            NAMED_BY_THE_SERVICE: (
                echo,
                {**event("SessionClearedEvent"), "tracingId": str(uuid.uuid4())},
                event("ConnectionClosedEvent"),
            ),
            "another's session": (
                echo,
                {**event("SessionClearedEvent"), "body": {"token": FOREIGN}},
                event("ConnectionClosedEvent"),
            ),
            "both, but one event": (
                echo,
                {**echo, "tracingId": FOREIGN},
                event("SessionClearedEvent"),
                event("ConnectionClosedEvent"),
            ),
            "limit": (_limited(name),),
            "echo only": (echo,),
        }
        lies = [lie for lie in self.plan.lies_at_clear if move != "echo only" or lie != "cleared"]
        say(peer, *self._lie(lies, name), *answers.get(move, ()))
        return True

    def _lie(self, lies: Sequence[str], name: str) -> list[object]:
        return [self._one_lie(lie, name) for lie in lies]

    def _one_lie(self, lie: str, name: str) -> object:
        goodbye = [{"eventType": "Presence", "presence": {"type": "Disconnect"}}]
        return {
            "cleared": event("SessionClearedEvent"),
            "expired event": event("SessionExpiredEvent"),
            "4006 foreign": error(4006, FOREIGN),
            "4006 without name": error(4006, None),
            "4006 ours": error(4006, name),
            "error foreign": error(400, FOREIGN),
            "error without name": error(400, None),
            "another's session, new": response(FOREIGN, connected=True),
            "another's session, not new": response(FOREIGN, connected=True, new=False),
            "a session without name": response(None, connected=True),
            "connection closed": event("ConnectionClosedEvent"),
            "read-only": structured(
                "Outbound",
                self._id(),
                None,
                type="Event",
                events=goodbye,
                metadata={"readOnly": "true"},
            ),
            "junk": b'{"class": 7',
        }[lie]

    def _id(self) -> str:
        self._number += 1
        return f"m{self._number}"


def asking_for(lies: Sequence[str]) -> str:
    """What a guest says who wants to be lied to."""
    return "hello " + " ".join(f"[{lie}]" for lie in lies)


def _then(moves: Sequence[str], honest: str) -> Iterator[str]:
    return chain(moves, repeat(honest))


def say(peer: Peer, *messages: object) -> None:
    """All in one piece, so that what was said first has been read before anybody can act on it."""
    with contextlib.suppress(InvalidState):  # the guest has begun to close the connection
        peer.send_all(messages)


def _envelope(cls: str, body: object, code: int, name: str | None) -> dict[str, Any]:
    envelope = {"type": "message", "class": cls, "code": code, "body": body}
    return envelope if name is None else {**envelope, "tracingId": name}


def event(cls: str) -> dict[str, Any]:
    return _envelope(cls, {}, 200, None)


def error(code: int, name: str | None) -> dict[str, Any]:
    return _envelope("string", "no", code, name)


def _limited(name: str) -> dict[str, Any]:
    body = {"retryAfter": 0.01, "errorCode": 429, "errorMessage": "too often"}
    return _envelope("TooManyRequestsErrorMessage", body, 429, name)


def _damaged(move: str, answer: dict[str, Any]) -> object:
    """What is left of the answer of a session that is open; None for other moves."""
    return {
        "refuse, then answer without its field": {**answer, "body": {"newSession": True}},
        "refuse, then answer with an error's code": {**answer, "code": 400},
        "refuse, then half an answer": json.dumps(answer).encode()[:-20],
        "answer with an error's code": {**answer, "code": 400},
        "answer that it is not connected": {**answer, "body": {"connected": False}},
    }.get(move)


def response(name: str | None, *, connected: bool, new: bool = True) -> dict[str, Any]:
    body = {"connected": connected, "newSession": new, "readOnly": not connected}
    return _envelope("SessionResponse", body, 200, name)


def structured(direction: str, message_id: str, name: str | None, **body: object) -> dict[str, Any]:
    body = {"type": "Text", "text": "", "direction": direction, "id": message_id, **body}
    return _envelope("StructuredMessage", body, 200, name)
