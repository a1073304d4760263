"""``objective(...)`` in a locustfile: what the run has to meet, checked before anything is sent."""

from typing import Any

from locust import events

from harness.report.record import KNOWN
from harness.slo.objective import parse_objective


def objective(*texts: str) -> None:
    """State what the run has to meet, such as ``"reply p95 < 5s"`` or ``"leftovers == 0"``.

    Raises ConfigError at once when a text can't be understood.
    """
    for text in texts:
        parse_objective(text, KNOWN)

    def attach(environment: Any, **_: Any) -> None:
        environment.harness_objectives = [*getattr(environment, "harness_objectives", []), *texts]

    events.init.add_listener(attach)  # type: ignore[no-untyped-call]
