"""What the bot says: the default dialogue, or one from a TOML file (``--bot script FILE``).

::

    greeting = "Welcome"                 # to a Join; leave out for silence
    fallback = "Please say that again."  # when no answer fits; "{text}" is what the guest said

    [[answer]]
    to = "(?i)order"                     # regular expression, searched in the text or payload
    say = ["One moment.", {text = "Which?", quick_replies = ["First", "Second"], after = "2s"}]
    typing = "300ms"                     # the typing indicator, so long before the first message
    hand_over = true                     # then to the agents' queue
    end = true                           # then the flow disconnects

``after`` is the time from the message before (without it the bot's ``gap``; the first has none).
Besides these a message may hold ``card``, ``carousel`` (a list of cards), ``date_picker``,
``list_picker`` or ``form``, each with the field names of the wire.

Named distributions of service times: ``50ms``, ``exponential:50ms``, ``lognormal:50ms,0.5``.

The number after the name is the mean, so that queueing theory applies to it.
The second number of ``lognormal`` is the coefficient of variation (standard deviation divided by
mean). ``bimodal:50ms,1s,0.001`` has no one middle: it takes the first time, or with the given
probability the second.

``harness simulate --from FILE`` answers as a recorded deployment did: each answer is drawn from
those that were recorded: how many messages it has, what they show, when the first comes and how
long after each other the rest (the empirical distribution of whole answers, so that slow and long
ones stay together). Where the guest says what was said in the recording, the answers to that are
drawn from; otherwise all are. What was personal is masked.
"""

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain, pairwise
from pathlib import Path
from random import Random
from typing import Any

from harness.errors import ConfigError
from harness.foreign import inner, objects, read_toml
from harness.units import duration_text, seconds
from harness.workload.har import reading
from harness.workload.har.reading import Kind, Moment, read_recording
from harness.workload.har.redaction import Personal, Redactor, personal_of

OUTBOUND_CHARACTERS = 4000
RICH = {  # our key → (content type, field of the wire, fields that it must have)
    "card": ("Card", "card", ("title", "actions")),
    "date_picker": ("DatePicker", "datePicker", ("availableTimes",)),
    "list_picker": ("ListPicker", "listPicker", ("sections",)),
    "form": ("Form", "form", ()),
}


@dataclass(frozen=True, slots=True)
class Turn:
    """What the bot does at one point: messages (parts of a body), then perhaps more."""

    parts: tuple[dict[str, Any], ...]
    after: tuple[float | None, ...] = ()
    """Seconds from the message before, for each part; None or missing: the bot's own gap."""
    typing_s: float = 0.0
    hand_over: bool = False
    end: bool = False
    first_s: float | None = None
    """Seconds until its first message; None: the bot's own time."""


@dataclass(frozen=True, slots=True)
class Dialogue:
    """Answers by regular expression, the first that fits."""

    greeting: Turn | None
    fallback: Turn | None
    answers: tuple[tuple[re.Pattern[str], Turn], ...] = ()

    def begin(self, draws: Random) -> "Dialogue":
        """The dialogue of one service; nothing of this one is drawn."""
        del draws
        return self

    def turn(self, guest_text: str) -> Turn | None:
        for pattern, turn in self.answers:
            if pattern.search(guest_text):
                return turn
        return self.fallback


def spoken(part: Mapping[str, Any], guest_text: str) -> Mapping[str, Any]:
    """A part with ``{text}`` filled in, no longer than the service allows."""
    text = part.get("text", "")
    if "{text}" in text:
        return {**part, "text": text.replace("{text}", guest_text)[:OUTBOUND_CHARACTERS]}
    return part


DEFAULT = Dialogue(
    Turn(({"text": "Welcome. What can I do for you?"},)), Turn(({"text": "You said: {text}"},))
)


def read_dialogue(path: Path) -> Dialogue:
    """The dialogue of a file; raises ConfigError naming the file and the key."""
    tables = read_toml(path)
    _check_keys(tables, ("greeting", "fallback", "answer"), f"{path}", "a key of a dialogue")
    answers = []
    entries = tables.get("answer", [])
    if not isinstance(entries, list):
        raise ConfigError(f"{path}: answer: expected [[answer]] tables")
    for number, entry in enumerate(entries, 1):
        where = f"{path}: answer {number}"
        if not isinstance(entry, dict) or not isinstance(entry.get("to"), str):
            raise ConfigError(f"{where}: to: expected a regular expression")
        try:
            pattern = re.compile(entry["to"])
        except re.error as error:
            raise ConfigError(f"{where}: to: {error}") from None
        answers.append((pattern, _turn(entry, where)))
    return Dialogue(
        _simple(tables.get("greeting"), f"{path}: greeting"),
        _simple(tables.get("fallback"), f"{path}: fallback"),
        tuple(answers),
    )


def _simple(value: object, where: str) -> Turn | None:
    return None if value is None else Turn((_part(value, where),), (_after(value, where),))


