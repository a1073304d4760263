"""A run in a real Locust process: every road to its end leaves nothing, and says so."""

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest
from locusts import cut_by_hand, finish, in_session, locustfile, only_run, passed, start

from harness.ledger.reader import read_account, read_leftovers

pytestmark = pytest.mark.process


def record(directory: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((only_run(directory) / "run.json").read_text())
    return found


def test_a_run_to_its_time_limit(simulator: Any, tmp_path: Path) -> None:
    before = simulator.truth()["sessions"]
    process = start(locustfile(tmp_path), tmp_path, simulator.url, "-u", "5", "-r", "5", "-t", "3")
    code, output = finish(process)
    assert passed(code, output), output
    assert "left over 0" in output
    assert "Traceback" not in output
    found = record(tmp_path)
    after = simulator.truth()["sessions"]
    assert found["verdict"] == "PASS"
    assert found["sessions"]["opened"] == after["opened"] - before["opened"] > 5
    assert found["sessions"]["cleared"] == after["cleared"] - before["cleared"]
    for operation in ("connect", "session_open", "delivered", "reply", "clear"):
        entry = found["operations"][operation]
        ended = dict(entry["outcomes"])
        cut = ended.pop("cut_short", 0)
        assert cut <= 5, "one of each guest"
        assert ended == {"ok": entry["count"] - cut}
        assert 0 < entry["service_ms"]["p50"] <= entry["service_ms"]["max"]
    link = tmp_path / "reports" / "latest"
    assert link.resolve() == only_run(tmp_path).resolve()


@pytest.mark.parametrize(
    "number", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.long)]
)
def test_a_signal_in_the_middle_of_conversations(
    simulator: Any, tmp_path: Path, number: signal.Signals
) -> None:
    file = locustfile(tmp_path, messages=200, think="300ms")
    before = simulator.open_tokens()
    process = start(file, tmp_path, simulator.url, "-u", "8", "-r", "8", "-t", "5m")
    in_session(tmp_path, 8)
    os.kill(process.pid, number)
    code, output = finish(process)
    assert cut_by_hand(code, output), output
    assert record(tmp_path)["sessions"]["cleared"] == 8
    assert simulator.open_tokens() <= before


def test_conversations_may_finish_within_the_stop_timeout(simulator: Any, tmp_path: Path) -> None:
    file = locustfile(tmp_path, messages=4, think="500ms")
    process = start(
        file, tmp_path, simulator.url, "-u", "3", "-r", "3", "-t", "1m", "--stop-timeout", "20"
    )
    in_session(tmp_path, 3)
    os.kill(process.pid, signal.SIGTERM)
    code, output = finish(process)
    assert cut_by_hand(code, output), output
    found = record(tmp_path)
    # Each guest says its four sentences: none was cut off.
    assert found["operations"]["delivered"]["count"] == 4 * found["sessions"]["opened"]


def test_kill_9_leaves_a_complete_list(simulator: Any, tmp_path: Path) -> None:
    file = locustfile(tmp_path, messages=200, think="100ms")
    before = simulator.open_tokens()
    process = start(file, tmp_path, simulator.url, "-u", "20", "-r", "20", "-t", "5m")
    in_session(tmp_path, 20)
    process.kill()
    finish(process)
    still_open = simulator.open_tokens() - before
    listed = {left.token: left for left in read_leftovers(only_run(tmp_path))}
    assert len(still_open) == 20
    assert still_open <= listed.keys()
    assert all(listed[token].holds_conversation for token in still_open)
    assert read_account(only_run(tmp_path)).balanced


@pytest.mark.long
def test_ignored_clears_give_the_leftovers_exit_code(simulator: Any, tmp_path: Path) -> None:
    simulator.faults(ignore_clear=1)
    before = simulator.open_tokens()
    process = start(locustfile(tmp_path), tmp_path, simulator.url, "-u", "2", "-r", "2", "-t", "2")
    code, output = finish(process)
    assert code == 4, output
    assert record(tmp_path)["verdict"] == "FAIL"
    opened = simulator.open_tokens() - before
    assert opened
    assert opened <= {left.token for left in read_leftovers(only_run(tmp_path))}


def test_an_open_workload_keeps_its_schedule(simulator: Any, tmp_path: Path) -> None:
    more = "class Shape(ArrivalShape):\n    arrivals = steady(per_second=20, over='3s')\n"
    code, output = finish(start(locustfile(tmp_path, more=more), tmp_path, simulator.url))
    assert passed(code, output), output
    arrivals = record(tmp_path)["arrivals"]
    assert (arrivals["started"], arrivals["dropped"]) == (arrivals["due"], 0)
    assert 57 <= arrivals["due"] <= 60
    assert record(tmp_path)["sessions"]["opened"] == arrivals["started"]


