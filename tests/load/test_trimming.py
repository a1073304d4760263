"""Locust's statistics stay small, and say the same after trimming as before."""

import time

import pytest
from locust.env import Environment
from locust.stats import update_stats_history

from harness.load.live.totals import KEPT_ROWS, KEPT_S, trim


def test_what_locust_does_not_look_at_is_let_go() -> None:
    environment = Environment()
    runner = environment.create_local_runner()
    stats, now = runner.stats, time.time()
    for name in ("reply", "clear"):
        stats.log_request("guest", name, 12, 0)
    for entry in (stats.total, *stats.entries.values()):
        for age_s in range(24 * 3600):
            entry.num_reqs_per_sec[int(now) - age_s] = 5
            entry.num_fail_per_sec[int(now) - age_s] = 1
    before = [(e.current_rps, e.current_fail_per_sec, e.total_rps) for e in stats.entries.values()]
    trim(stats, now)
    after = [(e.current_rps, e.current_fail_per_sec, e.total_rps) for e in stats.entries.values()]
    assert [figures[:2] for figures in after] == [figures[:2] for figures in before]
    assert stats.total.num_requests == 2
    for entry in (stats.total, *stats.entries.values()):
        assert len(entry.num_reqs_per_sec) == len(entry.num_fail_per_sec) == KEPT_S + 1


@pytest.mark.slow
def test_the_history_keeps_its_first_row_and_its_whole_length() -> None:
    environment = Environment()
    runner = environment.create_local_runner()
    for second in range(10 * KEPT_ROWS):
        update_stats_history(runner, str(second))
        trim(runner.stats, time.time())
    times = [int(row["time"]) for row in runner.stats.history]
    assert len(times) <= KEPT_ROWS
    assert times[0] == 0
    assert times[-1] > 10 * KEPT_ROWS - 100
    assert times == sorted(times)
