"""Where commands print: nothing that becomes of the output reaches what a command is doing.

A pipe whose reader has gone, a full disk, a terminal that can't show a letter: each of them would
be raised by ``print`` in the middle of whatever prints, which may be a session on its way out.
"""

import codecs
import contextlib
import errno
import io
import json
import os
import queue
import re
import select
import sys
import threading
from collections.abc import Callable
from types import MappingProxyType
from typing import IO, TYPE_CHECKING, Any, TextIO, cast

import orjson

from harness.clock import utc_iso, wall_ns
from harness.errors import safe_line

if TYPE_CHECKING:  # processes that run guests print without it
    from rich.console import Console
    from rich.status import Status
    from rich.table import Table

WAIT_S = 5.0
"""A reader that takes nothing for so long has gone, where the output does not block."""
READER_GONE = (errno.EPIPE, errno.EIO)
"""Of a pipe, of a terminal."""
LINES_KEPT = 10_000
"""Lines that may wait for a reader who takes none; what comes after them is left out."""


_SIGNS = {
    **{"->": "→", "<-": "←", "...": "…", "-": "·—─━\u2010\u2011\u2012\u2013\u2212", "|": "│┃▌"},
    **{"+": "┌┐└┘├┤┬┴┼", "*": "•", "v": "▼", "^": "▲", ">": "►", "<": "◄", "<<": "«", ">>": "»"},
    **{">=": "≥", "<=": "≤", "!=": "≠", "~": "≈", "+/-": "±", "x": "\u00d7", "inf": "∞"},
    **{"^2": "²", "^3": "³", "u": "µ\u03bc", " ": "\u00a0\u2009\u202f"},
    "'": "“”„\u2018\u2019",  # no quotation mark: the text may be one of JSON
}
PLAIN = MappingProxyType({ord(sign): plain for plain, signs in _SIGNS.items() for sign in signs})
"""Signs → what stands for them where the output has no such sign."""


