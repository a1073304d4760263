"""Where commands print: as on any terminal; into files and pipes without blanks at line ends."""

import io
import re
import sys
from typing import IO, TextIO, cast

from rich.console import Console

_BLANKS = re.compile(r"[ \t]+(?=\n)")


def open_console(*, stderr: bool = False) -> Console:
    """A console on standard output, or on standard error.

    Without markup: a bracket in the words of others would be read as a style, or as a broken one.
    """
    stream = sys.stderr if stderr else sys.stdout
    if stream is None or stream.isatty():
        return Console(stderr=stderr, markup=False, emoji=False)
    return Console(file=cast("IO[str]", _Trimmed(stream)), markup=False, emoji=False)


class _Trimmed(io.TextIOBase):
    """Tables are padded to their width, which a log does not need."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    @property
    def encoding(self) -> str:  # type: ignore[override]
        """That of the stream behind it."""
        return self._stream.encoding or "utf-8"

    def write(self, text: str) -> int:
        """Rich writes whole lines."""
        return self._stream.write(_BLANKS.sub("", text))

    def flush(self) -> None:
        """Of the stream behind it, too."""
        self._stream.flush()
