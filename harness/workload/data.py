"""Rows of a CSV file for guests: account numbers, names, questions.

Which row a guest gets is a pure function of the guest's number, so n workers, each with its own
stride of numbers, share the rows fairly and without asking one another::

    sequential   row after row, from the start again at the end
    random       any row, the same for the same seed and guest
    unique       each row once; a guest beyond the last row is refused

The file is UTF-8 with a header line; column names are letters, digits and underscores.

What guests say: built-in sets by size and language (``texts.toml``), and texts from a file,
one a line::

    short     a few words, as most messages of a chat are
    medium    a few sentences
    long      a long complaint, around a thousand characters
    limit     as long as the service takes: 4096 bytes
"""

import csv
import errno
import io
import os
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from pathlib import Path
from random import Random
from types import MappingProxyType

from harness.errors import ConfigError
from harness.foreign import check_file, read_text
from harness.limits import MAX_TEXT_BYTES


def csv_rows(text: str, *, name: str) -> Iterator[tuple[int, list[str]]]:
    """(line, cells) of a CSV text, without blank lines. ConfigError says what is no CSV."""
    reader = csv.reader(io.StringIO(text), strict=True)
    try:
        for cells in reader:
            if any(cell.strip() for cell in cells):
                yield reader.line_num, cells
    except csv.Error as error:
        raise ConfigError(f"{name}, line {reader.line_num}: not readable as CSV: {error}") from None


Row = Mapping[str, str]
NO_ROW: Row = MappingProxyType({})
"""For scripts without data."""

_COLUMN = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


class Mode(StrEnum):
    """How rows are given out."""

    SEQUENTIAL = "sequential"
    RANDOM = "random"
    UNIQUE = "unique"


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A file's rows. ``name`` is what errors call it."""

    name: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    def row(self, index: int) -> Row:
        return MappingProxyType(dict(zip(self.columns, self.rows[index], strict=True)))

    def sizes(self, column: str) -> tuple[int, int]:
        """UTF-8 bytes of the shortest and of the longest value of a column."""
        at = self.columns.index(column)
        sizes = [len(row[at].encode()) for row in self.rows]
        return min(sizes), max(sizes)


@dataclass(frozen=True, slots=True, kw_only=True)
class Feeder:
    table: Table
    mode: Mode = Mode.SEQUENTIAL
    seed: int = 0

    def row_for(self, guest: int) -> Row:
        """The row of guest number ``guest``, counted from 0 over all workers."""
        many = len(self.table.rows)
        if guest < 0:
            raise ConfigError(f"{self.table.name}: there is no guest number {guest}")
        match self.mode:
            case Mode.SEQUENTIAL:
                return self.table.row(guest % many)
            case Mode.RANDOM:
                return self.table.row(Random(f"{self.seed} row {guest}").randrange(many))
            case Mode.UNIQUE:
                self.check_enough(guest + 1)
                return self.table.row(guest)

    def rows_of(self, worker: int, workers: int) -> Iterator[Row]:
        """The rows of one of n workers, guest after guest; ends only where rows are unique."""
        if not 0 <= worker < workers:
            raise ConfigError(f"worker {worker} of {workers}: expected a number below {workers}")
        guest = worker
        while self.mode is not Mode.UNIQUE or guest < len(self.table.rows):
            yield self.row_for(guest)
            guest += workers

    def check_enough(self, guests: int) -> None:
        """ConfigError when rows are unique and there are fewer of them than guests."""
        many = len(self.table.rows)
        if self.mode is Mode.UNIQUE and guests > many:
            raise ConfigError(
                f"{self.table.name}: {guests:,} guests need a row of their own and there are "
                f"{many:,}; add rows, or use the mode sequential or random"
            )


def read_table(path: Path) -> Table:
    """The rows of a file. ConfigError names file and line."""
    return parse_table(_text_of(path), name=str(path))


