"""Objectives of a locustfile are checked at once and reach the run."""

import pytest

from harness.errors import ConfigError
from harness.load import options
from harness.load.options import objective, own_objectives


def test_a_good_objective_reaches_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    process = options._Process()
    monkeypatch.setattr(options, "_process", lambda: process)
    objective("reply p95 < 5s", "dropped == 0")
    objective("leftovers == 0")
    assert own_objectives() == ["reply p95 < 5s", "dropped == 0", "leftovers == 0"]


def test_an_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(ConfigError, match=r"'rply'.*did you mean reply"):
        objective("rply p95 < 5s")
