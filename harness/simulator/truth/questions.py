"""The truth of each question: what a guest sent that can be answered, and every message that did.

A text, a choice and a Join are questions here, whether or not the guest expects an answer. Each row
says when the question came, what error refused it, when each message of its answer was due and when
it was written, and what the flow said of itself (its greeting) because of it. So every figure of a
run can be checked against what really happened, question by question.
"""

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

KINDS = ("text", "choice", "join")


@dataclass(slots=True)
class Question:
    """One question. ``came_s`` is monotonic; the lists hold seconds after it."""

    number: int
    kind: str
    tracing_id: str | None
    came: float
    """Epoch seconds."""
    came_s: float
    guest: int | None = None
    """The serial number of its session; tokens are keys and are not shown here."""
    run_id: str | None = None
    refused: int | None = None
    """The code of the error that answered it."""
    due: list[float] = field(default_factory=list)
    answers: list[float] = field(default_factory=list)
    greetings: list[float] = field(default_factory=list)
    unheard: int = 0
    """Messages of its answer for which nobody was there any more, or that a fault lost."""

    def row(self) -> dict[str, Any]:
        """As it is told, times in milliseconds after the question came."""
        return {
            "question": self.number,
            "guest": self.guest,
            "run_id": self.run_id,
            "kind": self.kind,
            "tracing_id": self.tracing_id,
            "came": self.came,
            "refused": self.refused,
            "due_ms": [_ms(at) for at in self.due],
            "answers_ms": [_ms(at) for at in self.answers],
            "greetings_ms": [_ms(at) for at in self.greetings],
            "unheard": self.unheard,
        }


@dataclass(slots=True)
class Unasked:
    """A message that answers no question: an agent who comes in, or interrupts."""

    guest: int
    run_id: str | None
    what: str
    at: float
    """Epoch seconds."""

    def row(self) -> dict[str, Any]:
        """As it is told."""
        return {"unasked": self.what, "guest": self.guest, "run_id": self.run_id, "at": self.at}


class Questions:
    """The newest ``keep`` rows; older ones go to ``write``, and so do all when it ends."""

    def __init__(self, keep: int, write: Callable[[dict[str, Any]], object] | None = None) -> None:
        self.asked = dict.fromkeys(KINDS, 0)
        self.unasked = 0
        self.forgotten = 0
        self._keep = keep
        self._write = write
        self._rows: deque[Question | Unasked] = deque()

    def ask(
        self, kind: str, tracing_id: str | None, *, came: float, came_s: float, guest: int | None
    ) -> Question:
        """A question has come."""
        self.asked[kind] += 1
        number = sum(self.asked.values())
        question = Question(number, kind, tracing_id, came, came_s, guest)
        self._add(question)
        return question

    def say_unasked(self, what: str, guest: int, run_id: str | None, at: float) -> None:
        """A message was written that answers nothing."""
        self.unasked += 1
        self._add(Unasked(guest, run_id, what, at))

    def _add(self, row: Question | Unasked) -> None:
        rows = self._rows
        rows.append(row)
        if len(rows) > self._keep:
            self._forget(rows.popleft())

    def _forget(self, row: Question | Unasked) -> None:
        self.forgotten += 1
        if self._write is not None:
            self._write(row.row())

    def end(self) -> None:
        """Write down what is still held."""
        while self._rows:
            self._forget(self._rows.popleft())

    def rows(self, run_id: str | None = None) -> list[dict[str, Any]]:
        """What is held, oldest first; of one run or of all."""
        return [row.row() for row in self._rows if run_id is None or row.run_id == run_id]

    def figures(self) -> dict[str, Any]:
        """For the truth: all that were asked, and of those still held what became of them."""
        held = [row for row in self._rows if isinstance(row, Question)]
        return {
            "asked": sum(self.asked.values()),
            "by_kind": dict(self.asked),
            "unasked": self.unasked,
            "forgotten": self.forgotten,
            "held": len(held),
            "refused": _count(row.refused is not None for row in held),
            "answered": _count(bool(row.answers) for row in held),
            "greeted": _count(bool(row.greetings) for row in held),
            "unheard": _count(bool(row.unheard) for row in held),
            "messages": sum(len(row.answers) for row in held),
        }


def _ms(seconds: float) -> float:
    return round(seconds * 1000, 3)


def _count(found: Iterable[bool]) -> int:
    return sum(found)
