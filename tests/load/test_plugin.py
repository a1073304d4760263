"""What the listeners of Locust's events say when a run can't be opened."""

from pathlib import Path
from typing import Any

import pytest
from locusts import finish, locustfile, passed, start

pytestmark = pytest.mark.process


def test_a_reports_folder_that_can_not_be_written(simulator: Any, tmp_path: Path) -> None:
    (tmp_path / "reports").write_text("a file where the folder should be")
    process = start(locustfile(tmp_path), tmp_path, simulator.url, "-t", "1")
    code, output = finish(process)
    assert code == 8, output
    assert "reports folder" in output
    assert "Traceback" not in output


def test_slow_set_up_of_a_locustfile_takes_nothing_from_the_run_time(
    simulator: Any, tmp_path: Path
) -> None:
    file = locustfile(tmp_path)
    file.write_text(file.read_text() + SLOW_SET_UP)
    process = start(file, tmp_path, simulator.url, "-t", "2")
    code, output = finish(process)
    assert passed(code, output), output
    begun, ended = (float(words) for words in (tmp_path / "times").read_text().split())
    assert ended - begun > 1.8  # it was 0.5 s, as the set-up had taken 1.5


SLOW_SET_UP = """
import time
from pathlib import Path
from locust import events

def note(**_):
    with Path(__file__).with_name("times").open("a") as times:
        times.write(f"{time.monotonic()}\\n")

@events.init.add_listener
def prepare(**_):
    end = time.monotonic() + 1.5
    while time.monotonic() < end:
        pass

events.test_start.add_listener(note)
events.test_stopping.add_listener(note)
"""


def test_the_garbage_collector_does_not_go_through_slots_that_wait(
    simulator: Any, tmp_path: Path
) -> None:
    """With slots by the thousand a collection would stop every guest in session."""
    file = locustfile(tmp_path, more=WAITING)
    process = start(file, tmp_path, simulator.url, "-t", "3")
    code, output = finish(process)
    assert passed(code, output), output
    assert (tmp_path / "seen").read_text() == "0 of 40"


WAITING = """
import gc
from pathlib import Path
from locust import events

class Shape(ArrivalShape):
    arrivals = steady(per_second=5, over="1s")
    slots = 40

@events.test_stopping.add_listener
def note(environment, **_):
    seen = sum(type(thing) is Guest for thing in gc.get_objects())
    Path(__file__).with_name("seen").write_text(f"{seen} of {environment.runner.user_count}")
"""


def test_the_garbage_collector_does_not_go_through_guests_as_they_become_more(
    simulator: Any, tmp_path: Path
) -> None:
    """The more there are in session, the longer would each look at all of them stop them."""
    file = locustfile(tmp_path, more=GROWING)
    process = start(file, tmp_path, simulator.url, "-t", "3")
    code, output = finish(process)
    assert passed(code, output), output
    assert (tmp_path / "seen").read_text() == "0 whole collections"


GROWING = """
import gc
from pathlib import Path
from locust import events
import gevent

HELD = []

def whole_collections():
    return gc.get_stats()[2]["collections"]

class Shape(ArrivalShape):
    arrivals = steady(per_second=5, over="1s")
    slots = 4

def grow():
    gevent.sleep(0.5)
    before = whole_collections()
    for _ in range(100):
        HELD.append([[] for _ in range(3000)])
        gevent.sleep(0)
    text = f"{whole_collections() - before} whole collections"
    Path(__file__).with_name("seen").write_text(text)

@events.test_start.add_listener
def begin(**_):
    gevent.spawn(grow)
"""
