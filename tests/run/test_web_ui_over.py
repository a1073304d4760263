"""Runs of a master with a web UI that end by themselves, their schedules being over."""

from pathlib import Path
from typing import Any

import pytest
from run.test_web_ui_twice import Web

from harness.supervise.children import free_port

pytestmark = [pytest.mark.process, pytest.mark.timeout(240)]

SHAPE = """
class Shape(ArrivalShape):
    arrivals = steady(per_second=4, over="4s")
    slots = 20
"""


@pytest.mark.long
def test_each_run_of_a_master_ends_by_itself_and_the_next_begins(
    simulator: Any, tmp_path: Path
) -> None:
    port = free_port()
    bind = ("--master-bind-host", "127.0.0.1", "--master-bind-port", port)
    web = Web(tmp_path, simulator.url, "--master", *bind, "--expect-workers", "2", more=SHAPE)
    try:
        for _ in range(2):
            web.start("--worker", "--master-port", port)
        web.until(lambda: len(web.locust().get("workers", ())) == 2)
        seen: list[str] = []
        for _ in range(2):
            web.ask("/swarm", user_count="20", spawn_rate="20")
            web.until(lambda: web.state()["run"] not in ("", *seen))
            seen.append(web.state()["run"])
            record = web.record(seen[-1])
            assert (record["arrivals"]["started"], record["generator"]["workers_lost"]) == (16, 0)
            assert record["sessions"]["cleared"] == 16
            assert not any("by hand" in why for why in record["reasons"])
            web.until(lambda: web.locust()["state"] in ("stopped", "ready"))
            assert web.state()["sessions"]["occupancy"] == 0
            assert web.state()["quiet"] == []
    finally:
        web.end()


SLOW = """
import time
from locust import events
from locust.runners import WorkerRunner

def take_time(environment, **_):
    if isinstance(environment.runner, WorkerRunner):
        time.sleep(2)

events.init._handlers.insert(0, take_time)  # the master has seen it, and not heard who it is
"""


@pytest.mark.long
def test_a_worker_that_comes_as_the_run_is_begun_takes_part_in_it(
    simulator: Any, tmp_path: Path
) -> None:
    port = free_port()
    bind = ("--master-bind-host", "127.0.0.1", "--master-bind-port", port)
    web = Web(tmp_path, simulator.url, "--master", *bind, more=SHAPE + SLOW)
    try:
        web.start("--worker", "--master-port", port)
        web.until(lambda: [one["state"] for one in web.locust()["workers"]] == ["ready"])
        web.start("--worker", "--master-port", port)
        web.until(lambda: len(web.locust()["workers"]) == 2)
        web.ask("/swarm", user_count="20", spawn_rate="20")
        web.until(lambda: web.state()["run"] != "")
        record = web.record(web.state()["run"])
        assert record["generator"]["workers_lost"] == 0, record["reasons"]
        assert (record["arrivals"]["started"], record["sessions"]["cleared"]) == (16, 16)
        assert len(list(web.reports.glob("2*/intervals-*"))) == 2
    finally:
        web.end()
