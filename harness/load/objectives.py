"""``objective(...)`` in a locustfile: what the run has to meet, checked before anything is sent."""

from typing import Any

from locust import events

from harness.judge.objective import parse_objective
from harness.judge.record import KNOWN


def objective(*texts: str) -> None:
    """State what the run has to meet, such as ``"reply p95 < 5s"`` or ``"leftovers == 0"``.

    Raises ConfigError at once when a text can't be understood.
    """
    for text in texts:
        parse_objective(text, KNOWN)

    def attach(environment: Any, **_: Any) -> None:
        environment.harness_objectives = [*getattr(environment, "harness_objectives", []), *texts]

    events.init.add_listener(attach)  # type: ignore[no-untyped-call]
