"""JSON and TOML that somebody else wrote: what has another form than expected is not there."""

import json
import tomllib
from collections.abc import Iterator
from typing import Any


def parse_toml(text: str) -> dict[str, Any]:
    """The tables of a TOML text. Raises ValueError for whatever can't be read."""
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        raise
    except RecursionError:
        raise ValueError("nested too deeply") from None
    except ValueError:
        raise ValueError("a number is too long") from None


def parse_json(text: str | bytes) -> Any:
    """The value of a JSON text. Raises ValueError, also for one that is nested too deeply."""
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def inner(value: Any, *path: str) -> Any:
    """What stands under these keys, one within the other; None where one leads nowhere."""
    for key in path:
        value = value.get(key) if isinstance(value, dict) else None
    return value


def an_object(value: Any) -> dict[str, Any]:
    """An object; an empty one in the place of anything else."""
    return value if isinstance(value, dict) else {}


def objects(value: Any) -> list[dict[str, Any]]:
    """The objects of a list; none of anything else."""
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []


def all_objects(value: Any) -> Iterator[dict[str, Any]]:
    """All objects in a value, whatever they are in, each before those in it."""
    pending = [value]
    while pending:
        one = pending.pop()
        if isinstance(one, dict):
            yield one
            one = list(one.values())
        if isinstance(one, list):
            pending += reversed(one)


def is_deep(value: Any, levels: int) -> bool:
    """Whether more than so many lists and objects stand within each other."""
    layer = [value]
    for _ in range(levels + 1):
        layer = [one for one in layer if isinstance(one, dict | list) and one]
        if not layer:
            return False
        layer = [part for one in layer for part in (one.values() if isinstance(one, dict) else one)]
    return True


def text(value: Any) -> str:
    """A text; an empty one in the place of anything else."""
    return value if isinstance(value, str) else ""
