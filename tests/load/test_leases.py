"""The schedule is shared out exactly, also when a worker joins or is lost in mid-run."""

import json
import os
import random
import re
import signal
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from locusts import environment_for, finish, launch, locustfile, only_run

from harness.load import arrivals as sharing
from harness.load.arrivals import LEASE_NS, LOST_AFTER_NS, Arrivals, Lease, Shares
from harness.rundir.layout import RunDirectory
from harness.supervise.children import free_port
from harness.workload.arrivals import steady
from harness.workload.schedule import Piece, Share

S = 1_000_000_000
SCHEDULE = steady(per_second=20, over="60s")


class World:
    """A master and its workers in a time of their own; messages arrive when the test says so."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, directory: Path, workers: str) -> None:
        self.now_ns = 0
        monkeypatch.setattr(sharing, "monotonic_ns", lambda: self.now_ns)
        self.clients = SimpleNamespace(ready=[SimpleNamespace(id=name) for name in workers])
        self.shares = Shares(self)  # type: ignore[arg-type]
        orders = self.shares.open(SCHEDULE, directory, lead_ns=0)
        self.arrivals: dict[str, Arrivals] = {}
        self.taken: dict[str, list[int]] = {}
        self.answers: dict[str, list[dict[str, Any]]] = {}
        for name in workers:
            pieces = [Piece(0, orders["places"][name], len(workers))]
            self.come(name, Share(SCHEDULE.count, pieces), int(orders["until"]))

    def come(self, name: str, share: Share, until: int) -> None:
        self.arrivals[name] = Arrivals(
            SCHEDULE, start_ns=0, late_after_s=1, drop_after_s=1e6, share=share, until=until
        )
        self.taken[name], self.answers[name] = [], []

    def ask(self, name: str) -> None:
        assert self.shares.note_question(name, f"host-{name}")
        granted = self.shares.grant(name)
        assert granted is not None
        self.answers[name].append(granted)

    def read(self, name: str) -> None:
        """The worker gets to the answers that have come."""
        for data in self.answers[name]:
            pieces = [Piece(*piece) for piece in data["pieces"]]
            assert self.arrivals[name].grant(pieces, data["until"]), "given away twice"
        self.answers[name].clear()

    def start_due(self, name: str) -> None:
        while (due_ns := self.arrivals[name].take(self.now_ns)) is not None:
            self.arrivals[name].started(due_ns)
            self.taken[name].append(due_ns * 20 // S)

    def all_taken(self) -> list[int]:
        return sorted(index for indices in self.taken.values() for index in indices)


@pytest.mark.slow
def test_nothing_is_started_twice_whatever_stalls(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for seed in range(20):
        dice = random.Random(seed)
        world = World(monkeypatch, tmp_path, "abc")
        asleep: dict[str, int] = {}
        for second in range(75):
            world.now_ns = second * S
            if second == 20:
                world.come("d", Share(SCHEDULE.count, []), 0)
            for name in list(world.taken):
                if asleep.get(name, 0) > second:
                    continue
                if second < 50 and dice.random() < 0.04:
                    asleep[name] = second + dice.randint(2, 15)
                    continue
                # A worker may get to its timers before its messages, or the other way round.
                steps = [world.start_due, world.read]
                for step in dice.sample(steps, 2):
                    step(name)
                world.ask(name)
            world.shares.look()
        taken = world.all_taken()
        assert len(taken) == len(set(taken)), "started twice"
        # All came back in time, so nothing was lost either.
        assert taken == list(range(SCHEDULE.count))
        assert world.taken["d"]


def test_a_lost_workers_part_ends_at_a_cut_and_the_rest_is_shared(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    world = World(monkeypatch, tmp_path, "ab")
    for second in range(70):
        world.now_ns = second * S
        for name in "ab" if second < 10 else "b":
            world.read(name)
            world.start_due(name)
            world.ask(name)
        world.shares.look()
    world.shares.freeze()
    world.shares.close({"b"})
    told = json.loads(RunDirectory(tmp_path).shares.read_text())
    (change,) = told["changes"]
    assert change["workers"] == ["host-b"]
    lost = told["gone"]["host-a"] - len(world.taken["a"])
    assert 0 < lost <= (LEASE_NS + LOST_AFTER_NS) // S * 10 + 10
    assert len(world.all_taken()) == SCHEDULE.count - lost
    assert [index for index in range(change["first"], SCHEDULE.count)] == [
        index for index in world.taken["b"] if index >= change["first"]
    ]
    (warning,) = [one.getMessage() for one in caplog.records if one.levelname == "WARNING"]
    assert re.match(r"workers: 1 lost; 1 share the schedule from arrival [\d,]+ on", warning)


def test_who_has_no_answer_at_the_end_takes_along_what_was_due_by_then(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    world = World(monkeypatch, tmp_path, "ab")
    world.now_ns = 4 * S
    world.ask("a")
    world.ask("b")
    world.shares.freeze()
    world.now_ns = 9 * S  # waiting for the answers took its time
    world.shares.leave("a")  # in order, because the run is ending
    world.shares.close({"a"})
    assert json.loads(RunDirectory(tmp_path).shares.read_text()) == {
        "changes": [],
        "gone": {"host-b": 40},
    }


def test_a_worker_that_joins_takes_over_the_masters_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sharing, "monotonic_ns", lambda: 100 * S)
    arrivals = Arrivals(
        SCHEDULE, start_ns=99 * S, late_after_s=1, drop_after_s=1, until=0,
        share=Share(SCHEDULE.count, []),
    )  # fmt: skip
    conflicts: list[str] = []
    lease = Lease(
        arrivals, joined=True, on_change=lambda: None, on_conflict=conflicts.append,
    )  # fmt: skip
    data = {"pieces": [(0, 0, 0), (600, 1, 2)], "until": 700, "elapsed_ns": 25 * S}
    lease.take(data)
    assert arrivals.due_next_ns() == 75 * S + SCHEDULE.due_ns(601)
    assert conflicts == []
    arrivals.take(200 * S)
    lease.take(data | {"pieces": [(0, 0, 1)]})
    assert conflicts


SHAPE = """
class Shape(ArrivalShape):
    arrivals = steady(per_second=20, over="{over}")
    slots = 60
