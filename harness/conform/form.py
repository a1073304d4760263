"""What a JSON value may look like, and what of a value does not."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

Path = tuple[str, ...]


class Odd(NamedTuple):
    """Something that is not known: where, what kind of thing, and what was there.

    ``there`` names types and words of a protocol, never a text of somebody's.
    """

    path: Path
    kind: str
    there: str


WORD = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,39}")
UNKNOWN_FIELD, WRONG_TYPE, UNKNOWN_VALUE = "unknown field", "another type", "unknown value"


@dataclass(frozen=True, slots=True)
class Text:
    """A string; with ``words`` one of them, with ``form`` one that looks like that."""

    words: frozenset[str] = frozenset()
    form: re.Pattern[str] | None = None
    named: str = "a text"

    def check(self, value: Any, path: Path) -> Iterator[Odd]:
        """What is odd about a value."""
        if not isinstance(value, str):
            yield Odd(path, WRONG_TYPE, f"{kind_of(value)} in place of {self.named}")
        elif self.words and value not in self.words:
            yield Odd(path, UNKNOWN_VALUE, shown(value))
        elif self.form is not None and not self.form.fullmatch(value):
            yield Odd(path, UNKNOWN_VALUE, f"{self.named} in another form: {outline(value)}")


@dataclass(frozen=True, slots=True)
class Number:
    """A number; with ``whole`` one without a fraction."""

    whole: bool = False

    def check(self, value: Any, path: Path) -> Iterator[Odd]:
        """What is odd about a value."""
        if isinstance(value, bool) or not isinstance(value, int | float):
            yield Odd(path, WRONG_TYPE, f"{kind_of(value)} in place of a number")
        elif self.whole and value != int(value):
            yield Odd(path, WRONG_TYPE, "a fraction in place of a whole number")


@dataclass(frozen=True, slots=True)
class Truth:
    """``true`` or ``false``."""

    def check(self, value: Any, path: Path) -> Iterator[Odd]:
        """What is odd about a value."""
        if not isinstance(value, bool):
            yield Odd(path, WRONG_TYPE, f"{kind_of(value)} in place of true or false")


@dataclass(frozen=True, slots=True)
class Anything:
    """What nobody looks at."""

    def check(self, value: Any, path: Path) -> Iterator[Odd]:
        """Nothing is odd about it."""
        del value, path
        return iter(())


@dataclass(frozen=True, slots=True)
class ListOf:
    """A list of one kind."""

    item: "Form"

    def check(self, value: Any, path: Path) -> Iterator[Odd]:
        """What is odd about it, once for all its items."""
        if not isinstance(value, list):
            yield Odd(path, WRONG_TYPE, f"{kind_of(value)} in place of a list")
            return
        for item in value:
            yield from self.item.check(item, (*path[:-1], f"{path[-1]}[]"))


@dataclass(frozen=True, slots=True)
class MapOf:
    """An object whose keys are anybody's and whose values are of one kind."""

    item: "Form"

    def check(self, value: Any, path: Path) -> Iterator[Odd]:
        """What is odd about its values; keys are not shown, they may be somebody's."""
        if not isinstance(value, dict):
            yield Odd(path, WRONG_TYPE, f"{kind_of(value)} in place of an object")
            return
        for item in value.values():
            yield from self.item.check(item, (*path, "*"))


@dataclass(frozen=True, slots=True)
class Object:
    """An object with known keys; null stands for a key that is missing."""

    fields: Mapping[str, "Form"]
    needed: tuple[str, ...] = ()

    def check(self, value: Any, path: Path) -> Iterator[Odd]:
        """What is odd about it and within it."""
        if not isinstance(value, dict):
            yield Odd(path, WRONG_TYPE, f"{kind_of(value)} in place of an object")
            return
        for key, inner in value.items():
            form = self.fields.get(key)
            if form is None:
                yield Odd((*path, shown(key)), UNKNOWN_FIELD, kind_of(inner))
            elif inner is not None:
                yield from form.check(inner, (*path, key))
        for key in self.needed:
            if value.get(key) is None:
                yield Odd((*path, key), "missing field", "nothing")


Form = Text | Number | Truth | Anything | ListOf | MapOf | Object


def kind_of(value: Any) -> str:
    """The type of a JSON value in words."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true or false"
    if isinstance(value, dict):
        return "an object"
    if isinstance(value, list):
        return "a list"
    return "a text" if isinstance(value, str) else "a number"


def shown(value: str) -> str:
    """A word of a protocol as it is; of anything else the length."""
    return value if WORD.fullmatch(value) else f"<text of {len(value)}>"


def outline(value: str) -> str:
    """The form of a short text: digits as 9, letters as x, the rest as it is."""
    if len(value) > 48:
        return f"<text of {len(value)}>"
    return re.sub(r"[^\W\d_]", "x", re.sub(r"\d", "9", value))