def test_too_few_slots_drop_arrivals_and_say_so(simulator: Any, tmp_path: Path) -> None:
    more = (
        "class Shape(ArrivalShape):\n    arrivals = steady(per_second=20, over='3s')\n"
        "    slots = 2\n    drop_after = '200ms'\nobjective('dropped == 0', 'late < 100%')\n"
    )
    file = locustfile(tmp_path, messages=3, think="200ms", more=more)
    code, output = finish(start(file, tmp_path, simulator.url))
    assert code == 3, output
    arrivals = record(tmp_path)["arrivals"]
    assert arrivals["dropped"] > 30
    assert arrivals["started"] + arrivals["dropped"] == arrivals["due"]


def test_two_roads_to_the_end_both_wait_for_the_files(simulator: Any, tmp_path: Path) -> None:
    more = """
import gevent
from locust import events

@events.test_stop.add_listener
def also_ends(environment, **_):
    run = environment.harness_run
    whole = run.ledger.close
    def slowly():
        gevent.sleep(0.5)
        whole()
        print("closed")
    run.ledger.close = slowly
    gevent.spawn(run.finish)
    gevent.sleep(0)
    run.finish()
    print("both are through")
"""
    process = start(locustfile(tmp_path, more=more), tmp_path, simulator.url, "-u", "1", "-t", "2")
    _, output = finish(process)
    assert output.index("closed") < output.index("both are through")


TWO = """
from locust import constant, task
from harness.load import GuestUser, objective

class Couple(GuestUser):
    wait_time = constant(60)

    @task
    def inner_leaves_first(self):
        with self.guest() as first:
            first.say("one")
            first.await_reply(within="5s")
            with self.guest() as second:
                second.say("two")
                second.await_reply(within="5s")
            first.think("5s")
            first.say("three")
            first.await_reply(within="5s")
"""
NEVER_CLOSED = """
from locust import constant, task
from harness.load import GuestUser

class Forgetful(GuestUser):
    wait_time = constant(0.1)
    think_time = "100ms"

    def on_start(self):
        self.visit = self.guest()
        self.held = self.visit.__enter__()

    @task
    def talk(self):
        self.held.say("hello")
        self.held.await_reply(within="5s")
        self.held.think()
"""


def test_the_end_waits_for_both_guests_of_a_slot(simulator: Any, tmp_path: Path) -> None:
    file = tmp_path / "guests.py"
    file.write_text(TWO)
    before = simulator.open_tokens()
    process = start(
        file, tmp_path, simulator.url, "-u", "2", "-r", "2", "-t", "2s", "--stop-timeout", "20"
    )
    code, output = finish(process)
    assert passed(code, output), output
    found = record(tmp_path)
    assert found["sessions"]["opened"] == found["sessions"]["cleared"] == 4
    assert simulator.open_tokens() == before
    assert found["operations"]["delivered"]["count"] == 6  # the stories were not cut off


COLLECTED_WHILE_COMMITTING = """
import gc
gc.disable()
began = Forgetful.on_start

def on_start(self):
    began(self)
    self.environment.harness_run.ledger.on_commit = collect

def collect(group):
    gc.unfreeze()
    gc.collect()

Forgetful.on_start = on_start
"""


def test_a_guest_who_is_never_closed_is_not_collected_as_garbage(
    simulator: Any, tmp_path: Path
) -> None:
    """Its end would wait for the ledger in the greenlet of the ledger: the run would never end."""
    file = tmp_path / "guests.py"
    file.write_text(NEVER_CLOSED + COLLECTED_WHILE_COMMITTING)
    before = simulator.open_tokens()
    process = start(file, tmp_path, simulator.url, "-u", "3", "-r", "3", "-t", "30s")
    try:
        in_session(tmp_path, 3)
        os.kill(process.pid, signal.SIGTERM)
        code, output = finish(process, within_s=30)
    finally:
        process.kill()
    assert code in (0, 5, 6), output
    assert record(tmp_path)["sessions"]["cleared"] == 3
    assert simulator.open_tokens() == before


@pytest.mark.parametrize("number", [pytest.param(None, marks=pytest.mark.long), signal.SIGTERM])
def test_a_guest_who_is_never_closed_is_cleared_at_the_end(
    simulator: Any, tmp_path: Path, number: signal.Signals | None
) -> None:
    file = tmp_path / "guests.py"
    file.write_text(NEVER_CLOSED)
    before = simulator.open_tokens()
    process = start(file, tmp_path, simulator.url, "-u", "3", "-r", "3", "-t", "3s")
    in_session(tmp_path, 3)
    if number is not None:
        os.kill(process.pid, number)
    code, output = finish(process)
    # By the time limit (then no guest had ended by itself), by hand, or with too much lag.
    assert code in (0, 5, 6), output
    assert record(tmp_path)["sessions"]["cleared"] == 3
    assert simulator.open_tokens() == before
