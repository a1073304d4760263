"""What in a text is a person's or a secret, as far as a machine can tell, and frames without it.

Words alone do not tell a name from any other word, so names are found only where the text or the
recording says that they are one. Who passes a recording on should read it.

What a frame is made of (its keys, types, numbers of time, words of the protocol) stays; ids become
other ids of the same form, the same for the same, so that what belongs together still does; texts
lose what is found in them; every other text becomes its length.
"""

import hashlib
import hmac
import json
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from harness.foreign import all_objects
from harness.foreign import text as string
from harness.workload.har.reading import Recording, parsed

SHORTEST_SECRET = 4
"""A known value shorter than this (``1``, ``en``) stands in texts by chance."""

_NAME = r"[^\W\d_][\w'\u2019-]*"
_CAPITAL = r"(?=[^\W\d_a-zß-öø-ÿ])" + _NAME
_NAMED = (
    "my name is|name is|ich heiße|ich heisse|mein name ist|je m['\u2019]appelle|mon nom est|"
    "me llamo|mi nombre es|mi chiamo|meu nome é|mijn naam is|jag heter"
)
_INTRODUCED = "i am|i['\u2019]m|this is|ich bin|je suis|soy|sono|ik ben"
_TITLES = "mr|mrs|ms|dr|herr|frau|monsieur|madame|señora?"
_STREET_AFTER = (
    r"(?i:street|st\.?|road|rd\.?|avenue|ave\.?|lane|ln\.?|drive|dr\.?|boulevard|blvd\.?|court|"
    r"square|sq\.?|place|terrace|crescent|close)"
)
_STREET_BEFORE = r"(?i:rue|avenue|boulevard|chemin|calle|avenida|plaza|paseo|via|viale|piazza|rua)"
_STREET_WITHIN = r"(?i:straße|strasse|str\.|weg|platz|allee|gasse|straat|laan)"

# The kind, its pattern, and the group of it that is meant; the first that fits a place has it.
_PATTERNS = (
    ("secret", r"\beyJ[\w-]{8,}(?:\.[\w-]*){0,2}", 0),
    ("email", r"[^\s@<>()\[\],;:\"']+@[^\s@<>()\[\],;:\"']+\.[^\s@<>()\[\],;:\"'.!?]+", 0),
    ("url", r"\b(?i:https?|wss?|ftp)://[^\s<>\"']+|\b(?i:www)\.[^\s<>\"']+", 0),
    ("id", r"\b[0-9A-Fa-f]{8}-(?:[0-9A-Fa-f]{4}-){3}[0-9A-Fa-f]{12}\b", 0),
    ("address", rf"\b\d{{1,5}}\w?,?\s+(?:{_CAPITAL}\s+){{1,4}}{_STREET_AFTER}(?!\w)", 0),
    ("address", rf"\b\d{{1,5}}\w?,?\s+{_STREET_BEFORE}\s+(?:[\w'\u2019.-]+\s*){{1,4}}", 0),
    ("address", rf"\b{_STREET_BEFORE}\s+(?:{_NAME},?\s+){{1,4}}\d{{1,5}}\w?\b", 0),
    ("address", rf"\b[\w-]*{_STREET_WITHIN}\s+\d{{1,4}}\s?\w?\b", 0),
    ("address", rf"\b\d{{4,5}}\s+{_CAPITAL}(?:[ -]{_CAPITAL}){{0,2}}", 0),
    ("address", r"\b[A-Za-z]{1,2}\d[A-Za-z\d]?\s?\d[A-Za-z]{2}\b", 0),
    ("date", r"\b\d{4}-\d{2}-\d{2}\b|\b\d{1,2}[./-]\d{1,2}[./-]\d{2,4}\b", 0),
    ("account", r"\b[A-Za-z]{2}\d{2}(?:\s?[A-Za-z\d]{4}){3,7}(?:\s?[A-Za-z\d]{1,3})?\b", 0),
    ("card", r"\b\d{4}(?:[ -]?\d{4}){2}[ -]?\d{1,7}\b", 0),
    ("phone", r"(?<![\w-])(?:\+|00)\d[\d ()/.-]{5,}\d\b", 0),
    ("phone", r"(?<![\w-])\(?0\d{1,4}\)?[ /.-]\d[\d /.-]{3,}\d\b", 0),
    ("phone", r"(?<![\w-])\(?\d{2,5}\)?[ /.-]\d{2,5}[ /.-](?:\d{2,5}[ /.-]?)*\d{2,}\b", 0),
    ("order_number", r"(?<!\w)#[ ]?\w*\d[\w-]*", 0),
    ("order_number", r"(?<![\w@])[^\W\d_]{0,6}[-_/]?\d[\d-]{3,}[\w-]*", 0),
    ("order_number", r"\b(?=[\w-]*\d)(?=[\w-]*[^\W\d_])[\w-]{6,}\b", 0),
    ("secret", r"\b[A-Za-z0-9_-]{24,}\b", 0),
    ("name", rf"\b(?i:{_NAMED})\s+({_NAME}(?:[ ]{_NAME})?)", 1),
    ("name", rf"\b(?i:{_INTRODUCED})\s+({_CAPITAL}(?:[ ]{_CAPITAL}){{0,2}})", 1),
    ("name", rf"\b(?i:{_TITLES})\.?\s+({_CAPITAL})", 1),
)
KINDS = tuple(dict.fromkeys(kind for kind, _, _ in _PATTERNS))
"""What a part of a text can seem to be."""
_FINDERS = tuple(
    (kind, re.compile(pattern), group)
    for kind, pattern, group in (
        *((kind, f"<{kind}>", 0) for kind in KINDS),  # what masked() has left of one
        *_PATTERNS,
    )
)


