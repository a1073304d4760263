"""Objectives of a locustfile are checked at once and reach the environment."""

from types import SimpleNamespace

import pytest
from locust import events

from harness.errors import ConfigError
from harness.load.options import objective


def test_a_good_objective_reaches_the_run() -> None:
    before = list(events.init._handlers)
    try:
        objective("reply p95 < 5s", "dropped == 0")
        environment = SimpleNamespace()
        for listener in events.init._handlers[len(before) :]:
            listener(environment=environment)
        assert environment.harness_objectives == ["reply p95 < 5s", "dropped == 0"]
    finally:
        events.init._handlers[:] = before


def test_an_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(ConfigError, match=r"'rply'.*did you mean reply"):
        objective("rply p95 < 5s")
