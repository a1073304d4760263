"""Who has which arrivals of a schedule, also when workers join or are lost while it is played.

A schedule is cut at certain arrivals; from each cut on, ``n`` workers share what follows, every
``n``-th for each, until the next cut. So each arrival is exactly one worker's, whatever happens.
"""

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from harness.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Piece:
    """From arrival ``first`` on: the arrivals of place ``place`` of ``places``; 0 places: none."""

    first: int
    place: int
    places: int


class Share:
    """One worker's arrivals: the pieces follow each other, each ends where the next begins."""

    def __init__(self, count: int, pieces: Sequence[Piece]) -> None:
        """``count`` is how many arrivals the whole schedule has. Raises ConfigError."""
        self._count = count
        self._pieces: tuple[Piece, ...] = ()
        self.set(pieces)

    @classmethod
    def of(cls, count: int, place: int, places: int) -> "Share":
        """The same place from the first arrival to the last. Raises ConfigError."""
        return cls(count, [Piece(0, place, places)])

    def set(self, pieces: Sequence[Piece]) -> None:
        """Replace the pieces. Raises ConfigError when they make no sense."""
        for piece in pieces:
            if piece.places and not 0 <= piece.place < piece.places:
                text = f"worker {piece.place} of {piece.places}"
                raise ConfigError(f"{text}: expected a number below {piece.places}")
        firsts = [piece.first for piece in pieces]
        if firsts != sorted(firsts):
            raise ConfigError(f"the pieces of a share are out of order: they begin at {firsts}")
        self._pieces = tuple(pieces)

    def after(self, index: int) -> int | None:
        """The first arrival of this share that comes after ``index``; None when there is none."""
        for piece, end in self._stretches():
            at = max(index + 1, piece.first)
            if at >= end or not piece.places:
                continue
            at += (piece.place - at) % piece.places
            if at < end:
                return at
        return None

    def many(self, below: int) -> int:
        """How many arrivals of this share come before arrival ``below``."""
        found = 0
        for piece, whole_end in self._stretches():
            end = min(whole_end, below)
            if piece.places and end > piece.first:
                first = piece.first + (piece.place - piece.first) % piece.places
                found += len(range(first, end, piece.places))
        return found

    def _stretches(self) -> Iterator[tuple[Piece, int]]:
        """Each piece and where it ends."""
        ends = [*(piece.first for piece in self._pieces[1:]), self._count]
        for piece, end in zip(self._pieces, ends, strict=False):
            yield piece, min(end, self._count)


class Partition:
    """Who has what: a list of workers for each stretch of the schedule."""

    def __init__(self, count: int, workers: Sequence[str]) -> None:
        self.count = count
        self._firsts = [0]
        self._workers = [tuple(workers)]

    @property
    def workers(self) -> tuple[str, ...]:
        """Those who share the last stretch."""
        return self._workers[-1]

    def change(self, first: int, workers: Sequence[str]) -> None:
        """From arrival ``first`` on these share. Raises ConfigError when that was cut before."""
        if first < self._firsts[-1]:
            raise ConfigError(f"arrival {first} has been given away at {self._firsts[-1]} already")
        if first == self._firsts[-1]:
            self._workers[-1] = tuple(workers)
        else:
            self._firsts.append(first)
            self._workers.append(tuple(workers))

    def pieces_of(self, worker: str) -> list[Piece]:
        """The share of one worker."""
        found = []
        for first, workers in zip(self._firsts, self._workers, strict=True):
            if worker in workers:
                found.append(Piece(first, workers.index(worker), len(workers)))
            else:
                found.append(Piece(first, 0, 0))
        return found

    def assigned(self, worker: str, below: int) -> int:
        """How many arrivals before ``below`` were one worker's."""
        return Share(self.count, self.pieces_of(worker)).many(below)

    def holder(self, index: int) -> str | None:
        """Whose an arrival is; None when nobody shared that stretch."""
        workers = self._workers[bisect_right(self._firsts, index) - 1]
        return workers[index % len(workers)] if workers else None