@dataclass(frozen=True, slots=True, order=True)
class Span:
    """A part of a text, and what it seems to be."""

    start: int
    end: int
    kind: str

    def overlaps(self, other: "Span") -> bool:
        return self.start < other.end and other.start < self.end


class Personal:
    """Finds what is personal in texts. ``known`` are values that a recording names as such."""

    def __init__(self, known: Iterable[str] = ()) -> None:
        self._known: dict[str, re.Pattern[str]] = {}
        self.learn(known)

    def learn(self, known: Iterable[str]) -> None:
        """More values that are personal wherever they stand."""
        for one in known:
            if len(one) >= SHORTEST_SECRET and one.casefold() not in self._known:
                self._known[one.casefold()] = re.compile(re.escape(one), re.IGNORECASE)

    def learn_from(self, text: str) -> None:
        """Who is named in a text is known from then on, word by word."""
        for span in self.find(text):
            if span.kind == "name":
                whole = text[span.start : span.end]
                self.learn([whole, *(word for word in whole.split() if word[:1].isupper())])

    def find(self, text: str) -> list[Span]:
        """Its parts in order. Of kinds that overlap the one named first above has the place."""
        taken: list[Span] = []
        for kind, pattern, group in _FINDERS:
            for match in pattern.finditer(text):
                span = Span(match.start(group), match.end(group), kind)
                if span.start < span.end and not any(map(span.overlaps, taken)):
                    taken.append(span)
        for pattern in self._known.values():
            for match in pattern.finditer(text):
                taken = _with(taken, Span(match.start(), match.end(), "secret"))
        return sorted(taken)

    def knows(self, text: str) -> bool:
        """Whether a known value stands in it."""
        return any(pattern.search(text) for pattern in self._known.values())

    def replace(
        self, text: str, by: Callable[[str, str], str], rest: Callable[[str], str] = str
    ) -> str:
        """The text with each part replaced by what ``by(kind, part)`` gives, and all between by
        what ``rest`` makes of it."""
        out, at = [], 0
        for span in self.find(text):
            out += [rest(text[at : span.start]), by(span.kind, text[span.start : span.end])]
            at = span.end
        return "".join([*out, rest(text[at:])])

    def masked(self, text: str) -> str:
        """The text with each part replaced by the name of its kind."""
        return self.replace(text, lambda kind, _: f"<{kind}>")


