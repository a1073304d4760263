"""Folders that are computed once, for all tests of a process that want one like it."""

from collections.abc import Callable
from functools import cache, wraps
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any


def made_once(make: Callable[..., object]) -> Callable[..., Path]:
    """Let ``make(directory, **how)`` write each of its folders once; each test has a copy.

    ``make`` names no directory in what it writes, and may depend on nothing but ``how``.
    """

    @cache
    def files(**how: Any) -> dict[str, bytes]:
        with TemporaryDirectory(prefix="harness-tests-") as folder:
            make(Path(folder), **how)
            return {path.name: path.read_bytes() for path in Path(folder).iterdir()}

    @wraps(make)
    def put(directory: Path, **how: Any) -> Path:
        directory.mkdir(parents=True, exist_ok=True)
        for name, data in files(**how).items():
            (directory / name).write_bytes(data)
        return directory

    return put
