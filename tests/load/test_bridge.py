"""Locust sees each sample once, with a bounded set of failures."""

from types import SimpleNamespace
from typing import Any

from harness.load.bridge import BridgedRecorder
from harness.measure.sample import Outcome, Sample


def test_a_sample_is_recorded_and_shown() -> None:
    shown: list[dict[str, Any]] = []
    request = SimpleNamespace(fire=lambda **event: shown.append(event))
    recorder = BridgedRecorder(SimpleNamespace(events=SimpleNamespace(request=request)))
    recorder.add(Sample("reply", 0, 0, 5_000_000, 5_000_000))
    recorder.add(Sample("reply", 0, 0, 1_000_000, 1_000_000, Outcome.TIMEOUT))
    assert [event["response_time"] for event in shown] == [5.0, 1.0]
    assert [event["name"] for event in shown] == ["reply", "reply"]
    assert shown[0]["exception"] is None
    assert str(shown[1]["exception"]) == "timeout"
    assert recorder.take().outcomes["reply"] == {Outcome.OK: 1, Outcome.TIMEOUT: 1}