"""


def locust(file: Path, folder: Path, target: str, *words: str) -> Any:
    return launch(file, environment_for(folder, target), "--headless", "--only-summary", *words)


def due_so_far(folder: Path, workers: int) -> bool:
    """Whether so many workers have something to do."""
    found = 0
    for path in (folder / "reports").glob("2*/intervals-*.jsonl"):
        rows = [json.loads(line) for line in path.read_text().splitlines()[:-1]]
        found += sum(row["arrivals"]["started"] for row in rows) > 0
    return found >= workers


def wait_for(done: Any, *, within_s: float = 60) -> None:
    deadline = time.monotonic() + within_s
    while not done():
        assert time.monotonic() < deadline, "it never came"
        time.sleep(0.2)


@pytest.mark.process
def test_a_worker_is_killed_and_another_joins(simulator: Any, tmp_path: Path) -> None:
    before = simulator.truth()["sessions"]["opened"]
    file = locustfile(tmp_path, messages=1, more=SHAPE.format(over="35s"))
    port = free_port()
    master = locust(
        file, tmp_path, simulator.url, "--master", "--expect-workers", "2",
        "--master-bind-host", "127.0.0.1", "--master-bind-port", port,
    )  # fmt: skip
    worker = ("--worker", "--master-port", port)
    first, second = (locust(file, tmp_path, simulator.url, *worker) for _ in range(2))
    wait_for(lambda: due_so_far(tmp_path, 2))
    os.killpg(first.pid, signal.SIGKILL)
    first.communicate()
    third = locust(file, tmp_path, simulator.url, *worker)
    wait_for(lambda: due_so_far(tmp_path, 3))
    code, output = finish(master, within_s=120)
    for one in (second, third):
        finish(one)
    assert code == 6, output  # a worker was lost
    assert "Traceback" not in output
    record = json.loads((only_run(tmp_path) / "run.json").read_text())
    arrivals = record["arrivals"]
    # Nothing due is done twice or vanishes: all 700 are accounted for.
    assert arrivals["due"] == 700, (arrivals, output)
    assert arrivals["started"] + arrivals["dropped"] == 700
    assert 0 < arrivals["dropped"] < 350
    # No session of the service is missing from our account. Who was admitted in the moment of
    # the kill has none yet.
    truth = simulator.truth()["sessions"]["opened"] - before
    # Who was cleared in that moment is opened again by the sweep, which can't know it.
    assert truth <= record["sessions"]["intended"] + record["sessions"]["settled"]
    assert arrivals["started"] - truth <= 2
    assert record["sessions"]["leftover"] == 0
    told = json.loads(RunDirectory(only_run(tmp_path)).shares.read_text())
    assert len(told["gone"]) == 1
    assert len(told["changes"]) in (1, 2)  # at once, or one after the other


@pytest.mark.long
@pytest.mark.process
def test_a_worker_with_another_schedule_can_not_join(simulator: Any, tmp_path: Path) -> None:
    file = locustfile(tmp_path, messages=1, more=SHAPE.format(over="12s"))
    (tmp_path / "other").mkdir()
    other = locustfile(tmp_path / "other", messages=1, more=SHAPE.format(over="13s"))
    port = free_port()
    master = locust(
        file, tmp_path, simulator.url, "--master", "--expect-workers", "1",
        "--master-bind-host", "127.0.0.1", "--master-bind-port", port,
    )  # fmt: skip
    worker = ("--worker", "--master-port", port)
    first = locust(file, tmp_path, simulator.url, *worker)
    wait_for(lambda: due_so_far(tmp_path, 1))
    second = locust(other, tmp_path, simulator.url, *worker)
    finish(second)
    code, output = finish(master, within_s=120)
    finish(first)
    assert "dismissed: worker" in output
    assert "has a locustfile with the content" in output
    record = json.loads((only_run(tmp_path) / "run.json").read_text())
    assert record["arrivals"]["due"] == 240
    assert record["generator"]["workers_lost"] == 0
    # The machine may have had no time for it; whoever was dismissed is no reason.
    late = ("the generator lagged", "the load asked for was not offered")
    assert [why for why in record["reasons"] if not why.startswith(late)] == [], (code, output)
