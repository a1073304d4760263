"""Files, JSON and TOML that somebody else wrote; in JSON, what has another form is not there."""

import json
import os
import re
import select
import stat
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from harness.errors import ConfigError

TOO_DEEP = "nested too deeply"
TOO_LONG = "a number is too long"

PIPE_WITHIN_S = 10.0
"""How long whoever writes into a pipe may take until the next bytes come."""
MOST_PIPE_BYTES = 1 << 28

_AT_LINE = re.compile(r" \(at (?:line (\d+), column \d+|end of document)\)$")


def check_file(file: Path, missing: str, *, what: str = "a file") -> None:
    """Raises ConfigError where a file can't be read again and again, as a run's processes do:
    a folder, a pipe, a device. ``missing``: what it says where there is nothing.
    """
    try:
        mode = file.stat().st_mode
    except FileNotFoundError:
        raise ConfigError(missing) from None
    except OSError as error:
        raise ConfigError(f"{file}: {error.strerror or error}") from None
    if stat.S_ISDIR(mode):
        raise ConfigError(f"{file} is a folder; expected {what}")
    if not stat.S_ISREG(mode):
        raise ConfigError(f"{file} is not a regular file: {what} is read more than once")


def read_bytes(file: Path) -> bytes:
    """What is in a file, or comes out of a pipe. Raises OSError, and ConfigError for a device, or
    a pipe into which nobody writes (any more).
    """
    mode = file.stat().st_mode
    if stat.S_ISFIFO(mode):
        return _read_pipe(file)
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode) or str(file) == os.devnull):
        raise ConfigError(f"{file}: not a regular file")
    return file.read_bytes()


def _read_pipe(file: Path) -> bytes:
    """All of it. A pipe without a writer would be waited for without end where it is opened so."""
    content = bytearray()
    handle = os.open(file, os.O_RDONLY | os.O_NONBLOCK)
    try:
        while select.select([handle], [], [], PIPE_WITHIN_S)[0]:
            part = os.read(handle, 1 << 20)
            if not part and not content:
                raise ConfigError(f"{file}: a pipe, and nothing is written into it")
            if not part:
                return bytes(content)
            content += part
            if len(content) > MOST_PIPE_BYTES:
                raise ConfigError(f"{file}: more than {MOST_PIPE_BYTES:,} bytes come from the pipe")
    finally:
        os.close(handle)
    raise ConfigError(f"{file}: a pipe, and nothing has come from it for {PIPE_WITHIN_S:.0f} s")


def read_text(file: Path, *, missing: str = "") -> str:
    """A file's text, without a byte order mark. ConfigError names file and line.

    ``missing`` is what it says where there is no such file.
    """
    try:
        data = read_bytes(file)
    except OSError as error:
        absent = missing and isinstance(error, FileNotFoundError)
        raise ConfigError(missing if absent else f"{file}: {error.strerror or error}") from None
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ConfigError(
            f"{file}, line {line}: not UTF-8 text (byte {error.start}); save the file as UTF-8"
        ) from None


def parse_toml(text: str, *, name: str) -> dict[str, Any]:
    """The tables of a TOML text. ConfigError names the text, and its line where that is known."""
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        message = str(error)
        at = _AT_LINE.search(message)
        line = at[1] if at and at[1] else len(text.splitlines())
        why = f"{name}, line {line}: not TOML: {_AT_LINE.sub('', message)}"
    except RecursionError:
        why = f"{name}: not TOML: {TOO_DEEP}"
    except ValueError:
        why = f"{name}: not TOML: {TOO_LONG}"
    raise ConfigError(why)


def read_toml(file: Path, *, missing: str = "") -> dict[str, Any]:
    """The tables of a TOML file. ConfigError as of :func:`read_text` and :func:`parse_toml`."""
    return parse_toml(read_text(file, missing=missing), name=str(file))


def parse_json(text: str | bytes) -> Any:
    """The value of a JSON text. Raises ValueError for whatever can't be read."""
    try:
        return json.loads(text)
    except (json.JSONDecodeError, UnicodeDecodeError):
        raise
    except RecursionError:
        raise ValueError(TOO_DEEP) from None
    except ValueError:
        raise ValueError(TOO_LONG) from None


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