def parse_table(text: str, *, name: str) -> Table:
    """The rows of a CSV text; blank lines are skipped. At least one row is needed."""
    columns: tuple[str, ...] = ()
    rows = []
    for line, cells in csv_rows(text, name=name):
        if not columns:
            columns = _columns(cells, f"{name}, line {line}")
        elif len(cells) != len(columns):
            raise ConfigError(
                f"{name}, line {line}: expected {len(columns)} values, got {len(cells)}"
            )
        else:
            rows.append(tuple(cells))
    if not columns:
        raise ConfigError(f"{name}: empty; expected a header line and rows")
    if not rows:
        raise ConfigError(f"{name}: no row below the header line")
    return Table(name=name, columns=columns, rows=tuple(rows))


def _columns(cells: Sequence[str], place: str) -> tuple[str, ...]:
    columns = tuple(cell.strip() for cell in cells)
    for column in columns:
        if not _COLUMN.fullmatch(column):
            raise ConfigError(
                f"{place}: {column!r} is no column name; expected letters, digits, underscores"
            )
        if columns.count(column) > 1:
            raise ConfigError(f"{place}: column {column!r} is there twice")
    return columns


class Size(StrEnum):
    """How long the texts of a set are."""

    SHORT = "short"
    MEDIUM = "medium"
    LONG = "long"
    LIMIT = "limit"


def texts(size: str = "short", *, language: str = "en", file: str | Path = "") -> tuple[str, ...]:
    """A set of texts to say: ``choice(texts("medium", language="de"))``, with Python's ``choice``.

    Sizes are ``short``, ``medium``, ``long`` and ``limit`` (4096 bytes, as many as the service
    takes); languages are ``en``, ``de``, ``fr``, ``es``, ``it``, ``pt`` and ``ja``. With ``file``
    they are the lines of a UTF-8 file: ``texts(file="own.txt")``. Raises ConfigError for a size or
    a language that there is not, and for a file that can't be used.
    """
    if file:
        return read_texts(Path(file))
    if size not in list(Size):
        raise ConfigError(f"texts(): size: expected one of {', '.join(Size)}, got {size!r}")
    known = _built_in()
    if language not in known:
        raise ConfigError(
            f"texts(): language: expected one of {', '.join(known)}, got {language!r}"
        )
    sets = known[language]
    if size in (Size.SHORT, Size.MEDIUM):
        return sets[size]
    return _joined(sets["medium"], to_the_limit=size == Size.LIMIT, language=language)


def _text_of(file: Path) -> str:
    """Each process of a run reads it. Raises ConfigError."""
    check_file(file, f"{file}: {os.strerror(errno.ENOENT)}")
    return read_text(file)


def languages() -> tuple[str, ...]:
    return tuple(_built_in())


def read_texts(file: Path) -> tuple[str, ...]:
    """One text a line; blank lines are skipped. ConfigError names file and line."""
    lines = _text_of(file).splitlines()
    for number, line in enumerate(lines, 1):
        size = len(line.strip().encode())
        if size > MAX_TEXT_BYTES:
            raise ConfigError(
                f"{file}, line {number}: {size} bytes; the service takes {MAX_TEXT_BYTES}"
            )
    nonblank = tuple(line.strip() for line in lines if line.strip())
    if not nonblank:
        raise ConfigError(f"{file}: empty; expected texts, one a line")
    return nonblank


@cache
def _built_in() -> dict[str, dict[str, tuple[str, ...]]]:
    data = tomllib.loads(Path(__file__).with_name("texts.toml").read_text(encoding="utf-8"))
    return {
        language: {size: tuple(entries) for size, entries in sets.items()}
        for language, sets in data.items()
    }


def _joined(parts: tuple[str, ...], *, to_the_limit: bool, language: str) -> tuple[str, ...]:
    """One text that begins with each of the parts and goes on with the others in turn."""
    between = "" if language == "ja" else " "
    joined = []
    for first in range(len(parts)):
        whole = between.join(parts[first:] + parts[:first])
        while to_the_limit and len(whole.encode()) < MAX_TEXT_BYTES:
            whole += between + whole
        if to_the_limit:
            kept = whole.encode()[:MAX_TEXT_BYTES].decode(errors="ignore").rstrip()
            whole = kept + "." * (MAX_TEXT_BYTES - len(kept.encode()))
        joined.append(whole)
    return tuple(joined)
