"""What in a text is a person's or a secret, as far as a machine can tell: found, named, replaced.

Words alone do not tell a name from any other word, so names are found only where the text or the
recording says that they are one. Who passes a recording on should read it.
"""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass

SHORTEST_SECRET = 4
"""A known value shorter than this (``1``, ``en``) stands in texts by chance."""

KINDS = (
    "email",
    "url",
    "id",
    "address",
    "date",
    "phone",
    "account",
    "card",
    "order_number",
    "name",
    "secret",
)
"""What a part of a text can seem to be."""

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
_KINDS: tuple[tuple[str, re.Pattern[str], int], ...] = tuple(
    (name, re.compile(pattern), group)
    for name, pattern, group in (
        *((kind, f"<{kind}>", 0) for kind in KINDS),  # what masked() has left of one
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
)


@dataclass(frozen=True, slots=True, order=True)
class Span:
    """A part of a text, and what it seems to be."""

    start: int
    end: int
    kind: str

    def overlaps(self, other: "Span") -> bool:
        """Whether they share a character."""
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
        for kind, pattern, group in _KINDS:
            for found in pattern.finditer(text):
                span = Span(found.start(group), found.end(group), kind)
                if span.start < span.end and not any(map(span.overlaps, taken)):
                    taken.append(span)
        for pattern in self._known.values():
            for found in pattern.finditer(text):
                taken = _with(taken, Span(found.start(), found.end(), "secret"))
        return sorted(taken)

    def knows(self, text: str) -> bool:
        """Whether a known value stands in it."""
        return any(pattern.search(text) for pattern in self._known.values())

    def replace(self, text: str, by: Callable[[str, str], str]) -> str:
        """The text with each part replaced by what ``by(kind, part)`` gives."""
        out, at = [], 0
        for span in self.find(text):
            out += [text[at : span.start], by(span.kind, text[span.start : span.end])]
            at = span.end
        return "".join([*out, text[at:]])

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
