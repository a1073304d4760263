"""What really happened, for tests that compare a client's story with it."""

from dataclasses import dataclass, field

from harness.simulator.truth.questions import Questions


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
