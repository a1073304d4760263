"""A bot that answers as a recorded deployment did (``harness simulate --from FILE``).

Each answer is drawn from those that were recorded: how many messages it has, what they show, when
the first comes and how long after each other the rest (the empirical distribution of whole
answers, so that slow and long ones stay together). Where the guest says what was said in the
recording, the answers to that are drawn from; otherwise all are. What was personal is masked.
"""

import re
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from random import Random

from harness.errors import ConfigError
from harness.simulator.behaviour.dialogue import OUTBOUND_CHARACTERS, Turn
from harness.workload.har import reading as moments
from harness.workload.har.reading import Kind, Moment, Recording, read_recording
from harness.workload.har.redaction import Personal, Redactor, personal_of

ASKS = (Kind.TEXT, Kind.CHOICE, Kind.FILE)
A_FILE = "<file>"
_FILE_NAME = re.compile(r"[\w.() -]{1,100}\.[A-Za-z0-9]{2,5}")
"""A file is sent with its name as the text."""
_NO_KEY = b"what a bot shows has no ids"


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """What was recorded: greetings, and answers with what was said to get them."""

    greetings: tuple[Turn, ...]
    answers: tuple[tuple[frozenset[str], Turn], ...]

    def begin(self, draws: Random) -> "Drawn":
        """The dialogue of one service."""
        return Drawn(self, draws)


class Drawn:
    """A dialogue whose turns are drawn."""

    def __init__(self, recorded: Rehearsal, draws: Random) -> None:
        self._recorded = recorded
        self._draws = draws
        self._all = [turn for _, turn in recorded.answers]
        self._to: dict[str, list[Turn]] = {}
        for words, turn in recorded.answers:
            for word in words:
                self._to.setdefault(word, []).append(turn)

    @property
    def greeting(self) -> Turn | None:
        """One of those recorded, None where none was."""
        greetings = self._recorded.greetings
        return self._draws.choice(greetings) if greetings else None

    def turn(self, heard: str) -> Turn | None:
        """An answer to that, or to anything."""
        known = self._to.get(_plain(heard)) or self._to.get(_without_data(heard))
        return self._draws.choice(known or self._all)


def read_rehearsal(path: Path) -> Rehearsal:
    """Raises ConfigError where the file can't be read, or has no answer in it."""
    recording = read_recording(path)
    redactor = Redactor(personal_of(recording), key=_NO_KEY)
    greetings: list[Turn] = []
    answers: list[tuple[frozenset[str], Turn]] = []
    for recorded in _turns(recording):
        asked = recorded.asked
        if not recorded.replies:
            continue
        turn = Turn(
            tuple(_part(reply, redactor) for reply in recorded.replies),
            _gaps(recorded.replies),
            first_s=None if asked is None else recorded.first_s,
            end=recorded.ended,
        )
        if asked is None or asked.kind is Kind.JOIN:
            greetings.append(turn)
        elif asked.kind in ASKS:
            answers.append((_said(asked), turn))
    if not answers:
        raise ConfigError(f"{path}: nothing was answered in it, so there is nothing to rehearse")
    return Rehearsal(tuple(greetings), tuple(answers))


def _turns(recording: Recording) -> list[moments.Turn]:
    return [
        turn for session in recording.sessions for turn in moments.turns(moments.moments(session))
    ]


def _part(reply: Moment, redactor: Redactor) -> dict[str, object]:
    """What a message shows, without ids and without what was somebody's."""
    shown = redactor.value({"text": reply.text, "content": reply.body.get("content") or []})
    text = shown["text"].replace("{text}", "{ text}")[:OUTBOUND_CHARACTERS]
    if not shown["content"]:
        return {"text": text}
    return {"type": "Structured", "text": text, "content": shown["content"]}


def _gaps(replies: tuple[Moment, ...]) -> tuple[float | None, ...]:
    """Seconds from the message before, for each."""
    times = [reply.at_s for reply in replies]
    return (None, *(max(after - before, 0.0) for before, after in pairwise(times)))


def _said(asked: Moment) -> frozenset[str]:
    """What a bot may hear of it: a text, or the payload of a choice."""
    heard = {asked.text} if asked.text else set()
    content = asked.body.get("content")
    for part in content if isinstance(content, list) else ():
        response = part.get("buttonResponse") if isinstance(part, dict) else None
        payload = response.get("payload") if isinstance(response, dict) else None
        if isinstance(payload, str):
            heard.add(payload)
    found = {form(one) for one in heard for form in (_plain, _without_data)}
    return frozenset(found | ({A_FILE} if asked.kind is Kind.FILE else set()))


def _plain(text: str) -> str:
    """A text by which the same is known again."""
    return A_FILE if _FILE_NAME.fullmatch(text) else " ".join(text.casefold().split())


@lru_cache(maxsize=4096)
def _without_data(text: str) -> str:
    """The same, whoever's order it is about; that takes a while."""
    return _plain(_ANYBODY.masked(text))


_ANYBODY = Personal()
