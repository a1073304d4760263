"""Whatever asks for the end of a run while it is being made: there is one, and Locust exits."""

from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path
from typing import Any

import gevent
import gevent.event
import pytest
from locust import User
from locust.env import Environment
from locust.exception import StopUser
from locusts import finish, locustfile, only_run, passed, start
from processes import decided

from harness.load.plugin import OneEnd

SLOW_END = """
import gevent, os, signal
from locust import events

@events.{event}.add_listener
def one_more(environment, **_):
    print("the end goes on", flush=True)
    {second}
    gevent.sleep(1.5)

@events.init.add_listener
def first(environment, **_):
    def come():
        while environment.runner.state != "running":
            gevent.sleep(0.05)
        gevent.sleep(0.5)
        {first}
    gevent.spawn(come)
"""
SIGTERM, SIGINT = (f"os.kill(os.getpid(), signal.{name})" for name in ("SIGTERM", "SIGINT"))
QUIT = "gevent.spawn(environment.runner.quit)"
LIMIT = "pass"  # what -t says comes by itself
WHILE_CLEARING, WHILE_REPORTING = "test_stopping", "test_stop"
PAIRS = [
    pytest.param(SIGTERM, WHILE_REPORTING, LIMIT, marks=pytest.mark.long),
    (LIMIT, WHILE_REPORTING, SIGINT),
    (SIGINT, WHILE_CLEARING, SIGTERM),
    pytest.param(QUIT, WHILE_REPORTING, SIGTERM, marks=pytest.mark.long),
]


@pytest.mark.process
@pytest.mark.parametrize(("first", "event", "second"), PAIRS)
def test_two_ends_at_once_are_one(
    simulator: Any, tmp_path: Path, first: str, event: str, second: str
) -> None:
    more = SLOW_END.format(first=first, second=second, event=event)
    process = start(
        locustfile(tmp_path, more=more), tmp_path, simulator.url, "-u", "2", "-r", "2", "-t", "2s"
    )
    before = simulator.open_tokens()
    code, output = finish(process)
    assert decided(code, output) in (0, 5), output  # none, or few, may have come to an end
    assert output.count("the end goes on") == 1
    assert output.count("verdict ") == output.count("Shutting down") == 1
    assert (only_run(tmp_path) / "report.html").exists()
    assert simulator.open_tokens() <= before


@pytest.mark.process
def test_a_time_limit_while_the_end_of_a_schedule_is_made(simulator: Any, tmp_path: Path) -> None:
    """Locust's ``quit`` would kill the greenlet of the shape, which is making it."""
    more = SLOW_END.format(first=LIMIT, second=QUIT, event=WHILE_REPORTING)
    more += "class Shape(ArrivalShape):\n    arrivals = steady(per_second=5, over='1s')\n"
    code, output = finish(start(locustfile(tmp_path, more=more), tmp_path, simulator.url))
    assert passed(code, output), output
    assert output.count("verdict ") == 1


LOOKED_UP = """
import inspect
from locust import events

@events.spawning_complete.add_listener
def tell(**_):
    # Locust's stop() asks for these, and looks at each module's file that is not among them.
    print("known files:", len(inspect.modulesbyfile) > 300, flush=True)
"""


@pytest.mark.process
def test_the_end_holds_nobody_up_to_see_where_it_was_asked_for(
    simulator: Any, tmp_path: Path
) -> None:
    file = locustfile(tmp_path, more=LOOKED_UP)
    _, output = finish(start(file, tmp_path, simulator.url, "-u", "1", "-t", "1s"))
    assert "known files: True" in output


class Idle(User):
    """Does nothing."""


@pytest.fixture
def environment() -> Iterator[Any]:
    environment = Environment(user_classes=[Idle])
    environment.create_local_runner()
    yield environment
    if environment.runner is not None:
        environment.runner.greenlet.kill()


ROADS = ("stop", "quit", "shutdown")


@pytest.mark.parametrize(("first", "second"), list(product(ROADS, ROADS)))
def test_roads_meet(environment: Any, first: str, second: str) -> None:
    runner, story = environment.runner, []
    runner.state = "running"
    one_end = OneEnd(runner, on_story=lambda: None)
    ends: list[str] = []
    begun, go_on = gevent.event.Event(), gevent.event.Event()

    def slowly(**_: Any) -> None:
        ends.append("begun")
        begun.set()
        go_on.wait(5)
        ends.append("made")

    def shutdown() -> None:
        one_end.enter_shutdown(lambda: story.append("again"))
        runner.stop()
        ends.append("left")
        runner.quit()

    environment.events.test_stop.add_listener(slowly)
    roads: dict[str, Callable[[], None]] = {
        "stop": runner.stop,
        "quit": runner.quit,
        "shutdown": shutdown,
    }
    one = gevent.spawn(roads[first])
    begun.wait(5)
    two = gevent.spawn(roads[second])
    gevent.sleep(0)
    go_on.set()
    gevent.joinall([one, two], timeout=5, raise_error=True)
    assert one.dead
    assert two.dead
    assert ends[:2] == ["begun", "made"]
    assert ends.count("begun") == 1
    if (first, second) == ("shutdown", "shutdown"):
        assert story == ["again"]


def test_a_stop_meant_for_the_next_run_ends_it_too(environment: Any) -> None:
    """In the web UI the next run can begin while the report of the one before is being made."""
    runner = environment.runner
    runner.state = "running"
    OneEnd(runner, on_story=lambda: None)
    ended: list[str] = []
    begun, go_on = gevent.event.Event(), gevent.event.Event()

    def slowly(**_: Any) -> None:
        begun.set()
        go_on.wait(5)
        ended.append(runner.state)

    environment.events.test_stop.add_listener(slowly)
    first = gevent.spawn(runner.stop)
    begun.wait(5)
    runner.state = "running"  # the next run
    second = gevent.spawn(runner.stop)
    gevent.sleep(0)
    go_on.set()
    gevent.joinall([first, second], timeout=5, raise_error=True)
    assert len(ended) == 2
    assert runner.state == "stopped"


@pytest.mark.parametrize("road", ["stop", "quit"])
def test_a_listener_of_the_end_may_ask_for_it(environment: Any, road: str) -> None:
    runner = environment.runner
    runner.state = "running"
    OneEnd(runner, on_story=lambda: None)
    heard: list[str] = []

    def ask(**_: Any) -> None:
        heard.append("asked")
        getattr(runner, road)()
        gevent.spawn(runner.quit).join(timeout=5)  # and waits for who asks as well
        heard.append("went on")

    environment.events.test_stopping.add_listener(ask)
    environment.events.test_stop.add_listener(ask)
    ending = gevent.spawn(runner.stop)
    ending.join(timeout=5)
    assert ending.dead
    assert heard == ["asked", "went on"] * 2


def test_a_story_is_told_to_go(environment: Any) -> None:
    told: list[str] = []
    runner = environment.runner
    OneEnd(runner, on_story=lambda: told.append("a story ended the run"))
    story = runner.user_greenlets.spawn(runner.quit)
    with pytest.raises(StopUser):
        story.get(timeout=5)
    assert told == ["a story ended the run"]


def test_a_ctrl_c_does_not_interrupt_who_makes_the_end(environment: Any) -> None:
    runner = environment.runner
    runner.state = "running"
    one_end = OneEnd(runner, on_story=lambda: None)
    seen: list[bool] = []
    environment.events.test_stop.add_listener(
        lambda **_: seen.append(one_end.is_made_by(gevent.getcurrent()))
    )
    assert not one_end.is_made_by(gevent.getcurrent())
    runner.quit()
    assert seen == [True]
