"""A run in one process. Once a second: what one duty raises ends neither the others nor the ticks
to come. In a worker: no guest begins before the master knows of its token."""

import argparse
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gevent
import pytest
from gevent.event import Event
from locust.env import Environment
from locust.exception import StopUser

from harness.config.target import Terms, parse_target
from harness.load.options import RunOptions
from harness.load.run import Run

TARGET = parse_target("ws://127.0.0.1:1/v1?deploymentId=12345678-90ab-cdef-1234-567890abcdef")


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Run]:
    environment = Environment(user_classes=[], parsed_options=argparse.Namespace(num_users=1))
    environment.create_local_runner()
    (tmp_path / "run").mkdir()
    options = RunOptions(terms=Terms(name="", target=TARGET), reports=tmp_path)
    made = Run(environment, options, tmp_path / "run")
    made._ticker.kill()
    yield made
    made.finish()


def raising(*_: Any, **__: Any) -> Any:
    raise OSError(24, "Too many open files")


@pytest.mark.parametrize(
    ("owner", "name"),
    [
        ("_health", "complaints"),
        ("_health", "needs"),
        ("_dispatch", "since_last"),
        ("recorder", "take"),
        ("_writer", "write"),
        ("ledger", "note"),
        ("", "_end_without_slots"),
        ("", "_check_account"),
        ("", "_on_interval"),
    ],
)
def test_a_duty_that_fails_ends_no_other(
    run: Run, monkeypatch: pytest.MonkeyPatch, owner: str, name: str
) -> None:
    heard: list[str] = []
    notes: list[str] = []
    run._on_interval = lambda process, *_: heard.append(process)
    keep = run.ledger.note
    monkeypatch.setattr(
        run.ledger, "note", lambda key, value: (notes.append(key), keep(key, value))
    )
    with monkeypatch.context() as broken:
        broken.setattr(getattr(run, owner) if owner else run, name, raising)
        run._tick()
        run._tick()
        assert name == "note" or len(notes) == 2
    before = len(heard)
    run._tick()
    assert len(heard) == before + 1
    assert notes[-1] == "heartbeat_ns"
    void = ("the measurements can't be written: Too many open files",)
    writes = name in ("since_last", "take", "write")
    assert tuple(run.failures) == (void if writes else ())


def test_no_guest_begins_before_the_master_knows_of_its_token(run: Run) -> None:
    known, may_use = 0, Event()

    def may_use_token() -> bool:
        if run.tokens_used() >= known:
            may_use.clear()
        return run.tokens_used() < known

    run.shipper = SimpleNamespace(may_use=may_use, may_use_token=may_use_token)  # type: ignore[assignment]

    def come() -> None:
        run.new_session(run.next_arrival(), lambda: 0)

    guests = [gevent.spawn(come) for _ in range(3)]
    gevent.sleep(0.1)
    assert (run.tokens_used(), run._dispatch.counts.started) == (0, 0)
    known = 2
    may_use.set()
    gevent.joinall(guests, timeout=10, count=2)
    assert (run.tokens_used(), run._dispatch.counts.started) == (2, 2)
    run._stop_arrivals()
    gevent.joinall(guests, timeout=10)
    assert [type(guest.exception) for guest in guests].count(StopUser) == 1
    assert (run.tokens_used(), run._dispatch.counts.started) == (2, 2)