def _with(taken: list[Span], known: Span) -> list[Span]:
    """A known value in full, also where only a part of it was found to be something."""
    around = [span for span in taken if span.overlaps(known)]
    if not around:
        return [*taken, known]
    whole = Span(
        min(known.start, *(span.start for span in around)),
        max(known.end, *(span.end for span in around)),
        around[0].kind,
    )
    return [*(span for span in taken if span not in around), whole]


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


# Keys whose texts are words of the protocol, and say nothing of a person.
WORDS = _words(
    "action type class direction contentType eventType originatingEntity status mediaType idType "
    "readOnly durationSeconds expirationDate formComponentType autoCompleteType keyboardType "
    "dateDisplayFormat reasonCode time timestamp dateTime dateMinimum dateMaximum fileType mime "
    "listType"
)
TIMES = _words("time timestamp dateTime dateMinimum dateMaximum")
IDS = _words(
    "token tracingId id messageId correlationId attachmentId deploymentId originatingMessageId "
    "parentMessageId customMessageId sessionId offeringId cannedResponseId connectionId requestId "
    "rmid externalContactId deviceTokenId"
)
TEXTS = _words(
    "text title subtitle description errorMessage message body payload summaryText buttonText "
    "placeholderText buttonLabel header footer textback submitLabel reason value"
)
SECRETS = _words("jwt code resumeToken refreshToken idToken nonce codeVerifier")
NUMBERS = _words(
    "code errorCode retryAfter durationSeconds expirationDate exp maxFileSizeKB fileSize version "
    "contentSizeBytes maxCustomDataBytes sessionDurationSeconds duration durationMs mode"
)
PEOPLE = _words("nickname firstName lastName email phoneNumber userName")
FILES = _words("fileName filename")
SEALED = frozenset({"customAttributes", "headers"})
"""Objects of which no value stays, whatever its key."""
LONG_ID = 16
"""A shorter id (``yes``, ``option-1``) may be a word that somebody chose."""
CONSTANT_IDS = frozenset({"SGVhbHRoQ2hlY2tNZXNzYWdlSWQ="})
"""The tracingId by which the vendor's SDK marks all its health checks."""
_WORD = re.compile(r"[A-Za-z][A-Za-z_]{0,39}\d{0,3}|[a-z]{1,20}/[a-z0-9.+*-]{1,40}", re.ASCII)
_UUID = re.compile(r"[0-9A-Fa-f]{8}-(?:[0-9A-Fa-f]{4}-){3}[0-9A-Fa-f]{12}|[0-9a-f]{32}")
_TIME = re.compile(r"\d{4}-\d\d-\d\d[T ][\d:.,Z+-]{0,24}|\d{10,13}", re.ASCII)
_COUNT = re.compile(r"\d{1,12}", re.ASCII)
_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,40}")
SUFFIX = re.compile(r"\.[A-Za-z0-9]{1,8}$")
"""The ending of a file's name, which says of what kind the file is."""


def personal_of(recording: Recording) -> Personal:
    """Knows what must not stand in anything made of a recording.

    The tokens of its sessions, and what its frames name as a secret, an id, a person or one of the
    customer's own attributes; and whoever is named in a text. A bot's name is no secret.
    """
    personal = Personal(session.token for session in recording.sessions)
    for frame in recording.frames():
        learn(personal, frame.value)
    return personal


def learn(personal: Personal, value: Any) -> None:
    """What one frame says of secrets and people."""
    personal.learn(set(_secrets(value, "", sealed=False)) - CONSTANT_IDS)
    for one in all_objects(value):
        personal.learn_from(string(one.get("text")))


def _secrets(value: Any, key: str, *, sealed: bool) -> Iterator[str]:
    if isinstance(value, dict):
        by_bot = value.get("originatingEntity") == "Bot"
        for one, inner in value.items():
            if not (by_bot and one == "channel"):
                yield from _secrets(inner, str(one), sealed=sealed or one in SEALED)
    elif isinstance(value, list):
        for inner in value:
            yield from _secrets(inner, key, sealed=sealed)
    elif isinstance(value, str):
        # An id in the usual form is found wherever it stands: thousands need not be remembered.
        odd_id = key in IDS and len(value) >= LONG_ID and not _UUID.fullmatch(value)
        if sealed or odd_id or key in SECRETS | FILES or key == "token":
            yield value
        elif key in PEOPLE:
            yield from (value, *value.split())


