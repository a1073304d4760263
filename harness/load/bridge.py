"""Shows every sample to Locust as well, for its familiar screen. Nothing reads it back."""

from typing import Any

from harness.measure.recorder import Recorder
from harness.measure.sample import Outcome, Sample


class GuestOutcome(Exception):
    """An operation that did not end well; its text is the outcome's bounded word."""


_SHOWN: dict[Outcome, GuestOutcome] = {
    outcome: GuestOutcome(outcome.value) for outcome in Outcome if outcome is not Outcome.OK
}


class BridgedRecorder(Recorder):
    """A recorder that fires Locust's ``request`` event for each sample."""

    def __init__(self, environment: Any) -> None:
        super().__init__()
        self._fire = environment.events.request.fire

    def add(self, sample: Sample) -> None:
        """Record, then show."""
        super().add(sample)
        self._fire(
            request_type="guest",
            name=sample.operation,
            response_time=sample.service_ns / 1e6,
            response_length=0,
            exception=_SHOWN.get(sample.outcome),
            context={},
        )
