"""Percentiles over all that was tried, also what never came.

What was waited for in vain has a true time that is longer than the time waited: a *censored*
value, a lower bound and never a value. A percentile whose rank lies among such is a lower bound
itself ("> 2 s"). What failed outright ranks there too: a refused connect is no fast connect.
What the run's end cut short says nothing as long as it had waited no longer than the slowest that
did come; then it is left out, and a figure that hangs on it is *unsure*.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from harness.measure.histogram import Histogram
from harness.measure.histogram import rank as rank_of
from harness.measure.model import GREETING, REPLY, TURN, Outcome
from harness.measure.recorder import (
    QUESTIONS_AMBIGUOUS,
    REPLIES_AMBIGUOUS,
    TURNS_AMBIGUOUS,
    censored_tag,
    corrected_tag,
    cut_tag,
    service_tag,
)

WAITED_FOR = ("connect", "session_open")
"""What a guest waits for who is due."""


class Figure(NamedTuple):
    """A time in milliseconds; None where nothing is known."""

    ms: float | None
    at_least: bool = False
    """the true figure is higher, nobody knows by how much"""
    unsure: bool = False
    """it would be higher if what the run's end cut short had never come, or, of a lower bound,
    it would be none if all that is ambiguous had come first"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tried:
    """All of one operation that was tried in a run.

    ``bounds`` are the times that came and the lower bounds, ``censored`` the latter alone. Of what
    is ``ambiguous`` nothing is known but that it came.
    """

    bounds: Histogram
    censored: Histogram = field(default_factory=Histogram)
    cut: Histogram = field(default_factory=Histogram)
    outcomes: Mapping[str, int] = field(default_factory=dict)
    ambiguous: int = 0
    never_started: int = 0
    """guests who were due and never came in: of what a guest waits, these wait for ever"""

    @property
    def came(self) -> int:
        """How many came at a known time."""
        return self.bounds.count - self.censored.count

    @property
    def cut_early(self) -> int:
        """How many the run's end cut short before they were later than the slowest that came."""
        exact = self.exact()
        return 0 if exact.max_ms is None else self.cut.count_up_to_ms(exact.max_ms)

    @property
    def without(self) -> int:
        """How many never came, without those that were cut short early."""
        failed = sum(many for outcome, many in self.outcomes.items() if outcome != Outcome.OK)
        return max(failed, self.censored.count) - self.cut_early + self.never_started

    @property
    def whole(self) -> int:
        """All but those that were cut short early."""
        return self.came + self.ambiguous + self.without

    def exact(self) -> Histogram:
        """The times that came."""
        return self.bounds.without(self.censored) if self.censored.count else self.bounds

    def at(self, percent: float) -> Figure:
        """The time within which so many per cent came; 100: the slowest."""
        exact, without, early = self.exact(), self.without, self.cut_early
        whole = exact.count + without
        if not whole:
            return Figure(None)  # nothing was tried, or of nothing that came it is known when
        # Even if all that is ambiguous had been the fastest:
        certain = rank_of(percent, self.whole) > exact.count + self.ambiguous
        rank = rank_of(percent, whole)
        if rank > exact.count or certain:
            ms = self.bounds.at_rank_ms(rank) or 0.0
            return Figure(ms, at_least=True, unsure=not certain)
        if percent < 100 and early:
            strict = rank_of(percent, whole + early)
            if strict > exact.count:
                return Figure(exact.at_rank_ms(rank), unsure=True)
            rank = strict
        return Figure(exact.at_rank_ms(rank))


def tried(
    operation: str,
    histograms: Mapping[str, Histogram],
    outcomes: Mapping[str, int],
    counts: Mapping[str, int],
    *,
    corrected: bool = False,
    dropped: int = 0,
) -> Tried:
    """What the merged measurements of a run say of an operation; so many arrivals were ``dropped``.

    Who was turned away by us has waited for a connection and a session, and has had neither.
    """
    nothing = Histogram()
    tag = corrected_tag(operation) if corrected else service_tag(operation)
    censored = censored_tag(operation, corrected=corrected)
    return Tried(
        bounds=histograms.get(tag, nothing),
        censored=histograms.get(censored, nothing),
        cut=histograms.get(cut_tag(operation), nothing),
        outcomes=outcomes,
        ambiguous=ambiguous(operation, counts),
        never_started=dropped if corrected and operation in WAITED_FOR else 0,
    )


def ambiguous(operation: str, counts: Mapping[str, int]) -> int:
    """How many answers of an operation are known to have come, but not to what."""
    replies = counts.get(REPLIES_AMBIGUOUS, 0)
    if operation == REPLY:
        return replies
    if operation == TURN:
        return counts.get(TURNS_AMBIGUOUS, 0)
    return counts.get(QUESTIONS_AMBIGUOUS, 0) - replies if operation == GREETING else 0