class Redactor:
    """Takes out of the frames of one recording what must not be passed on.

    ``key`` makes the ids that stand for others; with ``texts`` False no text stays at all.
    """

    def __init__(self, personal: Personal, *, key: bytes, texts: bool = True) -> None:
        self._personal = personal
        self._key = key
        self._texts = texts
        self._files: dict[str, str] = {}
        """what stands for each name of a file, also where it is said as a text"""

    def frame(self, data: str) -> str:
        """One message; what is not JSON becomes a text that is not JSON either."""
        value, problem = parsed(data)
        if problem:
            return f"<no JSON, {len(data):,} characters>"
        return json.dumps(self.value(value), ensure_ascii=False, separators=(",", ":"))

    def value(self, value: Any, key: str = "", within: str = "") -> Any:
        """Any part of a frame, which stood under ``key`` in the object ``within``."""
        if isinstance(value, dict):
            around = within if within in SEALED else key
            return {self.key(one): self.value(inner, one, around) for one, inner in value.items()}
        if isinstance(value, list):
            return [self.value(inner, key, within) for inner in value]
        if isinstance(value, str):
            return self._string(value, key, within)
        if isinstance(value, bool) or value is None or key in NUMBERS:
            return value
        return type(value)()

    def knows(self, word: str) -> bool:
        """Whether the recording names it as somebody's, and it is no word of the protocol."""
        return word not in WORDS | IDS | TEXTS and self._personal.knows(word)

    def key(self, key: str) -> str:
        """A key; one that is no name, or has somebody's data in it, becomes its length."""
        plain = _KEY.fullmatch(key) is not None and not self._personal.find(key)
        return key if plain or key in WORDS | IDS | TEXTS else f"<key of {len(key)}>"

    def _string(self, value: str, key: str, within: str) -> str:
        if within in SEALED or not value:
            return _length(value)
        if key in IDS:
            return self.pseudonym(value)
        if key in WORDS and _is_word(key, value) and not self._personal.knows(value):
            return value
        if key in FILES:
            suffix = SUFFIX.search(value)
            return self._files.setdefault(value, f"file{suffix[0] if suffix else ''}")
        if key in PEOPLE:
            return "Somebody"
        if key.lower().endswith(("url", "image", "video")):
            return "https://example.com/"
        if key in TEXTS and self._texts and key not in SECRETS:
            return self._files.get(value) or self._personal.masked(value)
        return _length(value)

    def pseudonym(self, value: str) -> str:
        """Another id of the same form: digits and letters become others of their kind."""
        if value in CONSTANT_IDS or not value:
            return value
        seed = hmac.new(self._key, value.encode("utf-8", "surrogatepass"), hashlib.sha256)
        drawn = hashlib.shake_128(seed.digest()).digest(len(value))
        hexadecimal = re.fullmatch(r"[0-9a-f-]+", value) is not None
        return "".join(
            _another(char, number, hexadecimal=hexadecimal)
            for char, number in zip(value, drawn, strict=True)
        )


def _is_word(key: str, value: str) -> bool:
    if key in NUMBERS:
        return _COUNT.fullmatch(value) is not None
    return (_TIME if key in TIMES else _WORD).fullmatch(value) is not None


def _another(char: str, number: int, *, hexadecimal: bool) -> str:
    if hexadecimal and char != "-":
        return "0123456789abcdef"[number % 16]
    if char.isdigit():
        return str(number % 10)
    if char.isalpha():
        letter = chr(ord("a") + number % 26)
        return letter.upper() if char.isupper() else letter
    return char if char in "-_.=+/:" else "-"


def _length(value: str) -> str:
    return f"<text of {len(value)}>" if value else ""