def _in_plain_signs(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return _in_numbers(error.object[error.start : error.end].translate(PLAIN)), error.end


def _in_numbers(text: str) -> str:
    """Other letters than those of ASCII as their numbers, as JSON writes them."""
    return "".join(one if one.isascii() else json.dumps(one)[1:-1] for one in text)


def plain_signs() -> str:
    """The name by which Python's encoders know :data:`PLAIN`."""
    codecs.register_error("harness.plain_signs", _in_plain_signs)
    return "harness.plain_signs"


def as_shown(text: str) -> str:
    """What standard output shows of it: what is laid out has its width."""
    encoding = sys.stdout.encoding or "utf-8"
    return text.encode(encoding, plain_signs()).decode(encoding)


class _Lasting(io.FileIO):
    """A descriptor that takes what is written, whether or not it gets anywhere."""

    def __init__(self, number: int) -> None:
        super().__init__(number, "w", closefd=False)
        self.failure: OSError | None = None

    def write(self, data: bytes | memoryview) -> int:  # type: ignore[override]
        """All of it; what could not be written is lost, and :attr:`failure` says why."""
        rest = memoryview(data).cast("B")
        size = len(rest)
        while rest and self.failure is None:
            try:
                rest = rest[super().write(rest) or self._waited() :]
            except OSError as error:
                self.failure = error
        return size

    def _waited(self) -> int:
        if not select.select([], [self.fileno()], [], WAIT_S)[1]:
            raise TimeoutError(errno.ETIMEDOUT, "nobody reads it")
        return 0


def outlast_readers() -> None:
    """Let this process's standard output and error take everything, for good.

    Signs that the output's encoding does not have are shown by plain ones (:data:`PLAIN`).
    """
    for number in (0, 1, 2):  # one that is closed would become the next file that is opened
        try:
            os.fstat(number)
        except OSError:
            _lead_nowhere(number)
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:  # closed by whoever started us
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115 - for as long as we run
        elif type(stream) is io.TextIOWrapper:
            with contextlib.suppress(OSError):
                stream.flush()
            setattr(sys, name, _lasting(stream))


def lost_output() -> str:
    """Why standard output has not taken everything; empty if it has, or if its reader has gone."""
    stream = sys.stdout
    with contextlib.suppress(OSError, ValueError, AttributeError):
        stream.flush()
    raw = getattr(getattr(stream, "buffer", None), "raw", None)
    failure = raw.failure if isinstance(raw, _Lasting) else None
    if failure is None or failure.errno in READER_GONE:
        return ""
    return failure.strerror or str(failure)


def _lead_nowhere(number: int) -> None:
    nowhere = os.open(os.devnull, os.O_RDWR)
    if nowhere != number:
        os.dup2(nowhere, number)
        os.close(nowhere)


def _lasting(stream: io.TextIOWrapper) -> TextIO:
    return io.TextIOWrapper(
        io.BufferedWriter(cast("io.FileIO", _Lasting(stream.fileno()))),
        encoding=stream.encoding,
        errors=plain_signs(),
        line_buffering=stream.line_buffering,
        write_through=stream.write_through,
    )


class Printer:
    """Prints lines by a thread of its own: who has them printed never waits for a slow reader."""

    def __init__(self) -> None:
        self._lines: queue.Queue[str | None] = queue.Queue(LINES_KEPT)
        self._left_out = 0
        stream = sys.stdout
        stream.flush()
        raw = getattr(getattr(stream, "buffer", None), "raw", None)
        # Not by the stream itself: Python waits for its lock when the process ends.
        encoding = self._encoding = stream.encoding or "utf-8"
        self._write: Callable[[bytes], object] = (
            raw.write if raw is not None else lambda data: stream.write(data.decode(encoding))
        )
        self._plainly = plain_signs()
        self._thread = threading.Thread(target=self._print_forever, daemon=True)
        self._thread.start()

    def line(self, text: str) -> None:
        """Have it printed, or leave it out when too many wait."""
        try:
            self._lines.put_nowait(text)
        except queue.Full:
            self._left_out += 1

    def close(self, *, within_s: float = 2.0) -> None:
        """Print what waits, for so long at most."""
        if self._left_out:
            self.line(f"({self._left_out:,} lines were left out: nobody took them)")
        with contextlib.suppress(queue.Full):
            self._lines.put_nowait(None)
            self._thread.join(within_s)

    def _print_forever(self) -> None:
        while (text := self._lines.get()) is not None:
            with contextlib.suppress(OSError):  # where the stream is not one that takes everything
                self._write(f"{text}\n".encode(self._encoding, self._plainly))


def json_line(*, at_ns: int, level: str, logger: str, names: tuple[str, str], message: str) -> str:
    """One line of a log as JSON: ``names`` are run and node; the time is UTC.

    Tokens and other secrets are taken out.
    """
    run, node = names
    line = {
        "time": utc_iso(at_ns),
        "level": level,
        "logger": logger,
        "run": run,
        "node": node,
        "message": safe_line(message),
    }
    return orjson.dumps(line).decode()


def plain_line(line: str) -> str:
    """What a line of a log says, whether it is JSON or not."""
    if not line.startswith('{"time":'):
        return line
    try:
        return str(orjson.loads(line)["message"])
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return line


class _Wrapper(io.TextIOBase):
    """Changes what is written before the stream behind it has it."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream

    @property
    def encoding(self) -> str:  # type: ignore[override]
        """That of the stream behind it."""
        return self.stream.encoding or "utf-8"

    def flush(self) -> None:
        """Of the stream behind it, too, unless that has been closed: Python 3.13 and newer tell of
        a wrapper that fails to flush as it is collected."""
        if not self.stream.closed:
            self.stream.flush()


class JsonLines(_Wrapper):
    """Makes one JSON object of each line that is printed; blank lines are left out."""

    LEVELS = MappingProxyType({"error:": "ERROR", "warning:": "WARNING"})

    def __init__(self, stream: TextIO, logger: str) -> None:
        super().__init__(stream)
        self.names: Callable[[], tuple[str, str]] = lambda: ("", "")
        """run and node"""
        self._logger = logger
        self._begun = ""

    @property
    def buffer(self) -> Any:
        """That of the stream behind it, which knows what was lost."""
        return self.stream.buffer

    def fileno(self) -> int:
        """That of the stream behind it."""
        return self.stream.fileno()

    def writable(self) -> bool:
        """It is."""
        return True

    def write(self, text: str) -> int:
        """Whole lines at once; the rest waits for its end."""
        *lines, self._begun = (self._begun + text).split("\n")
        objects = [
            json_line(
                at_ns=wall_ns(),
                level=self.LEVELS.get(line.split(" ", 1)[0], "INFO"),
                logger=self._logger,
                names=self.names(),
                message=line.rstrip(),
            )
            for line in lines
            if line.strip()
        ]
        if objects:
            self.stream.write("".join(f"{line}\n" for line in objects))
            self.stream.flush()
        return len(text)


def print_json(logger: str) -> None:
    """From now on what this process prints is JSON, a line an object."""
    outlast_readers()
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if not isinstance(stream, JsonLines):
            setattr(sys, name, JsonLines(stream, logger))


def name_in_lines(names: Callable[[], tuple[str, str]]) -> bool:
    """Say which run and node the lines of this process are from; False where they are no JSON."""
    streams = [stream for stream in (sys.stdout, sys.stderr) if isinstance(stream, JsonLines)]
    for stream in streams:
        stream.names = names
    return bool(streams)


_BLANKS = re.compile(r"[ \t]+(?=\n)")


def open_console(*, stderr: bool = False) -> "Console":
    """A console on standard output, or on standard error.

    Without markup: a bracket in the words of others would be read as a style, or as a broken one.
    Lines are never broken here: a terminal does that, and a log must not have it done.
    """
    from rich.console import Console

    stream = sys.stderr if stderr else sys.stdout
    plain: dict[str, Any] = {
        "markup": False, "emoji": False, "highlight": False, "soft_wrap": True,
    }  # fmt: skip
    if stream is None or stream.isatty():
        return Console(stderr=stderr, **plain)
    return Console(file=cast("IO[str]", _Trimmed(stream)), **plain)


TELL_AFTER_S = 2.0
"""What takes no longer than this says nothing of how far it is."""
TELL_EVERY_S = 5.0
"""Between two lines of progress where no line can be drawn again."""


class HowFar:
    """Says how far something has come that takes longer than a moment, until its ``with`` ends.

    On a terminal that is one line, which is drawn again; elsewhere a new one now and then.
    """

    def __init__(self, console: "Console", text: str) -> None:
        self._console = console
        self._text, self._shown = text, ""
        self._over = threading.Event()
        self._status: Status | None = None
        self._thread = threading.Thread(target=self._follow, daemon=True)

    def __enter__(self) -> "HowFar":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()
        if self._status is not None:
            self._status.stop()

    def tell(self, text: str) -> None:
        """What is being done now, and how far it is. It costs nothing."""
        self._text = text

    def _follow(self) -> None:
        """By its own clock: what takes so long may be one call that says nothing."""
        wait_s = TELL_AFTER_S
        while not self._over.wait(wait_s):
            text = self._text
            if not self._console.is_terminal:
                wait_s = TELL_EVERY_S
                if text != self._shown:
                    self._console.print(text)
            elif self._status is None:
                wait_s = 0.2
                self._status = self._console.status(text)
                self._status.start()
            else:
                self._status.update(text)
            self._shown = text


def show_json(value: object) -> None:
    """One JSON object on standard output, in a form that people can read."""
    print_json_text(orjson.dumps(value, option=orjson.OPT_INDENT_2).decode())


def print_json_text(text: str) -> None:
    """JSON on standard output: it says the same in every encoding."""
    try:
        text.encode(sys.stdout.encoding or "utf-8")
    except UnicodeEncodeError:
        text = _in_numbers(text)
    print(text)


def plain_table(*columns: str, left: bool = False) -> "Table":
    """A table without lines. Columns stand at the right but the first, or all at the ``left``.

    Where the terminal is too narrow for its longest words it breaks the lines of the table: cut
    short they would be the names of nothing.
    """
    from rich.console import Console, ConsoleOptions, RenderResult
    from rich.measure import Measurement
    from rich.table import Table

    class Whole(Table):
        def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
            for column in self.columns:
                cells = (column.header, *column.cells)
                words = (Measurement.get(console, options, cell).minimum for cell in cells)
                column.min_width = max(column.min_width or 0, *words)
            return super().__rich_console__(console, options)

    table = Whole(
        box=None,
        pad_edge=False,
        padding=(0, 2, 0, 0),
        header_style="dim",
        show_header=bool(columns),
    )
    for place, name in enumerate(columns):
        table.add_column(name, justify="right" if place and not left else "left")
    return table


class _Trimmed(_Wrapper):
    """Tables are padded to their width, which a log does not need."""

    def write(self, text: str) -> int:
        """Rich writes whole lines."""
        return self.stream.write(_BLANKS.sub("", text))