def _turn(entry: dict[str, Any], where: str) -> Turn:
    _check_keys(entry, ("to", "say", "typing", "hand_over", "end"), where, "a key of an answer")
    messages = entry.get("say", [])
    parts = messages if isinstance(messages, list) else [messages]
    flags = {key: entry.get(key, False) for key in ("hand_over", "end")}
    for key, value in flags.items():
        if not isinstance(value, bool):
            raise ConfigError(f"{where}: {key}: expected true or false, got {value!r}")
    return Turn(
        tuple(_part(part, f"{where}: say") for part in parts),
        tuple(_after(part, f"{where}: say") for part in parts),
        typing_s=seconds(entry.get("typing", 0), f"{where}: typing"),
        **flags,
    )


def _after(value: object, where: str) -> float | None:
    if not isinstance(value, dict) or "after" not in value:
        return None
    return seconds(value["after"], f"{where}: after")


def _part(value: object, where: str) -> dict[str, Any]:
    """The body's fields of one message."""
    if isinstance(value, str):
        if len(value) > OUTBOUND_CHARACTERS:
            raise ConfigError(f"{where}: at most {OUTBOUND_CHARACTERS} characters")
        return {"text": value}
    if not isinstance(value, dict) or not isinstance(value.get("text", ""), str):
        raise ConfigError(f"{where}: expected a text or a table with a text")
    shown = ("text", "quick_replies", "carousel", "after", *RICH)
    _check_keys(value, shown, where, "something a bot can show")
    replies = value.get("quick_replies", [])
    if not isinstance(replies, list):
        raise ConfigError(f"{where}: quick_replies: expected texts")
    content = [_quick_reply(item, where) for item in replies]
    for key, (kind, field, needed) in RICH.items():
        if key in value:
            _check(value[key], needed, f"{where}: {key}")
            content.append({"contentType": kind, field: value[key]})
    if "carousel" in value:
        cards = value["carousel"]
        if not isinstance(cards, list) or not cards:
            raise ConfigError(f"{where}: carousel: expected a list of cards")
        for card in cards:
            _check(card, RICH["card"][2], f"{where}: carousel")
        content.append({"contentType": "Carousel", "carousel": {"cards": cards}})
    if not content:
        return {"text": value.get("text", "")}
    return {"type": "Structured", "text": value.get("text", ""), "content": content}


def _check_keys(table: Mapping[str, Any], known: tuple[str, ...], where: str, what: str) -> None:
    for key in sorted(table.keys() - set(known)):
        raise ConfigError(f"{where}: {key!r} is not {what}")


def _check(value: object, needed: tuple[str, ...], where: str) -> None:
    if not isinstance(value, dict):
        raise ConfigError(f"{where}: expected a table")
    for field in needed:
        if field not in value:
            raise ConfigError(f"{where}: {field} is missing")


def _quick_reply(item: object, where: str) -> dict[str, Any]:
    if isinstance(item, str):
        item = {"text": item}
    if not isinstance(item, dict) or not isinstance(item.get("text"), str):
        raise ConfigError(f"{where}: quick_replies: expected texts")
    button = {"text": item["text"], "payload": item.get("payload", item["text"])}
    return {"contentType": "QuickReply", "quickReply": {**button, "action": "Message"}}


NAMES = ("constant", "exponential", "lognormal", "uniform", "bimodal")


@dataclass(frozen=True, slots=True)
class Distribution:
    """A service time: its shape, mean in seconds, and coefficient of variation."""

    name: str
    mean_s: float
    variation: float
    modes: tuple[float, float, float] | None = None
    """Of ``bimodal``: both times in seconds and the probability of the second."""

    def sampler(self, source: Random) -> Callable[[], float]:
        """A function that draws one service time in seconds."""
        mean = self.mean_s
        if self.name == "constant" or mean == 0:
            return lambda: mean
        if self.name == "exponential":
            return lambda: source.expovariate(1 / mean)
        if self.name == "uniform":
            return lambda: source.uniform(0, 2 * mean)
        if self.modes is not None:
            usual, seldom, share = self.modes
            return lambda: seldom if source.random() < share else usual
        sigma = math.sqrt(math.log1p(self.variation**2))
        mu = math.log(mean) - sigma * sigma / 2
        return lambda: source.lognormvariate(mu, sigma)

    def __str__(self) -> str:
        if self.modes is not None:
            usual, seldom, share = self.modes
            return f"bimodal:{duration_text(usual)},{duration_text(seldom)},{share!r}"
        tail = f",{self.variation:g}" if self.name == "lognormal" else ""
        return f"{self.name}:{duration_text(self.mean_s)}{tail}"


