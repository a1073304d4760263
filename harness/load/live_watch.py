"""Stops a run early when an objective with ``abort_on_fail`` has been missed for too long."""

from collections.abc import Sequence

from harness.load.live import Live
from harness.slo.abort import AbortState, consider_abort
from harness.slo.gate import judge_one
from harness.slo.objective import Objective


class AbortWatch:
    """Judges the run so far, once a second, by the objectives that may stop it."""

    def __init__(self, objectives: Sequence[Objective], live: Live) -> None:
        self._objectives = [item for item in objectives if item.abort_on_fail]
        self._live = live
        self._state = AbortState()

    def look(self, now_s: float) -> tuple[str, ...]:
        """Why the run should stop now; empty: go on. ``now_s`` counts from the run's start."""
        if not self._objectives:
            return ()
        figures = self._live.figures()
        judgements = [
            judge_one(item, figures, percentile=self._live.percentile, unfinished=True)
            for item in self._objectives
        ]
        self._state, reasons = consider_abort(self._state, judgements, now_s=now_s)
        return reasons
