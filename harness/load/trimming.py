"""Keeps Locust's own statistics from growing with the length of a run.

Locust counts requests and failures of each second in dictionaries that it never trims, though it
looks at the last twelve seconds only, and adds a row to its history every five seconds for the
charts of its pages. In the process that leads a run both would grow for as long as the run goes on.
"""

from typing import Any

KEPT_S = 60
"""Seconds of counts that are kept: more than Locust looks back, and room for late reports."""
KEPT_ROWS = 2_000
"""Rows of history at most: beyond, every second row goes, so that the charts still show it all."""


def trim(stats: Any, now_s: float) -> None:
    """Let go of what Locust's ``RequestStats`` keeps and does not look at any more."""
    oldest_s = int(now_s) - KEPT_S
    for entry in (stats.total, *stats.entries.values()):
        for per_second in (entry.num_reqs_per_sec, entry.num_fail_per_sec):
            for second in [second for second in per_second if second < oldest_s]:
                del per_second[second]
    if len(stats.history) > KEPT_ROWS:
        del stats.history[1::2]