def read_distribution(text: str, what: str) -> Distribution:
    """What the user wrote; a bare duration is constant. Raises ConfigError naming ``what``."""
    name, colon, rest = text.strip().partition(":")
    if not colon:
        return Distribution("constant", seconds(text, what), 0.0)
    if name not in NAMES:
        raise ConfigError(f"{what}: {name!r} is not one of {', '.join(NAMES)}")
    if name == "bimodal":
        return _bimodal(rest, text, what)
    mean_text, comma, variation_text = rest.partition(",")
    mean = seconds(mean_text, what)
    if name != "lognormal":
        if comma:
            raise ConfigError(f"{what}: {name} takes one number, its mean, got {text!r}")
        spread = {"constant": 0.0, "exponential": 1.0, "uniform": 1 / math.sqrt(3)}[name]
        return Distribution(name, mean, spread)
    try:
        variation = float(variation_text) if comma else 1.0
    except ValueError:
        variation = -1.0
    if not 0 < variation < 100:
        raise ConfigError(f"{what}: expected lognormal:MEAN,VARIATION, got {text!r}")
    return Distribution(name, mean, variation)


def _bimodal(rest: str, text: str, what: str) -> Distribution:
    parts = rest.split(",")
    try:
        share = float(parts[2])
    except (IndexError, ValueError):
        share = -1.0
    if len(parts) != 3 or not 0 < share < 1:
        raise ConfigError(f"{what}: expected bimodal:TIME,TIME,PROBABILITY, got {text!r}")
    usual, seldom = seconds(parts[0], what), seconds(parts[1], what)
    mean = usual + share * (seldom - usual)
    spread = abs(seldom - usual) * math.sqrt(share * (1 - share))
    variation = spread / mean if mean else 0.0
    return Distribution("bimodal", mean, variation, (usual, seldom, share))


ASKS = (Kind.TEXT, Kind.CHOICE, Kind.FILE)
A_FILE = "<file>"
_FILE_NAME = re.compile(r"[\w.() -]{1,100}\.[A-Za-z0-9]{2,5}")
"""A file is sent with its name as the text."""
_NO_KEY = b"what a bot shows has no ids"


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """Recorded greetings, and recorded answers with the texts that they answered."""

    greetings: tuple[Turn, ...]
    answers: tuple[tuple[frozenset[str], Turn], ...]

    def begin(self, draws: Random) -> "Drawn":
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

    def turn(self, guest_text: str) -> Turn | None:
        """A recorded answer to this text, or else to any text."""
        known = self._to.get(_plain(guest_text)) or self._to.get(_without_data(guest_text))
        return self._draws.choice(known or self._all)


def read_rehearsal(path: Path) -> Rehearsal:
    """Raises ConfigError where the file can't be read, or has no answer in it."""
    recording = read_recording(path)
    redactor = Redactor(personal_of(recording), key=_NO_KEY)
    greetings: list[Turn] = []
    answers: list[tuple[frozenset[str], Turn]] = []
    timelines = map(reading.moments, recording.sessions)
    for recorded in chain.from_iterable(map(reading.turns, timelines)):
        question = recorded.act
        if not recorded.replies:
            continue
        turn = Turn(
            tuple(_recorded_part(reply, redactor) for reply in recorded.replies),
            _gaps(recorded.replies),
            first_s=None if question is None else recorded.first_s,
            end=recorded.ended,
        )
        if question is None or question.kind is Kind.JOIN:
            greetings.append(turn)
        elif question.kind in ASKS:
            answers.append((_texts_of(question), turn))
    if not answers:
        raise ConfigError(f"{path}: nothing was answered in it, so there is nothing to rehearse")
    return Rehearsal(tuple(greetings), tuple(answers))


def _recorded_part(reply: Moment, redactor: Redactor) -> dict[str, object]:
    """The visible parts of a message, without ids and personal data."""
    shown = redactor.value({"text": reply.text, "content": reply.body.get("content") or []})
    text = shown["text"].replace("{text}", "{ text}")[:OUTBOUND_CHARACTERS]
    if not shown["content"]:
        return {"text": text}
    return {"type": "Structured", "text": text, "content": shown["content"]}


def _gaps(replies: tuple[Moment, ...]) -> tuple[float | None, ...]:
    """Seconds from the message before, for each."""
    times = [reply.at_s for reply in replies]
    return (None, *(max(after - before, 0.0) for before, after in pairwise(times)))


def _texts_of(question: Moment) -> frozenset[str]:
    """What the bot reads of it: a text, or the payload of a choice."""
    texts = {question.text} if question.text else set()
    payloads = [
        inner(one, "buttonResponse", "payload") for one in objects(question.body.get("content"))
    ]
    texts |= {one for one in payloads if isinstance(one, str)}
    forms = {form(one) for one in texts for form in (_plain, _without_data)}
    return frozenset(forms | ({A_FILE} if question.kind is Kind.FILE else set()))


def _plain(text: str) -> str:
    """A normalized text, by which equal messages are recognised."""
    return A_FILE if _FILE_NAME.fullmatch(text) else " ".join(text.casefold().split())


@lru_cache(maxsize=4096)
def _without_data(text: str) -> str:
    """The same without personal data, such as order numbers; slower."""
    return _plain(_ANYBODY.masked(text))


_ANYBODY = Personal()
