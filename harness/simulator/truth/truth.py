"""What really happened, for tests that compare a client's story with it.

The truth of each question: what a guest sent that can be answered, and every message that did.

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


@dataclass(slots=True)
class Tally:
    """Counters of the whole service or of one run."""

    sessions_opened: int = 0
    sessions_cleared: int = 0
    sessions_expired: int = 0
    sessions_replaced: int = 0
    conversations_opened: int = 0
    conversations_ended: int = 0
    texts: int = 0
    replies: int = 0

    def figures(self) -> dict[str, object]:
        """As ``/sim/truth`` gives it: open = opened - every way of ending."""
        closed = self.sessions_cleared + self.sessions_expired + self.sessions_replaced
        return {
            "sessions": {
                "opened": self.sessions_opened,
                "cleared": self.sessions_cleared,
                "expired": self.sessions_expired,
                "replaced": self.sessions_replaced,
                "open": self.sessions_opened - closed,
            },
            "conversations": {
                "opened": self.conversations_opened,
                "ended": self.conversations_ended,
                "open": self.conversations_opened - self.conversations_ended,
            },
            "messages": {"texts": self.texts, "replies": self.replies},
        }


class Delays:
    """Delays in seconds, in buckets of four significant digits: bounded, and exact to 0.05 %."""

    __slots__ = ("_buckets", "_fresh", "count", "highest", "total")

    def __init__(self) -> None:
        self._buckets: dict[int, int] = {}
        self._fresh: list[float] = []
        self.count = 0
        self.total = 0.0
        self.highest = 0.0

    def add(self, delay_s: float) -> None:
        """Record one."""
        fresh = self._fresh
        fresh.append(delay_s)
        if len(fresh) >= 1000:
            self._sort_in()

    def _sort_in(self) -> None:
        fresh, self._fresh = self._fresh, []
        buckets = self._buckets
        for delay_s in fresh:
            microseconds = max(round(delay_s * 1e6), 0)
            if microseconds > 10_000:
                step = 10 ** (len(str(microseconds)) - 4)
                microseconds = (microseconds + step // 2) // step * step
            buckets[microseconds] = buckets.get(microseconds, 0) + 1
        if fresh:
            self.count += len(fresh)
            self.total += sum(fresh)
            self.highest = max(self.highest, *fresh)

    @property
    def buckets(self) -> dict[int, int]:
        """Microseconds → how many."""
        self._sort_in()
        return self._buckets

    def percentile(self, share: float) -> float:
        """The smallest recorded delay (ms) that at least ``share`` (0..1) of all do not exceed."""
        buckets = self.buckets
        wanted, seen = share * self.count, 0
        for microseconds in sorted(buckets):
            seen += buckets[microseconds]
            if seen >= wanted:
                return microseconds / 1000
        return 0.0

    def figures(self) -> dict[str, object]:
        """Count, mean, percentiles and the buckets themselves, in milliseconds."""
        buckets = self.buckets
        return {
            "count": self.count,
            "mean_ms": self.total / self.count * 1000 if self.count else 0.0,
            "p50_ms": self.percentile(0.5),
            "p95_ms": self.percentile(0.95),
            "p99_ms": self.percentile(0.99),
            "max_ms": self.highest * 1000,
            "buckets_ms": {str(us / 1000): n for us, n in sorted(buckets.items())},
        }


MOST_NAMES = 1000
OTHERS = "others"


@dataclass(slots=True)
class Truth:
    """The whole account."""

    whole: Tally = field(default_factory=Tally)
    runs: dict[str, Tally] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)
    """Anything worth counting by name: misplaced attributes, refused upgrades, errors sent."""
    delays: dict[str, Delays] = field(default_factory=dict)
    questions: Questions = field(default_factory=lambda: Questions(0))
    addresses: dict[str, int] = field(default_factory=dict)
    """Connections by the address that they came from."""
    origins: dict[str, int] = field(default_factory=dict)
    """Connections by the Origin header of their upgrade; empty for none."""

    def connected(self, address: str, origin: str) -> None:
        """One more connection. Past a thousand names of a kind the rest are ``others``."""
        self.count("connections_opened")
        for known, name in ((self.addresses, address), (self.origins, origin)):
            kept = name if name in known or len(known) < MOST_NAMES else OTHERS
            known[kept] = known.get(kept, 0) + 1

    def count(self, name: str) -> None:
        """One more of ``name``."""
        self.counts[name] = self.counts.get(name, 0) + 1

    def delay(self, operation: str, delay_s: float) -> None:
        """A delay that the service really added to an operation."""
        histogram = self.delays.get(operation)
        if histogram is None:
            histogram = self.delays[operation] = Delays()
        histogram.add(delay_s)
