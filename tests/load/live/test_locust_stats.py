"""Locust sees each sample once, with a bounded set of failures, as if it had counted by itself."""

from typing import Any

import pytest
from locust.env import Environment

from harness.load.live.totals import BridgedRecorder
from harness.measure.model import Outcome, Sample

TIMES_MS = [5.0, 0.4, 99.6, 147.0, 3432.0, 58_760.0]


def add_all(recorder: BridgedRecorder) -> None:
    for milliseconds in TIMES_MS:
        arrived = int(milliseconds * 1e6)
        recorder.add(Sample("reply", 0, 0, arrived, arrived))
    recorder.add(Sample("reply", 0, 0, 1_000_000, 1_000_000, Outcome.TIMEOUT))


def figures(environment: Environment) -> list[Any]:
    runner = environment.runner
    assert runner is not None
    return [
        (
            entry.num_requests,
            entry.num_failures,
            entry.min_response_time,
            entry.max_response_time,
            pytest.approx(entry.total_response_time),
            dict(entry.response_times),
            sum(entry.num_reqs_per_sec.values()),
        )
        for entry in (runner.stats.total, runner.stats.get("reply", "guest"))
    ]


def test_batches_and_single_events_give_locust_the_same_figures() -> None:
    batched, single = Environment(), Environment()
    for environment in (batched, single):
        environment.create_local_runner()
    events: list[dict[str, Any]] = []
    single.events.request.add_listener(lambda **event: events.append(event))
    for environment in (batched, single):
        recorder = BridgedRecorder(environment)
        add_all(recorder)
        counted = recorder.take().outcomes["reply"]
        assert counted == {Outcome.OK: len(TIMES_MS), Outcome.TIMEOUT: 1}
    assert figures(batched) == figures(single)
    assert [event["response_time"] for event in events] == [1.0, *TIMES_MS]
    assert [str(event["exception"]) for event in events if event["exception"]] == ["timeout"]


def test_no_event_has_a_time_below_zero() -> None:
    environment = Environment()
    environment.create_local_runner()
    events: list[dict[str, Any]] = []
    environment.events.request.add_listener(lambda **event: events.append(event))
    recorder = BridgedRecorder(environment)
    recorder.add(Sample("reply", 0, 5_000, 3_000, 6_000))
    recorder.add(Sample("reply", 0, 5_000, 0, 6_000, Outcome.LOST))
    recorder.take()
    # What was stamped before its request was sent is timed by when it was seen.
    assert [event["response_time"] for event in events] == [0.0, 0.001]
