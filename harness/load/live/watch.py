"""Stops a run early when an objective with ``abort_on_fail`` has been missed for too long.

What happened long ago must neither save a run that fails now nor end one that has recovered: a
share or a time is judged by what came in a sliding window, a plain count by all that came since the
objective's grace was over.
"""

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.judge.abort import AbortState, consider_abort
from harness.judge.gate import judge_one
from harness.judge.objective import GENERATOR_LAG, Objective, Unit
from harness.load.live.totals import COUNTED, Live
from harness.measure.histogram import Histogram
from harness.measure.recorder import (
    LAG_LOOP,
    censored_tag,
    corrected_tag,
    cut_tag,
    service_tag,
)

EVERYTHING = "all processes"


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """The totals of a run at a moment (seconds of the run)."""

    at_s: float
    sessions: Mapping[str, int]
    outcomes: Mapping[str, Mapping[str, int]]
    counts: Mapping[str, int]
    arrivals: Mapping[str, int]
    histograms: Mapping[str, tuple[Any, Any]]

    @classmethod
    def of(cls, live: Live, at_s: float, tags: Iterable[str]) -> "Mark":
        """As it is now; of the histograms only those that are asked for."""
        return cls(
            at_s=at_s,
            sessions={name: live.total("sessions", name) for name in COUNTED},
            outcomes={name: dict(many) for name, many in live.outcomes.items()},
            counts=dict(live.counts),
            arrivals=dict(live.arrivals),
            histograms={tag: live.histograms[tag].used() for tag in tags if tag in live.histograms},
        )

    def to(self, later: "Mark") -> Live:
        """What has happened between the two."""
        found = Live()
        found.outcomes = {
            name: _less(many, self.outcomes.get(name, {})) for name, many in later.outcomes.items()
        }
        found.counts = _less(later.counts, self.counts)
        found.arrivals = _less(later.arrivals, self.arrivals)
        found.newest[EVERYTHING] = {"sessions": _less(later.sessions, self.sessions)}
        for tag, used in later.histograms.items():
            whole, before = Histogram(), Histogram()
            whole.add_counts(*used)
            if tag in self.histograms:
                before.add_counts(*self.histograms[tag])
            found.histograms[tag] = whole.without(before)
        return found


NOTHING = Mark(at_s=0.0, sessions={}, outcomes={}, counts={}, arrivals={}, histograms={})


class AbortWatch:
    """Judges a run that goes on, once a second, by the objectives that may stop it."""

    def __init__(self, objectives: Sequence[Objective], live: Live) -> None:
        self._objectives = [item for item in objectives if item.abort_on_fail]
        self._live = live
        self._state = AbortState()
        self._marks: deque[Mark] = deque()
        self._after_grace: dict[Objective, Mark] = {}
        self._tags = sorted({tag for item in self._objectives for tag in _tags(item)})
        self._longest_s = max((item.window_s for item in self._objectives), default=0.0)

    def look(self, now_s: float) -> tuple[str, ...]:
        """Why the run should stop now; empty: go on. ``now_s`` counts from the run's start."""
        if not self._objectives:
            return ()
        now = Mark.of(self._live, now_s, self._tags)
        self._marks.append(now)
        while len(self._marks) > 1 and self._marks[1].at_s <= now_s - self._longest_s:
            self._marks.popleft()
        judgements = []
        for item in self._objectives:
            if now_s < item.grace_s:
                continue
            first = self._after_grace.setdefault(item, now if item.grace_s else NOTHING)
            part = self._start_of(item, first, now_s).to(now)
            figures = part.figures()
            figures["generator"]["workers_lost"] = len(self._live.lost())
            judgements.append(judge_one(item, figures, percentile=part.percentile, unfinished=True))
        self._state, reasons = consider_abort(self._state, judgements, now_s=now_s)
        return reasons

    def _start_of(self, item: Objective, first: Mark, now_s: float) -> Mark:
        if item.unit is Unit.COUNT:
            return first
        before = [mark for mark in self._marks if mark.at_s <= now_s - item.window_s]
        return max((first, *before[-1:]), key=lambda mark: mark.at_s)


def _tags(item: Objective) -> list[str]:
    if item.subject == GENERATOR_LAG:
        return [LAG_LOOP]
    if item.unit is not Unit.MS:
        return [service_tag(item.subject), cut_tag(item.subject)]
    name = item.subject
    return [
        service_tag(name),
        corrected_tag(name),
        censored_tag(name),
        censored_tag(name, corrected=True),
        cut_tag(name),
    ]


def _less(later: Mapping[str, int], before: Mapping[str, int]) -> dict[str, int]:
    return {name: many - before.get(name, 0) for name, many in later.items()}
